"""A pool that is interrupted or killed leaves no process and, unless it was killed outright, no file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
POOL = """
import time
from evals.pool import pool_of, scratch_folder

def work(folder):
    import os, pathlib, tempfile
    os.write(1, b"%d\\n" % os.getpid())
    with tempfile.NamedTemporaryFile():
        for n in range(10_000):
            (pathlib.Path(folder) / str(n)).touch()
            time.sleep(0.01)

if __name__ == "__main__":
    import signal
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite in the background ignores it, and hands that on
    with scratch_folder("pool-") as scratch, pool_of(2, scratch) as pool:
        list(pool.map(work, [scratch] * 4))
"""


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_outlives_it(tmp_path: Path, by: signal.Signals) -> None:
    script, temporary = tmp_path / "script.py", tmp_path / "temporary"
    script.write_text(POOL)
    temporary.mkdir()
    environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, str(script)], env=environment, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        workers = [int(parent.stdout.readline()) for _ in range(2)]
        parent.send_signal(by)
        assert parent.wait(30) != 0
    until = time.monotonic() + 20
    while any(map(_alive, workers)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(map(_alive, workers))
    if by is not signal.SIGKILL:
        assert list(temporary.iterdir()) == []

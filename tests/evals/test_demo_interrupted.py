"""Ctrl-C, which a terminal sends to all processes of the demo: none is left, and the folder is free."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

_SMALL = """
import signal
import sys
from pathlib import Path
from evals.demo.run import run_demo
signal.signal(signal.SIGINT, signal.default_int_handler)  # who started the tests may have it ignored
run_demo(Path(sys.argv[1]), 20, "runbook", lambda line: print(line, flush=True), customers=4_000)
"""


def test_an_interruption_stops_the_gateway_and_frees_the_folder(tmp_path: Path) -> None:
    home = tmp_path / "shop"
    command = [sys.executable, "-W", "ignore", "-c", _SMALL, str(home)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=root, start_new_session=True
    ) as demo:
        assert demo.stdout is not None
        found = next(filter(None, (re.search(r"answers at (\S+);", line) for line in demo.stdout)))
        address = urlsplit(found[1])
        assert address.hostname is not None
        assert address.port is not None
        with socket.create_connection((address.hostname, address.port), timeout=5):
            pass
        os.killpg(demo.pid, signal.SIGINT)
        demo.communicate(timeout=60)
    with socket.socket() as asked:
        assert asked.connect_ex((address.hostname, address.port)) != 0, "the gateway is still there"
    until = time.monotonic() + 5
    while _group_lives(demo.pid):
        assert time.monotonic() < until, "a process of the demo is still there"
        time.sleep(0.05)
    with (home / ".guardian-example").open("a") as mark:
        fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises where it is still held


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True

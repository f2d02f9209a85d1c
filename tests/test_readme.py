"""The README's own commands in an empty folder; with `GUARDIAN_README=1` in a new environment, installed anew."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]
_COMMAND = re.compile(r"^(?:guardian|cd) [^#]*", re.MULTILINE)


def commands(heading: str) -> list[str]:
    """The commands of the first block below a heading, without their remarks."""
    section = (ROOT / "README.md").read_text().split(f"\n## {heading}\n", 1)[1]
    block = section.split("```", 2)[1]
    return [found.strip() for found in _COMMAND.findall(block)]


def orders(file: Path) -> None:
    """Orders of the last four months, a fifth of them late for reasons that the columns hold."""
    random = np.random.default_rng(3)
    rows = 6_000
    amount, weight = random.lognormal(3, 0.8, rows), random.gamma(2, 2, rows)
    chance = 1 / (1 + np.exp(4 - 0.02 * amount - 0.35 * weight))
    now = pd.Timestamp.now("UTC").tz_localize(None)
    days = now - pd.to_timedelta(np.sort(random.uniform(0, 120, rows))[::-1], unit="D")
    pd.DataFrame(
        {
            "order_id": np.arange(rows),
            "ordered_at": days.floor("s"),
            "amount": amount.round(2),
            "weight": weight.round(3),
            "carrier": random.choice(["north", "south", "air"], rows),
            "late": (random.random(rows) < chance).astype(int),
        }
    ).to_csv(file, index=False)


def run(folder: Path, programs: Path) -> str:
    """What the README's commands print, with `guardian` from `programs`."""
    orders(folder / "orders.csv")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["PATH"] = f"{programs}:{environment['PATH']}"
    script = "set -ex\n" + "\n".join(commands("Your own model"))
    done = subprocess.run(
        ["bash", "-c", script],
        check=False,
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_commands_do_what_they_say(tmp_path: Path) -> None:
    assert commands("Your own model")[0] == "guardian init --data orders.csv --target late"
    said = run(tmp_path, Path(sys.executable).parent)
    assert said.index("+ guardian validate") < said.index("operations.yaml: valid") < said.index("+ guardian triage")
    assert "Orders: ok" in said


@pytest.mark.skipif(not os.environ.get("GUARDIAN_README"), reason="GUARDIAN_README is not set")
@pytest.mark.timeout(900)
def test_from_nothing_to_a_triage(tmp_path: Path) -> None:
    started = time.monotonic()
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "env"], check=True)
    pip = [tmp_path / "env" / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "-r", ROOT / "requirements.lock"], check=True)
    subprocess.run([*pip, "--no-deps", ROOT], check=True)
    installed = time.monotonic()
    folder = tmp_path / "empty"
    folder.mkdir()
    run(folder, tmp_path / "env" / "bin")
    print(f"installed in {installed - started:.0f} s, the commands took {time.monotonic() - installed:.0f} s")

"""What is measured against what: each contender's module, its environment and what it can do."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from evals.benchmarks.drift.environments import python_of


@dataclass(frozen=True)
class Contender:
    """`environment` names its requirements, None for ours; `slow` ones take minutes at a million rows."""

    name: str
    module: str
    says: str
    environment: str | None = None
    keeps_profiles: bool = True
    slow: bool = False


OURS = Contender("ours", "ours", "PSI JS KL KS and more")
CAREFUL = Contender("careful NumPy/SciPy", "numpy_scipy", "PSI JS KL KS")
SORTED = Contender("NumPy, sorted once", "numpy_sorted", "PSI JS KL KS")
ARROW = Contender("reading by Arrow", "arrow_read", "nothing: the limit")
SCOUTER = Contender("scouter", "scouter_psi", "PSI", "scouter")
NANNYML = Contender("NannyML", "nannyml_univariate", "JS KS", "nannyml", slow=True)
BARE = Contender("Evidently, bare", "evidently_bare", "PSI JS KL KS", "evidently", keeps_profiles=False, slow=True)
PRESET = Contender("Evidently, preset", "evidently_preset", "PSI", "evidently", keeps_profiles=False, slow=True)
ALL = (OURS, CAREFUL, SORTED, SCOUTER, NANNYML, BARE, PRESET)


@dataclass(frozen=True)
class Measured:
    """Seconds and peak memory of one contender at one task, with the statistics it answered; or why there are none."""

    seconds: float = float("nan")
    peak_mb: float = float("nan")
    values: dict[str, dict[str, float]] = field(default_factory=dict)
    failure: str = ""


def measure(
    contender: Contender, tables: tuple[Path, Path], cache: Path, *, from_parquet: bool, stored: bool, limit: float
) -> Measured:
    """Runs a contender in a process of its own, for at most `limit` seconds."""
    python = Path(sys.executable) if contender.environment is None else python_of(contender.environment, cache)
    if isinstance(python, str):
        return Measured(failure=python)
    flags = [*(["--parquet"] if from_parquet else []), *(["--stored"] if stored else [])]
    command = [python, "-m", f"evals.benchmarks.drift.{contender.module}", *tables, *flags]
    root = Path(__file__).parents[3]
    try:
        done = subprocess.run(  # noqa: S603
            list(map(str, command)), capture_output=True, text=True, check=False, cwd=root, timeout=limit
        )
    except subprocess.TimeoutExpired:
        return Measured(failure=f"stopped after {limit:g} s")
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return Measured(failure=f"failed: {lines[-1] if lines else done.returncode}")
    answer = json.loads(done.stdout.splitlines()[-1])
    return Measured(answer["seconds"], answer["peak_mb"], answer["values"])

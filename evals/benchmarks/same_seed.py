"""The demo several times with one seed: do all runs decide alike and measure alike, latencies aside?

Each run is the command in a process of its own, as people run it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

MEASURED = ("seconds", "inference_ms", "latency", "mlflow_run_id", "report")
"""Names of fields that hold a duration, or an id drawn at random: they may differ."""

TIMED = ("value", "champion_value", "champion", "challenger", "detail")
"""Fields of a latency's row that hold what was timed; its verdict and what it weighed must not differ."""


def main(arguments: Sequence[str]) -> None:
    """Prints how many values of how many evidence rows were compared, and each that differs."""
    parser = argparse.ArgumentParser(prog="same_seed", description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=20)
    options = parser.parse_args(arguments)
    seen: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(1, options.runs + 1):
            directory = Path(folder) / str(number)
            result = _demo(directory, options.seed)
            print(f"run {number}: {result['seconds']:.0f} s", file=sys.stderr)
            seen.append(dict(_values("outcome", result["outcome"])) | _evidence(directory))
    different = [
        (name, [values.get(name) for values in seen])
        for name in sorted(set().union(*seen))
        if len({repr(values.get(name)) for values in seen}) > 1
    ]
    print(f"{options.runs} runs of seed {options.seed}: {len(seen[0]):,} values compared, {len(different)} differ")
    for name, values in different:
        print(f"  {name}: {values}")


def _demo(directory: Path, seed: int) -> dict[str, Any]:
    """What the command prints as JSON; its progress would drown the comparison."""
    command = [
        sys.executable,
        "-c",
        "from agent.cli import main; main()",
        "--json",
        "demo",
        "--dir",
        str(directory),
        "--seed",
        str(seed),
    ]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)  # noqa: S603
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _evidence(directory: Path) -> dict[str, Any]:
    from tools.systems.store import Kind, Store

    store = Store(f"sqlite:///{directory}/.guardian/state.db")
    rows = [row for kind in Kind for row in store.list(kind)]
    found: dict[str, Any] = {}
    for row in rows:
        found |= _values(row.id, row.model_dump(mode="json"))
    return found


def _values(path: str, of: Any) -> Iterator[tuple[str, Any]]:
    """Every leaf that is no measured duration, by its path."""
    if isinstance(of, dict):
        if str(of.get("metric", of.get("name", ""))).startswith(("p99_latency", "inference_ms", "latency")):
            of = {key: value for key, value in of.items() if key not in TIMED}
        for key, value in of.items():
            if not key.startswith(MEASURED):
                yield from _values(f"{path}.{key}", value)
    elif isinstance(of, list):
        for i, value in enumerate(of):
            yield from _values(f"{path}[{i}]", value)
    else:
        yield path, of

"""What a stored artifact predicts in a process that has nothing but the file: no fitted object is in its memory.

Run as a module it is that process: it reads the question (JSON) on stdin and writes the answer to the file it is given.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from policies.declarations.binding import Features

SECONDS = 120.0


class ReplayFailed(Exception):
    """The artifact does not load or predict; the text says why."""


def scores_of(
    folder: Path,
    rows: Sequence[Mapping[str, Any]],
    features: Features,
    memory_gb: float,
    task: str = "binary",
    seconds: float = SECONDS,
) -> list[float]:
    """What the model of a `task` in a registry cache folder says of rows of its input, from a new interpreter: scores,
    values, or every class's probability row by row.

    Raises ReplayFailed: it does not load, raises, ends its process, takes longer than `seconds` or holds more memory
    than `memory_gb` (10^9 bytes).
    """
    with tempfile.TemporaryDirectory(prefix="guardian-replay-") as scratch:
        answer = Path(scratch) / "answer.json"
        question = {
            "folder": str(folder),
            "rows": list(rows),
            "features": features.model_dump(),
            "memory_gb": memory_gb,
            "task": task,
        }
        try:
            ended = subprocess.run(  # noqa: S603  our own module, no text from outside
                [sys.executable, "-m", "tools.evaluate.clean_process", str(answer)],
                input=json.dumps(question),
                text=True,
                capture_output=True,
                timeout=seconds,
                check=False,
                env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        except subprocess.TimeoutExpired:
            raise ReplayFailed(f"no answer in {seconds:g} s") from None
        if ended.returncode != 0 or not answer.exists():
            last = (ended.stderr.strip().splitlines() or [f"its process ended with {ended.returncode}"])[-1]
            raise ReplayFailed(last)
        return [float(each) for each in json.loads(answer.read_text())]


def scores_here(folder: Path, rows: Sequence[Mapping[str, Any]], features: Features, task: str) -> list[float]:
    """What the model says, asked in this process."""
    import pandas as pd

    from tools import tasks
    from tools.retrain import recipe
    from tools.systems.registry import load_local

    pipeline = load_local(folder)
    named = tasks.of(task)
    return named.numbers(recipe.predict(pipeline, recipe.feature_frame(pd.DataFrame(rows), features), named))


def _answer(question: Mapping[str, Any]) -> list[float]:
    from tools.retrain import limits

    limits.limit_memory(question["memory_gb"])
    features = Features.model_validate(question["features"])
    try:
        return scores_here(Path(question["folder"]), question["rows"], features, question["task"])
    except MemoryError:
        sys.exit(f"memory_limit_gb: {question['memory_gb']:g} GB did not suffice")


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(_answer(json.load(sys.stdin))))

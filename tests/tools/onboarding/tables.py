"""Tables of a user's own, and the command line run on them as a user would."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from agent.cli.app import run


@dataclass(frozen=True)
class Said:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def guardian(capsys: pytest.CaptureFixture[str], *arguments: str, down: bool = False) -> Said:
    """Runs one command. No traceback may ever be printed; it fails only where a system is `down`."""
    code = run(list(arguments))
    found = capsys.readouterr()
    assert "Traceback" not in found.out + found.err
    assert (code == 1) == down, found.err
    return Said(code, found.out, found.err)


def orders(rows: int = 3000, days: float = 60, seed: int = 1) -> pd.DataFrame:
    """A table with a time, an id, two numbers, a category and three outcomes, one for each task."""
    random = np.random.default_rng(seed)
    x, y = random.normal(size=rows), random.exponential(size=rows)
    kind = random.choice(["a", "b", "c"], rows)
    signal = x + (kind == "a") - 0.5 * y
    return pd.DataFrame(
        {
            "order_id": np.arange(rows),
            "created_at": pd.date_range(datetime(2026, 1, 1), periods=rows, freq=pd.Timedelta(days=days) / rows),
            "x": x,
            "y": y,
            "kind": kind,
            "late": np.where(random.random(rows) < 1 / (1 + np.exp(-2 * signal)), "yes", "no"),
            "grade": pd.cut(
                signal + random.normal(size=rows) / 4, [-np.inf, -0.5, 0.7, np.inf], labels=list("CBA")
            ).astype(str),
            "amount": 10 * signal + random.normal(size=rows),
        }
    )


def written(frame: pd.DataFrame, folder: Path, name: str = "orders.csv") -> Path:
    """The frame as a file of the kind that its ending says."""
    path = folder / name
    match path.suffix:
        case ".parquet":
            frame.to_parquet(path, index=False)
        case ".arrow":
            frame.to_feather(path)
        case _:
            frame.to_csv(path, index=False)
    return path

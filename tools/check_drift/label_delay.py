"""How late labels are: the share that has come by the age of the rows, and quantiles of the delay."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from policies.declarations.binding import ModelBinding
from tools.systems import datasets
from tools.systems.labels import newly_told
from tools.systems.warehouse import quote

if TYPE_CHECKING:
    import pandas as pd

    from tools.systems.systems import Systems

_AGES = (1, 3, 7, 14, 30, 60, 90, 180, 365)
"""Ends of the age groups, in days."""


@dataclass(frozen=True)
class LabelDelay:
    """`coverage`: (youngest age in days, oldest, rows, labelled) by age; `delays`: (share, days) of labels that came.

    Delays are those of the labels that arrived in the window, whenever their rows were made: rows of the window whose
    labels are still to come would make them look faster than they are.
    """

    rows: int
    labelled: int
    coverage: tuple[tuple[int, int, int, int], ...]
    delays: tuple[tuple[float, float], ...]

    def __str__(self) -> str:
        said = f"{self.labelled:,} of {self.rows:,} rows labelled"
        if self.coverage:
            groups = (f"{low}-{high} d {labelled / rows:.0%}" for low, high, rows, labelled in self.coverage if rows)
            said += f", by age {', '.join(groups)}"
        if self.delays:
            said += f"; labels came after {', '.join(f'{days:.3g} d ({share:.0%})' for share, days in self.delays)}"
        return said


def label_delay(systems: Systems, model: str, start: datetime, at: datetime, labelled: int) -> LabelDelay:
    """Of the rows in [start, at), as of `at`. Raises InputError where a table is missing."""
    binding = systems.operations.model(model)
    daily = datasets.label_coverage(systems, model, start, at, at)
    rows = int(daily["rows"].sum())
    return LabelDelay(rows, labelled, _by_age(daily, at), _delays(systems, binding, start, at))


def _by_age(daily: pd.DataFrame, at: datetime) -> tuple[tuple[int, int, int, int], ...]:
    """Groups of days by their age: whole days between their date and the date of `at`."""
    if daily.empty:
        return ()
    midnight = np.datetime64(at, "D")
    ages = (midnight - daily["day"].to_numpy().astype("datetime64[D]")).astype(np.int64)
    groups = []
    low = 0
    for high in (*_AGES, int(ages.max()) + 1):
        inside = (ages >= low) & (ages < high)
        if inside.any():
            rows, labelled = daily.loc[inside, "rows"].sum(), daily.loc[inside, "labelled"].sum()
            groups.append((low, high, int(rows), int(labelled)))
        low = max(low, high)
    return tuple(groups)


def _delays(systems: Systems, binding: ModelBinding, start: datetime, at: datetime) -> tuple[tuple[float, float], ...]:
    labels, shares = binding.labels, (0.5, 0.9, 0.99)
    arrived, time = quote(labels.arrived), quote(labels.time)
    sql = f"""
        SELECT quantile_cont((epoch({arrived}) - epoch({time})) / 86400, [{", ".join(map(str, shares))}])
        FROM {newly_told(labels, "$start", "$end")}
    """
    found = systems.warehouse.query(sql, {"start": start, "end": at}).column(0)[0].as_py()
    return tuple(zip(shares, found, strict=True)) if found else ()

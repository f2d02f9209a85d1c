"""What changed, a value a day: a feature, a relation, labels, performance, a source's age.

Four weeks back, and for a feature farther where all of these lie after the change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from policies.errors import GuardianError
from tools.check_drift.bins import counts_by_bin
from tools.check_drift.correlation import correlations
from tools.check_drift.counting import Floats
from tools.check_drift.material import Material
from tools.check_drift.onset import Onset, onset
from tools.check_drift.performance import Performance, measure
from tools.check_drift.profiles import Profile, profile
from tools.systems.labels import known
from tools.systems.warehouse import quote
from tools.tasks.predicted import SCORE

if TYPE_CHECKING:
    import pyarrow as pa

LOOK_BACK = timedelta(days=28)
_FARTHEST = timedelta(weeks=26)
_BEFORE = timedelta(days=7)
"""So much of the baseline's time is looked at with what came after it: a change right after it shows against that."""

_FINEST_HOURS = 0.1
"""Ages of data that differ by less, over a day, are the same."""

_FIELLER = 1.06
"""Variance of Fisher's z of a rank correlation is 1.06 / (n - 3): Fieller, Hartley & Pearson (1957)."""


@dataclass(frozen=True)
class Series:
    """Days in order, and for each a value with its sampling variance.

    `halfway` lies in the middle between the baseline's value and the window's, which is the greater; None where it is
    not known.
    """

    days: list[date]
    values: Floats
    variances: Floats
    halfway: float | None = None

    @cached_property
    def onset(self) -> Onset:
        """When it changed, as an index of `days`."""
        return onset(self.values, self.variances)

    @property
    def since(self) -> tuple[date, bool | None]:
        """The first day that shows the change, and whether it was sudden."""
        return self.days[self.onset.first], self.onset.sudden

    @property
    def changed_throughout(self) -> bool:
        """Whether the days, on the whole, are more like the window than like the baseline."""
        weights = 1 / np.maximum(self.variances, np.finfo(float).tiny)
        return self.halfway is not None and float(np.average(self.values, weights=weights)) > self.halfway


Candidate = Callable[[datetime], Series | None]
"""Reads a series from a time on."""


def of_feature(name: str, material: Material, current: Profile, start: datetime) -> Series | None:
    """How far each day's values lie on the way from the baseline's distribution to the window's.

    A day's value is the mean over its rows of log(q / p) of the bin they fall in, p the baseline's shares and q the
    window's: the direction in which the two are told apart best. Its variance is that of the even mixture of both,
    over the day's rows.
    """
    baseline = Profile(material.baseline().rows, {name: material.baseline().columns[name]})
    before = baseline.columns[name]
    after = current.columns.get(name)
    null = after is None or after.nulls == after.rows

    def counts(rows: pa.Table) -> Floats:
        return counts_by_bin(before, profile(rows, like=baseline).columns[name])[1]

    days = [(day, rows.num_rows, counts(rows)) for day, rows in _days(material, [name], start)]
    if not days:
        return None
    p = counts_by_bin(before, before)[0] if after is None else counts_by_bin(before, after)[0]
    q = days[-1][2] if after is None or null else counts_by_bin(before, after)[1]
    if len({len(p), len(q), *(len(each) for _, _, each in days)}) > 1:
        return None
    p, q = ((side + 0.5) / (side + 0.5).sum() for side in (p, q))
    way = np.log(q / p)
    middle = (p + q) / 2
    spread = float(middle @ way**2 - (middle @ way) ** 2)
    sizes = np.array([size for _, size, _ in days], dtype=np.float64)
    values = np.array([each @ way / size for _, size, each in days])
    return Series([day for day, _, _ in days], values, spread / sizes, float(middle @ way))


def of_relation(pair: Sequence[str], material: Material, start: datetime) -> Series | None:
    """Fisher's z of the two features' rank correlation, day by day."""
    baseline = Profile(material.baseline().rows, {name: material.baseline().columns[name] for name in pair})
    days, values, variances = [], [], []
    for day, rows in _days(material, pair, start):
        found = correlations(rows, baseline)
        if len(found.names) < 2 or found.rows[0, 1] <= 3 or np.isnan(found.matrix[0, 1]):
            continue
        days.append(day)
        values.append(np.arctanh(np.clip(found.matrix[0, 1], -0.999999, 0.999999)))
        variances.append(_FIELLER / (found.rows[0, 1] - 3))
    return Series(days, np.array(values), np.array(variances)) if days else None


def of_labels(material: Material, start: datetime) -> Series | None:
    """The share of positives among the labels known by now, by the day of the rows they belong to."""
    labels = material.binding.labels
    time, value = quote(labels.time), quote(labels.value)
    sql = f"""
        SELECT CAST({time} AS DATE) AS day, count(*) AS n, avg(CAST({value} AS DOUBLE)) AS share
        FROM {known(labels, "$end", f"{time} >= $start AND {time} < $end")} GROUP BY 1 ORDER BY 1
    """
    found = material.systems.warehouse.query(sql, {"start": start, "end": material.at})
    if not found.num_rows:
        return None
    sizes, shares = found["n"].to_numpy().astype(np.float64), found["share"].to_numpy()
    middle = float(np.clip(np.average(shares, weights=sizes), 1e-6, 1 - 1e-6))
    return Series(found["day"].to_pylist(), shares, middle * (1 - middle) / sizes)


def of_freshness(column: str, material: Material, start: datetime) -> Series | None:
    """How old a source's data were when used, in hours: time of the row less its `loaded_at`."""
    binding = material.binding
    age = f"date_diff('second', {quote(column)}, {quote(binding.time)}) / 3600.0"
    sql = f"""
        SELECT CAST({quote(binding.time)} AS DATE) AS day, count(*) AS n, avg({age}) AS age, var_pop({age}) AS spread
        FROM {binding.table} WHERE {quote(binding.time)} >= $start AND {quote(binding.time)} < $end
          AND {quote(column)} IS NOT NULL GROUP BY 1 ORDER BY 1
    """
    found = material.systems.warehouse.query(sql, {"start": start, "end": material.at})
    if not found.num_rows:
        return None
    sizes = found["n"].to_numpy().astype(np.float64)
    spread = max(float(np.average(found["spread"].to_numpy(), weights=sizes)), _FINEST_HOURS**2)
    return Series(found["day"].to_pylist(), found["age"].to_numpy(), spread / sizes)


def of_performance(metric: str, material: Material, start: datetime) -> Series | None:
    """The champion's metric on the labels known by now, by the day of the rows; its scores as recorded when served.

    A day's variance is what the days' standard errors say of a row on average, over its rows: a day of few rows may
    look perfect and claim to be certain.
    """
    binding, labels = material.binding, material.binding.labels
    if binding.predictions is None or not material.systems.warehouse.exists(binding.predictions):
        return None
    made = f"{quote(labels.time)} >= $start AND {quote(labels.time)} < $end"
    sql = f"""
        SELECT CAST(p.{quote(binding.time)} AS DATE) AS day, p.{SCORE} AS score,
               CAST(l.{quote(labels.value)} AS DOUBLE) AS outcome
        FROM {binding.predictions} p JOIN {known(labels, "$end", made)}
          ON l.{quote(labels.id)} = p.{quote(binding.id)} AND l.{quote(labels.time)} = p.{quote(binding.time)}
        WHERE p.{quote(binding.time)} >= $start AND p.{quote(binding.time)} < $end AND p.model_version = $version
        ORDER BY 1
    """
    params = {"start": start, "end": material.at, "version": material.champion()}
    found = material.systems.warehouse.query(sql, params)
    days, scores = found["day"].to_numpy().astype("datetime64[D]"), found["score"].to_numpy()
    outcomes = found["outcome"].to_numpy()
    measured: list[tuple[date, Performance]] = []
    for day in np.unique(days):
        chosen = days == day
        seen = measure(metric, outcomes[chosen], scores[chosen], material.threshold(metric))
        if np.isfinite(seen.value) and np.isfinite(seen.standard_error):
            measured.append((day.astype(object), seen))
    if not measured:
        return None
    sizes = np.array([seen.rows for _, seen in measured], dtype=np.float64)
    a_row = float(np.mean([seen.standard_error**2 * seen.rows for _, seen in measured]))
    values = np.array([seen.value for _, seen in measured])
    return Series([day for day, _ in measured], values, max(a_row, np.finfo(float).tiny) / sizes)


def since(candidates: Sequence[Candidate], material: Material) -> tuple[date | None, bool | None]:
    """The onset of the first of these series that can be read; none where none can.

    Where four weeks show no change because all of them lie after it, the search goes on farther back, up to 26 weeks
    and a week before the baseline's end. What lies after the change there too began on its first day at the latest.
    """
    recent = _midnight(material.at - LOOK_BACK)
    for each in candidates:
        found = _read(each, recent)
        if found is None:
            continue
        end = material.baseline_end() if not found.onset.first and found.changed_throughout else None
        if end is None or end >= recent:
            return found.since
        longer = _read(each, max(_midnight(end - _BEFORE), recent - (_FARTHEST - LOOK_BACK)))
        return (longer or found).since
    return None, None


def recently(candidate: Candidate, material: Material) -> date | None:
    """The onset within the past four weeks; their first day where they show none."""
    found = _read(candidate, _midnight(material.at - LOOK_BACK))
    return None if found is None else found.since[0]


def _read(candidate: Candidate, start: datetime) -> Series | None:
    try:
        return candidate(start)
    except GuardianError:
        return None


def _days(material: Material, names: Sequence[str], start: datetime) -> Iterator[tuple[date, pa.Table]]:
    """The rows of each day from `start` to today, these columns only; a day without rows is left out."""
    binding = material.binding
    rows = material.read_since(start, [binding.time, *names])
    days = rows.column(0).to_numpy().astype("datetime64[D]")
    order = np.argsort(days, kind="stable")
    rows, days = rows.select(range(1, len(names) + 1)).take(order), days[order]
    starts = np.flatnonzero(np.append(True, days[1:] != days[:-1])) if len(days) else np.empty(0, np.int64)
    ends = np.append(starts[1:], len(days)).astype(np.int64)
    for first, end in zip(starts.tolist(), ends.tolist(), strict=True):
        yield days[first].astype(object), rows.slice(first, end - first)


def _midnight(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)

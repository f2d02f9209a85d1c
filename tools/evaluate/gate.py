"""The quality gate: pure checks over measured numbers, and the verdict over all of them.

Every check is a row with what was measured, what was demanded and how it ended. The gate passes only when no
check failed and none was inconclusive: what could not be judged has not been proven.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from policies.conditions import parse_bound
from tools.tasks import Reading, Support

REPLAY_TOLERANCE = 1e-6
_APART = "<= 0 rows in common, training first"


class Verdict(StrEnum):
    """How a check, or the whole gate, ended. `skipped` is a segment too small to judge and does not block."""

    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"
    SKIPPED = "skipped"


class Check(BaseModel):
    """One row of a gate. `value` is None where nothing could be measured."""

    model_config = ConfigDict(frozen=True)

    name: str
    value: float | None
    threshold: str | None
    verdict: Verdict
    detail: str = ""


@dataclass(frozen=True)
class SegmentReading:
    """Both models in one segment, by the task's measure, and how much the segment's outcomes can tell."""

    column: str
    value: str
    rows: int
    support: Support
    read: Reading


def status(checks: Sequence[Check]) -> Verdict:
    """Failed if any check failed, else inconclusive if any was (or there is none), else passed."""
    verdicts = {check.verdict for check in checks}
    if Verdict.FAILED in verdicts:
        return Verdict.FAILED
    if Verdict.INCONCLUSIVE in verdicts or Verdict.PASSED not in verdicts:
        return Verdict.INCONCLUSIVE
    return Verdict.PASSED


def required_metrics(bounds: Mapping[str, str], measured: Mapping[str, float]) -> list[Check]:
    """One check a declared metric: `{"auc_roc": "> 0.80"}`; a missing or NaN metric is inconclusive."""
    checks = []
    for name, text in bounds.items():
        value = measured.get(name, math.nan)
        if math.isnan(value):
            checks.append(_unknown(name, text, "not measured on these rows"))
        else:
            holds = parse_bound(text, name).holds(value)
            checks.append(_judged(name, value, text, holds))
    return checks


def enough_rows(rows: int, support: Support, minimum: int) -> Check:
    """Inconclusive below `minimum` labelled holdout rows, or where their outcomes cannot tell enough."""
    name, text = "holdout_rows", f">= {minimum}"
    if rows < minimum:
        return _unknown(name, text, f"only {rows:,} labelled rows in the holdout", rows)
    if not support.enough:
        return _unknown(name, text, support.short, rows)
    return _judged(name, rows, text, True, ", ".join(filter(None, (f"{rows:,} rows", support.seen))))


def improvement(metric: str, champion: float, challenger: float, minimum: float, *, higher: bool = True) -> Check:
    """The absolute gain in `metric` that the retraining pipeline demands (`promotion.min_improvement`)."""
    name, text = f"improvement:{metric}", f">= {minimum:g}"
    gain = (challenger - champion) if higher else (champion - challenger)
    if math.isnan(gain):
        return _unknown(name, text, f"{metric} is not measured on both")
    return _judged(name, gain, text, gain >= minimum, f"champion {champion:.4f}, challenger {challenger:.4f}")


def ceiling(name: str, value: float, limit: float) -> Check:
    """`value` may be at most `limit`; NaN is inconclusive."""
    text = f"<= {limit:g}"
    if math.isnan(value):
        return _unknown(name, text, "not measured")
    return _judged(name, value, text, value <= limit)


def floor(name: str, value: float, limit: float, detail: str = "") -> Check:
    """`value` must be at least `limit`; NaN is inconclusive."""
    text = f">= {limit:g}"
    if math.isnan(value):
        return _unknown(name, text, detail or "not measured")
    return _judged(name, value, text, value >= limit, detail)


def segments(readings: Iterable[SegmentReading], max_degradation: float, min_rows: int) -> list[Check]:
    """No segment may be worse than under the champion by more than `max_degradation`, by the task's measure.

    A larger fall fails when its 95% interval (paired) lies wholly below zero, and is inconclusive when it does not.
    Segments with fewer than `min_rows` rows, or whose outcomes can tell too little, are skipped, with that reason, for
    what is measured there is mostly noise; a column of which every segment is skipped was not judged: inconclusive.
    """
    columns: dict[str, list[Check]] = {}
    for reading in readings:
        columns.setdefault(reading.column, []).append(_segment(reading, max_degradation, min_rows))
    found = []
    for column, checks in columns.items():
        found += checks
        if all(each.verdict is Verdict.SKIPPED for each in checks):
            found.append(_unknown(f"segment:{column}", f"<= {max_degradation:g} below champion", "all are too small"))
    return found


def _segment(reading: SegmentReading, bound: float, min_rows: int) -> Check:
    name, text = f"segment:{reading.column}={reading.value}", f"<= {bound:g} below champion"
    if reading.rows < min_rows or not reading.support.enough:
        counted = ", ".join(filter(None, (f"{reading.rows:,} rows", reading.support.counted)))
        few = f"{counted}: too few to judge"
        return Check(name=name, value=None, threshold=text, verdict=Verdict.SKIPPED, detail=few)
    read, fall = reading.read, reading.read.fall
    seen = f"{read.title} {read.champion:.4f} → {read.challenger:.4f} on {reading.rows:,} rows"
    if math.isnan(fall):
        return _unknown(name, text, f"{read.title} undefined")
    if fall <= bound:
        return _judged(name, fall, text, True, seen)
    if read.high < 0:
        return _judged(name, fall, text, False, seen)
    return _unknown(name, text, f"{seen}; the interval of the change includes zero", fall)


def no_overlap(train_end: datetime | None, holdout_start: datetime | None, shared: int | None) -> Check:
    """No row (an id at a time) of the holdout was trained on, and no training row is later than its first.

    `shared` is how many rows training and holdout have in common, None where the version did not record its rows: then
    the last training row must be earlier, which says the same. Unknown times are inconclusive.
    """
    name = "no_overlap"
    if train_end is None or holdout_start is None:
        which = "the version does not say until when it was trained" if train_end is None else "the holdout is empty"
        return _unknown(name, _APART, which)
    gap = (holdout_start - train_end).total_seconds() / 3600
    detail = f"training rows end {train_end}, the holdout starts {holdout_start}"
    if shared is None:
        return _judged(name, gap, "> 0 h between training and holdout", gap > 0, detail)
    return _judged(name, shared, _APART, shared == 0 and gap >= 0, f"{shared:,} rows in common; {detail}")


def artifact_replays(
    logged: Sequence[float] | None, replayed: Sequence[float] | None, digest_matches: bool, error: str = ""
) -> Check:
    """The stored artifact loads in a clean process, is the one registered, and predicts what it did when logged.

    Compares scores of the logged example rows to 1e-6; `error` says why nothing could be replayed.
    """
    name, text = "artifact_replays", f"<= {REPLAY_TOLERANCE:g}"
    if error:
        return Check(name=name, value=None, threshold=text, verdict=Verdict.FAILED, detail=error)
    if not digest_matches:
        changed = "the artifact's digest is not the one registered"
        return Check(name=name, value=None, threshold=text, verdict=Verdict.FAILED, detail=changed)
    if not logged or not replayed:
        return _unknown(name, text, "no example predictions were logged with this version")
    if len(logged) != len(replayed):
        return _judged(name, math.inf, text, False, f"{len(logged)} scores logged, {len(replayed)} replayed")
    gap = max(abs(a - b) for a, b in zip(logged, replayed, strict=True))
    return _judged(name, gap, text, gap <= REPLAY_TOLERANCE, f"largest difference over {len(logged)} example rows")


def _judged(name: str, value: float, threshold: str, holds: bool, detail: str = "") -> Check:
    finite = value if math.isfinite(value) else None
    verdict = Verdict.PASSED if holds else Verdict.FAILED
    return Check(name=name, value=finite, threshold=threshold, verdict=verdict, detail=detail)


def _unknown(name: str, threshold: str, why: str, value: float | None = None) -> Check:
    return Check(name=name, value=value, threshold=threshold, verdict=Verdict.INCONCLUSIVE, detail=why)

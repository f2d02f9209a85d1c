"""Why a gate did not pass: what failed, on which segments, and what changed in the data since the champion learned."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from policies.declarations import Severity
from policies.errors import GuardianError
from tools.evaluate.contenders import HoldoutRows, Judged, trained_until
from tools.evaluate.gate import Check, SegmentReading, Verdict
from tools.evaluate.quality import segment_readings
from tools.evaluate.result import DataChange, Investigation, WeakSegment
from tools.systems.store import Kind
from tools.systems.warehouse import quote

if TYPE_CHECKING:
    import pandas as pd

    from tools.systems.registry import ModelVersion
    from tools.systems.systems import Systems

MOST_SEGMENTS = 5
MOST_CHANGES = 8
_MOST_VALUES = 20
_SAMPLE_ROWS = 50_000
_DATA_START_TAG = "guardian.data_start"


def investigate(
    systems: Systems,
    model: str,
    gate_id: str,
    checks: Sequence[Check],
    holdout: HoldoutRows,
    champion: Judged,
    challenger: Judged,
    now: datetime,
) -> Investigation:
    """Opens an investigation of a gate that did not pass: an evidence row that rests on it, and a word to people."""
    since = trained_until(champion.version)
    segments = _weakest(segment_readings(holdout, _columns(systems, model, holdout), champion, challenger))
    changes, unknown = _changes(systems, model, champion.version, since, holdout)
    reports = _reports(systems, model, since)
    blocking = [each for each in checks if each.verdict in (Verdict.FAILED, Verdict.INCONCLUSIVE)]
    found = Investigation(
        gate_id=gate_id,
        version=challenger.version.version,
        champion=champion.version.version,
        findings=_findings(blocking, segments, changes, unknown, since, reports),
        failed=[_of_check(each) for each in blocking],
        segments=segments,
        since=since,
        changes=changes,
        reports=reports,
    )
    row = systems.store.add(
        Kind.investigation, model, found, at=now, version=found.version, status="open", rests_on=gate_id
    )
    found = found.model_copy(update={"investigation_id": row.id})
    systems.store.update(row.id, body=found)
    _tell(systems, model, found)
    return found


def _columns(systems: Systems, model: str, holdout: HoldoutRows) -> list[str]:
    """The declared segment columns; without any, the categorical features of few values."""
    declared = systems.operations.gate_of(model)
    if declared is not None and declared.segments is not None:
        return declared.segments.columns
    names = systems.operations.model(model).features.categorical
    return [name for name in names if holdout.frame[name].nunique() <= _MOST_VALUES]


def _weakest(readings: Iterable[SegmentReading]) -> list[WeakSegment]:
    judged = [
        WeakSegment(
            column=each.column,
            value=each.value,
            rows=each.rows,
            measure=each.read.measure,
            champion=each.read.champion,
            challenger=each.read.challenger,
        )
        for each in readings
        if each.support.enough and not math.isnan(each.read.challenger)
    ]
    return sorted(judged, key=lambda each: each.goodness)[:MOST_SEGMENTS]


def _changes(
    systems: Systems, model: str, champion: ModelVersion, since: datetime | None, holdout: HoldoutRows
) -> tuple[list[DataChange], str]:
    """Features of the holdout that drifted from the champion's training rows; else why that is not known."""
    from tools.check_drift import compare

    if since is None:
        return [], f"version {champion.version} does not say on what it was trained"
    try:
        before = _training_rows(systems, model, champion, since)
        found = compare(before, holdout.frame)
    except GuardianError as error:
        return [], str(error)
    drifted = [each for each in found if each.drifted][:MOST_CHANGES]
    return [DataChange(column=each.column, psi=each.psi, detail=each.reason) for each in drifted], ""


def _training_rows(systems: Systems, model: str, champion: ModelVersion, until: datetime) -> pd.DataFrame:
    """Features of the champion's training window, thinned by a hash of id and time to about 50,000 rows."""
    from tools.retrain.recipe import feature_frame

    binding = systems.operations.model(model)
    text = champion.tags.get(_DATA_START_TAG, "beginning")
    start = datetime(1900, 1, 1) if text == "beginning" else datetime.fromisoformat(text)
    time = quote(binding.time)
    inside = f"{time} >= $start AND {time} <= $until"
    params: dict[str, object] = {"start": start, "until": until}
    counted = systems.warehouse.query(f"SELECT count(*) FROM {binding.table} WHERE {inside}", params)
    share = min(1.0, _SAMPLE_ROWS / max(1, int(counted.column(0)[0].as_py())))
    kept = f"{inside} AND hash({quote(binding.id)}, {time}) / 18446744073709551616.0 < $share"
    table = systems.warehouse.read(binding.table, binding.features.names, kept, {**params, "share": share})
    return feature_frame(table.to_pandas(), binding.features)


def _reports(systems: Systems, model: str, since: datetime | None) -> list[str]:
    rows = systems.store.list(Kind.drift_report, model, since=since, limit=100)
    return [row.id for row in rows if row.body.get("drift_detected")][:MOST_CHANGES]


def _findings(
    blocking: Sequence[Check],
    segments: Sequence[WeakSegment],
    changes: Sequence[DataChange],
    unknown: str,
    since: datetime | None,
    reports: Sequence[str],
) -> list[str]:
    said = [f"{each.name} {each.verdict}: {_seen(each)}" for each in blocking]
    worse = [each for each in segments if each.worse]
    if segments:
        weak = "; ".join(_of_segment(each) for each in segments[:3])
        said.append(f"weakest segments: {weak}" + ("" if worse else "; on none of them worse than the champion"))
    if unknown:
        said.append(f"what changed in the data is not known: {unknown}")
    elif changes:
        named = "; ".join(f"{each.column} (PSI {each.psi:.2f}: {each.detail})" for each in changes[:4])
        said.append(f"changed since the champion's training, which ended {since:%Y-%m-%d}: {named}")
    else:
        said.append(f"no feature changed since the champion's training, which ended {since:%Y-%m-%d}")
    if reports:
        said.append(f"drift was reported since then by {', '.join(reports[:3])}")
    return said


def _of_segment(segment: WeakSegment) -> str:
    title = "AUC" if segment.measure == "auc" else segment.measure
    seen = f"{title} {segment.challenger:.3f}, champion {segment.champion:.3f}"
    return f"{segment.column}={segment.value} ({seen}, {segment.rows:,} rows)"


def _of_check(check: Check) -> str:
    return f"{check.name}: {check.verdict}, {_seen(check)}"


def _seen(check: Check) -> str:
    value = "not measured" if check.value is None or not np.isfinite(check.value) else f"{check.value:.4g}"
    wanted = f", wanted {check.threshold}" if check.threshold else ""
    return f"{value}{wanted}" + (f" ({check.detail})" if check.detail else "")


def _tell(systems: Systems, model: str, found: Investigation) -> None:
    """Tells whom the promotion names, and who is called for a warning."""
    operations = systems.operations
    challenge = operations.challenge_of(model)
    people = set(operations.champion_challengers[challenge].promotion.notify) if challenge else set()
    for monitor in operations.monitors_of(model):
        escalation = operations.drift_monitors[monitor].alerts.escalation
        people |= {person for severity, person in escalation.items() if severity == "warning"}
    head = f"{model}: version {found.version} beats {found.champion}, but did not pass {found.gate_id}"
    text = f"{head} ({found.investigation_id}): {'. '.join(found.findings)}"
    for person in sorted(people):
        systems.notifications.notify(person, Severity.warning, text, about=found.investigation_id)

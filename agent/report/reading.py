"""Stored results as parts of a report. Bodies are read tolerantly: what a row does not say is left out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from agent.report.model import (
    BrokenSource,
    Diagnosis,
    Direction,
    DriftCheck,
    DriftedFeature,
    DriftReport,
    Evaluation,
    Gate,
    GateCheck,
    KpiPoint,
    KpiReading,
    Measurement,
    MetricComparison,
    Training,
)
from agent.report.numbers import is_share
from policies.declarations import Operations, Severity
from policies.declarations.base import frequency_period
from policies.declarations.drift import DriftMonitor
from policies.declarations.kpis import Kpi
from tools.systems.store import Evidence

Body = Mapping[str, Any]
P = TypeVar("P", bound=BaseModel)


def drift_report(row: Evidence, operations: Operations | None = None) -> DriftReport:
    """A row of kind `drift`; how far back its checks looked is told where the declared monitor is given."""
    body, window, baseline = row.body, mapping(row.body, "window"), mapping(row.body, "baseline")
    return DriftReport(
        report_id=row.id,
        monitor=text(body, "monitor"),
        checked_at=moment(body, "checked_at") or row.created_at,
        window_start=moment(window, "start"),
        window_end=moment(window, "end"),
        window_rows=whole(window, "rows"),
        baseline=text(baseline, "dataset"),
        baseline_rows=whole(baseline, "rows"),
        status=text(body, "status") or "checked",
        severity=severity(body),
        checks=tuple(parts(DriftCheck, body.get("checks"))),
        looked_back=_looked_back(operations.drift_monitors.get(text(body, "monitor"))) if operations else {},
        diagnosis=_diagnosis(mapping(body, "diagnosis")),
    )


def _looked_back(monitor: DriftMonitor | None) -> dict[str, timedelta]:
    found: dict[str, timedelta] = {}
    for each in monitor.monitors if monitor else ():
        length = each.window or frequency_period(each.frequency)
        found[each.type] = min(length, found.get(each.type, length))
    return found


def _diagnosis(body: Body) -> Diagnosis:
    listed = _sources(body)
    first, sudden = moment(body, "first_seen"), body.get("sudden")
    return Diagnosis(
        kind=text(body, "kind"),
        sources=tuple(name for each in listed if (name := text(each, "source"))),
        broken=tuple(each for each in parts(BrokenSource, listed) if each.signs),
        first_seen=first.date() if first else None,
        sudden=sudden if isinstance(sudden, bool) else None,
        renamed={str(old): str(new) for old, new in mapping(body, "renamed").items()},
        features=tuple(parts(DriftedFeature, body.get("features"))),
        explained=real(body, "explained"),
    )


def broken_sources(row: Evidence) -> set[str]:
    """The sources that a drift report holds to be broken; none for another kind of row."""
    return {text(each, "source") for each in _sources(mapping(row.body, "diagnosis")) if each.get("signs")}


def _sources(body: Body) -> list[Body]:
    sources = body.get("sources")
    return [each for each in (sources if isinstance(sources, list) else []) if isinstance(each, Mapping)]


def training(row: Evidence) -> Training:
    """A row of kind `train`: a run that started."""
    body, window = row.body, mapping(row.body, "data_window")
    failure = text(body, "failure")
    return Training(
        run_id=row.id,
        triggered_by=text(body, "triggered_by"),
        started=not failure and body.get("started", True) is not False,
        skipped_because=failure or text(body, "skipped_because"),
        version=row.version or text(body, "version"),
        window_start=moment(window, "start"),
        window_end=moment(window, "end"),
        window_rows=whole(window, "rows"),
        metrics=numbers(mapping(body, "metrics")),
        seconds=real(body, "seconds"),
    )


def evaluation(row: Evidence, operations: Operations) -> Evaluation:
    """A row of kind `eval`. Contributions are taken as stored, else weights from the declaration."""
    body, champion, challenger = row.body, mapping(row.body, "champion"), mapping(row.body, "challenger")
    name = operations.challenge_of(row.model) if row.model in operations.models else None
    declared = operations.champion_challengers[name].evaluation if name else None
    stored = body.get("contributions") or mapping(body, "comparison").get("contributions")
    metrics = list(parts(MetricComparison, stored))
    if not metrics:
        ours, theirs = numbers(mapping(champion, "metrics")), numbers(mapping(challenger, "metrics"))
        weights = {each.name: each.weight for each in declared.metrics} if declared else dict.fromkeys(theirs)
        metrics = [
            MetricComparison(metric=m, weight=w, champion=ours.get(m), challenger=theirs.get(m))
            for m, w in weights.items()
        ]
    return Evaluation(
        evaluation_id=row.id,
        champion_version=text(champion, "version"),
        challenger_version=text(challenger, "version"),
        metrics=tuple(metrics),
        weighted_improvement=real(body, "weighted_improvement"),
        interval=_interval(body.get("interval")),
        minimum=declared.min_weighted_improvement if declared else None,
        verdict=text(body, "verdict"),
    )


def gate(body: Body, row: Evidence | None) -> Gate:
    """A gate from its row, or from inside an evaluation (`row` None)."""
    return Gate(
        gate_id=row.id if row else text(body, "gate_id"),
        status=(row.status if row and row.status else text(body, "status")),
        version=(row.version if row and row.version else text(body, "version")),
        checks=tuple(parts(GateCheck, body.get("checks"))),
    )


def measurements(found: object) -> tuple[Measurement, ...]:
    """Measurements as a list of objects, or as a mapping from name to value."""
    if isinstance(found, Mapping):
        found = [{"name": n, **(v if isinstance(v, Mapping) else {"value": v})} for n, v in found.items()]
    return tuple(parts(Measurement, found))


def kpi_readings(rows: Sequence[Evidence], past: Sequence[Evidence], operations: Operations) -> tuple[KpiReading, ...]:
    """The newest reading of every KPI in `rows`, with the values of `past` (any order) as its history."""
    newest: dict[str, tuple[Evidence, Body]] = {}
    for row in sorted(rows, key=lambda each: each.created_at):
        for reading in _readings(row):
            newest[text(reading, "kpi")] = (row, reading)
    return tuple(
        _kpi(name, row, body, past, _declared(operations, row.model, name)) for name, (row, body) in newest.items()
    )


def _kpi(name: str, row: Evidence, body: Body, past: Sequence[Evidence], declared: Kpi | None) -> KpiReading:
    target = real(body, "target") if declared is None else declared.target
    baseline = real(body, "baseline")
    points = {
        moment(reading, "read_at") or each.created_at: value
        for each in past
        for reading in _readings(each)
        if text(reading, "kpi") == name and (value := real(reading, "value")) is not None
    }
    on_target = body.get("on_target")
    return KpiReading(
        kpi=name,
        value=real(body, "value"),
        target=target,
        baseline=baseline,
        direction=_direction(body, declared, target, baseline),
        change_pct=real(body, "change_pct"),
        severity=severity(body),
        on_target=on_target if isinstance(on_target, bool) else None,
        read_at=moment(body, "read_at") or row.created_at,
        detail=text(body, "detail") or text(body, "error"),
        history=tuple(KpiPoint(at=at, value=points[at]) for at in sorted(points)),
        percent=is_share(name),
    )


def _readings(row: Evidence) -> list[Body]:
    found = row.body.get("readings", [row.body])
    return [each for each in found if isinstance(each, Mapping) and each.get("kpi")] if isinstance(found, list) else []


def _declared(operations: Operations, model: str, name: str) -> Kpi | None:
    trackers = operations.trackers_of(model)
    return next((k for t in trackers for k in operations.business_kpi_trackers[t].kpis if k.name == name), None)


def _direction(body: Body, declared: Kpi | None, target: float | None, baseline: float | None) -> Direction:
    if (said := text(body, "direction") or (declared.direction if declared else None)) in ("higher", "lower"):
        return "higher" if said == "higher" else "lower"
    return "lower" if target is not None and baseline is not None and target < baseline else "higher"


def parts(kind: type[P], found: object) -> list[P]:
    """Items of a list that are well formed; nulls count as not said."""
    kept = []
    for each in found if isinstance(found, list | tuple) else ():
        if isinstance(each, Mapping):
            try:
                kept.append(kind.model_validate({key: value for key, value in each.items() if value is not None}))
            except ValidationError:
                continue
    return kept


def mapping(body: Body, key: str) -> Body:
    """A nested object, empty where there is none."""
    found = body.get(key)
    return found if isinstance(found, Mapping) else {}


def text(body: Body, key: str) -> str:
    """A text, empty where there is none."""
    found = body.get(key)
    return "" if found is None else str(found)


def real(body: Body, key: str) -> float | None:
    """A finite number, None where there is none."""
    found = body.get(key)
    known = isinstance(found, int | float) and not isinstance(found, bool) and math.isfinite(found)
    return float(found) if known and found is not None else None


def whole(body: Body, key: str) -> int | None:
    """A count, None where there is none."""
    found = real(body, key)
    return None if found is None else int(found)


def numbers(body: Body) -> dict[str, float]:
    """The finite numbers of an object."""
    return {key: value for key in body if (value := real(body, key)) is not None}


def moment(body: Body, key: str) -> datetime | None:
    """A time as naive UTC, None where there is none."""
    try:
        return datetime.fromisoformat(text(body, key)).replace(tzinfo=None)
    except ValueError:
        return None


def severity(body: Body) -> Severity:
    """A severity; `unknown` where it is none."""
    try:
        return Severity(text(body, "severity"))
    except ValueError:
        return Severity.unknown


def _interval(found: object) -> tuple[float, float] | None:
    if not isinstance(found, list | tuple) or len(found) != 2:
        return None
    pair = {"low": found[0], "high": found[1]}
    low, high = real(pair, "low"), real(pair, "high")
    return None if low is None or high is None else (low, high)

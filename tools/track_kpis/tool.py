"""The tool `track_kpis`: reads a tracker's business KPIs and stores the readings."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from policies.declarations import Severity, frequency_period
from policies.declarations.base import worst
from policies.declarations.kpis import BusinessKpiTracker
from tools.systems.clock import looked_back_from
from tools.systems.store import Kind
from tools.systems.tool import Effect, Tool
from tools.track_kpis.degradation import Point, Reading, disconnect, judge
from tools.track_kpis.readings import Read, parameters, read

if TYPE_CHECKING:
    from tools.systems.systems import Systems


class TrackKpisArguments(BaseModel):
    """Arguments of `track_kpis`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tracker: str
    at: datetime | None


class KpiReport(BaseModel):
    """A tracker's readings. `disconnect`: the model's metrics are sound and a KPI worsens; `detail` names it."""

    model_config = ConfigDict(frozen=True)

    kpi_id: str = ""
    tracker: str
    model: str
    read_at: datetime
    severity: Severity
    readings: tuple[Reading, ...]
    disconnect: bool
    detail: str


def run(systems: Systems, arguments: TrackKpisArguments) -> KpiReport:
    """Reads the business KPIs of a tracker with its declared queries and says how each stands against its target and
    its baseline, which ones worsened, and whether the business suffers although the model's own metrics are sound.
    `at` is the time that quarters and months are counted by; null means now.

    Stores the readings as evidence, one row a moment. A query that fails or gives no number is a reading with an
    error, as is one that takes no time where the past is asked for. Raises InputError for an undeclared tracker, or a
    time yet to come.
    """
    tracker = systems.operations.named("business_kpi_trackers", arguments.tracker)
    assert isinstance(tracker, BusinessKpiTracker)
    at = looked_back_from(systems.clock, arguments.at)
    back = at < systems.clock.now()
    bound = parameters(systems, tracker.model, at)
    past = _history(systems, tracker.model, arguments.tracker, at)
    limit = tracker.alerts.kpi_degradation_pct
    readings = []
    for kpi in tracker.kpis:
        found = read(systems, kpi.query, bound) if _tells_past(kpi.query) or not back else _ONLY_NOW
        period = frequency_period(kpi.frequency)
        readings.append(judge(kpi, found.value, found.error, past.get(kpi.name, []), at, limit, period))
    told = disconnect(readings, _sound_metrics(systems, tracker.model, at))
    failed = "; ".join(f"{each.kpi}: {each.error}" for each in readings if each.error)
    report = KpiReport(
        tracker=arguments.tracker,
        model=tracker.model,
        read_at=at,
        severity=worst([each.severity for each in readings]),
        readings=tuple(readings),
        disconnect=bool(told),
        detail=told or failed,
    )
    bare = [each.model_copy(update={"history": ()}) for each in readings]  # the rows are the history
    stored = report.model_copy(update={"readings": tuple(bare)})
    id = _stored(systems, stored)
    if id is None:
        row = systems.store.add(
            Kind.kpi_reading, tracker.model, stored, at=systems.clock.now(), status=report.severity.value
        )
        id = row.id
        systems.store.update(id, body=stored.model_copy(update={"kpi_id": id}))
    return report.model_copy(update={"kpi_id": id})


def _stored(systems: Systems, report: KpiReport) -> str | None:
    """The row of this tracker's newest report, where it says the same of the same moment."""
    for row in systems.store.list(Kind.kpi_reading, report.model):
        if row.body.get("tracker") == report.tracker:
            known = KpiReport.model_validate(row.body)
            return row.id if known.model_copy(update={"kpi_id": ""}) == report else None
    return None


def _history(systems: Systems, model: str, tracker: str, before: datetime) -> dict[str, list[Point]]:
    """Earlier values of each KPI of a tracker, oldest first."""
    found: dict[str, list[Point]] = {}
    for row in reversed(systems.store.list(Kind.kpi_reading, model)):
        if row.body.get("tracker") != tracker:
            continue
        for each in KpiReport.model_validate(row.body).readings:
            if each.value is not None and each.read_at < before:
                found.setdefault(each.kpi, []).append(Point(at=each.read_at, value=each.value))
    return {name: sorted(points, key=lambda point: point.at) for name, points in found.items()}


def _sound_metrics(systems: Systems, model: str, at: datetime) -> str | None:
    """The newest drift report of late that measured the model's metrics, where it found them sound; else None."""
    for row in systems.store.list(Kind.drift_report, model, since=at - _OF_LATE):
        severities = [c.get("severity") for c in row.body.get("checks", []) if c.get("type") == "concept_drift"]
        if row.created_at > at or not severities:
            continue
        found = any(each in (Severity.warning, Severity.critical) for each in severities)
        return row.id if Severity.ok in severities and not found else None
    return None


_OF_LATE = timedelta(days=7)
"""A report that is older says nothing about the model of today."""

_ONLY_NOW = Read(None, "its query takes no time ($current_quarter, $current_month): it can only be read as of now")


def _tells_past(query: str) -> bool:
    return "$current_quarter" in query or "$current_month" in query


TOOL = Tool(
    name="track_kpis",
    effect=Effect.READ,
    arguments=TrackKpisArguments,
    result=KpiReport,
    run=run,
    references={"tracker": "business_kpi_trackers"},
)

"""The tool `check_drift`: runs a declared drift monitor and stores its report."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from policies.declarations import Severity
from policies.declarations.base import frequency_period, worst
from policies.declarations.drift import (
    ConceptDrift,
    DriftMonitor,
    DriftType,
    LabelDrift,
    PredictionDrift,
    SchemaDrift,
)
from policies.errors import GuardianError, InputError
from tools.check_drift import contract
from tools.check_drift.concept_methods import check_estimated, check_stream
from tools.check_drift.diagnosis import diagnose
from tools.check_drift.feature_checks import check_features
from tools.check_drift.material import Material
from tools.check_drift.outcome_checks import check_concept, check_labels, check_predictions
from tools.check_drift.result import BaselineUsed, Check, Diagnosis, DriftReport, MonitorStarted, Window
from tools.check_drift.spending import Declared, alpha, earlier_looks
from tools.systems.clock import looked_back_from
from tools.systems.store import Kind
from tools.systems.tool import Effect, Tool
from tools.tasks.predicted import SCORE

if TYPE_CHECKING:
    from tools.systems.systems import Systems

_DAY = timedelta(days=1)
_OF_ROWS = (DriftType.data_drift, DriftType.feature_drift, DriftType.prediction_drift, DriftType.schema_drift)
"""Kinds that need no labels: where one of these cannot be judged the window is too thin, not merely young."""


class CheckDriftArguments(BaseModel):
    """Arguments of `check_drift`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    monitor: str
    at: datetime | None


def run(systems: Systems, arguments: CheckDriftArguments) -> DriftReport:
    """Runs a drift monitor: measures every declared kind of drift (data, feature, prediction, label, concept, schema)
    against the baseline and says what exceeds its threshold by more than chance, how badly, and whether that looks like
    a broken pipeline or a changed world. `at` is the time to look back from; null means now.

    Stores the report as evidence. A check that cannot be made is `unknown` with its reason and the report `failed`;
    nothing unreadable is ever reported as ok. Raises InputError for a monitor that is not declared, or a time
    yet to come.
    """
    return _store(systems, measured(systems, arguments))


def measured(systems: Systems, arguments: CheckDriftArguments) -> DriftReport:
    """What a run would report, of one state of the tables where the engine can tell it. Nothing is stored."""
    with systems.warehouse.snapshot():
        return _measured(systems, arguments)


def _measured(systems: Systems, arguments: CheckDriftArguments) -> DriftReport:
    monitor = systems.operations.named("drift_monitors", arguments.monitor)
    assert isinstance(monitor, DriftMonitor)
    at = looked_back_from(systems.clock, arguments.at)
    features = [each for each in monitor.monitors if not isinstance(each, ConceptDrift | LabelDrift)]
    reach = max((_window(each) for each in features), default=_DAY)
    material = Material(systems, monitor, at, reach)
    checks: list[Check] = []
    failures: list[Exception] = []
    earlier = earlier_looks(systems, arguments.monitor, monitor.model, at)
    for declared in monitor.monitors:
        try:
            checks += _measure(declared, material, alpha(monitor, declared, earlier))
        except Exception as error:  # whatever a source or a model raises: the report says so
            failures.append(error)
            checks.append(_failure(declared, error))
    window, unread = _read_window(material, reach)
    failures += unread
    diagnosis = _diagnose(checks, material, features)
    judged = [check for check in checks if check.severity is not Severity.unknown]
    status: Literal["checked", "insufficient_data", "failed"] = "checked"
    if failures:
        status = "failed"
    elif not judged or any(check.severity is Severity.unknown and check.type in _OF_ROWS for check in checks):
        status = "insufficient_data"
    return DriftReport(
        report_id="",
        monitor=arguments.monitor,
        model=monitor.model,
        checked_at=at,
        window=window,
        baseline=BaselineUsed(dataset=str(material.reference()), rows=material.baseline_size()),
        status=status,
        drift_detected=any(check.found for check in checks),
        severity=worst([check.severity for check in (judged if status == "checked" else checks)]),
        checks=checks,
        diagnosis=diagnosis,
        failure=_kind(failures) if failures else None,
    )


def start_monitor(systems: Systems, name: str) -> MonitorStarted:
    """Registers a monitor's schedule as a row; asked again, it gives the row that stands. Raises InputError."""
    monitor = systems.operations.named("drift_monitors", name)
    assert isinstance(monitor, DriftMonitor)
    checks = [f"{each.type} {each.method} {each.frequency}" for each in monitor.monitors]
    for row in systems.store.list(Kind.monitor, monitor.model, status="active"):
        if row.body.get("monitor") == name:
            standing = MonitorStarted.model_validate(row.body)
            if standing.checks == checks:
                return standing
            changed = standing.model_copy(update={"checks": checks})
            systems.store.update(row.id, body=changed, expected_revision=row.revision)
            return changed
    started = MonitorStarted(
        monitor_id="",
        monitor=name,
        model=monitor.model,
        status="active",
        started_at=systems.clock.now(),
        checks=checks,
    )
    row = systems.store.add(Kind.monitor, monitor.model, started, at=started.started_at, status="active")
    started = started.model_copy(update={"monitor_id": row.id})
    systems.store.update(row.id, body=started)
    return started


def _measure(declared: Declared, material: Material, level: float) -> Sequence[Check]:
    start = material.at - _window(declared)
    if isinstance(declared, SchemaDrift):
        schema = material.systems.operations.schemas[declared.expected_schema]
        if not material.row_count(start):
            return [_empty(declared, material), *contract.none_came(schema, _window(declared))]
        checks = contract.judge(schema, material.facts(schema, start), _window(declared))
        id_, time = material.binding.id, material.binding.time
        checks += contract.repeated(id_, time, *material.repeats(start), sample=material.samples(start))
        return [*checks, *contract.timeless(time, material.rows_without_time())]
    if isinstance(declared, PredictionDrift):
        return check_predictions(declared, material, start, level)
    if isinstance(declared, LabelDrift):
        return check_labels(declared, material, start, level)
    if isinstance(declared, ConceptDrift):
        return _CONCEPT[declared.method](declared, material, start, level)
    return check_features(declared, material, start, level)


_CONCEPT = {
    "performance_decay": check_concept,
    "estimated_performance": check_estimated,
    "adwin": check_stream,
    "page_hinkley": check_stream,
}


def _window(declared: Declared) -> timedelta:
    """The declared window, else one period of the frequency."""
    return declared.window or frequency_period(declared.frequency)


def _failure(declared: Declared, error: Exception) -> Check:
    known = isinstance(error, GuardianError)
    reason = str(error) if known else f"{type(error).__name__}: {error}"
    return _unjudged(declared, f"failed: {reason.splitlines()[0]}")


def _empty(declared: Declared, material: Material) -> Check:
    """A window without rows: since when there are none, and how to look at the last ones."""
    last = material.last_time()
    if last is None:
        return _unjudged(declared, f"no rows in the window, and none before it in {material.binding.table}")
    seen = f"the last before it is of {last:%Y-%m-%d %H:%M}"
    named = next(name for name, each in material.systems.operations.drift_monitors.items() if each is material.monitor)
    until = (last + timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M")
    how = f"guardian check-drift {named} --at {until}"
    return _unjudged(declared, f"no rows in the window; {seen}: to look there, {how}")


def _unjudged(declared: Declared, why: str) -> Check:
    return Check(
        type=DriftType(declared.type),
        method=declared.method,
        subject=_subject(declared),
        value=None,
        threshold=getattr(declared, "threshold", None),
        p_value=None,
        severity=Severity.unknown,
        detail=why,
    )


def _subject(declared: Declared) -> str:
    """What a check is about before anything was measured."""
    match declared:
        case ConceptDrift():
            return declared.metric or "error"
        case SchemaDrift():
            return declared.expected_schema
        case PredictionDrift():
            return SCORE
        case LabelDrift():
            return "labels"
        case _:
            return "features"


def _kind(failures: Sequence[Exception]) -> Literal["input", "failed"]:
    return "input" if all(isinstance(each, InputError) for each in failures) else "failed"


def _read_window(material: Material, reach: timedelta) -> tuple[Window, list[Exception]]:
    """The rows looked at, and why they could not be read."""
    start = material.at - reach
    try:
        return Window(start=start, end=material.at, rows=material.row_count(start)), []
    except Exception as error:
        return Window(start=start, end=material.at, rows=0), [error]


def _diagnose(checks: Sequence[Check], material: Material, features: Sequence[Declared]) -> Diagnosis:
    """The diagnosis; where even that cannot be computed, it says so instead of hiding the findings."""
    shortest = min((_window(each) for each in features), default=_DAY)
    try:
        return diagnose(checks, material, material.at - shortest)
    except Exception as error:
        return Diagnosis(kind="none", sources=[], first_seen=None, sudden=None, detail=f"no diagnosis: {error}")


def _store(systems: Systems, report: DriftReport) -> DriftReport:
    """Keeps the report as an evidence row that carries its own id."""
    row = systems.store.add(Kind.drift_report, report.model, report, at=report.checked_at, status=report.severity.value)
    report = report.model_copy(update={"report_id": row.id})
    systems.store.update(row.id, body=report)
    return report


TOOL = Tool(
    name="check_drift",
    effect=Effect.READ,
    arguments=CheckDriftArguments,
    result=DriftReport,
    run=run,
    references={"monitor": "drift_monitors"},
)

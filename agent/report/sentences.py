"""Rows of evidence as sentences for people: the lines of the story and of the chain."""

from __future__ import annotations

from collections.abc import Mapping

from agent.report.model import DriftCheck, DriftReport, Event, EventKind
from agent.report.numbers import count, is_share, kpi, number, signed_percent, words
from agent.report.origin import origin
from agent.report.reading import Body, drift_report, mapping, real, severity, text, training
from agent.report.reasons import refusal, trigger
from agent.report.reasons import sentence as ended
from agent.report.targets import on_target
from policies.declarations import Severity
from tools.systems.store import Evidence, Kind
from tools.systems.tables import ActionRow

_FOUND = (Severity.warning, Severity.critical)
_MOST_NUMBERS = 3


def sentence(row: Evidence) -> str:
    """What a row says, in one sentence without its id."""
    body = row.body
    said = {
        Kind.drift_report: _drift,
        Kind.training_run: _training,
        Kind.evaluation: _evaluation,
        Kind.gate: _gate,
        Kind.rollout: _rollout,
        Kind.traffic_change: _traffic,
        Kind.kpi_reading: _kpis,
    }
    return said[row.kind](row) if row.kind in said else text(body, "summary") or words(row.status or row.kind.value)


def event_of(row: Evidence) -> Event:
    """A row as a line of the story."""
    finding = row.kind in (Kind.drift_report, Kind.kpi_reading)
    return Event(
        at=row.created_at,
        kind=EventKind.finding if finding else EventKind.person if row.kind is Kind.approval else EventKind.action,
        text=sentence(row),
        numbers=_numbers(row),
        severity=_severity(row),
        id=row.id,
    )


def refusal_of(action: ActionRow) -> Event | None:
    """A call that was refused, failed, or found nothing to do; None for one that left evidence of its own."""
    outcome = action.outcome or {}
    facts = mapping(outcome, "facts")
    if action.status in ("refused", "failed"):
        said = ended(f"{words(action.tool)} {action.status}: {text(outcome, 'text')}")
    elif action.tool == "retrain" and facts.get("started") is False:
        said = ended(f"Not retrained: {refusal(text(facts, 'skipped_because') or 'nothing to do')}")
    else:
        return None
    return Event(at=action.started_at, kind=EventKind.refusal, text=said, severity=Severity.warning)


def _drift(row: Evidence) -> str:
    report = drift_report(row)
    found = sum(check.severity in _FOUND for check in report.checks)
    if report.status != "checked" and not found:
        return f"{report.monitor or 'The monitor'} could not judge: {words(report.status)}."
    if not found:
        return f"{report.monitor or 'The monitor'} finds nothing beyond its thresholds."
    said = (
        f"{report.monitor or 'The monitor'} finds drift in {found} of {len(report.checks)} checks ({_moved(report)})."
    )
    return f"{said} {origin(report.diagnosis)}".strip()


def _moved(report: DriftReport) -> str:
    """What the findings are on, briefly: 7 features, AUC."""
    subjects: dict[str, list[str]] = {}
    for check in report.checks:
        if check.severity in _FOUND:
            kind = "data_drift" if check.type == "feature_drift" else check.type
            named = subjects.setdefault(kind, [])
            named += [check.subject] if check.subject not in named else []
    told = []
    for kind, named in subjects.items():
        many = "s" if len(named) > 1 else ""
        match kind:
            case "data_drift":
                told.append(f"{len(named)} feature{many}")
            case "schema_drift":
                told.append(f"the contract of {len(named)} column{many}")
            case "concept_drift":
                told += [words(each) for each in named]
            case "prediction_drift":
                told.append("the scores")
            case "label_drift":
                told.append("the outcomes")
            case _:
                told.append(words(kind))
    return ", ".join(told)


def _training(row: Evidence) -> str:
    run = training(row)
    if not run.started:
        return f"Training failed: {run.skipped_because}"
    return f"Version {run.version or '?'} is trained {trigger(run.triggered_by)}".strip() + "."


def _evaluation(row: Evidence) -> str:
    body = row.body
    pair = [text(mapping(body, side), "version") or "?" for side in ("challenger", "champion")]
    return f"Version {pair[0]} against version {pair[1]}: {words(text(body, 'verdict') or row.status or 'not judged')}."


def _gate(row: Evidence) -> str:
    checks = [each for each in row.body.get("checks") or () if isinstance(each, Mapping)]
    passed = sum(each.get("verdict") in ("passed", "pass") for each in checks)
    counted = f", {passed} of {len(checks)} checks" if checks else ""
    return f"Quality gate of version {row.version or '?'}: {row.status or 'not judged'}{counted}."


def _rollout(row: Evidence) -> str:
    name = text(row.body, "strategy") or "Rollout"
    return f"{name} of version {row.version or text(row.body, 'version') or '?'} begins."


def _traffic(row: Evidence) -> str:
    body = row.body
    share = real(body, "challenger_pct") or 0.0
    if body.get("mirrored"):
        return f"Version {text(body, 'challenger')} gets a copy of each request, and nobody its answers."
    if text(body, "challenger"):
        return f"Version {text(body, 'challenger')} answers {share:g}% of the requests."
    return f"Version {text(body, 'champion') or '?'} answers every request."


def _kpis(row: Evidence) -> str:
    said = text(row.body, "detail")
    met = [each.get("on_target") for each in _readings(row)]
    return f"KPIs are read: {on_target(met)}.{f' {ended(said)}' if said else ''}"


def _readings(row: Evidence) -> list[Body]:
    found = row.body.get("readings") or [row.body]
    return [each for each in found if isinstance(each, Mapping) and each.get("kpi")]


def _numbers(row: Evidence) -> dict[str, str]:
    body: Body = row.body
    if row.kind is Kind.drift_report:
        worst = sorted(drift_report(row).checks, key=lambda c: (-c.severity.rank, c.type != "concept_drift"))
        return {_measure(c): number(c.value) for c in worst[:_MOST_NUMBERS] if c.severity in _FOUND}
    if row.kind is Kind.training_run and (rows := real(mapping(body, "data_window"), "rows")):
        return {"rows": count(int(rows))}
    if row.kind is Kind.evaluation:
        return {"weighted improvement": signed_percent(real(body, "weighted_improvement"))}
    if row.kind is Kind.kpi_reading:
        named = _readings(row)[:_MOST_NUMBERS]
        return {words(name := text(each, "kpi")): kpi(real(each, "value"), is_share(name)) for each in named}
    return {}


def _measure(check: DriftCheck) -> str:
    """What a check measured: a metric's drop, or a method's distance on a subject."""
    if check.method == "performance_decay":
        return f"drop of {words(check.subject)}"
    if check.method == "estimated_performance":
        return f"estimated drop of {words(check.subject)}"
    return f"{words(check.method)} of {check.subject}" if check.method else check.subject


def _severity(row: Evidence) -> Severity:
    if row.kind is Kind.drift_report:
        return severity(row.body)
    if row.kind is Kind.kpi_reading:
        return max((severity(each) for each in _readings(row)), key=lambda s: s.rank, default=Severity.ok)
    bad = row.status in ("failed", "champion_wins", "rolled_back", "aborted")
    return Severity.warning if bad else Severity.unknown

"""One model's incidents of a night, told to those whom its declarations name, and taken back when they are over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from agent.findings import Finding, full_report
from agent.incidents import KPI, Found, incidents, over
from agent.untrusted import clean, clean_lines
from policies.declarations import Severity
from policies.declarations.drift import Alerts
from tools.systems.notify import Incident
from tools.systems.systems import Systems

MOST_FINDINGS = 3


def tell(
    systems: Systems,
    model: str,
    findings: Sequence[Finding],
    measured: Mapping[str, list[Any]],
    *,
    done: str,
    run_id: str,
    ended_early: bool = False,
) -> list[str]:
    """Raises, repeats, worsens and resolves the alerts of `model`; a line for each that calls people or is over.

    `done` is what the run did about it. Where it ended early (failed, say), somebody hears of it in any case.
    """
    known = systems.notifications.open(model)
    reports = [full_report(systems, facts) for facts in measured["drift"]]
    tonight = incidents(model, reports, findings, known)
    lines = []
    for found in tonight:
        change = systems.notifications.report(_incident(systems, model, found, done, ended_early), seen_in=run_id)
        if change is not None and change.calls:
            lines.append(f"{change.value}: {found.title}")
    looked = [model, *_looked(reports, [full_report(systems, facts) for facts in measured["kpis"]])]
    for alert in known:
        if over(alert, [each.key for each in tonight], looked):
            systems.notifications.resolve(alert.key, f"Over: {run_id} does not find it any more.")
            lines.append(f"over: {alert.title}")
    return lines


def people_of(systems: Systems, model: str, severity: Severity) -> dict[str, tuple[str, ...]]:
    """Who is told of `severity` about a model, and over which channels, as its monitors' `escalation` says."""
    named: dict[str, tuple[str, ...]] = {}
    for alerts in _alerts_of(systems, model):
        person = alerts.escalation.get("critical" if severity is Severity.critical else "warning")
        if person is not None:
            named[person] = tuple(dict.fromkeys([*named.get(person, ()), *alerts.channels]))
    return named


def _anybody(systems: Systems, model: str) -> dict[str, tuple[str, ...]]:
    """Everybody whom the monitors name for anything, else everybody who is declared."""
    named = {each: alerts.channels for alerts in _alerts_of(systems, model) for each in alerts.escalation.values()}
    return {each: tuple(channels) for each, channels in named.items()} or dict.fromkeys(
        systems.operations.systems.people, ()
    )


def _incident(systems: Systems, model: str, found: Found, done: str, ended_early: bool) -> Incident:
    people = people_of(systems, model, found.severity)
    if not people and ended_early:
        people = _anybody(systems, model)
    if found.kind == KPI:
        channels = tuple(
            systems.operations.business_kpi_trackers[name].alerts.channel
            for name in systems.operations.trackers_of(model)
        )
        people = dict.fromkeys(people, channels)
    for owner in found.owners:
        people.setdefault(owner, next(iter(people.values()), ()))
    by_subject: dict[str, Finding] = {}
    for each in sorted(found.findings, key=lambda each: -each.severity.rank):
        by_subject.setdefault(each.subject, each)
    ordered = list(by_subject.values())
    shown = [f"• {_in_words(each)}" for each in ordered[:MOST_FINDINGS]]
    if len(ordered) > MOST_FINDINGS:
        shown.append(f"• and of {len(ordered) - MOST_FINDINGS} more")
    return Incident(
        key=found.key,
        model=model,
        severity=found.severity,
        title=clean(f"{model}: {found.title}", 250),
        text=clean_lines("\n".join([*shown, done])),
        people=people,
        quiet_period=_quiet(systems, model),
        facts=found.facts,
    )


def _in_words(finding: Finding) -> str:
    numbers = ""
    if finding.value is not None and finding.threshold is not None:
        numbers = f" {finding.value:.4g} (limit {finding.threshold:.4g})"
    detail = f": {clean(finding.detail, 120)}" if finding.detail else ""
    return f"{finding.severity.value} {finding.kind.replace('_', ' ')} of {finding.subject}{numbers}{detail}"


def _alerts_of(systems: Systems, model: str) -> list[Alerts]:
    return [systems.operations.drift_monitors[name].alerts for name in systems.operations.monitors_of(model)]


def _quiet(systems: Systems, model: str) -> timedelta:
    """The shortest quiet period that a monitor of the model declares."""
    return min((each.quiet_period for each in _alerts_of(systems, model)), default=Alerts().quiet_period)


def _looked(reports: Sequence[Mapping[str, Any]], kpis: Sequence[Mapping[str, Any]]) -> list[str]:
    """Who has measured tonight: monitors that could judge, trackers, and KPIs that had a value."""
    looked = [str(each.get("monitor")) for each in reports if each.get("status") == "checked"]
    for report in kpis:
        looked.append(str(report.get("tracker")))
        looked += [str(each["kpi"]) for each in report.get("readings", ()) if each.get("value") is not None]
    return looked

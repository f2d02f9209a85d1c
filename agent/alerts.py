"""The incidents of a night, told to those whom its declarations name, and taken back when they are over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from agent.findings import Finding, full_report
from agent.incidents import INCIDENTS, KPI, Found, incidents, over, together
from agent.measuring import NOTHING
from agent.untrusted import clean, clean_lines
from policies.alerting import listed
from policies.declarations import Severity
from policies.declarations.drift import Alerts
from tools.systems.notify import Alert, Incident
from tools.systems.systems import Systems

MOST_FINDINGS = 3


@dataclass(frozen=True)
class Known:
    """What is known of a model at the end of its night: `measured` is None where it failed, `done` what the run did
    about it, empty where that is told of another model. Of what `ended_early` somebody hears in any case."""

    model: str
    findings: Sequence[Finding]
    measured: Mapping[str, list[Any]] | None
    done: str
    ended_early: bool = False


def tell(
    systems: Systems,
    unit: Sequence[Known],
    *,
    measured: Mapping[str, Mapping[str, list[Any]]],
    shared: Sequence[str],
    run_id: str,
) -> list[str]:
    """Raises, repeats, worsens and resolves the alerts of a model, or of those that share a broken source; a line for
    each that calls people or is over.

    `measured` is all that the run measured, by model, and `shared` are the keys of all broken sources in it.
    """
    tonight: dict[str, list[tuple[Known, Found]]] = {}
    for each in unit:
        known = systems.notifications.open(each.model)
        reports = [full_report(systems, facts) for facts in (each.measured or NOTHING)["drift"]]
        for found in incidents(each.model, reports, each.findings, known):
            tonight.setdefault(found.key, []).append((each, found))
    lines = []
    for key, shares in tonight.items():
        incident = _incident(systems, shares, _elsewhere(systems, key, measured), run_id)
        change = systems.notifications.report(incident, seen_in=run_id)
        if change is not None and change.calls:
            lines.append(f"{change.value}: {shares[0][1].title}")
    for each in (each for each in unit if each.measured is not None):
        for alert in systems.notifications.open(each.model):
            looked = [name for model in alert.models if model in measured for name in _looked(systems, measured[model])]
            if over(alert, [*shared, *tonight], [each.model, *looked, *_gone(systems, alert)]):
                systems.notifications.resolve(alert.key, f"Over: {run_id} does not find it any more.")
                lines.append(f"over: {alert.title}")
    return lines


def _gone(systems: Systems, alert: Alert) -> list[str]:
    """Of those who saw an incident what is not declared any more: it will not look again."""
    if alert.facts.get("kind") not in INCIDENTS:
        return []
    operations = systems.operations
    kpis = (kpi.name for tracker in operations.business_kpi_trackers.values() for kpi in tracker.kpis)
    declared = {*operations.models, *operations.drift_monitors, *operations.business_kpi_trackers, *kpis}
    return [name for name in alert.facts.get("seen_by", ()) if name not in declared]


def _elsewhere(systems: Systems, key: str, measured: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """An open alert's models that were not measured tonight, and who saw it there: for them nothing has changed."""
    alert = next((each for each in systems.notifications.open() if each.key == key), None)
    declared = systems.operations.models
    models = [each for each in alert.models if each in declared and each not in measured] if alert else []
    theirs = {name for model in models for name in systems.operations.monitors_of(model)}
    return models, [name for name in alert.facts.get("seen_by", ()) if name in theirs] if alert else []


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


def _incident(
    systems: Systems, shares: Sequence[tuple[Known, Found]], elsewhere: tuple[list[str], list[str]], run_id: str
) -> Incident:
    """One incident, in one model or in several that share its source; `elsewhere` are models and monitors of before."""
    people: dict[str, tuple[str, ...]] = {}
    for each, found in shares:
        for person, channels in _people(systems, each, found).items():
            people[person] = tuple(dict.fromkeys([*people.get(person, ()), *channels]))
    whole = together([found for _, found in shares])
    models = [*(each.model for each, _ in shares), *elsewhere[0]]
    seen_by = dict.fromkeys([*whole.seen_by, *elsewhere[1]])
    by_subject: dict[str, Finding] = {}
    for finding in sorted(whole.findings, key=lambda each: -each.severity.rank):
        by_subject.setdefault(finding.subject, finding)
    ordered = list(by_subject.values())
    shown = [f"• {_in_words(each)}" for each in ordered[:MOST_FINDINGS]]
    if len(ordered) > MOST_FINDINGS:
        shown.append(f"• and of {len(ordered) - MOST_FINDINGS} more")
    done = [f"Done: {each.done}" if len(shares) == 1 else f"Done ({each.model}): {each.done}" for each, _ in shares]
    done = [said for said, (each, _) in zip(done, shares, strict=True) if each.done]
    return Incident(
        key=whole.key,
        model=models[0],
        severity=whole.severity,
        title=clean(f"{listed(models)}: {whole.title}", 250),
        text=clean_lines("\n".join([*shown, *done, f"More: guardian report {run_id}"])),
        people=people,
        quiet_period=min(_quiet(systems, each.model) for each, _ in shares),
        facts={**whole.facts, "seen_by": list(seen_by), "models": models},
    )


def _people(systems: Systems, known: Known, found: Found) -> dict[str, tuple[str, ...]]:
    """Who is told of an incident in one model, and over which channels."""
    people = people_of(systems, known.model, found.severity)
    if not people and known.ended_early:
        people = _anybody(systems, known.model)
    if found.kind == KPI:
        channels = tuple(
            systems.operations.business_kpi_trackers[name].alerts.channel
            for name in systems.operations.trackers_of(known.model)
        )
        people = dict.fromkeys(people, channels)
    for owner in found.owners:
        people.setdefault(owner, next(iter(people.values()), ()))
    return people


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


def _looked(systems: Systems, measured: Mapping[str, list[Any]]) -> Iterator[str]:
    """Who has measured tonight: monitors that could judge, trackers, and KPIs that had a value."""
    yield from (str(each.get("monitor")) for each in measured["drift"] if each.get("status") == "checked")
    for facts in measured["kpis"]:
        report = full_report(systems, facts)
        yield str(report.get("tracker"))
        yield from (str(each["kpi"]) for each in report.get("readings", ()) if each.get("value") is not None)

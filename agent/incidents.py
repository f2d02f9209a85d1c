"""Findings as incidents: what has one cause is one incident, tonight and on every night that it lasts.

A broken source is one, whatever features, metrics and models it spoils. A changed world is one, until a further change
begins after the night that recognised the first. KPIs that worsen while something else is wrong with the model belong
to that; alone, or with a model that is sound, they are an incident of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from agent.findings import UNJUDGED, UNREAD, Finding
from policies.alerting import of_source
from policies.declarations import Severity, worst
from tools.systems.notify import Alert

SOURCE, WORLD, KPI, FAILURE = "source", "world", "kpi", "failure"
DRIFT = (SOURCE, WORLD)
INCIDENTS = (*DRIFT, KPI, FAILURE)


@dataclass
class Found:
    """An incident of tonight. `key` names it from night to night; `owners` are told besides the declared people.

    `seen_by` are the monitors, trackers and the like that saw it: where they see nothing any more, it is over.
    `before` are the subjects it had on other nights.
    """

    kind: str
    key: str
    title: str
    findings: list[Finding] = field(default_factory=list)
    owners: tuple[str, ...] = ()
    seen_by: tuple[str, ...] = ()
    onset: str | None = None
    before: tuple[str, ...] = ()

    @property
    def severity(self) -> Severity:
        """The worst of its findings."""
        return worst([each.severity for each in self.findings])

    @property
    def facts(self) -> dict[str, Any]:
        """What it is recognised by on another night."""
        subjects = sorted({*self.before, *(each.subject for each in self.findings)})
        reports = sorted({each.evidence for each in self.findings if each.evidence is not None})
        seen_by = list(self.seen_by)
        return {"kind": self.kind, "subjects": subjects, "onset": self.onset, "seen_by": seen_by, "reports": reports}


def incidents(
    model: str, reports: Sequence[Mapping[str, Any]], findings: Sequence[Finding], known: Sequence[Alert]
) -> list[Found]:
    """The incidents behind a model's `findings`: `reports` are its full drift reports, `known` its open alerts."""
    left = [each for each in findings if each.kind not in ("kpi", "disconnect", "failure", UNREAD)]
    found: dict[str, Found] = {}
    for report in reports:
        of_report = [each for each in left if each.evidence == report.get("report_id")]
        for each in _of_drift(model, report, of_report, known):
            _merge(found, each)
    kpis = [each for each in findings if each.kind in ("kpi", "disconnect")]
    apart = any(each.kind == "disconnect" for each in kpis)
    drifts = [each for each in found.values() if each.kind in DRIFT]
    if kpis and drifts and not apart:
        drifts[0].findings += kpis
    elif kpis:
        _merge(found, _of_kpis(model, kpis))
    for failure in (each for each in findings if each.kind == "failure"):
        title = f"{failure.subject} could not be measured"
        _merge(found, Found(FAILURE, f"{model}/{FAILURE} {failure.subject}", title, [failure], (), (failure.subject,)))
    return list(found.values())


def all_known(findings: Sequence[Finding], known: Sequence[Alert]) -> bool:
    """Whether `findings` are those of reports that open alerts told of already: no monitor has looked since."""
    reports = {report for alert in known for report in alert.facts.get("reports", ())}
    subjects = {subject for alert in known for subject in alert.facts.get("subjects", ())}
    findings = [each for each in findings if each.kind not in ("insufficient_data", UNJUDGED, UNREAD)]
    reported = [each for each in findings if each.evidence is not None]
    others = [each for each in findings if each.evidence is None]
    told = all(each.evidence in reports for each in reported) and all(each.subject in subjects for each in others)
    return bool(reported) and told


def over(known: Alert, tonight: Sequence[str], measured: Sequence[str]) -> bool:
    """Whether an open alert's incident has ended: not among `tonight`'s keys, and all who saw it have looked again."""
    return known.key not in tonight and set(known.facts.get("seen_by", ())) <= set(measured)


def _of_drift(
    model: str, report: Mapping[str, Any], findings: list[Finding], known: Sequence[Alert]
) -> Iterator[Found]:
    diagnosis = report.get("diagnosis") or {}
    monitor = (str(report.get("monitor")),)
    broken = [each for each in diagnosis.get("sources", ()) if each.get("signs")]
    left = list(findings)
    for source in broken:
        named = {*source.get("features", ()), *(str(sign).partition(":")[0] for sign in source["signs"])}
        own = [each for each in left if each.subject in named]
        left = [each for each in left if each not in own]
        yield Found(
            SOURCE,
            _key(source),
            f"the source {source['source']} is broken ({'; '.join(map(str, source['signs'][:2]))})",
            own or [_sign_of(source, report)],
            (str(source["owner"]),) if source.get("owner") else (),
            monitor,
        )
    if broken and diagnosis.get("kind") == "pipeline":
        changed = {subject for alert in _worlds(known) for subject in alert.facts.get("subjects", ())}
        spoiled = [each for each in left if each.subject not in changed]
        left = [each for each in left if each.subject in changed]
        yield Found(SOURCE, _key(broken[0]), "", spoiled, (), monitor)
    if left:
        yield from _of_world(model, left, diagnosis.get("first_seen"), monitor, known)


def _key(source: Mapping[str, Any]) -> str:
    return of_source(str(source["source"]), str(source.get("owner")))


def _sign_of(source: Mapping[str, Any], report: Mapping[str, Any]) -> Finding:
    detail = "; ".join(map(str, source["signs"]))
    severity = Severity(str(report.get("severity", "warning")))
    return Finding(kind="schema_drift", subject=str(source["source"]), severity=severity, detail=detail)


def _of_world(
    model: str, findings: list[Finding], onset: str | None, monitor: tuple[str, ...], known: Sequence[Alert]
) -> Iterator[Found]:
    """The findings among the world's changes that are known, and the one that is new."""
    before = _worlds(known)
    newest = before[-1] if before else None
    begun_since = onset is not None and newest is not None and onset >= f"{newest.opened_at:%Y-%m-%d}"
    fresh = f"{model}/{WORLD} since {onset}" if onset else f"{model}/{WORLD}"
    shares: dict[str, list[Finding]] = {}
    owners = {alert.key: alert for alert in before}
    for each in findings:
        owner = next((alert for alert in before if each.subject in alert.facts.get("subjects", ())), None)
        if owner is None and newest is not None and not begun_since:
            owner = newest
        shares.setdefault(owner.key if owner else fresh, []).append(each)
    for key, own in shares.items():
        facts: Mapping[str, Any] = owners[key].facts if key in owners else {"onset": onset}
        since = f" since {facts['onset']}" if facts.get("onset") else ""
        ordered = sorted(own, key=lambda each: -each.severity.rank)
        subjects = list(dict.fromkeys(each.subject for each in ordered))
        more = f" and {len(subjects) - 3} more" if len(subjects) > 3 else ""
        title = f"the world has changed{since}: {', '.join(subjects[:3])}{more}"
        yield Found(WORLD, key, title, own, (), monitor, facts.get("onset"), tuple(facts.get("subjects", ())))


def _worlds(known: Sequence[Alert]) -> list[Alert]:
    return [alert for alert in known if alert.facts.get("kind") == WORLD]


def _of_kpis(model: str, findings: list[Finding]) -> Found:
    """KPIs that worsen by themselves; with a model that is sound this is the disconnect, and for people only."""
    apart = [each for each in findings if each.kind == "disconnect"]
    names = ", ".join(dict.fromkeys(each.subject for each in findings if each.kind == "kpi")) or apart[0].subject
    said = "worse while the model is sound: for people, not for retraining" if apart else "worse"
    seen_by = tuple(dict.fromkeys(each.subject for each in findings))
    return Found(KPI, f"{model}/{KPI}", f"{names}: {said}", list(findings), (), seen_by)


def _merge(found: dict[str, Found], new: Found) -> None:
    """Two monitors that see one cause see one incident."""
    there = found.get(new.key)
    found[new.key] = new if there is None else together([there, new])


def together(shares: Sequence[Found]) -> Found:
    """One incident as several monitors, or models, see it; its title is the first's."""
    first = shares[0]
    return replace(
        first,
        findings=[finding for each in shares for finding in each.findings],
        owners=tuple(dict.fromkeys(owner for each in shares for owner in each.owners)),
        seen_by=tuple(dict.fromkeys(name for each in shares for name in each.seen_by)),
    )

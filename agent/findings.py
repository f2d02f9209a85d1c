"""Findings: what a triage measured that is not as it should be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from agent.untrusted import clean
from policies.declarations import Severity
from policies.errors import InputError
from tools.systems.systems import Systems

UNREAD = "unread_kpi"
UNJUDGED = "unjudged"


class Finding(BaseModel):
    """Something that is not as it should be. `kind` is a type of drift, `kpi`, `disconnect` (the model is sound and
    its KPIs worsen), `unread_kpi` (its query failed or gave no number), `insufficient_data` (a monitor could judge
    nothing), `unjudged` (one type of its checks could not, say for want of labels), or `failure` (not measurable)."""

    model_config = ConfigDict(frozen=True)

    kind: str
    subject: str
    severity: Severity
    value: float | None = None
    threshold: float | None = None
    detail: str = ""
    evidence: str | None = None


def findings_of(systems: Systems, measured: Mapping[str, list[Any]]) -> Iterator[Finding]:
    """The findings in compact facts: `drift` reports, `kpis`, and `failures` to measure. Warnings and worse.

    What had too little to judge is one too, a report or a type of drift, and a KPI that could not be read, `unknown`:
    nobody is woken, and nobody is told that all is well.
    """
    for facts in measured["drift"]:
        yield from _of_drift(facts, full_report(systems, facts).get("checks", ()))
    for facts in measured["kpis"]:
        yield from _of_kpis(facts, full_report(systems, facts).get("readings", ()))
    for failure in measured["failures"]:
        yield Finding(kind="failure", subject=failure.split(":")[0], severity=Severity.warning, detail=clean(failure))


def _of_drift(facts: Mapping[str, Any], checks: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    for check in checks:
        if Severity(check["severity"]).rank >= Severity.warning.rank:
            yield Finding(
                kind=str(check["type"]),
                subject=clean(check["subject"]),
                severity=check["severity"],
                value=check.get("value"),
                threshold=check.get("threshold"),
                detail=clean(check.get("detail") or ""),
                evidence=facts.get("report_id"),
            )
    if facts.get("status") == "failed":
        yield Finding(kind="failure", subject=str(facts.get("monitor")), severity=Severity.warning)
    elif facts.get("status") == "insufficient_data":
        yield _unjudged("insufficient_data", str(facts.get("monitor")), checks)
    else:
        for kind in dict.fromkeys(str(check["type"]) for check in checks):
            of_kind = [check for check in checks if check["type"] == kind]
            if all(check["severity"] == Severity.unknown for check in of_kind):
                yield _unjudged(UNJUDGED, kind, of_kind)


def _of_kpis(facts: Mapping[str, Any], readings: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    for reading in readings:
        if Severity(reading.get("severity", "ok")).rank >= Severity.warning.rank:
            yield Finding(
                kind="kpi",
                subject=clean(reading["kpi"]),
                severity=reading["severity"],
                value=reading.get("value"),
                threshold=reading.get("target"),
                detail=clean(reading.get("detail") or _changed(reading.get("change_pct"))),
            )
        elif reading.get("value") is None:
            yield Finding(
                kind=UNREAD,
                subject=clean(reading["kpi"]),
                severity=Severity.unknown,
                detail=clean(reading.get("detail") or "it could not be read", 300),
            )
    if facts.get("disconnect"):
        yield Finding(
            kind="disconnect",
            subject=clean(facts.get("tracker")),
            severity=Severity.warning,
            detail=clean(facts.get("detail") or "", 600),
            evidence=facts.get("kpi_id"),
        )


def _changed(percent: float | None) -> str:
    return "" if percent is None else f"changed by {percent:+.1f}%"


def _unjudged(kind: str, subject: str, checks: Sequence[Mapping[str, Any]]) -> Finding:
    why = next((each["detail"] for each in checks if each["severity"] == Severity.unknown), None)
    detail = clean(why or "too little data to judge")
    return Finding(kind=kind, subject=subject, severity=Severity.unknown, detail=detail)


def to_act_on(findings: Sequence[Finding]) -> bool:
    """Whether the planner is woken: not for what could only not be measured or judged, nor for KPIs that worsen while
    the model is sound, which is for people."""
    apart = any(each.kind == "disconnect" for each in findings)
    idle = ("failure", "insufficient_data", UNJUDGED, UNREAD, *(("disconnect", "kpi") if apart else ()))
    return any(each.kind not in idle for each in findings)


def full_report(systems: Systems, facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """The stored report, of drift or of KPIs, behind compact facts; the facts themselves where it is not stored."""
    key = "report_id" if "report_id" in facts else "kpi_id"
    try:
        row = systems.store.get(str(facts.get(key)))
        return {**row.body, key: row.id}
    except InputError:
        return facts


def in_words(findings: list[Finding]) -> str:
    """`2 critical data_drift, 1 warning kpi`, worst first."""
    ordered = sorted({(-f.severity.rank, f.severity.value, f.kind) for f in findings})
    counts = [(sum(f.severity == s and f.kind == k for f in findings), s, k) for _, s, k in ordered]
    return ", ".join(f"{count} {severity} {kind}" for count, severity, kind in counts)

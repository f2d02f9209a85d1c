"""The report as Markdown: the same content, briefly, for a message or a ticket."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from agent.report.gates import shown, why_open
from agent.report.html import count_found, found_checks, looked_back, shared_rows
from agent.report.model import Evaluation, Event, Gate, Measurement, ReportContent, Rollout
from agent.report.numbers import (
    count,
    fixed,
    full_day,
    kpi,
    measured,
    moment,
    money,
    number,
    percent,
    short_moment,
    signed_percent,
    words,
)
from agent.report.origin import origin
from agent.report.targets import business
from agent.untrusted import clean

_SPECIAL = re.compile(r"([\\`*_\[\]<>|~#&!])")
_MOST_CHECKS = 8


def render_markdown(content: ReportContent) -> str:
    """Verdict first, then a section for every part there is. Text from outside cannot become markup."""
    sections = [
        _top(content),
        _listed(
            "Waiting for people", (f"{_t(w.whom) or 'anyone'}: {_t(w.what)} {_code(w.id)}" for w in content.waiting)
        ),
        _weeks(content),
        _flagged(content),
        _listed("What happened", (_event(each) for each in sorted(content.story, key=lambda event: event.at))),
        _drift(content),
        _judged(content.evaluation, content.gate),
        _rollout(content.rollout),
        _kpis(content),
        _spend(content),
        _listed(
            "What it rests on",
            (
                f"{_code(e.id)} {_t(e.text or words(e.kind))}{f' Now: {_t(words(e.status))}.' if e.status else ''}"
                for e in content.evidence
            ),
        ),
        "\n\n".join(_t(note) for note in content.notes),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _top(content: ReportContent) -> str:
    lines = [f"# {_t(content.headline)}", ""]
    said = [f"**{_t(content.verdict or content.severity.value)}**", _t(content.model), _t(content.run_id)]
    if content.planner:
        said.append(f"planner {_t(content.planner)}")
    if content.period_start and content.period_end:
        said.append(f"{moment(content.period_start)} to {moment(content.period_end)} UTC")
    lines.append(" · ".join(each for each in said if each))
    if content.facts:
        lines.append("")
    lines += [f"- {_t(f.label)}: **{_t(f.value)}**{f' ({_t(f.note)})' if f.note else ''}" for f in content.facts]
    if content.with_agent and content.verdict and not content.waiting:
        lines += ["", "Nothing waits for a person."]
    return "\n".join(lines)


def _event(event: Event) -> str:
    numbers = "; ".join(f"{_t(name)} {_t(value)}" for name, value in event.numbers.items())
    return f"{short_moment(event.at)}: {_t(event.text)}{f' ({numbers})' if numbers else ''} {_code(event.id)}"


def _weeks(content: ReportContent) -> str:
    rows = [[full_day(w.week_start), fixed(w.with_guardian), fixed(w.without_guardian)] for w in content.weeks]
    alone = any(week.without_guardian is not None for week in content.weeks)
    head = ["Week of", "With guardian", "Without"] if alone else ["Week of", "AUC"]
    table = _table("", head, [row[: len(head)] for row in rows])
    first = content.auc_deployed
    said = f"At its deployment the model scored {fixed(first)} on its holdout." if first is not None else ""
    return "\n\n".join(part for part in ("## Live AUC by week", said, table) if part) if table else ""


def _flagged(content: ReportContent) -> str:
    if content.flagged is None:
        return ""
    sides = {"With guardian": content.flagged.with_guardian, "Without": content.flagged.without_guardian}
    rows = [[n, count(s.customers), count(s.already_churned), count(s.never_leaving)] for n, s in sides.items() if s]
    return _table("Who would have been called", ["", "Flagged", "Had already left", "Never meant to leave"], rows)


def _drift(content: ReportContent) -> str:
    report = content.drift_triggering or content.drift_latest
    if report is None:
        return ""
    found = found_checks(report)
    rows = [
        [
            _t(c.severity.value),
            _t(words(c.type)),
            _t(words(c.subject) if c.type == "concept_drift" else c.subject),
            number(c.value),
            number(c.threshold),
            _t(c.detail),
        ]
        for c in found[:_MOST_CHECKS]
    ]
    table = _table("", ["Severity", "Type", "Subject", "Value", "Threshold", "Detail"], rows)
    said = f"{_code(report.report_id)} {count_found(report)} of {len(report.checks)} checks found something."
    shared = shared_rows(report)
    said = " ".join(part for part in (said, _t(f"{shared}." if shared else ""), _t(looked_back(report))) if part)
    cause = _t(origin(report.diagnosis))
    return "\n\n".join(part for part in ("## What changed in the data", said, cause, table) if part)


def _judged(evaluation: Evaluation | None, gate: Gate | None) -> str:
    if evaluation is None and gate is None:
        return ""
    parts = ["## Is the new model better?"]
    if evaluation is not None:
        low_high = " to ".join(signed_percent(each) for each in evaluation.interval or ())
        improvement = signed_percent(evaluation.weighted_improvement)
        parts.append(
            f"**{_t(words(evaluation.verdict))}**: {improvement} weighted"
            f"{f' ({low_high})' if low_high else ''} {_code(evaluation.evaluation_id)}"
        )
        rows = [
            [
                _t(words(m.metric)),
                _t(measured(m.metric, m.champion)),
                _t(measured(m.metric, m.challenger)),
                signed_percent(m.relative),
            ]
            for m in evaluation.metrics
        ]
        parts.append(_table("", ["Metric", "Champion", "Challenger", "Better by"], rows))
    if gate is not None:
        blocking = [check for check in gate.checks if check.verdict not in ("passed", "skipped")]
        parts.append(f"Quality gate **{_t(gate.status)}** {_code(gate.gate_id)}")
        parts.append(
            "\n".join(
                f"- {_t(c.name)}: {_t(c.verdict)}, {number(c.value)} ({_t(c.threshold)}) {_t(c.detail)}"
                for c in blocking
            )
        )
    return "\n\n".join(part for part in parts if part)


def _rollout(rollout: Rollout | None) -> str:
    if rollout is None:
        return ""
    rows = [
        [
            "copies" if stage.mirrored else f"{stage.traffic_pct:g}%",
            _t(stage.verdict) or "–",
            "; ".join(_measurement(m) for m in stage.measurements) or "–",
        ]
        for stage in rollout.stages
    ]
    said = f"{_t(rollout.strategy)} of version {_t(rollout.version)}: **{_t(words(rollout.status))}**"
    said += f"{_after(rollout.reason)} {_code(rollout.rollout_id)}"
    return "\n\n".join(["## How it went live", said, _table("", ["Traffic", "Gate", "Measured"], rows)])


def _measurement(m: Measurement) -> str:
    why = why_open(m)
    said = " ".join(part for part in shown(m) if part)
    return _t(f"{said}{f' ({m.verdict}: {why})' if why else ''}")


def _kpis(content: ReportContent) -> str:
    rows = [
        [
            _t(words(k.kpi)),
            kpi(k.value, k.percent),
            kpi(k.target, k.percent),
            kpi(k.baseline, k.percent),
            _t(k.severity),
        ]
        for k in content.kpis
    ]
    table = _table("", ["KPI", "Value", "Target", "Baseline", "Severity"], rows)
    if not table:
        return _t(content.kpi_disconnect)
    said = _t(f"{business(content.kpis)} {content.kpi_disconnect}")
    return "\n\n".join(["## Does the business see it?", said, table])


def _spend(content: ReportContent) -> str:
    spend = content.spend
    if spend is None:
        return ""
    share = f" ({percent(spend.cost_usd / spend.budget_usd)} of {money(spend.budget_usd)})" if spend.budget_usd else ""
    said = f"{money(spend.cost_usd)}{share}, {count(spend.tokens)} tokens, {spend.llm_calls} model calls"
    return f"## What it cost\n\n{said}"


def _listed(title: str, lines: Iterable[str]) -> str:
    items = [f"- {line.strip()}" for line in lines]
    return "\n".join([f"## {title}", "", *items]) if items else ""


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(cell.strip() or ' ' for cell in row)} |" for row in rows]
    return "\n".join([*([f"## {title}", ""] if title else []), *lines])


def _after(text: str) -> str:
    return f", {_t(text)}" if text else ""


def _code(text: str) -> str:
    cleaned = clean(text, 100).translate(str.maketrans("`|<>", "'/()"))
    return f"`{cleaned}`" if cleaned else ""


def _t(text: str) -> str:
    """One line in which nothing is markup."""
    return _SPECIAL.sub(r"\\\1", clean(text, 1000))

"""Answers read off evidence rows: no language model, the ids beside the numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from agent.conversation.cost import cost_of_checking
from agent.conversation.intents import Intent, Question
from agent.deciding import listed
from agent.report.live import RECENT, recent_auc
from agent.runs import triages
from agent.status import link, model_status
from agent.untrusted import clean
from policies.errors import InputError
from tools.deploy.permission import serving_version
from tools.systems.store import Evidence, Kind
from tools.systems.systems import Systems

HELP = """Ask, for example:
• why did we retrain last night?
• how is the canary?
• what would it cost to check everything now?
• how are the models? how did the AUC develop? which KPIs are off target? what drifts?
• what waits for approval? which alerts are open?
Or say: check MODEL now · retrain MODEL · evaluate MODEL · deploy MODEL version 3
Every wish goes through the same policies and approvals as the nightly run."""

MOST_LINES = 12
_LAST_NIGHT = re.compile(r"\b(last night|tonight|yesterday|today)\b", re.IGNORECASE)
_PER_MODEL = frozenset(
    {
        Intent.why_retrained,
        Intent.why_serving,
        Intent.rollout,
        Intent.kpis,
        Intent.performance,
        Intent.drift,
        Intent.status,
    }
)


def look_up(systems: Systems, question: Question) -> str:
    """The answer to an understood question, else what can be asked."""
    models = list(question.models or systems.operations.models)
    if question.intent is Intent.cost:
        return cost_of_checking(systems, models)
    if question.intent in _PER_MODEL:
        told = [_of_model(systems, question.intent, model) for model in models]
        return "\n".join([*_not_lately(systems, question, models), *told])
    whole: dict[Intent | None, Callable[[Systems], str]] = {
        Intent.approvals: approvals,
        Intent.alerts: alerts,
        Intent.night: night,
    }
    return whole[question.intent](systems) if question.intent in whole else HELP


def evidence(systems: Systems, model: str, question: Question) -> str:
    """All that is stored about a model that a question is likely to be about: for a language model to answer from."""
    kinds = [Intent.status, Intent.why_retrained, Intent.rollout, Intent.drift, Intent.kpis]
    if question.intent is Intent.performance:  # measured in the warehouse: only where it is asked for
        kinds.append(Intent.performance)
    parts = [_of_model(systems, kind, model) for kind in kinds]
    return "\n".join([*parts, approvals(systems), alerts(systems), night(systems)])


def _of_model(systems: Systems, intent: Intent, model: str) -> str:
    answers = {
        Intent.why_retrained: why_retrained,
        Intent.why_serving: why_serving,
        Intent.rollout: rollout,
        Intent.kpis: kpis,
        Intent.performance: performance,
        Intent.drift: drift,
        Intent.status: status,
    }
    return answers[intent](systems, model)


def status(systems: Systems, model: str) -> str:
    """What serves, how healthy it is, what is under way."""
    found = model_status(systems, model)
    report, roll = found.last_report or {}, found.rollout or {}
    said = [f"{model}: version {found.serving_version or 'none'} serves ({found.serves_by}), {found.deploy_health}"]
    if report:
        said.append(f"last drift report {report['report_id']} of {_day(report['checked_at'])}: {report['severity']}")
    if roll and roll["status"] in ("running", "pending", "paused"):
        said.append(f"{roll['rollout_id']} of version {roll['version']} {roll['status']} at {roll['traffic_pct']:g}%")
    return "\n".join(["; ".join(said) + ".", *(f"WARNING {model}: {each}" for each in found.warnings)])


def why_retrained(systems: Systems, model: str) -> str:
    """The newest retraining, and the chain of evidence that it rests on."""
    row = systems.store.latest(Kind.training_run, model)
    if row is None:
        return f"{model} was never retrained{_skipped(systems, model, None)}."
    body = row.body
    lines = [
        f"{model} was retrained last on {_time(row.created_at)} ({row.id}), because of "
        f"{clean(body.get('triggered_by') or 'a request')}: version {row.version}."
    ]
    lines += [f"• {clean(each['reason'])}" for each in body.get("triggers", ()) if each.get("fired")]
    if (metrics := _numbers(body.get("metrics"))) and row.status:
        lines.append(f"• {row.status}; {metrics}")
    lines += [f"• {_chained(each)}" for each in systems.store.chain(row.id)[1:]]
    for each in (row, *systems.store.chain(row.id)[1:]):
        lines += [f"    {found}" for found in _findings(each)]
    after = systems.store.latest(Kind.evaluation, model)
    if after is not None and after.created_at >= row.created_at:
        lines.append(f"• then {_chained(after)}")
    skipped = _skipped(systems, model, row.created_at)
    return "\n".join([*lines[:MOST_LINES], *([f"Since then it was not{skipped}."] if skipped else [])])


def why_serving(systems: Systems, model: str) -> str:
    """The chain of evidence behind the version that serves."""
    from agent.status import why

    try:
        found = why(systems, model)
    except InputError as error:
        return f"{model}: {clean(error.message)}."
    chain = [f"• {each.id}, {_time(each.created_at)}: {clean(each.says)}" for each in found.chain]
    return "\n".join([f"{model} is served by version {found.serving_version}, because:", *chain[:MOST_LINES]])


def rollout(systems: Systems, model: str) -> str:
    """The newest rollout: its stage, its traffic, and what its gate measured last."""
    row = systems.store.latest(Kind.rollout, model)
    if row is None:
        return f"{model} had no rollout yet; version {serving_version(systems, model) or 'none'} serves."
    body = row.body
    stages: Sequence[Mapping[str, Any]] = body.get("stages", ())
    lines = [
        f"{row.id} ({clean(body.get('strategy'))}) of {model} version {row.version}: {row.status}, "
        f"{body.get('traffic_pct', 0):g}% of the traffic"
        + (f", stage {int(body.get('stage', 0)) + 1} of {len(stages)}" if stages else "")
        + "."
    ]
    if body.get("reason"):
        lines.append(f"• {clean(body['reason'])}")
    gate = body.get("last_gate")
    if gate:
        lines.append(f"• gate {clean(gate['name'])}: {gate['verdict']}{_detail(gate)}")
        lines += [f"    {_measured(each)}" for each in gate.get("measurements", ())[:6]]
    if row.status == "running" and stages:
        lines.append(f"• {_stage_time(systems, stages[int(body.get('stage', 0))])}")
    lines += [f"• {_day(each['at'])}: {clean(each['detail'] or each['event'])}" for each in body.get("events", ())[-3:]]
    return "\n".join(lines)


def kpis(systems: Systems, model: str) -> str:
    """The newest reading of each KPI."""
    readings = model_status(systems, model).kpis
    if not readings:
        return f"{model}: no KPI was read yet."
    lines = [f"{model}, {sum(bool(r.get('on_target')) for r in readings)} of {len(readings)} KPIs on target:"]
    for each in readings:
        value = each.get("value")
        change = each.get("change_pct")
        shown = f"{value:.4g}" if isinstance(value, int | float) else clean(each.get("detail") or "not measured")
        moved = f", {change:+.3g}% against the baseline" if isinstance(change, int | float) else ""
        lines.append(
            f"• {clean(each['kpi'])}: {shown} (target {_short(each.get('target'))}){moved}, {each['severity']}"
        )
    return "\n".join(lines)


def performance(systems: Systems, model: str) -> str:
    """The live AUC of the last weeks."""
    weeks = recent_auc(systems, model)
    if not weeks:
        return f"{model}: no week of the last {RECENT.days // 7} has enough labels yet to tell its AUC."
    told = [
        f"• week of {each.week_start}: {_short(each.with_guardian)} ({each.labelled_rows:,} labels)" for each in weeks
    ]
    return "\n".join([f"{model}, AUC of what was served, on the labels known by now:", *told])


def drift(systems: Systems, model: str) -> str:
    """What the newest drift report of each monitor found."""
    newest: dict[str, Evidence] = {}
    for row in systems.store.list(Kind.drift_report, model, limit=50):
        newest.setdefault(str(row.body.get("monitor")), row)
    if not newest:
        return f"{model} was not checked for drift yet; say: check {model} now."
    lines = []
    for monitor, row in newest.items():
        lines.append(f"{model}, {clean(monitor)} on {_time(row.created_at)} ({row.id}): {row.body.get('severity')}.")
        lines += [f"• {each}" for each in _findings(row)]
    return "\n".join(lines)


def approvals(systems: Systems) -> str:
    """What waits for whom."""
    waiting = [each for each in listed(systems).approvals if each.status == "pending"]
    if not waiting:
        return "Nothing waits for a person."
    return "\n".join(
        f"{each.approval_id} waits for {each.whom}: {each.what}, asked by {each.asked_by}, "
        f"until {_time(each.expires_at)}."
        for each in waiting
    )


def alerts(systems: Systems) -> str:
    """Open incidents."""
    found = systems.notifications.open()
    if not found:
        return "No incident is open."
    return "\n".join(
        f"{each.id}: {each.severity.value} {clean(each.title)}, {each.status.value} since {_time(each.opened_at)}, "
        f"seen {each.seen} times"
        for each in found[:MOST_LINES]
    )


def night(systems: Systems) -> str:
    """The newest triage: each model's outcome."""
    row = next(iter(triages(systems, limit=1)), None)
    if row is None:
        return "No triage has run yet."
    result = row.body.get("result") or {}
    head = f"{row.id} of {_time(row.created_at)}, planner {row.body.get('planner')}: {row.status}."
    parts = [f"• {each['model']}: {each['severity']}: {clean(each['outcome'])}" for each in result.get("models", ())]
    spent = result.get("budget")
    cost = [f"It cost ${spent['cost_usd']:.4f}, {spent['tokens']} tokens."] if spent else []
    return "\n".join([head, *parts[:MOST_LINES], *cost])


def _not_lately(systems: Systems, question: Question, models: list[str]) -> list[str]:
    """Contradicts a question that takes for granted what did not happen last night."""
    if question.intent is not Intent.why_retrained or not _LAST_NIGHT.search(question.text):
        return []
    since = systems.clock.now() - timedelta(hours=36)
    runs = [systems.store.list(Kind.training_run, model, since=since, limit=1) for model in models]
    return [] if any(runs) else ["There was no retraining in the last 36 hours."]


def _skipped(systems: Systems, model: str, since: datetime | None) -> str:
    """`: run-4 …`, what the newest triage after `since` said of the model; empty where there was none."""
    for row in triages(systems, since=since, limit=20):
        for part in (row.body.get("result") or {}).get("models", ()):
            if part["model"] == model and not _retrained_in(part):
                return f": {row.id} of {_time(row.created_at)} says: {clean(part['outcome']).rstrip('.')}"
    return ""


def _retrained_in(part: Mapping[str, Any]) -> bool:
    return any(each["tool"] == "retrain" and "started" in each["outcome"] for each in part.get("actions", ()))


def _findings(row: Evidence) -> list[str]:
    """The worst checks of a drift report in a line each."""
    if row.kind is not Kind.drift_report:
        return []
    bad = [each for each in row.body.get("checks", ()) if each.get("severity") in ("warning", "critical")]
    bad.sort(key=lambda each: each["severity"] != "critical")
    shown = [
        f"{each['severity']} {each['type'].replace('_', ' ')} of {clean(each['subject'])}: "
        f"{_short(each.get('value'))} (limit {_short(each.get('threshold'))})"
        for each in bad[:4]
    ]
    return [*shown, f"and {len(bad) - 4} more"] if len(bad) > 4 else shown


def _chained(row: Evidence) -> str:
    found = link(row)
    return f"{found.id}, {_time(found.created_at)}: {clean(found.says)}"


def _measured(measurement: Mapping[str, Any]) -> str:
    champion = measurement.get("champion_value")
    beside = f", champion {_short(champion)}" if champion is not None else ""
    return (
        f"{clean(measurement['name'])}: {measurement.get('verdict')}: {_short(measurement.get('value'))} "
        f"(limit {_short(measurement.get('limit'))}{beside}, {measurement.get('n')} observations)"
    )


def _stage_time(systems: Systems, stage: Mapping[str, Any]) -> str:
    began, lasts = stage.get("started_at"), stage.get("duration")
    if not began:
        return "the stage has not begun"
    here = systems.clock.now() - datetime.fromisoformat(str(began))
    hours = round(here.total_seconds() / 3600, 1)
    return f"{hours:g} h in this stage, which lasts {lasts}"


def _detail(gate: Mapping[str, Any]) -> str:
    return f", {clean(gate['detail'])}" if gate.get("detail") else ""


def _numbers(metrics: Mapping[str, Any] | None) -> str:
    pairs: Iterable[tuple[str, Any]] = (metrics or {}).items()
    return ", ".join(f"{clean(key, 40)} {_short(value)}" for key, value in list(pairs)[:5])


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "none" if value is None else clean(value, 60)


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"


def _day(at: object) -> str:
    return clean(at, 40)[:16].replace("T", " ")

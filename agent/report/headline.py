"""The first thing a report says: one sentence, a verdict in a few words, and up to four numbers. All computed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, time, timedelta

from agent.report.model import Fact, ReportContent
from agent.report.numbers import count, day, fixed, money, signed_percent, words
from agent.report.reasons import rule
from policies.declarations import Severity

_FOUND = (Severity.warning, Severity.critical)
_VISIBLE = 0.01
"""A difference in AUC below this is not worth a headline."""
MOST_FACTS = 4


def told(content: ReportContent, *, skipped: str = "", failures: int = 0) -> ReportContent:
    """`content` with its headline, verdict, severity and facts, from its other parts.

    `skipped` is why nothing was retrained, `failures` how many measurements failed. Call it again after parts were
    added that only the caller knows (life without the guardian, say).
    """
    said, verdict, severity = _headline(content, skipped, failures)
    facts = tuple(_facts(content))[:MOST_FACTS]
    return content.model_copy(update={"headline": said, "verdict": verdict, "severity": severity, "facts": facts})


def _headline(content: ReportContent, skipped: str, failures: int) -> tuple[str, str, Severity]:
    model = content.model or "The model"
    if not content.with_agent:
        return _unwatched(content, model)
    if content.rollout is not None:
        return _rolled(content, model)
    if content.evaluation is not None:
        return _judged(content, model)
    if content.training is not None and content.training.started:
        version = content.training.version or "?"
        return f"{_because(content, model)} version {version} was trained.", "Retrained", Severity.warning
    return _measured(content, model, skipped, failures)


def _unwatched(content: ReportContent, model: str) -> tuple[str, str, Severity]:
    known = [week.without_guardian for week in content.weeks if week.without_guardian is not None]
    first = content.auc_deployed
    if first is not None and known and first - known[-1] > _VISIBLE:
        fell = f"deployed at AUC {fixed(first)}, it fell to {fixed(known[-1])}, unseen"
        return f"Nobody watches {model}: {fell}.", "Unmonitored", Severity.critical
    if len(known) > 1 and known[0] - known[-1] > _VISIBLE:
        fell = f"its live AUC fell from {fixed(known[0])} to {fixed(known[-1])}, unseen"
        return f"Nobody watches {model}: {fell}.", "Unmonitored", Severity.critical
    return f"Nobody watches {model}.", "Unmonitored", Severity.warning


def _rolled(content: ReportContent, model: str) -> tuple[str, str, Severity]:
    rollout = content.rollout
    assert rollout is not None
    version = f"version {rollout.version or '?'}"
    match rollout.status:
        case "promoted":
            known = [week.with_guardian for week in content.weeks if week.with_guardian is not None]
            if _served_by_new(content) and known[-1] - min(known) > _VISIBLE:
                said = f"{model} had decayed to AUC {fixed(min(known))}; {version} now serves every request"
                return f"{said} at {fixed(known[-1])}.", "Recovered", Severity.ok
            return f"{_because(content, model)} {version} now serves every request.", "Promoted", Severity.ok
        case "rolled_back" | "aborted":
            why = f" ({rollout.reason})" if rollout.reason else ""
            said = f"{model}: {version} was rolled back{why}; the champion serves again."
            return said, "Rolled back", Severity.warning
        case "paused" | "waiting_approval":
            why = f": {rollout.reason}" if rollout.reason else ""
            return f"{model}: the rollout of {version} is paused{why}.", "Waiting", Severity.warning
        case _:
            share = f", at {rollout.traffic[-1].pct:g}% of the requests" if rollout.traffic else ""
            said = f"{_because(content, model)} {version} won, passed its gate and is going live{share}."
            return said, "Going live", Severity.ok


def _judged(content: ReportContent, model: str) -> tuple[str, str, Severity]:
    judged, gate = content.evaluation, content.gate
    assert judged is not None
    because = _because(content, model)
    version = f"version {judged.challenger_version or '?'}"
    if judged.verdict == "challenger_wins" and gate is not None and gate.status == "passed":
        return f"{because} {version} won and passed the quality gate.", "Ready to deploy", Severity.warning
    if judged.verdict == "challenger_wins":
        end = "won, but did not pass the quality gate; the champion stays"
        return f"{because} {version} {end}.", "Gate not passed", Severity.warning
    end = "is worse than the champion" if judged.verdict == "champion_wins" else "is not clearly better"
    return f"{because} the retrained {version} {end}, and the champion stays.", "Champion stays", Severity.warning


def _measured(content: ReportContent, model: str, skipped: str, failures: int) -> tuple[str, str, Severity]:
    drift = content.drift_triggering or content.drift_latest
    found = _found(content)
    if drift is not None and found:
        why = f"; not retrained: {rule(skipped)}" if skipped else ""
        said = f"{model} drifted: {found} of {len(drift.checks)} checks found something{why}."
        return said, "Needs a look", drift.severity
    if off := [words(each.kpi) for each in content.kpis if each.severity in _FOUND]:
        said = f"{model} is sound, but the business does not see it: {', '.join(off)}."
        return said, "KPI worse", Severity.warning
    if failures:
        said = (
            f"{model} could not be checked in full: {count(failures)} measurement{'s' if failures > 1 else ''} failed."
        )
        return said, "Not checked", Severity.warning
    if drift is not None and drift.status != "checked":
        return f"{model} could not be judged: {words(drift.status)}.", "Not judged", Severity.unknown
    checks = f"{len(drift.checks)} checks, nothing beyond a threshold" if drift else "nothing was found"
    return f"{model} is well: {checks}.", "All is well", Severity.ok


def _because(content: ReportContent, model: str) -> str:
    return f"{model} drifted;" if _found(content) else f"{model}:"


def _found(content: ReportContent) -> int:
    drift = content.drift_triggering or content.drift_latest
    return sum(check.severity in _FOUND for check in drift.checks) if drift else 0


def _served_by_new(content: ReportContent) -> bool:
    """Whether most of the last week with a known AUC was answered by the version that was promoted."""
    last = next((week for week in reversed(content.weeks) if week.with_guardian is not None), None)
    steps = content.rollout.traffic if content.rollout else ()
    if last is None:
        return False
    return not steps or steps[-1].at < datetime.combine(last.week_start, time()) + timedelta(days=3.5)


def _facts(content: ReportContent) -> Iterator[Fact]:
    if content.gate_off_by:
        by = f"by {' and '.join(content.gate_off_by)}"
        yield Fact(label="Quality gate", value="SWITCHED OFF", note=by, severity=Severity.critical)
    guarded = [week.with_guardian for week in content.weeks if week.with_guardian is not None]
    alone = [week.without_guardian for week in content.weeks if week.without_guardian is not None]
    if guarded and content.rollout and content.rollout.status == "promoted" and not _served_by_new(content):
        label = f"Live AUC of version {content.rollout.champion_version or '?'}"
        yield Fact(label=label, value=fixed(guarded[-1]), note=f"before version {content.rollout.version} took over")
    elif guarded:
        last = next(week.week_start for week in reversed(content.weeks) if week.with_guardian is not None)
        note = f"{fixed(alone[-1])} without the guardian" if alone else f"in the week of {day(last)}"
        better = Severity.ok if alone and guarded[-1] - alone[-1] > _VISIBLE else Severity.unknown
        yield Fact(label="Live AUC", value=fixed(guarded[-1]), note=note, severity=better)
    elif alone:
        first = content.auc_deployed
        fell = (alone[0] if first is None else first) - alone[-1] > _VISIBLE
        note = f"{fixed(alone[0])} in the first week" if first is None else f"{fixed(first)} at deployment"
        severity = Severity.critical if fell else Severity.unknown
        yield Fact(label="Live AUC", value=fixed(alone[-1]), note=note, severity=severity)
    drift = content.drift_triggering or content.drift_latest
    if drift is not None and (found := _found(content)):
        note = f"of {len(drift.checks)} checks, on {day(drift.checked_at)}"
        yield Fact(label="Drift findings", value=count(found), note=note)
    if content.evaluation is not None and content.evaluation.weighted_improvement is not None:
        pair = (content.evaluation.challenger_version, content.evaluation.champion_version)
        note = f"version {pair[0] or '?'} against {pair[1] or '?'}"
        yield Fact(
            label="Weighted improvement", value=signed_percent(content.evaluation.weighted_improvement), note=note
        )
    flagged = content.flagged and (content.flagged.with_guardian or content.flagged.without_guardian)
    if flagged:
        wasted = flagged.already_churned + flagged.never_leaving
        week = content.flagged.week_start if content.flagged else None
        note = f"of {count(flagged.customers)} flagged{f' in the week of {day(week)}' if week else ' customers'}"
        yield Fact(label="Calls in vain", value=count(wasted), note=note)
    if content.spend is not None:
        limit = f"of {money(content.spend.budget_usd)} a day" if content.spend.budget_usd is not None else ""
        yield Fact(label="Spent on planning", value=money(content.spend.cost_usd), note=limit)

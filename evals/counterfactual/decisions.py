"""What recorded evidence leads to under given declarations: pure functions from stored rows to decisions.

Only thresholds, cooldowns, margins and gates are asked again, over the numbers that were measured. What held a night's
retraining back besides (a rollout that ran, nothing to learn yet) holds it back here too. What a decision would have
changed in the world (a model that was not trained, a week of other traffic) was never measured. A row that is damaged
decides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict

from evals.counterfactual.circumstances import held_back
from evals.counterfactual.gate import regated
from policies.declarations import Operations, Severity, worst
from policies.declarations.drift import DriftMonitor, DriftType
from policies.declarations.training import DriftTrigger
from policies.retraining import cooldown_over, pipeline_is_sound
from tools.check_drift.result import Check, graded
from tools.check_drift.spending import alpha
from tools.evaluate.comparison import judge
from tools.evaluate.gate import Check as GateCheck
from tools.evaluate.gate import Verdict, status
from tools.retrain.triggers import DriftSeen, Refused, drift_detected
from tools.systems.store import Evidence, Kind

UNREADABLE = "cannot be read"
"""What a damaged row leads to."""
_DAMAGE = (AttributeError, KeyError, TypeError, ValueError)
"""What reading a damaged row raises."""


class Decision(BaseModel):
    """What follows from one row of evidence: `what` is compared, `why` is told."""

    model_config = ConfigDict(frozen=True)

    evidence: str
    model: str
    at: datetime
    what: str
    why: str


def decisions(rows: Sequence[Evidence], operations: Operations) -> list[Decision]:
    """The decisions that drift reports and evaluations lead to, in order of time; runs say what held them back."""
    started: dict[str, datetime] = {}
    held: dict[str, tuple[str, str]] = {}
    found = []
    # A night's run is stored after its reports, and is asked before them.
    for row in sorted(rows, key=lambda each: (each.kind is not Kind.run, each.created_at, each.id)):
        try:
            if row.kind is Kind.run:
                held |= held_back(row)
            elif (decision := _on(row, operations, started, held.get(row.id))) is not None:
                found.append(decision)
        except _DAMAGE as error:
            why = f"{type(error).__name__}: {error}".partition("\n")[0]
            found.append(Decision(evidence=row.id, model=row.model, at=row.created_at, what=UNREADABLE, why=why))
    return found


def _on(
    row: Evidence, operations: Operations, started: dict[str, datetime], held: tuple[str, str] | None
) -> Decision | None:
    if row.model not in operations.models:
        return None
    if row.kind is Kind.drift_report and row.body.get("monitor") in operations.drift_monitors:
        return _on_report(row, operations, started, held)
    if row.kind is Kind.evaluation and "interval" not in row.body:
        return None  # it came to no end
    if row.kind is Kind.evaluation and row.body.get("challenge") in operations.champion_challengers:
        return _on_evaluation(row, operations)
    return None


def _on_report(
    row: Evidence, operations: Operations, started: dict[str, datetime], held: tuple[str, str] | None
) -> Decision:
    """Whether the drift found starts a retraining, given those that these declarations started before."""
    monitor = operations.drift_monitors[row.body["monitor"]]
    checks = [_regraded(Check.model_validate(each), monitor) for each in row.body.get("checks", ())]
    findings = [check for check in checks if check.found]
    severity = worst([check.severity for check in findings])
    broken = tuple(c.detail for c in findings if c.type is DriftType.schema_drift and c.severity is Severity.critical)
    seen = DriftSeen(row.id, row.body["monitor"], row.created_at, bool(findings), severity, broken)
    told = ", ".join(f"{c.subject} {c.value:.3g} > {c.threshold:.3g}" for c in findings[:3] if c.value and c.threshold)

    def decided(what: str, why: str) -> Decision:
        return Decision(evidence=row.id, model=row.model, at=row.created_at, what=what, why=why)

    if not findings:
        return decided("quiet", "nothing was found")
    name = operations.pipeline_of(row.model)
    triggers = operations.retraining_pipelines[name].triggers if name else []
    trigger = next((t for t in triggers if isinstance(t, DriftTrigger) and t.source == row.body["monitor"]), None)
    if name is None or trigger is None:
        return decided("told people", f"{severity}: {told}; no trigger of a pipeline looks at it")
    fired = drift_detected(trigger, seen)
    if isinstance(fired, Refused):
        return decided("told people", str(fired))
    if held is not None:
        return decided(f"no retraining ({held[0]})", held[1])
    cooldown = timedelta(hours=trigger.cooldown_hours)
    for policy in (pipeline_is_sound(broken), cooldown_over(started.get(name), cooldown, row.created_at)):
        if not policy.allowed:
            return decided(f"no retraining ({policy.policy})", "; ".join(policy.reasons))
    started[name] = row.created_at
    return decided("retrain", f"{severity}: {told}")


def _regraded(check: Check, monitor: DriftMonitor) -> Check:
    """The check under the monitor's threshold. A value within the old one is a finding beyond a lower one where its
    p-value is below what noise explains, as in the first look of a day."""
    declared = next((each for each in monitor.monitors if (each.type, each.method) == (check.type, check.method)), None)
    threshold: float | None = getattr(declared, "threshold", None)
    if declared is None:
        return check.model_copy(update={"severity": Severity.ok})
    if check.value is None or threshold is None or check.threshold in (None, threshold):
        return check
    noise = check.severity is Severity.ok and check.threshold is not None and check.value > check.threshold
    multiple: float = getattr(declared, "critical_multiple", 2.0)
    beyond = graded(check.value, threshold, multiple, check.p_value, alpha(monitor, declared, ()))
    severity = Severity.ok if noise else beyond
    return check.model_copy(update={"severity": severity, "threshold": threshold})


def _on_evaluation(row: Evidence, operations: Operations) -> Decision:
    """The verdict, and whether the winner would have been promoted."""
    body = row.body
    declared = operations.champion_challengers[body["challenge"]].evaluation
    low, high = body["interval"]
    complete = all(part["relative"] is not None for part in body["contributions"])
    verdict = judge(
        body["weighted_improvement"],
        (low, high),
        declared.min_weighted_improvement,
        complete=complete,
        require_interval=declared.require_significance,
    )
    what, why = verdict.value, f"weighted improvement {body['weighted_improvement']:.4f} ({low:.4f} to {high:.4f})"
    if verdict == "challenger_wins":
        judged = regated(body, row.model, operations)
        gate = status(judged) if judged else None
        blocking = [_told(check) for check in judged if check.verdict in (Verdict.FAILED, Verdict.INCONCLUSIVE)]
        what = f"{what}, gate {gate.value if gate else 'was not run'}"
        why = "; ".join([why, *blocking])
    return Decision(evidence=row.id, model=row.model, at=row.created_at, what=what, why=why)


def _told(check: GateCheck) -> str:
    seen = check.detail or "not measured" if check.value is None else f"{check.value:.4g}"
    return f"{check.name} {seen}, wanted {check.threshold}"

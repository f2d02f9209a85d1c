"""The tool `evaluate`: champion against challenger on the holdout, the verdict, and for a winner the quality gate."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from policies.declarations.evaluation import ChampionChallenger
from tools.deploy.champion import moved_alias
from tools.deploy.permission import waived_by
from tools.evaluate import contenders, gate, quality
from tools.evaluate.begun import begin, settle
from tools.evaluate.comparison import Comparison, Outcome, WeightedMetric, compare, judge, relative_improvement
from tools.evaluate.contenders import HoldoutRows, Judged
from tools.evaluate.investigation import investigate
from tools.evaluate.metrics import Direction
from tools.evaluate.result import (
    AucDifference,
    Contender,
    EvaluateArguments,
    EvaluateResult,
    GateResult,
    Investigation,
)
from tools.evaluate.significance import delong, improvement_interval
from tools.systems.registry import CHALLENGER
from tools.systems.store import Kind
from tools.systems.tool import Effect, Tool

if TYPE_CHECKING:
    from datetime import datetime

    from tools.evaluate.latency import LatencyComparison
    from tools.systems.registry import ModelVersion
    from tools.systems.store import Evidence
    from tools.systems.systems import Systems

SEED = 20
ARCHIVED_TAG = "guardian.archived_by"
_SIZE = "model_size_mb"
_SIZE_NOISE = 0.01
_LATENCIES = ("inference_ms", "inference_ms_p99", "latency_p99")


def run(systems: Systems, arguments: EvaluateArguments) -> EvaluateResult:
    """Compares the challenger with the champion on the holdout by the declared weighted metrics, and judges a winner by
    the quality gate. The verdict is challenger_wins, tie (the champion stays) or champion_wins (the challenger is
    archived). Only a challenger that wins and whose gate is passed may be deployed.

    Raises:
        InputError: there is no challenger, it is the champion already, or the holdout cannot judge anything.
    """
    started = time.perf_counter()
    operations, now = systems.operations, systems.clock.now()
    model = operations.model_of_challenge(arguments.challenge)
    settle(systems, model)
    champion_version, challenger_version = contenders.resolve(systems, model, arguments.challenge)
    holdout = contenders.read_holdout(systems, model, now)
    with begin(systems, model, arguments.challenge, challenger_version.version, now) as row:
        return _judge(systems, model, arguments.challenge, row, champion_version, challenger_version, holdout, started)


def _judge(
    systems: Systems,
    model: str,
    challenge: str,
    row: Evidence,
    champion_version: ModelVersion,
    challenger_version: ModelVersion,
    holdout: HoldoutRows,
    started: float,
) -> EvaluateResult:
    """Both versions on the holdout, the verdict, and a winner's gate; the result closes the evaluation's `row`."""
    operations, now, body = systems.operations, row.created_at, systems.operations.champion_challengers[challenge]
    declared = body.evaluation
    champion = contenders.judge_champion(systems, champion_version, holdout)
    challenger = contenders.judge_challenger(systems, challenger_version, holdout)
    speed = None if challenger.failure else contenders.latency(systems, champion, challenger, holdout)
    weighing = [each.name for each in declared.metrics]
    names = list(dict.fromkeys([*weighing, *quality.demanded(operations, model), *holdout.task.metrics]))
    ours = champion.metrics(names, speed, champion=True)
    theirs = challenger.metrics(names, speed, champion=False)
    weighted = [
        WeightedMetric(name=each.name, weight=each.weight, direction=Direction(each.direction))
        for each in declared.metrics
    ]
    comparison = compare(weighted, ours, theirs, measured={**_measured(speed), **_size(ours, theirs)})
    interval = _interval(weighted, champion, challenger, comparison)
    verdict = (
        Outcome.CHAMPION_WINS
        if challenger.failure
        else judge(
            comparison.improvement,
            interval,
            declared.min_weighted_improvement,
            complete=not comparison.missing,
            require_interval=declared.require_significance,
        )
    )
    judged, opened = GateResult(gate_id=None, status="not_run", checks=[]), None
    if verdict is Outcome.CHALLENGER_WINS:
        judged = _gate(systems, model, row.id, holdout, champion, challenger, ours, theirs, now)
        if judged.gate_id is not None and judged.status != "passed":
            checks = judged.checks
            opened = investigate(systems, model, judged.gate_id, checks, holdout, champion, challenger, now)
    result = EvaluateResult(
        evaluation_id=row.id,
        challenge=challenge,
        model=model,
        champion=Contender(version=champion_version.version, metrics=ours),
        challenger=Contender(version=challenger_version.version, metrics=theirs),
        weighted_improvement=comparison.improvement,
        min_weighted_improvement=declared.min_weighted_improvement,
        interval=interval,
        verdict=verdict,
        contributions=comparison.contributions,
        auc_test=_auc_test(champion, challenger, holdout),
        holdout=holdout.about,
        gate=judged,
        investigation=opened,
        next=_next(systems, model, body, verdict, judged, challenger, opened),
        remark=moved_alias(systems, model),
        seconds=round(time.perf_counter() - started, 3),
    )
    systems.store.update(row.id, body=result, status=verdict.value)
    if verdict is Outcome.CHAMPION_WINS:
        _archive(systems, challenger_version, row.id)
    return result


def _measured(speed: LatencyComparison | None) -> dict[str, tuple[float, str]]:
    """Relative improvements of the latencies: 0 where the rounds do not vouch for a difference."""
    if speed is None:
        return {}
    if speed.within_noise:
        remark = f"a difference of {abs(speed.ratio - 1):.0%}, within the measurement's noise ({speed.noise:.0%})"
        return dict.fromkeys(_LATENCIES, (0.0, remark))
    tail = relative_improvement(speed.champion_p99_ms, speed.challenger_p99_ms, Direction.LOWER)
    remark = f"{speed.ratio:.2f} times the champion's time"
    return {"inference_ms": (speed.improvement, remark), **dict.fromkeys(_LATENCIES[1:], (tail, remark))}


def _size(ours: dict[str, float], theirs: dict[str, float]) -> dict[str, tuple[float, str]]:
    """Nothing, or 0 for a difference of bytes that is only how the same capacity happened to be written down."""
    gain = relative_improvement(ours.get(_SIZE, math.nan), theirs.get(_SIZE, math.nan), Direction.LOWER)
    return {_SIZE: (0.0, "a difference of less than 1%")} if abs(gain) < _SIZE_NOISE else {}


def _interval(
    weighted: list[WeightedMetric], champion: Judged, challenger: Judged, comparison: Comparison
) -> tuple[float, float]:
    """The bootstrap interval; the improvement itself where there is nothing to resample."""
    point = (comparison.improvement, comparison.improvement)
    if champion.scored is None or challenger.scored is None:
        return point
    fixed = {
        part.metric: part.relative or 0.0
        for part in comparison.contributions
        if part.relative is None or part.metric in (*_LATENCIES, _SIZE)
    }
    return improvement_interval(
        weighted, champion.scored, challenger.scored, fixed=fixed, seed=SEED, metric_of=champion.task.metric
    )


def _auc_test(champion: Judged, challenger: Judged, holdout: HoldoutRows) -> AucDifference | None:
    if champion.said is None or challenger.said is None or holdout.about.positives is None:
        return None
    test = delong(holdout.outcomes, champion.said.scores, challenger.said.scores)
    if math.isnan(test.p_value):
        return None
    return AucDifference(difference=test.difference, p_value=test.p_value, interval=(test.low, test.high))


def _gate(
    systems: Systems,
    model: str,
    evaluation_id: str,
    holdout: HoldoutRows,
    champion: Judged,
    challenger: Judged,
    ours: dict[str, float],
    theirs: dict[str, float],
    now: datetime,
) -> GateResult:
    """Runs the declared gate and stores its result, bound to this artifact, this champion and this holdout."""
    declared = systems.operations.gate_of(model)
    if declared is None:
        return GateResult(gate_id=None, status="not_run", checks=[])
    found = quality.checks(systems, model, declared, holdout, champion, challenger, ours, theirs)
    status = gate.status(found)
    version = challenger.version
    result = GateResult(
        gate_id=None,
        status=status.value,
        checks=found,
        version=version.version,
        artifact_digest=version.digest,
        champion=champion.version.version,
        holdout_digest=holdout.about.digest,
        expires_at=now + declared.max_age,
    )
    row = systems.store.add(
        Kind.gate, model, result, at=now, version=version.version, status=status.value, rests_on=evaluation_id
    )
    result = result.model_copy(update={"gate_id": row.id})
    systems.store.update(row.id, body=result)
    return result


def _archive(systems: Systems, version: ModelVersion, evaluation_id: str) -> None:
    """Takes the alias `challenger` from a version that lost (unless another holds it by now) and says so on it."""
    if systems.registry.alias(version.name, CHALLENGER) == version.version:
        systems.registry.delete_alias(version.name, CHALLENGER)
    systems.registry.tag(version.name, version.version, ARCHIVED_TAG, evaluation_id)


def _next(
    systems: Systems,
    model: str,
    body: ChampionChallenger,
    verdict: Outcome,
    judged: GateResult,
    challenger: Judged,
    opened: Investigation | None,
) -> str:
    """What follows, in words."""
    if challenger.failure:
        return f"the champion stays, the challenger is archived: {challenger.failure}"
    if verdict is Outcome.CHAMPION_WINS:
        return "the champion stays, the challenger is archived"
    if verdict is Outcome.TIE:
        return "the champion stays: the challenger is no better beyond doubt"
    version = challenger.version.version
    by = "" if body.promotion.auto_promote else " (a person must: auto_promote is false)"
    deploy = f"deploy version {version} by {body.promotion.deployment_strategy}{by}"
    if judged.status == "passed":
        return deploy
    waiver = waived_by(systems, model, version)
    told = "no quality gate is declared" if judged.status == "not_run" else f"the gate is {judged.status}"
    if opened is not None:
        blocking = [c.name for c in judged.checks if c.verdict in (gate.Verdict.FAILED, gate.Verdict.INCONCLUSIVE)]
        told += f" ({', '.join(blocking)}); {opened.investigation_id} says what is known"
    if waiver:
        return f"THE QUALITY GATE IS SWITCHED OFF by {waiver}: {told}; {deploy}"
    return f"promotion is blocked: {told}"


TOOL = Tool(
    name="evaluate",
    effect=Effect.WRITE,
    arguments=EvaluateArguments,
    result=EvaluateResult,
    run=run,
    references={"challenge": "champion_challengers"},
)

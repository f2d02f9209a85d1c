"""Shadow: the challenger answers a copy of each request, nobody gets its answers, and both are compared.

It is promoted only where it wins on every declared metric, is no slower than declared and does not fail; where any of
that is shown not to be so, the champion stays; where nothing is shown, people are asked.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from policies.declarations.deployment import Shadow
from policies.errors import InputError
from policies.metrics import ALLOWED, Direction
from policies.tasks import shadow_problem
from tools import tasks
from tools.deploy import losses
from tools.deploy.comparison import log_e_breach
from tools.deploy.copies import FEWEST_TIMED, Agreement, Coverage, Pairs, Times, agreement, coverage, labelled, times
from tools.deploy.evidence import Period, of_requests
from tools.deploy.gates import (
    DEFAULT_LIMITS,
    FAIL_ALPHA,
    LOWEST_LOG,
    PASS_ALPHA,
    SLOW_SHARE,
    champion_rate,
    rate,
    verdict_of,
    wanting,
)
from tools.deploy.ranking import (
    FEWEST_OF_A_CLASS,
    Difference,
    Replayed,
    interval,
    log_e_above,
    replayed_difference,
    rows_to_pass,
)
from tools.deploy.rates import log_e_below, requests_to_pass
from tools.deploy.rollout import Rollout, StageState
from tools.deploy.verdicts import GateVerdict, Measurement, Verdict, worst

if TYPE_CHECKING:
    from tools.systems.systems import Systems

LATENCY = "latency_p99"
INCREASE = "p99_increase_pct"
"""What is measured of it: how much longer the challenger itself takes than the champion, in percent of its p99."""
_LONGEST_WAIT = timedelta(days=7)
_DOUBT = 0.25
"""One imagined row whose placement is off by this much, as for the AUC: a few perfect rows must not claim certainty."""


def plan(
    systems: Systems, shadow: Shadow, *, strategy: str, model: str, version: str, champion: str, now: datetime
) -> Rollout:
    """A pending rollout of one stage, without traffic. Raises InputError for a metric that cannot be compared."""
    binding = systems.operations.model(model)
    if binding.prediction_log is None:
        raise InputError("name the table of the prediction log: prediction_log", where=f"models.{model}")
    for name in shadow.compared:
        _computed(name, binding.task, f"deployment_strategies.{strategy}")
    stage = StageState(
        traffic_pct=0.0,
        duration=shadow.duration,
        gate="shadow",
        max_wait=max(3 * shadow.duration, _LONGEST_WAIT),
        mirrored=True,
    )
    return Rollout(
        strategy=strategy,
        declared=shadow,
        model=model,
        version=version,
        champion=champion,
        started_at=now,
        stages=(stage,),
    )


def assess(systems: Systems, state: Rollout, now: datetime) -> GateVerdict:
    """Everything that the copies say since the stage began. Raises SystemDown, InputError."""
    shadow, started, binding = state.declared, state.current.started_at, systems.operations.model(state.model)
    assert isinstance(shadow, Shadow) and started is not None and binding.prediction_log is not None
    log = binding.prediction_log
    # A log from before there were copies has no column for their times.
    if not systems.warehouse.exists(log) or "model_ms" not in systems.warehouse.columns(log):
        return GateVerdict(name="shadow", verdict=Verdict.INCONCLUSIVE, detail="no request was copied yet")
    period = Period(state.champion, state.version, (started,), now, variant="shadow")
    wins, names = shadow.promotion_criteria.challenger_wins_on, shadow.compared
    alpha = FAIL_ALPHA / (len(set(wins) - {LATENCY}) + 2)
    errors, limit = of_requests(systems, state.model, period, ()).errors, DEFAULT_LIMITS["error_rate"]
    share = errors.k / errors.n if errors.n else None
    most = 0.0 if LATENCY in wins else shadow.promotion_criteria.max_latency_increase_pct
    pairs = labelled(systems, binding, period)
    compared = [_metric(systems, state, name, pairs, alpha, asked=name in wins) for name in names if name != LATENCY]
    measurements = (
        rate("error_rate", limit, limit, share, champion_rate(errors), errors, alpha),
        _latency(times(systems, log, period, 1.0 + most / 100.0), most, alpha),
        *compared,
    )
    return GateVerdict(
        name="shadow",
        verdict=worst(each.verdict for each in measurements if each.asked),
        measurements=measurements,
        detail=_alike(coverage(systems, log, period), agreement(systems, log, period)),
    )


def _computed(name: str, task: str, where: str) -> None:
    """Raises InputError unless the metric compares answers, or is the latency of the copies."""
    from tools.evaluate.metrics import metric

    if (problem := shadow_problem(name, task)) is not None:
        raise InputError(problem, where=where)
    if task != "binary":
        return
    try:
        found = metric(name)
    except KeyError:
        raise InputError(f"there is no metric {name!r}; there are {', '.join(ALLOWED)}", where=where) from None
    if found.task != "binary" and name != LATENCY:
        raise InputError(f"{name} is not compared in a shadow: name a metric of the answers, or {LATENCY}", where=where)


def _latency(found: Times, most_pct: float, alpha: float) -> Measurement:
    """The challenger's own 99th percentile against the champion's on the same copies in the same process.

    It is too slow where more than 1% of its times are beyond the allowed multiple of the champion's p99, and more than
    of the champion's: a stall that hits both is nobody's.
    """
    if found.slow is None or found.surely_slow is None or found.p99_ms is None or found.champion_p99_ms is None:
        return Measurement(
            name=INCREASE, verdict=Verdict.INCONCLUSIVE, value=None, champion_value=None, limit=most_pct, n=found.n,
            champion_n=found.n, needs=FEWEST_TIMED - found.n, needs_what="copies",
            detail=f"{found.n:,} copies timed, at least {FEWEST_TIMED:,} are needed",
        )  # fmt: skip
    sure = found.surely_slow
    log_e_fail = log_e_breach(found.slow, SLOW_SHARE)
    log_e_pass = float(log_e_below(sure.k, sure.n, SLOW_SHARE))
    verdict = verdict_of(log_e_fail, log_e_pass, alpha)
    needs = 0 if verdict is Verdict.PASS else requests_to_pass(sure.k, sure.n, SLOW_SHARE, PASS_ALPHA)
    value = (found.p99_ms / found.champion_p99_ms - 1.0) * 100.0
    detail = f"p99 of the model itself {found.p99_ms:.3g} ms against the champion's {found.champion_p99_ms:.3g} ms on "
    detail += f"the same {found.n:,} copies ({value:+.0f}%, at most {most_pct:+g}%)"
    return Measurement(
        name=INCREASE, verdict=verdict, value=value, champion_value=None, limit=most_pct, n=found.n, champion_n=found.n,
        log_e_fail=max(log_e_fail, LOWEST_LOG), log_e_pass=max(log_e_pass, LOWEST_LOG), needs=needs,
        needs_what="copies", detail=detail + wanting(verdict, needs, "copies"),
    )  # fmt: skip


def _metric(systems: Systems, state: Rollout, name: str, pairs: Pairs, alpha: float, *, asked: bool) -> Measurement:
    """One metric of both versions on the same labelled requests, and the evidence that one of them is better."""
    from tools.evaluate.metrics import metric

    n = len(pairs.label)
    difference = _difference(systems, state, name, pairs)
    if difference is None:
        return Measurement(
            name=name, verdict=Verdict.INCONCLUSIVE, value=None, champion_value=None, limit=None, n=n, champion_n=n,
            needs_what="labelled requests", asked=asked,
            detail=f"{n:,} labelled requests, fewer than {_fewest(systems, state)}",
        )  # fmt: skip
    log_e_pass = log_e_above(difference.value, difference.error, 0.0)
    log_e_fail = log_e_above(-difference.value, difference.error, 0.0)
    verdict = verdict_of(log_e_fail, log_e_pass, alpha)
    needs = 0 if verdict is Verdict.PASS else rows_to_pass(n, difference, 0.0, PASS_ALPHA)
    sign = 1.0 if metric(name).direction is Direction.HIGHER or difference.gain is not None else -1.0
    ours, theirs = sign * difference.challenger, sign * difference.champion
    low, high = interval(difference, PASS_ALPHA)
    detail = f"{ours:.3f} against the champion's {theirs:.3f} on the same {n:,} labelled requests "
    detail += f"(better by {low:+.3f} to {high:+.3f})"
    return Measurement(
        name=name, verdict=verdict, value=ours, champion_value=theirs, limit=None, n=n, champion_n=n,
        log_e_fail=max(log_e_fail, LOWEST_LOG), log_e_pass=max(log_e_pass, LOWEST_LOG), interval=(low, high),
        needs=needs, needs_what="labelled requests", asked=asked,
        detail=detail + wanting(verdict, needs, "labelled requests"),
    )  # fmt: skip


def _difference(systems: Systems, state: Rollout, name: str, pairs: Pairs) -> Difference | None:
    """Challenger minus champion, above zero where the challenger is better; None with too few of a class."""
    from tools.evaluate.metrics import Scored, metric
    from tools.evaluate.significance import difference_error
    from tools.retrain.evidence import threshold

    if not (task := tasks.of(systems.operations.model(state.model).task)).ranked:
        rows = Replayed(pairs.champion, pairs.challenger, pairs.label)
        return losses.replayed_gain(rows, relative=losses.RELATIVE[task.degradation])
    if name == "auc_roc":
        return replayed_difference(Replayed(pairs.champion, pairs.challenger, pairs.label))
    rarest = min(int(pairs.label.sum()), int((~pairs.label).sum()))
    if rarest < FEWEST_OF_A_CLASS:
        return None
    registered, outcomes = systems.operations.model(state.model).registry_name, pairs.label.astype(np.float64)
    flags = [threshold(systems.registry.get(registered, each)) for each in (state.champion, state.version)]
    champion = Scored(outcomes, pairs.champion, flags[0])
    challenger = Scored(outcomes, pairs.challenger, flags[1])
    computed = metric(name)
    sign = 1.0 if computed.direction is Direction.HIGHER else -1.0
    theirs, ours = computed(champion), computed(challenger)
    error = difference_error(computed, champion, challenger, seed=0)
    if not all(math.isfinite(each) for each in (theirs, ours, error)):
        return None
    return Difference(sign * theirs, sign * ours, math.hypot(error, _DOUBT / rarest))


def _fewest(systems: Systems, state: Rollout) -> str:
    ranked = tasks.of(systems.operations.model(state.model).task).ranked
    return f"{FEWEST_OF_A_CLASS} of a class" if ranked else f"{losses.FEWEST_ROWS}"


def _alike(covered: Coverage, alike: Agreement | None) -> str:
    said = f"{covered.copied:,} of {covered.answered:,} answered requests were copied, {covered.dropped:,} were dropped"
    if alike is None:
        return said
    theirs = "/".join(f"{each:.2f}" for each in alike.champion_scores)
    ours = "/".join(f"{each:.2f}" for each in alike.challenger_scores)
    same = "" if alike.same_label is None else f"the same label for {alike.same_label:.1%}, "
    said += f"; {same}scores {alike.mean_difference:.3f} apart on average, "
    return said + f"10th/50th/90th percentile {ours} against {theirs}"

"""A/B test: people are shared out for good, and what the business gets from them decides.

Each person (the request's id) is in one arm by a hash with the experiment's own salt, counts once, with the first
outcome after its first answer, and in the arm it was given, whoever answered in the end. There are five looks, fixed
before the first request by the declared duration; a call that comes late sees at each look what was known then, no
more. Without a significant look the test runs to its declared end, and the champion stays.
"""

from __future__ import annotations

import math
from datetime import datetime
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from policies.declarations.binding import Labels, ModelBinding
from policies.declarations.deployment import ABTest
from policies.errors import InputError
from tools.deploy.evidence import Period, of_requests
from tools.deploy.experiment import MISMATCH_ALPHA, Arms, Look, log_e_mismatch, looks
from tools.deploy.gates import judge, limits
from tools.deploy.harm import harm_conditions
from tools.deploy.rollout import Rollout, StageState
from tools.deploy.verdicts import GateVerdict, Measurement, Verdict
from tools.systems.warehouse import quote

if TYPE_CHECKING:
    import pandas as pd

    from tools.systems.systems import Systems

LOOKS = 5
GATE = "ab_test"


def plan(
    systems: Systems, declared: ABTest, *, strategy: str, model: str, version: str, champion: str, now: datetime
) -> Rollout:
    """A pending rollout of one stage. Raises InputError where the success metric has no table of outcomes."""
    binding = systems.operations.model(model)
    if binding.prediction_log is None:
        raise InputError("name the table of the prediction log: prediction_log", where=f"models.{model}")
    _outcomes(binding, model, declared)
    stage = StageState(
        traffic_pct=declared.variants.treatment.traffic_pct,
        duration=declared.duration,
        gate=GATE,
        max_wait=declared.duration,
        early=True,
        undecided="keep_champion",
    )
    return Rollout(
        strategy=strategy,
        declared=declared,
        model=model,
        version=version,
        champion=champion,
        started_at=now,
        stages=(stage,),
        conditions=harm_conditions(systems, model),
        salt=blake2b(f"{strategy} {version} {now.isoformat()}".encode(), digest_size=8).hexdigest(),
    )


def assess(systems: Systems, state: Rollout, now: datetime) -> GateVerdict:
    """Whether the treatment harms, whether people are shared out as declared, and what the looks so far say."""
    declared, started = state.declared, state.current.started_at
    assert isinstance(declared, ABTest) and started is not None
    period = Period(state.champion, state.version, (started,), now)
    latency = [each.bound.limit for each in limits("none", state.conditions) if each.name == "p99_latency_ms"]
    harm = judge("none", state.conditions, of_requests(systems, state.model, period, latency))
    told = tuple(each.model_copy(update={"asked": False}) for each in harm.measurements)
    if harm.breached:
        return harm.model_copy(update={"name": GATE})
    people = _people(systems, state, period, declared)
    if people is None:
        said = f"nobody was asked yet; the first of {LOOKS} looks is due {_due(state, declared, 1):%Y-%m-%d %H:%M}"
        return GateVerdict(name=GATE, verdict=Verdict.INCONCLUSIVE, measurements=told, detail=said)
    invalid = _mismatch(people.drop_duplicates("id"), declared.variants.treatment.traffic_pct / 100.0)
    due = [at for number in range(1, LOOKS + 1) if (at := _due(state, declared, number)) <= now]
    seen = [_arms(people, at) for at in due]
    rules = declared.statistical
    found = looks(seen, LOOKS, rules.test, rules.significance, rules.min_sample_size)
    measured = _measured(declared, found, _arms(people, now), len(due))
    return GateVerdict(name=GATE, verdict=measured.verdict, measurements=(measured, *told), invalid=invalid)


def _due(state: Rollout, declared: ABTest, number: int) -> datetime:
    assert state.current.started_at is not None
    return state.current.started_at + declared.duration * number / LOOKS


def _outcomes(binding: ModelBinding, model: str, declared: ABTest) -> Labels:
    if declared.success_metric not in binding.outcomes:
        names = ", ".join(binding.outcomes) or "none"
        example = "{table: T, id: customer_id, time: offered_at, value: converted, arrived: known_at}"
        raise InputError(
            f"{declared.success_metric} has no table of outcomes (declared: {names}): "
            f"write {declared.success_metric}: {example}",
            where=f"models.{model}.outcomes",
        )
    return binding.outcomes[declared.success_metric]


def _people(systems: Systems, state: Rollout, period: Period, declared: ABTest) -> pd.DataFrame | None:
    """A row a person: `treated`, and `value` and `arrived` of the first outcome, null where none is known yet.

    A person whose first outcome was corrected has a row for each time it was told: a look sees what was known then.

    People without an id cannot be followed; who was in both arms (asked under two splits) counts in neither.
    """
    binding = systems.operations.model(state.model)
    log, outcomes = binding.prediction_log, _outcomes(binding, state.model, declared)
    assert log is not None
    if not systems.warehouse.exists(log):
        return None
    known = "SELECT NULL AS id, NULL AS since, NULL AS value, NULL AS arrived WHERE false"
    if systems.warehouse.exists(outcomes.table):
        known = f"""
            SELECT CAST({quote(outcomes.id)} AS VARCHAR) AS id, {quote(outcomes.time)} AS since,
                   CAST({quote(outcomes.value)} AS DOUBLE) AS value, {quote(outcomes.arrived)} AS arrived
            FROM {outcomes.table} WHERE {quote(outcomes.arrived)} <= $until"""
    sql = f"""
        WITH exposed AS (
            SELECT id, bool_or(variant = 'challenger') AS treated, min("at") AS first FROM {log}
            WHERE "at" >= $since AND "at" <= $until AND id IS NOT NULL
              AND ((variant = 'champion' AND version = $champion) OR (variant = 'challenger' AND version = $challenger))
            GROUP BY id HAVING count(DISTINCT variant) = 1),
        known AS ({known}),
        first_known AS (
            SELECT e.id, min(k.since) AS since
            FROM exposed e JOIN known k ON k.id = e.id AND k.since >= e.first
            WHERE k.value IS NOT NULL GROUP BY e.id)
        SELECT e.id, e.treated, k.value, k.arrived
        FROM exposed e LEFT JOIN first_known f USING (id) LEFT JOIN known k ON k.id = f.id AND k.since = f.since
        ORDER BY e.id, k.arrived, k.value
    """
    people: pd.DataFrame = systems.warehouse.query(sql, period.params).to_pandas()
    if people.empty:
        return None
    values = people["value"].dropna()
    if declared.statistical.test == "chi_squared" and not values.isin([0.0, 1.0]).all():
        raise InputError(
            f"{outcomes.table}.{outcomes.value} is not yes or no: test: t_test or mann_whitney compares amounts",
            where=f"deployment_strategies.{state.strategy}.statistical",
        )
    return people


def _arms(people: pd.DataFrame, at: datetime) -> Arms:
    """What was known at a time."""
    known = people[people["arrived"] <= np.datetime64(at, "us")].drop_duplicates("id", keep="last")
    known = known.dropna(subset=["value"])
    treated = known["treated"].to_numpy(np.bool_)
    values = known["value"].to_numpy(np.float64)
    return Arms(control=values[~treated], treatment=values[treated])


def _mismatch(people: pd.DataFrame, share: float) -> str:
    treated = int(people["treated"].sum())
    if log_e_mismatch(treated, len(people), share) < math.log(1.0 / MISMATCH_ALPHA):
        return ""
    return (
        f"sample ratio mismatch: {treated:,} of {len(people):,} people ({treated / len(people):.1%}) are in the "
        f"treatment, {share:.1%} were declared; whatever lost them makes the comparison worthless"
    )


def _measured(declared: ABTest, found: list[Look], known: Arms, due: int) -> Measurement:
    """The last look that took place, else how many people are missing."""
    metric, fewest = declared.success_metric, declared.statistical.min_sample_size
    n, champion_n = len(known.treatment), len(known.control)
    if not found:
        short = max(fewest - min(n, champion_n), 0)
        said = f"outcomes of {n:,} people in the treatment and {champion_n:,} in control, {fewest:,} are needed in each"
        return Measurement(
            name=metric, verdict=Verdict.INCONCLUSIVE, value=None, champion_value=None, limit=None, n=n,
            champion_n=champion_n, needs=short, needs_what="outcomes an arm", detail=f"{said}: needs more",
        )  # fmt: skip
    look = found[-1]
    verdict = Verdict.INCONCLUSIVE
    if look.significant:
        verdict = Verdict.PASS if look.effect.z > 0 else Verdict.FAIL
    return Measurement(
        name=metric,
        verdict=verdict,
        value=look.effect.treatment,
        champion_value=look.effect.control,
        limit=None,
        n=len(look.arms.treatment),
        champion_n=len(look.arms.control),
        interval=look.interval,
        needs_what="outcomes an arm",
        detail=_said(declared, look, due),
    )


def _said(declared: ABTest, look: Look, due: int) -> str:
    found, (low, high) = look.effect, look.interval
    sizes = f"{len(look.arms.treatment):,} people against control's", f"{len(look.arms.control):,}"
    confidence = f"{1.0 - declared.statistical.significance:.0%}"
    if declared.statistical.test == "chi_squared":
        values = f"{found.treatment:.2%} of {sizes[0]} {found.control:.2%} of {sizes[1]}"
        size = f"{found.difference * 100:+.2f} points ({confidence}: {low * 100:+.2f} to {high * 100:+.2f})"
    elif declared.statistical.test == "t_test":
        values = f"{found.treatment:.4g} for {sizes[0]} {found.control:.4g} for {sizes[1]}"
        size = f"{found.difference:+.4g} ({confidence}: {low:+.4g} to {high:+.4g})"
    else:
        values = f"median {found.treatment:.4g} for {sizes[0]} {found.control:.4g} for {sizes[1]}"
        size = f"treatment is the larger with {found.difference + 0.5:.1%} ({low + 0.5:.1%} to {high + 0.5:.1%})"
    if declared.statistical.test != "mann_whitney" and found.control > 0:
        size += f", relative {found.difference / found.control:+.1%}"
    verdict = ("treatment" if found.z > 0 else "control") if look.significant else "no difference shown"
    at = f"look {look.number} of {LOOKS}" + (f" ({due} due)" if due > look.number and not look.significant else "")
    return f"{values}: {size}; {at}: |z| {abs(found.z):.2f}, {look.boundary:.2f} needed: {verdict}"

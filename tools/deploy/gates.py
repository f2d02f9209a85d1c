"""What a stage's gate says: measurements of the challenger, each a pass, a fail, or not enough to tell.

Levels: evidence to fail is shared out over what is measured so that a healthy challenger is rolled back with a chance
of at most 1% however often it is looked at; evidence to pass is 5% for each measurement, all of which must pass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from policies.conditions import Bound, Comparison, Condition, parse_condition
from policies.declarations.deployment import named_gate
from policies.errors import InputError
from policies.tasks import COMPARED, DEGRADATION
from tools.deploy import losses
from tools.deploy.comparison import Slices, log_e_breach
from tools.deploy.ranking import FEWEST_OF_A_CLASS, UNLABELLED, RankingEvidence, Replayed, Served, compare
from tools.deploy.rates import log_e_below, requests_to_pass
from tools.deploy.verdicts import GateVerdict, Measurement, Verdict, worst

FAIL_ALPHA = 0.01
PASS_ALPHA = 0.05
SLOW_SHARE = 0.01
"""A 99th percentile is within its limit where at most this share of the answers is slower."""
FEWEST_IN_STAGE = 100
"""Challenger requests a stage must have seen itself before its gate passes on the whole rollout's evidence."""
DEFAULT_LIMITS = {"error_rate": 0.01, "p99_latency_ms": 300.0, **dict.fromkeys(COMPARED, 0.05)}
"""Limits of a named gate's measurements where no rollback condition names one."""

AUC_DEGRADATION = DEGRADATION["binary"]
LOWEST_LOG = -700.0
"""exp(-700) is about the smallest double: evidence below it is stored as this."""


@dataclass(frozen=True)
class Evidence:
    """What was seen of both variants since the rollout began.

    `slow` holds, for each latency limit in ms, answers slower than it among those timed. `unreplayed` says why nothing
    is `replayed` where something should be.
    """

    errors: Slices
    slow: dict[float, Slices]
    p99_ms: float | None = None
    champion_p99_ms: float | None = None
    requests_in_stage: int = 0
    challenger: Served = UNLABELLED
    champion: Served = UNLABELLED
    replayed: Replayed | None = None
    unreplayed: str = ""


def limits(
    gate: str, conditions: Sequence[str], requires: Sequence[str] = (), degradation: str = AUC_DEGRADATION
) -> list[Comparison]:
    """Everything to be measured, as upper limits: the comparisons of the rollback conditions, those of a gate's
    declared conditions, and defaults for what a named gate adds. `degradation`: what is measured of the task's labels.

    Raises InputError for a rollback condition that is no upper limit.
    """
    found = [each for text in conditions for each in parse_condition(text).comparisons]
    for each in found:
        if each.bound.operator not in (">", ">="):
            raise InputError(f"{each} is no upper limit: write {each.name} > LIMIT", where="rollback.conditions")
    declared = {each.name for each in found}
    defaults = [
        f"{name} > {DEFAULT_LIMITS[name]!r}" for name in _named(gate, requires, degradation) if name not in declared
    ]
    found += [each for text in defaults for each in parse_condition(text).comparisons]
    return list(dict.fromkeys([*found, *_required(requires)]))


def judge(
    gate: str,
    conditions: Sequence[str],
    evidence: Evidence,
    requires: Sequence[str] = (),
    degradation: str = AUC_DEGRADATION,
) -> GateVerdict:
    """The verdict of a gate, and the rollback conditions that hold, on the evidence so far.

    A gate asks for what its name stands for, or for each of the conditions it `requires`. Its verdict is the worst of
    what it asks: one measurement that cannot tell yet keeps it inconclusive, and labels too few for the `degradation`
    are no exception. So is a gate that asks anything until its own stage has seen 100 challenger requests. What only a
    rollback condition names is measured too, but can only fail.
    """
    compared = limits(gate, conditions, requires, degradation)
    measured = {each: measure(each, evidence, FAIL_ALPHA / len(compared)) for each in compared}
    named, required = _named(gate, requires, degradation), set(_required(requires))
    if requires:
        measured = {each: found.model_copy(update={"asked": each in required}) for each, found in measured.items()}
    verdicts = [found.verdict for each, found in measured.items() if each.name in named or each in required]
    detail = ""
    if verdicts and evidence.requests_in_stage < FEWEST_IN_STAGE:
        verdicts.append(Verdict.INCONCLUSIVE)
        seen = evidence.requests_in_stage
        detail = f"{seen} challenger requests in this stage, at least {FEWEST_IN_STAGE} are needed"
    failed = {each for each, measurement in measured.items() if measurement.verdict is Verdict.FAIL}
    breached = tuple(text for text in conditions if _holds(parse_condition(text), failed))
    return GateVerdict(
        name=gate, verdict=worst(verdicts), measurements=tuple(measured.values()), detail=detail, breached=breached
    )


def _named(gate: str, requires: Sequence[str], degradation: str) -> tuple[str, ...]:
    return () if requires else named_gate(gate, degradation)


def _required(requires: Sequence[str]) -> list[Comparison]:
    """Declared conditions as the upper limits they are: `error_rate <= 0.005` is held against `error_rate > 0.005`."""
    stated = [each for text in requires for each in parse_condition(text).comparisons]
    return [Comparison(each.name, Bound(">", each.bound.limit)) for each in stated]


def measure(compared: Comparison, evidence: Evidence, fail_alpha: float) -> Measurement:
    """One measurement against its limit."""
    limit = compared.bound.limit
    if compared.name == "error_rate":
        share = evidence.errors.k / evidence.errors.n if evidence.errors.n else None
        return rate("error_rate", limit, limit, share, champion_rate(evidence.errors), evidence.errors, fail_alpha)
    if compared.name == "p99_latency_ms":
        slow, ours, theirs = evidence.slow[limit], evidence.p99_ms, evidence.champion_p99_ms
        return rate("p99_latency_ms", limit, SLOW_SHARE, ours, theirs, slow, fail_alpha)
    of_labels = evidence.challenger, evidence.champion, evidence.replayed, limit, PASS_ALPHA
    found = compare(*of_labels) if compared.name == AUC_DEGRADATION else losses.compare(compared.name, *of_labels)
    return _degradation(compared.name, limit, found, evidence, fail_alpha)


def rate(
    name: str,
    limit: float,
    share: float,
    value: float | None,
    champion_value: float | None,
    slices: Slices,
    fail_alpha: float,
) -> Measurement:
    """A share of the challenger's requests (failed, or slower than `limit` ms) held against the largest allowed."""
    log_e_fail = log_e_breach(slices, share)
    log_e_pass = float(log_e_below(slices.k, slices.n, share))
    verdict = verdict_of(log_e_fail, log_e_pass, fail_alpha)
    champion_n = int(slices.champion_n.sum())
    needs = 0 if verdict is Verdict.PASS else requests_to_pass(slices.k, slices.n, share, PASS_ALPHA)
    what = "failed" if name == "error_rate" else f"were slower than {limit:g} ms"
    detail = f"{slices.k:,} of {slices.n:,} challenger requests {what}, "
    detail += f"{int(slices.champion_k.sum()):,} of {champion_n:,} of the champion's"
    return Measurement(
        name=name,
        verdict=verdict,
        value=value,
        champion_value=champion_value,
        limit=limit,
        n=slices.n,
        champion_n=champion_n,
        log_e_fail=max(log_e_fail, LOWEST_LOG),
        log_e_pass=max(log_e_pass, LOWEST_LOG),
        needs=needs,
        needs_what="challenger requests",
        detail=detail + wanting(verdict, needs, "challenger requests"),
    )


def _degradation(name: str, limit: float, found: RankingEvidence, evidence: Evidence, fail_alpha: float) -> Measurement:
    title, digits = COMPARED[name], ".4g" if losses.RELATIVE.get(name) else ".3f"
    short = f"{FEWEST_OF_A_CLASS} of a class" if name == AUC_DEGRADATION else f"{losses.FEWEST_ROWS}"
    best = found.replayed or found.served
    verdict = verdict_of(found.log_e_fail, found.log_e_pass, fail_alpha) if best else Verdict.INCONCLUSIVE
    rows = len(evidence.replayed.label) if evidence.replayed else len(evidence.challenger.label)
    needs = 0 if verdict is Verdict.PASS else found.rows_needed
    parts = []
    if found.replayed:
        pair = f"{found.replayed.challenger:{digits}} against the champion's {found.replayed.champion:{digits}}"
        parts.append(f"{title} {pair} on the same {rows:,} labelled rows")
    if found.served:
        parts.append(f"as served {found.served.challenger:{digits}} against {found.served.champion:{digits}}")
    if not parts:
        parts.append(f"{rows:,} labelled rows, fewer than {short}")
    left = wanting(verdict, needs, "labelled rows") if best else _unranked(title, needs)
    unreplayed = f"; {evidence.unreplayed}" if evidence.unreplayed else ""
    return Measurement(
        name=name,
        verdict=verdict,
        value=-best.value if best else None,
        champion_value=0.0 if best else None,
        limit=limit,
        n=rows,
        champion_n=rows if evidence.replayed else len(evidence.champion.label),
        log_e_fail=max(found.log_e_fail, LOWEST_LOG),
        log_e_pass=max(found.log_e_pass, LOWEST_LOG),
        interval=(-found.interval[1], -found.interval[0]) if found.interval else None,
        needs=needs,
        needs_what="labelled rows",
        detail="; ".join(parts) + left + unreplayed,
    )


def _unranked(title: str, needs: int | None) -> str:
    """What it takes before the labels can be judged at all."""
    more = f"about {needs:,} more would bring them" if needs else "how many more it takes cannot be said yet"
    return f": its {title} cannot be judged yet; {more}"


def wanting(verdict: Verdict, needs: int | None, what: str) -> str:
    if verdict is not Verdict.INCONCLUSIVE:
        return ""
    return f"; about {needs:,} more {what} would settle it" if needs else "; more of the same would not pass it"


def verdict_of(log_e_fail: float, log_e_pass: float, fail_alpha: float) -> Verdict:
    """Fail goes first; what leans towards failing at the level of passing does not pass."""
    if log_e_fail >= math.log(1.0 / fail_alpha):
        return Verdict.FAIL
    leans = log_e_fail >= math.log(1.0 / PASS_ALPHA)
    return Verdict.PASS if log_e_pass >= math.log(1.0 / PASS_ALPHA) and not leans else Verdict.INCONCLUSIVE


def champion_rate(slices: Slices) -> float | None:
    total = int(slices.champion_n.sum())
    return int(slices.champion_k.sum()) / total if total else None


def _holds(condition: Condition, failed: set[Comparison]) -> bool:
    return any(all(each in failed for each in all_of) for all_of in condition.any_of)

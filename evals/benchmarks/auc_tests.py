"""The gate's test of the AUC beside betting on disjoint blocks of labelled rows: false alarms, and labels it takes.

The peer is exact at any time and with however few labels. A block is one row of the rarer class and the rows of the
other that came since the one before; its score difference is, on average over the block's pairs,

    d = w(challenger) - w(champion),   w = 1 where the positive is ranked above the negative, 1/2 for a tie, 0 below

with mean D = AUC(challenger) - AUC(champion). To show that D is above a bound m, a gambler bets block by block:

    W = prod (1 + b_i (d_i - m)),   0 <= b_i < 1 / (1 + m),   b_i fixed before block i is looked at

Under D <= m, W is a non-negative supermartingale that starts at 1, so that it ever reaches 1/alpha with a probability
of at most alpha (Ville 1939; Waudby-Smith & Ramdas 2024, "Estimating means of bounded random variables by betting",
J. R. Statist. Soc. B 86; the bets are their approximate GRO, mean over mean square). The gate's own
(`tools.deploy.ranking`) is DeLong's error under a normal mixture, which is valid only once the estimate is near
normal.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from tools.deploy.gates import FAIL_ALPHA, PASS_ALPHA
from tools.deploy.ranking import Replayed, log_e_above, replayed_difference

LIMIT, POSITIVE_SHARE, CORRELATION = 0.05, 0.07, 0.7
FAIL_LEVEL = FAIL_ALPHA / 3
"""As of a canary with three conditions."""
ROWS, LOOKS = 3_000, 15
LABELS = (500, 700, 1_000, 1_500, 3_000)
_BOLDEST, _PRIOR_SQUARE = 0.75, 0.25

Floats = npt.NDArray[np.float64]
Evidence = Callable[[Replayed, float, float], float]
"""Nats for sign * D being above a bound: (rows, sign, bound)."""


def simulated(rng: np.random.Generator, n: int, champion: float, challenger: float) -> Replayed:
    """Binormal scores of two models with these AUCs."""
    from scipy.special import ndtri

    label, common = rng.random(n) < POSITIVE_SHARE, math.sqrt(CORRELATION) * rng.normal(size=n)
    own = [common + math.sqrt(1 - CORRELATION) * rng.normal(size=n) for _ in range(2)]
    shifts = [float(ndtri(auc)) * math.sqrt(2) for auc in (champion, challenger)]
    return Replayed(own[0] + shifts[0] * label, own[1] + shifts[1] * label, label)


def block_differences(rows: Replayed) -> Floats:
    """d of each block, in the order of arrival."""
    mostly = 2 * rows.label.sum() > len(rows.label)
    rare = ~rows.label if mostly else rows.label
    ends, others = np.flatnonzero(rare), np.flatnonzero(~rare)
    block = np.searchsorted(ends, others)
    others, block = others[block < len(ends)], block[block < len(ends)]
    ours, theirs = (np.sign(score[ends[block]] - score[others]) for score in (rows.challenger, rows.champion))
    size = np.bincount(block, minlength=len(ends))
    total = np.bincount(block, weights=0.5 * (ours - theirs), minlength=len(ends))
    found: Floats = (-1.0 if mostly else 1.0) * total[size > 0] / size[size > 0]
    return found


def log_wealth(differences: Floats, bound: float) -> Floats:
    """Evidence, in nats, after each block that the mean difference is above `bound`, in (-1, 1)."""
    excess = differences - bound
    before = np.concatenate([[0.0], np.cumsum(excess)[:-1]])
    squares = np.concatenate([[0.0], np.cumsum(excess**2)[:-1]]) + _PRIOR_SQUARE
    bets = np.clip(before / squares, 0.0, _BOLDEST / (1.0 + bound))
    return np.asarray(np.cumsum(np.log1p(bets * excess)), dtype=np.float64)


def betting(rows: Replayed, sign: float, bound: float) -> float:
    """The most that was ever shown on the way through the rows."""
    return float(np.max(log_wealth(sign * block_differences(rows), bound), initial=0.0))


def ours(rows: Replayed, sign: float, bound: float) -> float:
    """The most that the gate's test showed at 15 looks on the way."""
    most = 0.0
    for n in np.geomspace(min(200, len(rows.label)), len(rows.label), LOOKS).astype(int):
        found = replayed_difference(Replayed(rows.champion[:n], rows.challenger[:n], rows.label[:n]))
        if found is not None:
            most = max(most, log_e_above(sign * found.value, found.error, bound))
    return most


TESTS: dict[str, Evidence] = {"the gate's (DeLong, normal mixture)": ours, "betting on disjoint blocks": betting}


def shares(
    test: Evidence, rng: np.random.Generator, n: int, aucs: tuple[float, float], runs: int
) -> tuple[float, float]:
    """The shares of rollouts that ever passed, and ever failed."""
    rollouts = [simulated(rng, n, *aucs) for _ in range(runs)]
    passed = [test(each, 1.0, -LIMIT) >= math.log(1.0 / PASS_ALPHA) for each in rollouts]
    failed = [test(each, -1.0, LIMIT) >= math.log(1.0 / FAIL_LEVEL) for each in rollouts]
    return float(np.mean(passed)), float(np.mean(failed))


def main(arguments: Sequence[str]) -> None:
    """Prints one line a test."""
    parser = argparse.ArgumentParser(prog="auc_tests", description=__doc__)
    parser.add_argument("--rollouts", type=int, default=1_000, metavar="N")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    print(f"{options.rollouts:,} rollouts a number; a challenger exactly at the limit of {LIMIT:g}, {ROWS:,} labels:")
    for name, test in TESTS.items():
        passed, failed = shares(test, np.random.default_rng(options.seed), ROWS, (0.8, 0.8 - LIMIT), options.rollouts)
        print(f"  {name:<38} passes {passed:.1%} (<= {PASS_ALPHA:.0%}), fails {failed:.2%} (<= {FAIL_LEVEL:.2%})")
    for what, aucs, at in (
        ("passed, 0.84 against 0.79", (0.79, 0.84), 0),
        ("failed, 0.60 against 0.80", (0.8, 0.6), 1),
    ):
        print(f"{what}, by labels{''.join(f'{n:>8,}' for n in LABELS)}")
        for name, test in TESTS.items():
            rng = np.random.default_rng(options.seed)
            found = [shares(test, rng, n, aucs, options.rollouts)[at] for n in LABELS]
            print(f"  {name:<38}{''.join(f'{each:>8.0%}' for each in found)}")

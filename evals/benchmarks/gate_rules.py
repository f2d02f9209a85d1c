"""Healthy canaries rolled back, and broken ones found: the error gate against the rules of peers, by simulation.

A canary gets 25 requests a second, the champion 475; the error limit is 1%. Every rule looks every 10 seconds, for ten
minutes. Argo Rollouts fails an analysis when more than `failureLimit` (3) of its measurements failed; Flagger when its
counter of failed checks reaches `threshold` (5). Ours is `tools.deploy.comparison.log_e_breach` at the level that a
canary with three conditions gives each. The champion's true error rate is 0.2%.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tools.deploy.comparison import Slices, log_e_breach
from tools.deploy.gates import FAIL_ALPHA

LIMIT, CHAMPION_RATE = 0.01, 0.002
WINDOW_SECONDS, WINDOWS, SLICE_WINDOWS = 10, 60, 60
CANARY, CHAMPION = 25 * WINDOW_SECONDS, 475 * WINDOW_SECONDS
HEALTHY, BROKEN = (0.002, 0.005, 0.008), (0.05, 0.02)
THRESHOLD = math.log(3.0 / FAIL_ALPHA)

Counts = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


def simulated(rng: np.random.Generator, rate: float, rollouts: int) -> tuple[Counts, Counts]:
    """Errors of canary and champion in each window, shape (rollouts, WINDOWS)."""
    shape = (rollouts, WINDOWS)
    return rng.binomial(CANARY, rate, shape), rng.binomial(CHAMPION, CHAMPION_RATE, shape)


def ours(canary: Counts, champion: Counts) -> Flags:
    """Whether the gate would have rolled back at each look, shape (rollouts, WINDOWS)."""
    fails = np.zeros(canary.shape, dtype=np.bool_)
    for run in range(len(canary)):
        for look in range(WINDOWS):
            starts = np.arange(0, look + 1, SLICE_WINDOWS)
            n = np.diff(np.append(starts, look + 1))
            found = [np.add.reduceat(each[run, : look + 1], starts) for each in (canary, champion)]
            slices = Slices(n * CANARY, found[0], n * CHAMPION, found[1])
            if log_e_breach(slices, LIMIT) >= THRESHOLD:
                fails[run, look:] = True
                break
    return fails


def peers(canary: Counts) -> dict[str, Flags]:
    """Whether each rule of peers would have aborted by each look."""
    bad = canary > LIMIT * CANARY
    failed = bad.cumsum(axis=1)
    row = bad[:, 2:] & bad[:, 1:-1] & bad[:, :-2]
    three = np.concatenate([np.zeros((len(bad), 2), dtype=np.bool_), row], axis=1)
    return {
        "any bad window": failed > 0,
        "Argo Rollouts, failureLimit 3": failed > 3,
        "Flagger, threshold 5": failed >= 5,
        "three bad windows in a row": np.logical_or.accumulate(three, axis=1),
    }


def rules(rng: np.random.Generator, rate: float, rollouts: int) -> dict[str, Flags]:
    """All rules on the same rollouts."""
    canary, champion = simulated(rng, rate, rollouts)
    return {"Guardian": ours(canary, champion), **peers(canary)}


def median_seconds(aborted: Flags) -> float:
    """Seconds until half of the rollouts are aborted; infinite where fewer are."""
    looks = np.where(aborted.any(axis=1), aborted.argmax(axis=1) + 1.0, math.inf)
    return float(np.median(looks)) * WINDOW_SECONDS


def main(arguments: Sequence[str]) -> None:
    """Prints one line a rule."""
    parser = argparse.ArgumentParser(prog="gate_rules", description=__doc__)
    parser.add_argument("--rollouts", type=int, default=2_000, metavar="N")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    rng = np.random.default_rng(options.seed)
    healthy = [rules(rng, rate, options.rollouts) for rate in HEALTHY]
    broken = [rules(rng, rate, options.rollouts) for rate in BROKEN]
    print(f"{options.rollouts:,} rollouts a column; rolled back in 10 minutes, true error rate | median time to find")
    columns = "".join(f"{rate:>8.1%}" for rate in HEALTHY) + " |" + "".join(f"{rate:>8.0%}" for rate in BROKEN)
    print(f"{'rule':<32}{columns}")
    for rule in healthy[0]:
        shares = "".join(f"{each[rule][:, -1].mean():>8.1%}" for each in healthy)
        times = "".join(f"{median_seconds(each[rule]):>6.0f} s" for each in broken)
        print(f"{rule:<32}{shares} |{times}")

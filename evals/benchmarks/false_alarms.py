"""False alarms on stationary data and power for small shifts: our rule against Evidently's, NannyML's and PSI > 0.1."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Sequence

import numpy as np

from evals.benchmarks.calm.columns import CATEGORIES, MOST_ROWS_DRAWN, SHAPES, Stationary
from evals.benchmarks.calm.monitor import THRESHOLDS, Said, day
from evals.benchmarks.calm.peers import ours
from evals.benchmarks.calm.power import LEVEL, OURS, Power, no_less, powers

SIZES = (200, 1_000, 10_000, 1_000_000)
ALLOWED = 0.05
_POWER_SIZES = (200, 1_000, 10_000)
_RULE_OF_THUMB = 0.1


def main(arguments: Sequence[str]) -> None:
    """Options: fewer trials for a quicker look; `--part` for one of the three tables."""
    parser = argparse.ArgumentParser(prog="false_alarms", description=__doc__)
    parser.add_argument("--trials", type=int, default=1000, help="daily checks a size")
    parser.add_argument("--days", type=int, default=200, help="days of 24 hourly checks a size")
    parser.add_argument("--power-trials", type=int, default=400, help="pairs of samples a shift and size")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--part", choices=["calm", "power", "psi"], nargs="+", default=["calm", "power", "psi"])
    parser.add_argument("--seed", type=int, default=20)
    options = parser.parse_args(arguments)
    if "calm" in options.part:
        calm(options.sizes, options.trials, options.days, options.seed)
    if "power" in options.part:
        power([size for size in options.sizes if size in _POWER_SIZES], options.power_trials, options.seed)
    if "psi" in options.part:
        rule_of_thumb(options.power_trials, options.seed)


def calm(sizes: Sequence[int], trials: int, days: int, seed: int) -> None:
    """Stationary data: the share of days on which anything was called drifted."""
    print(
        f"Stationary data, {4 * len(SHAPES)} numeric and {len(CATEGORIES)} categorical features, n rows a side.\n"
        f"Up to n = {MOST_ROWS_DRAWN:,} rows are drawn, beyond it counts over each column's law (multinomial, "
        f"so exact).\nShare of days with any alarm, at most {ALLOWED:.0%} allowed. `alone`: the threshold without "
        "evidence.\n"
    )
    methods = [f"{method}>{threshold:g}" for method, threshold in THRESHOLDS.items()]
    print("\t".join(["checks", "n", "days", "evidence alone", *methods, *[f"{each} alone" for each in methods]]))
    for looks, count in ((1, trials), (24, days)):
        for rows in sizes:
            started = time.perf_counter()
            columns = Stationary(seed + rows + looks)
            said = [day(columns, rows, looks) for _ in range(count)]
            cells = [f"{looks} a day", f"{rows:,}", str(count), _rate(each.evidence for each in said)]
            cells += [_rate(method in each.both for each in said) for method in THRESHOLDS]
            cells += [_rate(method in each.threshold for each in said) for method in THRESHOLDS]
            print("\t".join([*cells, _verdict(said)]), flush=True)
            print(f"{looks} looks at {rows:,} rows: {time.perf_counter() - started:.0f} s", file=sys.stderr)
    print()


def power(sizes: Sequence[int], trials: int, seed: int) -> None:
    """Shifts of one normal column: the share found."""
    print(
        "Shift of a standard normal column, n rows a side: share of trials in which it is found.\n"
        "`rule`: the peer's published default; `ours`: our evidence at the false-alarm rate that rule showed "
        f"({OURS:g} where it showed none).\nAt {LEVEL:.0%}: every statistic with its cut moved to that false-alarm "
        "rate. `declared`: our evidence and PSI > 0.2.\n"
    )
    heads = ["Evidently rule", "ours", "NannyML rule", "ours"]
    heads += [f"{name} at {LEVEL:.0%}" for name in ("Evidently", "NannyML", "ours")]
    print("\t".join(["n", "shift", *heads, "declared"]))
    for rows in sizes:
        found = powers(rows, trials, np.random.default_rng(seed + rows))
        for each in found:
            print("\t".join([f"{rows:,}", f"{each.shift:g}", *_cells(each)]), flush=True)
        print(f"n = {rows:,}: ours no less than theirs: {'yes' if no_less(found, trials) else 'NO'}", flush=True)
    print()


def rule_of_thumb(trials: int, seed: int) -> None:
    """PSI > 0.1 on one normal column: alarms without drift on few rows, misses on many."""
    print(f"The rule PSI > {_RULE_OF_THUMB:g} on one normal column, n rows a side, against our evidence at {OURS:g}.\n")
    print("\t".join(["n", "shift", "trials", "PSI rule", "ours"]))
    random = np.random.default_rng(seed)
    for rows, shift, count in (
        (100, 0.0, 10 * trials), (1_000, 0.0, trials), (100_000, 0.0, max(trials // 10, 5)),
        (1_000_000, 0.1, max(trials // 40, 5)), (1_000_000, 0.2, max(trials // 40, 5)),
        (1_000_000, 0.3, max(trials // 40, 5)),
    ):  # fmt: skip
        changes = [ours(random.normal(size=rows), random.normal(shift, 1, rows)) for _ in range(count)]
        rule, evidence = (each.psi > _RULE_OF_THUMB for each in changes), (each.p_value < OURS for each in changes)
        print("\t".join([f"{rows:,}", f"{shift:g}", str(count), _rate(rule), _rate(evidence)]), flush=True)
    print()


def _rate(said: Iterable[bool]) -> str:
    return f"{np.mean(list(said)):.1%}"


def _verdict(said: Sequence[Said]) -> str:
    most = max(float(np.mean([each.evidence for each in said])), *(
        float(np.mean([method in each.both for each in said])) for method in THRESHOLDS
    ))  # fmt: skip
    return "calm" if most <= ALLOWED else "NOT CALM"


def _cells(each: Power) -> list[str]:
    shares = (
        each.evidently, each.ours_as_evidently, each.nannyml, each.ours_as_nannyml,
        each.evidently_level, each.nannyml_level, each.ours_level, each.declared,
    )  # fmt: skip
    return [f"{share:.1%}" for share in shares]

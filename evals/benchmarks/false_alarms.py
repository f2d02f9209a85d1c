"""False alarms on stationary data and power for small shifts: our rule against Evidently's, NannyML's and PSI > 0.1."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from evals.benchmarks.calm import installed, peers
from evals.benchmarks.calm.columns import CATEGORIES, MOST_ROWS_DRAWN, SHAPES, Floats, Stationary
from evals.benchmarks.calm.monitor import THRESHOLDS, Said, day
from evals.benchmarks.calm.power import LEVEL, OURS, SHIFTS, Power, no_less, powers
from evals.benchmarks.drift.environments import python_of
from evals.benchmarks.drift_speed import CACHE

SIZES = (200, 1_000, 10_000, 1_000_000)
ALLOWED = 0.05
PARTS = ("calm", "power", "peers", "psi")
_SIDES = ("reference", "current")
_POWER_SIZES = (200, 1_000, 10_000)
_RULE_OF_THUMB = 0.1


def main(arguments: Sequence[str]) -> None:
    """Options: fewer trials for a quicker look; `--part` for some of the tables."""
    parser = argparse.ArgumentParser(prog="false_alarms", description=__doc__)
    parser.add_argument("--trials", type=int, default=1000, help="daily checks a size")
    parser.add_argument("--days", type=int, default=200, help="days of 24 hourly checks a size")
    parser.add_argument("--power-trials", type=int, default=400, help="pairs of samples a shift and size")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--part", choices=PARTS, nargs="+", default=list(PARTS))
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder of the peers' environments")
    parser.add_argument("--seed", type=int, default=20)
    options = parser.parse_args(arguments)
    if "calm" in options.part:
        calm(options.sizes, options.trials, options.days, options.seed)
    few = [size for size in options.sizes if size in _POWER_SIZES]
    if "power" in options.part:
        power(few, options.power_trials, options.seed)
    if "peers" in options.part:
        rules(few, options.cache, options.seed)
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
        "Shift of a standard normal column: share of trials in which it is found in n rows, against a reference of n\n"
        "(Evidently) or ten chunks of n (NannyML). `rule`: the peer's own default; `ours`: our evidence on the same "
        f"rows\nat the false-alarm rate that rule showed ({OURS:g} where it showed none), or both at {LEVEL:.0%}. "
        "`declared`: our\nevidence and PSI > 0.2, n rows a side.\n"
    )
    heads = [
        f"{peer}{way}"
        for name in ("Evidently", "NannyML")
        for peer, way in ((name, " rule"), ("ours", ""), (name, f" at {LEVEL:.0%}"), ("ours", ""))
    ]
    print("\t".join(["n", "shift", *heads, "declared"]))
    for rows in sizes:
        found = powers(rows, trials, np.random.default_rng(seed + rows))
        for each in found:
            print("\t".join([f"{rows:,}", f"{each.shift:g}", *_cells(each)]), flush=True)
        print(f"n = {rows:,}: ours no less than theirs: {'yes' if no_less(found, trials) else 'NO'}", flush=True)
    print()


def rules(sizes: Sequence[int], cache: Path, seed: int) -> None:
    """The rules in `calm.peers` against what the installed peers say of the same columns."""
    random = np.random.default_rng(seed)
    pairs = [
        (random.normal(size=peers.CHUNKS * rows), random.normal(shift, 1, rows)) for rows in sizes for shift in SHIFTS
    ]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pairs.npz"
        columns = {f"{side}_{i}": pair[j] for i, pair in enumerate(pairs) for j, side in enumerate(_SIDES)}
        np.savez(file, **columns)  # type: ignore[arg-type]
        for peer in ("evidently", "nannyml"):
            python = python_of(peer, cache)
            if isinstance(python, str):
                print(f"{peer}: {python}")
                continue
            theirs = installed.said(peer, python, file)
            agreed = sum(_agree(peer, pair, answer) for pair, answer in zip(pairs, theirs, strict=True))
            print(f"{peer} as installed: the rule here gives its statistic and verdict in {agreed} of {len(pairs)}")
    print()


def _agree(peer: str, pair: tuple[Floats, Floats], answer: installed.Said) -> bool:
    reference, current = pair
    if peer == "evidently":
        value, cut = peers.evidently(reference[: len(current)], current)
        value_there = 1 - answer[0] if cut > 0.5 else answer[0]  # it says p
    else:
        value, cut = peers.nannyml(reference, current)
        value_there = answer[0]
    return abs(value - value_there) < 1e-9 and (value > cut) == answer[1]


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
        changes = [peers.ours(random.normal(size=rows), random.normal(shift, 1, rows)) for _ in range(count)]
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
    shares = [
        share
        for peer in (each.evidently, each.nannyml)
        for share in (peer.rule, peer.ours_as_rule, peer.level, peer.ours_at_level)
    ]
    return [f"{share:.1%}" for share in (*shares, each.declared)]

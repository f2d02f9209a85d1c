"""Whether the fast answers are right: ours against exact deciles and exact KS, and what peers say of hard columns."""

from __future__ import annotations

import math
from collections.abc import Mapping

from evals.benchmarks.drift import peers
from evals.benchmarks.drift.peers import Measured
from evals.benchmarks.drift.tables import HARD

PSI_ERROR = 1e-4


def show(rows: int, found: Mapping[str, Measured]) -> None:
    """Prints the largest errors over all columns, and each contender's PSI and KS of the columns peers get wrong."""
    ours, exact = found[peers.OURS.name].values, found[peers.SORTED.name].values
    print(f"\naccuracy at {rows:,} rows, against exact deciles and the exact KS statistic")
    if set(ours) != set(exact) or not ours:
        print("not measured")
        return
    worst = max(ours, key=lambda name: abs(ours[name]["psi"] - exact[name]["psi"]))
    error = abs(ours[worst]["psi"] - exact[worst]["psi"])
    print(
        f"PSI: largest error of {len(ours)} columns {error:.2e} ({worst}), {_verdict(error <= PSI_ERROR)} {PSI_ERROR:g}"
    )
    numeric = [name for name in exact if "ks" in exact[name]]
    outside = [n for n in numeric if not -1e-9 <= exact[n]["ks"] - ours[n]["ks"] <= ours[n]["ks_bound"] + 1e-9]
    bound = max(ours[name]["ks_bound"] for name in numeric)
    print(
        f"KS: {len(numeric) - len(outside)} of {len(numeric)} columns within their bound,"
        f" the largest of which is {bound:.1e}"
    )
    answering = [name for name in found if found[name].values]
    print(f"\n{'':14}{'':4}{'exact':>10}" + "".join(f"{name:>22}" for name in answering if name != peers.SORTED.name))
    for column, story in HARD.items():
        for statistic in ("psi", "ks"):
            if statistic in exact[column]:
                said = [
                    _figure(found[name].values.get(column, {}).get(statistic))
                    for name in answering
                    if name != peers.SORTED.name
                ]
                line = "".join(f"{each:>22}" for each in said)
                print(f"{column:14}{statistic:>4}{exact[column][statistic]:10.4f}{line}  {story}")


def _figure(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.4f}"


def _verdict(met: bool) -> str:
    return "within" if met else "NOT within"

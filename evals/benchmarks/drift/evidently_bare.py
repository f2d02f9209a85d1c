"""Measures Evidently's four statistics as bare functions; it has no stored profile, so both sides are always given."""

from __future__ import annotations

import warnings
from collections.abc import Callable

from evals.benchmarks.drift.measured import Task, Values, frame, main


def prepare(task: Task) -> Callable[[], Values]:
    """PSI, JS, KL of all columns, KS of the numeric ones."""
    from evidently.legacy.calculations.stattests import (
        jensenshannon_stat_test,
        kl_div_stat_test,
        ks_stat_test,
        psi_stat_test,
    )
    from evidently.legacy.core import ColumnType

    warnings.simplefilter("ignore")
    tests = {"psi": psi_stat_test, "js": jensenshannon_stat_test, "kl": kl_div_stat_test, "ks": ks_stat_test}
    loaded = None if task.from_parquet else [frame(path, texts=True) for path in (task.baseline, task.current)]

    def work() -> Values:
        baseline, current = loaded or [frame(path, texts=True) for path in (task.baseline, task.current)]
        found: dict[str, dict[str, float]] = {}
        for name in baseline.columns:
            kind = ColumnType.Numerical if baseline[name].dtype.kind == "f" else ColumnType.Categorical
            sides = baseline[name].dropna(), current[name].dropna()  # as its report does: nulls make it fail
            found[name] = {
                test: float(tests[test].func(*sides, kind, 0.1)[0])
                for test in tests
                if test != "ks" or kind == ColumnType.Numerical
            }
            found[name].pop("ks", None)  # it is a p-value, not the statistic
        return found

    return work


if __name__ == "__main__":
    main(prepare)

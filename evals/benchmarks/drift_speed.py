"""Drift statistics of 50 columns: time, memory, accuracy against Evidently, NannyML, scouter, careful NumPy/SciPy.

Each is measured in a process and an environment of its own on the same data. `--without-slow` leaves out what takes
minutes at a million rows.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from evals.benchmarks.drift import accuracy, peers, tables
from evals.benchmarks.drift.goals import Goal, Results, Task, goals
from evals.benchmarks.drift.peers import Contender, Measured

CACHE = Path.home() / ".cache" / "mlops-guardian" / "benchmarks"
TASKS = tuple(Task(from_parquet, stored) for stored in (True, False) for from_parquet in (False, True))


def main(arguments: Sequence[str]) -> None:
    """Measures, and prints a table for each task and size, the accuracy, increments, and the goals."""
    parser = argparse.ArgumentParser(prog="drift_speed", description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--without-slow", action="store_true", help="leave out NannyML and Evidently")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder of the data and the peers' environments")
    parser.add_argument("--limit", type=float, default=1200, help="seconds after which a contender is stopped")
    given = parser.parse_args(arguments)
    contenders = [each for each in peers.ALL if not (given.without_slow and each.slow)]
    results: Results = {}
    for rows in given.rows:
        files = tables.write(given.cache, rows)
        for task in TASKS:
            for contender in [*contenders, *([peers.ARROW] if task.from_parquet else [])]:
                results[rows, task, contender.name] = _measured(contender, task, files, given.cache, given.limit)
            _print_times(rows, task, contenders, results)
        accuracy.show(
            rows, {name: found for (n, task, name), found in results.items() if n == rows and task == TASKS[2]}
        )
    _print_goals([*goals(results), increment_goal(tables.write(given.cache, max(given.rows))[1]), import_goal()])


def _measured(contender: Contender, task: Task, files: tuple[Path, Path], cache: Path, limit: float) -> Measured:
    rows = int(files[0].stem.split("-")[1])
    if task.stored and not contender.keeps_profiles:
        return Measured(failure="keeps no profile: see both sides given")
    if contender is peers.PRESET and task.from_parquet:
        return Measured(failure="not measured: see in memory")
    print(f"{rows:,} rows, {task}: {contender.name}", file=sys.stderr)
    return peers.measure(contender, files, cache, from_parquet=task.from_parquet, stored=task.stored, limit=limit)


def _print_times(rows: int, task: Task, contenders: Sequence[Contender], results: Results) -> None:
    ours = results[rows, task, peers.OURS.name]
    print(f"\n{rows:,} rows, 50 columns, {task}")
    print(f"{'':22}{'seconds':>10}{'× ours':>9}{'peak MB':>9}  what")
    shown = [*contenders, *([peers.ARROW] if task.from_parquet else [])]
    for contender in shown:
        found = results[rows, task, contender.name]
        if found.failure:
            print(f"{contender.name:22}{'–':>10}{'':18}  {found.failure}")
            continue
        ratio = found.seconds / ours.seconds
        print(f"{contender.name:22}{found.seconds:10.3f}{ratio:9.2f}{found.peak_mb:9.0f}  {contender.says}")
    sys.stdout.flush()


def increment_goal(file: Path) -> Goal:
    """Adding an hour's rows to a day's profile, ten times as many rows against a tenth: in proportion or better."""
    import pyarrow.parquet as pq

    from tools.check_drift import profile

    table = pq.read_table(file)
    day = profile(table)
    many = table.num_rows // 10
    large, small = (
        _best(lambda rows=rows: day + profile(table.slice(0, rows), like=day))  # type: ignore[misc]
        for rows in (many, many // 10)
    )
    name = f"hourly increment: {many:,} rows against {many // 10:,} cost at most ten times"
    return Goal(
        name,
        large / small,
        10.0,
        f"{large * 1e3:.0f} ms, {small * 1e3:.0f} ms; all again {_best(lambda: profile(table, like=day)) * 1e3:.0f} ms",
    )


def import_goal() -> Goal:
    """The time `import tools.check_drift` takes, the interpreter's start taken off."""
    root = Path(__file__).parents[2]
    whole, bare = (
        _best(lambda code=code: subprocess.run([sys.executable, "-c", code], check=True, cwd=root))  # type: ignore[misc]  # noqa: S603
        for code in ("import tools.check_drift", "pass")
    )
    return Goal("import tools.check_drift, seconds", whole - bare, 0.3, "")


def _best(work: Callable[[], object]) -> float:
    taken = []
    for _ in range(5):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)


def _print_goals(found: Sequence[Goal]) -> None:
    print(f"\n{'goal':88}{'measured':>10}{'at most':>10}")
    for goal in found:
        verdict = "not measured" if goal.value != goal.value else "met" if goal.value <= goal.at_most else "NOT MET"
        print(f"{goal.name:88}{goal.value:10.4f}{goal.at_most:10.4f}  {verdict}  {goal.detail}")

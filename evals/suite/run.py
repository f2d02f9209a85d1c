"""The suite: every scenario played by every planner, in parallel, each in a copy of its own of one shop."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agent.budget import Spent
from evals.pool import pool_of, scratch_folder
from evals.suite.results import EvalResult, NotFor, ScenarioResult
from evals.suite.scenario import Scenario
from policies.errors import InputError

if TYPE_CHECKING:
    from evals.suite.end_state import EndState
    from evals.suite.planners import Seat

_ENVIRONMENT = ("MLFLOW_TRACKING_URI", "GUARDIAN_STATE_URL", "GUARDIAN_WAREHOUSE_URL")
"""What would lead a scenario's systems elsewhere."""

_BESIDE = 2
"""Short scenarios that take as long as the first training."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Task:
    """One scenario for one planner."""

    scenario: Scenario
    planner: str
    attempt: int
    record: bool
    scripted: bool


def run_suite(
    scenarios: Sequence[Scenario],
    planners: Sequence[str],
    *,
    repeat: int = 1,
    record: bool = False,
    scripted: bool = False,
    workers: int | None = None,
    say: Say = lambda line: None,
) -> EvalResult:
    """Plays and grades. Scenarios that are not for a planner are listed with the reason."""
    started = time.monotonic()
    tasks, not_for = [], []
    for planner in planners:
        for scenario in scenarios:
            if why := unsuited(scenario, planner):
                not_for.append(NotFor(name=scenario.name, why=why))
            else:
                tasks += [Task(scenario, planner, attempt + 1, record, scripted) for attempt in range(repeat)]
    return EvalResult(
        scenarios=play_tasks(tasks, workers=workers, say=say),
        not_for=not_for,
        seconds=round(time.monotonic() - started, 1),
    )


def unsuited(scenario: Scenario, planner: str) -> str | None:
    """Why the planner does not play the scenario, None where it does."""
    if scenario.planners is not None and planner not in scenario.planners:
        return f"{planner}: it is for {', '.join(scenario.planners)}"
    if planner == "recorded" and not scenario.recording.exists():
        return "recorded: it has no recording"
    return None


def play_tasks(
    tasks: Sequence[Task], *, workers: int | None = None, say: Say = lambda line: None
) -> list[ScenarioResult]:
    """The results of the tasks, in their order; they are played in another one, the longest first."""
    if not tasks:
        return []
    count = min(workers or os.cpu_count() or 1, len(tasks))
    with stage(count) as (scratch, pool):
        shop = scratch / "shop"
        say("building the shop …")
        built, _ = pool.submit(build_shop, shop), pool.submit(load_libraries)
        built.result()
        waiting = {pool.submit(play_task, tasks[place], shop, scratch): place for place in _order(tasks, count)}
        results = {}
        for future in as_completed(waiting):
            results[waiting[future]] = result = future.result()
            word = "passed" if result.passed else "FAILED"
            say(f"{word}  {result.name} by {result.planner}, {result.seconds:.1f} s")
    return [results[place] for place in range(len(tasks))]


def _order(tasks: Sequence[Task], workers: int) -> list[int]:
    """The tasks' places, the longest first: what rolls out. While the first of them trains what most of these train,
    and need, the other workers play what trains nothing."""
    ends = [list(task.scenario.end.models.values()) for task in tasks]
    places = sorted(range(len(tasks)), key=lambda place: all(end.rollout is None for end in ends[place]))
    short = [place for place in places[1:] if all(end.trained == 0 and end.rollout is None for end in ends[place])]
    beside = short[: _BESIDE * (workers - 1)]
    return [*places[:1], *beside, *(place for place in places[1:] if place not in beside)]


@contextmanager
def stage(workers: int) -> Iterator[tuple[Path, ProcessPoolExecutor]]:
    """A folder for the shop and its copies (hard links want them on one file system), and the processes that play."""
    with scratch_folder("guardian-eval-") as scratch, pool_of(workers, scratch, _prepare) as pool:
        yield scratch, pool


def _prepare() -> None:
    for name in _ENVIRONMENT:
        os.environ.pop(name, None)
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ.setdefault("LANGGRAPH_STRICT_MSGPACK", "true")
    logging.disable(logging.ERROR)


def load_libraries() -> None:
    """What every scenario imports, while another process builds the shop."""
    import mlflow.sklearn  # noqa: F401

    import agent.graph  # noqa: F401
    import evals.suite.play  # noqa: F401


def build_shop(shop: Path) -> None:
    """Builds the shop in a process of the pool."""
    from evals.suite.base import build

    build(shop)


def play_task(task: Task, shop: Path, scratch: Path) -> ScenarioResult:
    """Plays a task in a copy of the `shop`, made and removed in `scratch`, and grades it. A crash, or a recording that
    cannot be read or written, is a failure of that scenario alone. Only the planner's own work is kept as a recording.
    """
    from evals.suite.planners import Seat

    scenario = task.scenario
    home = Path(tempfile.mkdtemp(prefix=f"{scenario.name}-", dir=scratch))
    seat = Seat(task.planner, scenario, record=task.record, scripted=task.scripted)
    started = time.monotonic()
    end: EndState | None = None
    found: dict[str, list[str]] = {}
    failures: list[str] = []
    try:
        end, found = _graded(scenario, seat, shop, home)
        failures = [*seat.faults(), *(f"{grader}: {each}" for grader, faults in found.items() for each in faults)]
        if not end.handed_over:
            seat.keep()
    except InputError as error:
        failures.append(f"refused: {error}")
    except Exception as error:
        failures.append(f"crashed: {type(error).__name__}: {error}")
    finally:
        shutil.rmtree(home, ignore_errors=True)
    spent = end.spent if end else Spent()
    return ScenarioResult(
        name=scenario.name,
        source=seat.source,
        planner=task.planner,
        attempt=task.attempt,
        passed=not failures,
        failures=failures,
        by_grader={grader: len(faults) for grader, faults in found.items()},
        judgement=scenario.judgement,
        calls=len(end.calls) if end else 0,
        **spent.model_dump(),
        seconds=round(time.monotonic() - started, 2),
        about=dict(seat.about),
    )


def _graded(scenario: Scenario, seat: Seat, shop: Path, home: Path) -> tuple[EndState, dict[str, list[str]]]:
    from evals.suite.end_state import read_end
    from evals.suite.grade import grade
    from evals.suite.play import play

    systems = play(scenario, shop, home, seat.planner)
    try:
        end = read_end(systems, validated=bool(scenario.end.problems))
    finally:
        systems.close()
    return end, grade(scenario, end)

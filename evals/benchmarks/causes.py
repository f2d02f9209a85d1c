"""Whether the declared monitor says what happened: SimShop's causes, each alone, against the kinds of drift found.

For every seed a shop of 100,000 customers is grown once and a first champion trained on it as in the demo. From there
the same past is continued once for each cause, and once with none; `check_drift` runs the monitor that ships in
evals/operations.yaml on the warehouse so written, at two in the night, two weeks after the cause began (a cause that
ends before: on its last day). A kind that could not be judged is never right. The quiet shop is also looked at every
hour of the day before, for false alarms. `python -m evals.benchmarks.causes --seeds 50 --processes 2`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from evals.scratch import ScratchFolder
from evals.simshop import ALL_CAUSES, DRIFT_TYPES, LIVE_FROM, QUIET, Cause, Story, World
from evals.simshop.tables import ALL_TABLES

if TYPE_CHECKING:
    from tools.check_drift.result import DriftReport
    from tools.systems.systems import Systems

MODEL, MONITOR = "ChurnModel", "ChurnDrift"
NIGHT = time(2)
TWO_WEEKS = timedelta(days=14)
QUIET_DAY = date(2026, 1, 22)
KINDS = ("data_drift", "feature_drift", "prediction_drift", "label_drift", "concept_drift", "schema_drift")

Answer = Literal["found", "ok", "unknown"]


@dataclass(frozen=True)
class Look:
    """What one run of the monitor said; `cause` None: nothing happened."""

    seed: int
    cause: str | None
    at: datetime
    answers: dict[str, Answer]
    origin: str
    first_seen: date | None
    sudden: bool | None

    @property
    def alarm(self) -> bool:
        """Whether anything was found."""
        return "found" in self.answers.values()

    def right(self, kind: str) -> bool | None:
        """Whether the answer is what the cause declares; None where it leaves that open."""
        cause = ALL_CAUSES[self.cause] if self.cause else None
        if kind in (cause.spares if cause else DRIFT_TYPES):
            return self.answers[kind] == "ok"
        return self.answers[kind] == "found" if cause and kind in cause.raises else None

    @property
    def origin_right(self) -> bool:
        """Whether the diagnosis told a broken pipeline from a changed world, and nothing from either."""
        return self.origin == (ALL_CAUSES[self.cause].origin if self.cause else "none")

    @property
    def onset_right(self) -> bool | None:
        """Whether it is said to be sudden, since the day the cause began or the next; None where nothing is said."""
        if self.cause is None or self.first_seen is None:
            return None
        late = self.first_seen - ALL_CAUSES[self.cause].starts
        return self.sudden is True and timedelta() <= late <= timedelta(days=1)


def looks(seed: int, customers: int, names: Iterable[str] = ALL_CAUSES, quiet_hours: int = 24) -> list[Look]:
    """One seed's world with each of the causes, and the quiet one `quiet_hours` times."""
    with tempfile.TemporaryDirectory() as folder, ScratchFolder(home := Path(folder) / "shop", "evals", ALL_TABLES):
        world, systems = _shop(home, seed, customers)
        try:
            night = datetime.combine(QUIET_DAY, NIGHT)
            hours = [night - timedelta(hours=back) for back in range(quiet_hours)][::-1]
            found = _continued(systems, world, None, hours)
            for name in names:
                found += _continued(systems, world, ALL_CAUSES[name], [looked_at(ALL_CAUSES[name])])
            return found
        finally:
            systems.close()


def looked_at(cause: Cause) -> datetime:
    """Two weeks after it began, or on its last day."""
    day = cause.starts + TWO_WEEKS
    return datetime.combine(min(day, cause.ends) if cause.ends else day, NIGHT)


def table(found: Sequence[Look]) -> str:
    """Causes by kinds: how often each was found, and whether that is right."""
    names = [None, *dict.fromkeys(look.cause for look in found if look.cause)]
    nights = [look for look in found if look.cause or (look.at.date() == QUIET_DAY and look.at.time() == NIGHT)]
    heads = [kind.removesuffix("_drift") for kind in KINDS]
    lines = [f"{'cause':<20}" + "".join(f"{head:>12}" for head in (*heads, "origin", "onset"))]
    for name in names:
        rows = [look for look in nights if look.cause == name]
        cells = [_cell(rows, kind) for kind in KINDS]
        origin = f"{sum(look.origin_right for look in rows)}/{len(rows)}"
        lines.append(f"{name or 'none':<20}" + "".join(f"{cell:>12}" for cell in (*cells, origin, _onset(rows))))
    judged = [right for look in nights for kind in KINDS if (right := look.right(kind)) is not None]
    worst = min(share for name in names for share in _shares([look for look in nights if look.cause == name]))
    lines += [
        "",
        "found in so many of the runs; + should be, - must not be, ? left open; origin and onset: right in so many",
        f"right               {sum(judged)}/{len(judged)} = {sum(judged) / len(judged):.1%}; worst cell {worst:.0%}",
        f"pipeline or world   {_of([look.origin_right for look in nights])}",
        f"sudden, since when  {_of([right for look in nights if (right := look.onset_right) is not None])}",
        f"false alarms        {_false_alarms(found)}",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> None:
    """Runs the seeds and prints the table."""
    parser = argparse.ArgumentParser(prog="python -m evals.benchmarks.causes", description=__doc__)
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--customers", type=int, default=100_000)
    parser.add_argument("--processes", type=int, default=1)
    given = parser.parse_args(arguments)
    # Trees whose threads spin for each other cost more than they bring where every core has a world of its own.
    os.environ["OMP_NUM_THREADS"] = "1"
    found: list[Look] = []
    for done, part in enumerate(_all(range(1, given.seeds + 1), given.customers, given.processes), 1):
        found += part
        wrong = [_told(look) for look in part if not _as_declared(look)]
        sys.stderr.write(f"{done} of {given.seeds} seeds{'; ' + '; '.join(wrong) if wrong else ''}\n")
    sys.stdout.write(f"{given.seeds} seeds, {given.customers:,} customers\n\n{table(found)}\n")


def _all(seeds: Sequence[int], customers: int, processes: int) -> Iterator[list[Look]]:
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for job in as_completed([pool.submit(partial(looks, seed, customers)) for seed in seeds]):
            yield job.result()


def _shop(home: Path, seed: int, customers: int) -> tuple[World, Systems]:
    """A shop on the day its model is deployed."""
    from tools.retrain.tool import train_first_champion
    from tools.systems.systems import Systems

    systems = Systems.open(home / "operations.yaml")
    _set(systems, LIVE_FROM)
    world = World(seed, customers, QUIET)
    world.build_history(systems.warehouse)
    first = train_first_champion(systems, MODEL, LIVE_FROM)
    assert first.version is not None
    why = "first champion, adopted by a person"
    systems.traffic.set(MODEL, first.version, at=LIVE_FROM, why=why, rests_on=first.run_id)
    return world, systems


def _continued(systems: Systems, world: World, cause: Cause | None, moments: Sequence[datetime]) -> list[Look]:
    """The monitor's answers at those moments in a world with this cause, whose warehouse is a branch of the shop's."""
    from tools.check_drift.tool import CheckDriftArguments, run
    from tools.systems.warehouse import Warehouse

    name = cause.name if cause else None
    branch = systems.home / f"warehouse-{name}"
    assert isinstance(systems.warehouse, Warehouse)
    # Files are replaced, never changed, so that branches can share those of the past.
    shutil.copytree(systems.warehouse.root, branch, copy_function=os.link)
    warehouse = Warehouse(branch)
    there = replace(systems, warehouse=warehouse)
    continued = world.with_story(Story.of(name) if name else QUIET)
    found = []
    _set(systems, moments[-1])
    continued.advance(warehouse, moments[-1])
    for at in moments:
        # Looking back from an earlier hour sees what was there by then, and spares writing the day hour by hour.
        report = run(there, CheckDriftArguments(monitor=MONITOR, at=at))
        found.append(_look(world.seed, name, report))
    there.warehouse.close()
    shutil.rmtree(branch)
    return found


def _look(seed: int, cause: str | None, report: DriftReport) -> Look:
    answers: dict[str, Answer] = {}
    for kind in KINDS:
        checks = [check for check in report.checks if check.type == kind]
        unknown = not checks or any(check.severity == "unknown" for check in checks)
        answers[kind] = "found" if any(check.found for check in checks) else "unknown" if unknown else "ok"
    told = report.diagnosis
    return Look(seed, cause, report.checked_at, answers, told.kind, told.first_seen, told.sudden)


def _set(systems: Systems, now: datetime) -> None:
    from tools.systems.clock import VirtualClock

    assert isinstance(systems.clock, VirtualClock)
    systems.clock.set(now)


def _cell(rows: Sequence[Look], kind: str) -> str:
    found = sum(look.answers[kind] == "found" for look in rows)
    unknown = sum(look.answers[kind] == "unknown" for look in rows)
    cause = ALL_CAUSES[rows[0].cause] if rows[0].cause else None
    mark = "+" if cause and kind in cause.raises else "?" if cause and kind in cause.open else "-"
    return f"{mark} {found}/{len(rows)}{f' ({unknown}?)' if unknown else ''}"


def _onset(rows: Sequence[Look]) -> str:
    told = [right for look in rows if (right := look.onset_right) is not None]
    return f"{sum(told)}/{len(told)}" if told else ""


def _shares(rows: Sequence[Look]) -> list[float]:
    """Share of right answers of each cell that is not open."""
    kinds = [[look.right(kind) for look in rows] for kind in KINDS]
    return [sum(map(bool, rights)) / len(rights) for rights in kinds if None not in rights]


def _false_alarms(found: Sequence[Look]) -> str:
    quiet = [look for look in found if look.cause is None]
    days = {look.seed for look in quiet}
    alarmed = {look.seed for look in quiet if look.alarm}
    checks = sum(look.alarm for look in quiet)
    return f"{checks} of {len(quiet)} checks of quiet shops, on {len(alarmed)} of {len(days)} days"


def _of(rights: Sequence[bool]) -> str:
    return f"{sum(rights)}/{len(rights)}" + (f" = {sum(rights) / len(rights):.1%}" if rights else "")


def _as_declared(look: Look) -> bool:
    return look.origin_right and all(look.right(kind) is not False for kind in KINDS)


def _told(look: Look) -> str:
    wrong = [f"{kind} {look.answers[kind]}" for kind in KINDS if look.right(kind) is False]
    return f"seed {look.seed} {look.cause or 'none'}: {', '.join(wrong) or f'origin {look.origin}'}"


if __name__ == "__main__":
    main(sys.argv[1:])

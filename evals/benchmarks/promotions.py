"""SimShop, 20 seeds: challengers promoted after a change and after none, against the rule "new AUC is higher".

Each seed grows one shop, adopts one champion and then lives twice: through the seed's story, watched every night, where
the pipeline's own triggers decide when a challenger is trained; and through the same weeks in which nothing changes,
where a challenger is trained the same way on the same night. Both are judged by the tool `evaluate`, and `promoted`
means that the promotion policy lets the version be deployed. Beside it the rule of peers: promote when the challenger's
AUC on the holdout is higher.

A shop has 20,000 customers here, a fifth of the demo's: less to learn from and wider intervals, so promotions are
harder to earn than there.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from evals.demo.shop import DEPLOYED, MODEL, MONITOR, STORY_ENDS
from evals.scratch import ScratchFolder
from evals.simshop import FULL_STORY, QUIET, World
from evals.simshop.tables import ALL_TABLES
from policies.errors import PolicyRefusal
from tools.systems.clock import VirtualClock
from tools.systems.systems import Systems

CUSTOMERS = 20_000
SEEDS = 20
PIPELINE, CHALLENGE = "ChurnRetrain", "ChurnChallenger"
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Attempt:
    """One challenger: the night it was trained and judged, and what came of it."""

    night: datetime
    champion_auc: float
    challenger_auc: float
    improvement: float
    interval: tuple[float, float]
    verdict: str
    gate: str
    promoted: bool

    @property
    def peers_promote(self) -> bool:
        """Whether the rule "new AUC is higher" would."""
        return self.challenger_auc > self.champion_auc

    def __str__(self) -> str:
        low, high = self.interval
        auc = f"{self.champion_auc:.3f} → {self.challenger_auc:.3f}"
        judged = f"{self.improvement:+.3f} [{low:+.3f}, {high:+.3f}]"
        return f"{self.night:%m-%d} {auc} {judged:<25} {self.verdict:<15} {self.gate:<12}"


@dataclass(frozen=True)
class Lives:
    """Both lives of one seed's shop; `story` holds every challenger up to the first promoted one."""

    seed: int
    story: list[Attempt]
    quiet: Attempt


def main(arguments: Sequence[str]) -> None:
    """Runs the seeds one after another; prints a line an attempt, and the counts."""
    parser = argparse.ArgumentParser(prog="promotions", description="Promotions with and without a changed world.")
    parser.add_argument("--seeds", type=int, default=SEEDS, metavar="N", help="seeds 1 to N")
    parser.add_argument("--customers", type=int, default=CUSTOMERS, metavar="N")
    given = parser.parse_args(arguments)
    started = time.monotonic()
    print(f"SimShop of {given.customers:,} customers, {given.seeds} seeds. Weighted improvement with its 95% interval.")
    lived = []
    for seed in range(1, given.seeds + 1):
        with tempfile.TemporaryDirectory(prefix="promotions-") as folder:
            lived.append(live_twice(seed, given.customers, Path(folder)))
        for line in _lines(lived[-1]):
            print(line, flush=True)
    print(*summary(lived), f"{(time.monotonic() - started) / 60:.0f} minutes", sep="\n")


def live_twice(seed: int, customers: int, folder: Path) -> Lives:
    """One shop and its champion, then the story and the quiet weeks, each from a copy of that morning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow warns about its own type hints while it is imported
        _found(seed, customers, folder / "shop")
        story = _through_the_story(seed, customers, _copy(folder, "story"))
        night = story[0].night if story else STORY_ENDS
        return Lives(seed, story, _through_quiet_weeks(seed, customers, _copy(folder, "quiet"), night))


def summary(lived: Sequence[Lives]) -> list[str]:
    """The counts, ours beside the peers' rule."""
    told, quiet = [life.story for life in lived if life.story], [life.quiet for life in lived]
    first = [attempts[0] for attempts in told]
    return [
        "",
        f"{'seeds in which a challenger is promoted':<58}{'guardian':>10}{'new AUC is higher':>20}",
        _counted("the world changed: the first challenger trained", first, len(lived)),
        _counted("the world changed: any challenger by the story's end", [a[-1] for a in told], len(lived)),
        _counted("nothing changed: a challenger trained the same way", quiet, len(lived)),
    ]


def _counted(what: str, attempts: Iterable[Attempt], seeds: int) -> str:
    judged = list(attempts)
    ours, peers = sum(each.promoted for each in judged), sum(each.peers_promote for each in judged)
    return f"{what:<58}{f'{ours} of {seeds}':>10}{f'{peers} of {seeds}':>20}"


def _lines(life: Lives) -> list[str]:
    parts = [("story", each) for each in life.story] + [("quiet", life.quiet)]
    if not life.story:
        return [f"seed {life.seed:>2} story  no challenger was trained", f"seed {life.seed:>2} quiet  {life.quiet}"]
    return [
        f"seed {life.seed:>2} {name}  {each} promoted: {_yes(each.promoted):<3}  peers': {_yes(each.peers_promote)}"
        for name, each in parts
    ]


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _found(seed: int, customers: int, home: Path) -> None:
    """The shop on the morning of its deployment, its first champion adopted."""
    from tools.retrain.tool import train_first_champion

    ScratchFolder(home, "evals", ALL_TABLES).close()
    systems = Systems.open(home / "operations.yaml")
    _set(systems, DEPLOYED)
    World(seed, customers, QUIET).build_history(systems.warehouse)  # the story has not begun
    first = train_first_champion(systems, MODEL, DEPLOYED)
    assert first.version is not None
    why = "first champion, adopted by a person"
    systems.traffic.set(MODEL, first.version, at=DEPLOYED, why=why, rests_on=first.run_id)
    systems.close()


def _copy(folder: Path, name: str) -> Path:
    return Path(shutil.copytree(folder / "shop", folder / name))


def _through_the_story(seed: int, customers: int, home: Path) -> list[Attempt]:
    """Every night scores the day and checks for drift; where there is some, the pipeline is asked to retrain."""
    from tools.check_drift.tool import TOOL as CHECK
    from tools.check_drift.tool import start_monitor
    from tools.serving.batch import score_window

    systems, world = Systems.open(home / "operations.yaml"), World(seed, customers, FULL_STORY)
    attempts: list[Attempt] = []
    try:
        world.resume(DEPLOYED)
        start_monitor(systems, MONITOR)
        night = DEPLOYED
        while night < STORY_ENDS and not any(each.promoted for each in attempts):
            night += _DAY
            _set(systems, night)
            world.advance(systems.warehouse, night)
            score_window(systems, MODEL, night - _DAY, night)
            report = CHECK.run(systems, CHECK.arguments.model_validate({"monitor": MONITOR, "at": None}))
            if report.drift_detected and _retrained(systems, None):  # type: ignore[attr-defined]
                attempts.append(_judged(systems, night))
        return attempts
    finally:
        systems.close()


def _through_quiet_weeks(seed: int, customers: int, home: Path, night: datetime) -> Attempt:
    """The same weeks without a change, and a challenger on the same night."""
    systems, world = Systems.open(home / "operations.yaml"), World(seed, customers, QUIET)
    try:
        world.resume(DEPLOYED)
        _set(systems, night)
        world.advance(systems.warehouse, night)
        if not _retrained(systems, "drift_detected"):
            raise AssertionError("a forced training with nothing against it did not start")
        return _judged(systems, night)
    finally:
        systems.close()


def _retrained(systems: Systems, force: str | None) -> bool:
    from tools.retrain.result import RetrainArguments
    from tools.retrain.tool import run as retrain

    asked = RetrainArguments.model_validate({"pipeline": PIPELINE, "force_trigger": force})
    return retrain(systems, asked).started


def _judged(systems: Systems, night: datetime) -> Attempt:
    from tools.deploy.permission import require_promotable
    from tools.evaluate.result import EvaluateArguments
    from tools.evaluate.tool import run as evaluate

    result = evaluate(systems, EvaluateArguments(challenge=CHALLENGE))
    try:
        require_promotable(systems, MODEL, result.challenger.version)
        promoted = True
    except PolicyRefusal:
        promoted = False
    return Attempt(
        night=night,
        champion_auc=result.champion.metrics["auc_roc"],
        challenger_auc=result.challenger.metrics["auc_roc"],
        improvement=result.weighted_improvement,
        interval=result.interval,
        verdict=result.verdict.value,
        gate=result.gate.status,
        promoted=promoted,
    )


def _set(systems: Systems, now: datetime) -> None:
    clock = systems.clock
    assert isinstance(clock, VirtualClock)
    clock.set(now)


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])

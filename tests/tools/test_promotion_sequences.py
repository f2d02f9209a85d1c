"""Whatever is called in whatever order: nothing serves without a passed, unexpired gate for that very artifact.

`--hypothesis-profile=long` runs more and longer sequences.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from policies.errors import GuardianError
from tests.tools.promotion_world import (
    CHALLENGE,
    MIN_ROWS,
    MODEL,
    NAME,
    STRATEGY_OF,
    Crash,
    PromotionWorld,
    pairwise_rises,
    splits,
)
from tools.deploy import tool as deploying
from tools.deploy.strategies import STRATEGIES
from tools.deploy.verdicts import GateVerdict, Verdict
from tools.evaluate import contenders, quality
from tools.evaluate import tool as evaluating
from tools.evaluate.contenders import Replay
from tools.evaluate.latency import LatencyComparison
from tools.evaluate.result import EvaluateArguments
from tools.systems.registry import CHALLENGER, CHAMPION
from tools.systems.store import Evidence, Kind

MAX_AGE = timedelta(days=7)
JUMPS = [timedelta(hours=2), timedelta(days=2), timedelta(days=8), timedelta(hours=-3), timedelta(days=-9)]
LONG = settings.get_current_profile_name() == "long"
BOUNDS = settings(
    max_examples=500 if LONG else 30,
    stateful_step_count=60 if LONG else 20,
    deadline=None,
    derandomize=not LONG,
    suppress_health_check=list(HealthCheck),
)


class Promotions(RuleBasedStateMachine):
    """People, planners, clocks and power cuts, in any order."""

    live = Verdict.PASS

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp(prefix="promotions-"))
        self.world = PromotionWorld(self.home)
        self.champions = {"1"}
        self.seen = 1
        self.rows = 2_000

    def teardown(self) -> None:
        self.world.close()
        shutil.rmtree(self.home)

    @rule(strength=st.sampled_from([0.0, 0.3, 0.6, 0.9]))
    def retrain(self, strength: float) -> None:
        with self._process():
            self.world.retrain(strength)

    @precondition(lambda self: CHALLENGER in self.world.registry.aliases)
    @rule()
    def evaluate(self) -> None:
        with self._process():
            result = evaluating.run(self.world.systems, EvaluateArguments(challenge=CHALLENGE))
            event(f"evaluated: {result.verdict}, gate {result.gate.status}")
            if self.rows < MIN_ROWS:
                assert result.gate.status != "passed", "too few rows are no pass"

    @precondition(lambda self: len(self.world.registry.strengths) > 1)
    @rule(back=st.integers(0, 2), kind=st.sampled_from(list(STRATEGIES)))
    def deploy(self, back: int, kind: str) -> None:
        version = str(max(1, len(self.world.registry.strengths) - back))
        with self._process():
            arguments = deploying.DeployArguments(strategy=STRATEGY_OF[kind], model=MODEL, version=version)
            event(f"deployed: {kind} {deploying.run(self.world.systems, arguments).status}")

    @rule(verdict=st.sampled_from(list(Verdict)), hours=st.sampled_from([0, 2, 30]))
    def advance(self, verdict: Verdict, hours: int) -> None:
        Promotions.live = verdict
        self.world.set_time(self.world.now + timedelta(hours=hours))
        with self._process():
            for rollout in deploying.advance(self.world.systems, self.world.now):
                event(f"advanced: {rollout.status} {rollout.stage}")

    @rule(strength=st.sampled_from([0.6, 0.9]), stages=st.integers(0, 3), kind=st.sampled_from(list(STRATEGIES)))
    def a_night_and_a_rollout(self, strength: float, stages: int, kind: str) -> None:
        """What the planner does when all goes well, as far as it goes."""
        self.retrain(strength)
        self.evaluate()
        self.deploy(0, kind)
        self.traffic_goes_only_to_what_passed()
        for _ in range(stages):
            self.advance(Verdict.PASS, 30)
            self.traffic_goes_only_to_what_passed()

    @precondition(lambda self: len(self.world.registry.strengths) > 1)
    @rule()
    def roll_back(self) -> None:
        with self._process():
            deploying.rollback(self.world.systems, MODEL, "a person said so")

    @rule(jump=st.sampled_from(JUMPS))
    def the_clock_jumps(self, jump: timedelta) -> None:
        self.world.set_time(self.world.now + jump)

    @rule(rows=st.sampled_from([40, MIN_ROWS - 1, 1_000, 2_000]))
    def labels_arrive(self, rows: int) -> None:
        self.rows = rows
        self.world.label(rows)

    @rule(
        what=st.sampled_from(["retrain", "evaluate", "deploy", "advance", "roll_back"]),
        calls=st.integers(1, 6),
        after=st.booleans(),
        down=st.sampled_from(JUMPS),
        kind=st.sampled_from(list(STRATEGIES)),
    )
    def a_power_cut(self, what: str, calls: int, after: bool, down: timedelta, kind: str) -> None:
        """At one of the writes of a call, before or after it; then nothing for a while, then a reconcile step."""
        acts: dict[str, Callable[[], None]] = {
            "retrain": lambda: self.retrain(0.9),
            "evaluate": self.evaluate,
            "deploy": lambda: self.deploy(0, kind),
            "advance": lambda: self.advance(Verdict.PASS, 30),
            "roll_back": self.roll_back,
        }
        self.world.arm(calls, after=after)
        acts[what]()
        self.traffic_goes_only_to_what_passed()
        self.world.disarm()
        self.world.set_time(self.world.now + down)
        self.advance(Verdict.PASS, 0)

    @precondition(lambda self: len(self.world.registry.strengths) > 1)
    @rule(back=st.integers(0, 2))
    def somebody_names_another_challenger(self, back: int) -> None:
        self.world.registry.aliases[CHALLENGER] = str(max(1, len(self.world.registry.strengths) - back))

    @precondition(lambda self: len(self.world.registry.strengths) > 1)
    @rule(strength=st.sampled_from([0.0, 0.9]))
    def somebody_swaps_an_artifact(self, strength: float) -> None:
        registry = self.world.registry
        version = str(len(registry.strengths))
        if version not in self.champions:
            registry.strengths[version] = strength
            registry.digests[version] += "+"

    @invariant()
    def traffic_goes_only_to_what_passed(self) -> None:
        history = splits(self.world)
        for version, was, now, before in pairwise_rises(history, self.seen):
            if version == before[0]:
                continue  # the champion takes back what the challenger had
            returned = version in self.champions and self._given_back()
            reason = f"version {version} went from {was:g}% to {now:g}%"
            assert returned or self._proven(version, before[0]), f"{reason}: {self._gate(version)}"
        self.seen = len(history)
        self.champions.add(history[-1][0])
        assert self.world.registry.alias(NAME, CHAMPION) in self.champions

    def _gate(self, version: str) -> Evidence | None:
        rows = self.world.systems.store.list(Kind.gate, MODEL, version=version)
        return max(rows, key=_number, default=None)

    def _proven(self, version: str, champion: str) -> bool:
        """As the rule says it, from rows alone."""
        gate, now = self._gate(version), self.world.now
        judged = max(self.world.systems.store.list(Kind.evaluation, MODEL, version=version), key=_number, default=None)
        return (
            gate is not None
            and judged is not None
            and (judged.id == gate.rests_on or judged.status not in ("tie", "champion_wins"))
            and gate.status == "passed"
            and gate.body["artifact_digest"] == self.world.registry.digests[version]
            and gate.body["champion"] == champion
            and bool(gate.body["holdout_digest"])
            and gate.created_at <= now <= gate.created_at + MAX_AGE
        )

    def _given_back(self) -> bool:
        """Whether the newest rollout row says that traffic was given back."""
        rows = self.world.systems.store.list(Kind.rollout, MODEL)
        return max(rows, key=_number).status in ("rolled_back", "aborted")

    @contextmanager
    def _process(self) -> Iterator[None]:
        try:
            yield
        except GuardianError as error:
            event(f"refused: {type(error).__name__}")
        except Crash:
            event("crashed")
            self.world.crash()


def _number(row: Evidence) -> int:
    return int(row.id.rpartition("-")[2])


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes long and is tested elsewhere is said at once: timings, the replay, what live traffic shows."""

    def fast(*_: object) -> LatencyComparison:
        return LatencyComparison(1.0, 1.0, 1.0, 1.0, 1.0, 0.1)

    def assess(*_: object) -> GateVerdict:
        breached = ("error_rate > 0.01",) if Promotions.live is Verdict.FAIL else ()
        return GateVerdict(name="latency_and_errors", verdict=Promotions.live, breached=breached)

    monkeypatch.setattr(contenders, "latency", fast)
    monkeypatch.setattr(quality, "replay", lambda *_: Replay([0.5], [0.5], True))
    monkeypatch.setattr(quality, "shared_rows", lambda *_: 0)
    for strategy in STRATEGIES.values():
        monkeypatch.setattr(strategy, "assess", assess)


@pytest.mark.usefixtures("quick")
def test_no_sequence_gives_traffic_to_what_did_not_pass() -> None:
    run_state_machine_as_test(Promotions, settings=BOUNDS)

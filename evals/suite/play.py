"""Playing a scenario: the world lives to the night, the Guardian works, people answer, rollouts run their course."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from agent.approvals import decide
from agent.planners.protocol import Planner
from agent.reconcile import reconcile
from agent.triage import continue_waiting, triage
from evals.simshop import World as SimShop
from evals.suite import base
from evals.suite.asking import answer
from evals.suite.base import DAY
from evals.suite.faults import FaultyWarehouse, replace_artifact
from evals.suite.scenario import DAY_OF_DEPLOYMENT, LONGEST_ROLLOUT, Scenario
from evals.suite.traffic import Traffic
from policies.errors import GuardianError
from tools.serving.batch import score_window
from tools.systems.store import Evidence, Kind
from tools.systems.systems import Systems

HOUR = timedelta(hours=1)
YOUNG = timedelta(hours=6)

Choose = Callable[[Systems], Planner]


class Stage:
    """One scenario being played."""

    def __init__(self, scenario: Scenario, systems: Systems, planner: Planner) -> None:
        self._scenario, self._systems, self._planner = scenario, systems, planner
        self._world: SimShop = base.shop().with_story(scenario.world.story)
        self._models = [m for m, each in systems.operations.models.items() if each.prediction_log is not None]
        self._traffic = {
            model: Traffic(systems, model, scenario.broken, base.SEED + place, scenario.world.converts)
            for place, model in enumerate(self._models)
        }

    def play(self) -> None:
        """The quiet weeks, then every night with the day after it, then what people write."""
        self._live_to(self._scenario.world.at, since=DAY_OF_DEPLOYMENT)
        if self._world.story.cause("crm_lag") is None:  # which writes its days again once they are corrected
            base.compact(self._systems.home, self._now)
        for number in range(1, self._scenario.world.nights + 1):
            self._night(number)
            last = number == self._scenario.world.nights
            begun = self._now
            self._day(self._now + (LONGEST_ROLLOUT if last else DAY), until_idle=last)
        for each in self._scenario.asked:
            base.set_time(self._systems, max(self._now, begun + each.after_hours * HOUR))
            answer(self._systems, each, self._planner)

    @property
    def _now(self) -> datetime:
        return self._systems.clock.now()

    def _live_to(self, until: datetime, since: datetime) -> None:
        """The world and the nightly batch scoring up to the midnight `until`; nobody is on duty."""
        base.set_time(self._systems, until)
        self._world.advance(self._systems.warehouse, until)
        for model, binding in self._systems.operations.models.items():
            if binding.predictions is not None:
                score_window(self._systems, model, since, until)

    def _night(self, number: int) -> None:
        warehouse = self._systems.warehouse
        assert isinstance(warehouse, FaultyWarehouse)
        warehouse.down = number in self._scenario.broken.warehouse_down
        try:
            triage(self._systems, planner=self._planner, due_only=self._scenario.world.due_only)
        finally:
            warehouse.down = False

    def _day(self, until: datetime, *, until_idle: bool) -> None:
        """Hours pass to `until`: people answer, requests are served where a rollout runs, rollouts advance.

        `until_idle`: only as long as a rollout runs or somebody will still answer.
        """
        midnight = self._now
        while self._now < until:
            rollouts = [row for model in self._models if (row := self._running(model)) is not None]
            pending = self._answerable()
            if not rollouts and not pending and until_idle:
                return
            hours = 1 if pending else min((_hours(row, self._now) for row in rollouts), default=1)
            end = min(self._now + hours * HOUR, until) if rollouts or pending else until
            for row in rollouts:
                self._traffic[row.model].serve(self._now, end)
            if end - midnight >= DAY:
                midnight += DAY
                self._live_to(midnight, since=midnight - DAY)
            base.set_time(self._systems, end)
            self._answer()
            if rollouts:
                reconcile(self._systems)

    def _running(self, model: str) -> Evidence | None:
        row = self._systems.store.latest(Kind.rollout, model)
        return row if row is not None and row.status in ("pending", "running") else None

    def _answerable(self) -> list[Evidence]:
        pending = self._systems.store.list(Kind.approval, status="pending")
        return pending if self._scenario.answers else []

    def _answer(self) -> None:
        """Whoever has an answer whose time has come gives it, and the run goes on."""
        for row in self._answerable():
            for each in self._scenario.answers:
                if self._now - row.created_at < timedelta(hours=each.after_hours):
                    continue
                if self._scenario.broken.replaced is not None:
                    replace_artifact(self._systems, self._scenario.broken.replaced)
                try:
                    decide(self._systems, row.id, each.by, approve=each.says == "approve", why=each.why)
                except GuardianError:
                    continue  # who may not decide has said it all the same; the audit log has it
                continue_waiting(self._systems, str(row.body["run_id"]), self._planner)
                break


def _hours(rollout: Evidence, now: datetime) -> int:
    """How often the daemon's step is played: by the hour while a rollout is young, an A/B test's by the day."""
    if (rollout.body.get("declared") or {}).get("type") == "ab_test":
        return 24
    return 1 if rollout.body["traffic_pct"] <= 10 and now - rollout.created_at < YOUNG else 6


def play(scenario: Scenario, shop: Path, home: Path, choose: Choose) -> Systems:
    """Plays a scenario in a copy of the `shop` made in `home`, with the planner that `choose` makes for its systems.

    The systems as they are at the end, for the caller to read and close.
    """
    systems = base.copy(shop, home, scenario)
    try:
        Stage(scenario, systems, choose(systems)).play()
    except BaseException:
        systems.close()
        raise
    return systems

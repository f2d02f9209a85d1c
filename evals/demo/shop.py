"""A shop with a model in production, living day by day: traffic, batch scoring, campaigns, the Guardian's nights."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evals.scratch import ScratchFolder
from evals.simshop import FULL_STORY, Story, World
from evals.simshop.tables import ALL_TABLES
from policies.errors import SystemDown
from tools.deploy.rollout import Rollout, Status
from tools.deploy.verdicts import Verdict
from tools.serving.batch import score_window
from tools.serving.client import failures, send
from tools.serving.process import GatewayProcess
from tools.systems.clock import VirtualClock
from tools.systems.registry import CHAMPION
from tools.systems.store import Evidence, Kind
from tools.systems.systems import Systems

if TYPE_CHECKING:
    import pandas as pd

MODEL = "ChurnModel"
MONITOR = "ChurnDrift"
DEPLOYED = datetime(2026, 1, 6)
LOOKED_AT = datetime(2026, 1, 27)
"""Three weeks after the deployment: the day the VP of Customer Success calls."""
STORY_ENDS = datetime(2026, 2, 17)
FLAGGED = 200
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
REQUESTS_AN_HOUR = {5: 16_000, 10: 1_200, 25: 250, 50: 120}
"""Live requests sent in an hour of a stage. The shop is asked more often than this; the demo sends what gates need."""

Say = Callable[[str], None]


class Shop:
    """The world, the systems, and who lets time pass. `planner` None: nobody watches (the seed's ablation A4)."""

    def __init__(
        self,
        home: Path,
        seed: int,
        planner: str | None,
        *,
        say: Say = lambda line: None,
        story: Story = FULL_STORY,
        customers: int = 100_000,
    ) -> None:
        self._folder = ScratchFolder(home, "evals", ALL_TABLES, say)
        self.home = home
        self.planner = planner
        self.world = World(seed, customers=customers, story=story)
        self.nights: list[Any] = []
        self.campaigns: dict[datetime, Any] = {}
        self._say = say
        self._told = ""
        self.gateway: GatewayProcess | None = None
        self.systems = Systems.open(home / "operations.yaml")

    @property
    def now(self) -> datetime:
        """The virtual time."""
        return self.systems.clock.now()

    def open(self) -> None:
        """Builds the history, trains the first champion, adopts it by hand, and starts watching where someone does."""
        from tools.check_drift.tool import start_monitor
        from tools.retrain.tool import train_first_champion

        registered = self.systems.operations.model(MODEL).registry_name
        self.set_time(DEPLOYED)
        self._say("building SimShop: 24 months of 100,000 registered customers …")
        with ThreadPoolExecutor(1) as beside:  # MLflow takes seconds to import, and to make its tables
            registry = beside.submit(self.systems.registry.alias, registered, CHAMPION)
            self.world.build_history(self.systems.warehouse)
            registry.result()
        self._say("training the first champion on the rolling 12 months before its holdout …")
        first = train_first_champion(self.systems, MODEL, DEPLOYED)
        assert first.version is not None
        self.systems.traffic.set(
            MODEL, first.version, at=DEPLOYED, why="first champion, adopted by a person", rests_on=first.run_id
        )
        self._say(f"deployed on Tuesday {DEPLOYED:%Y-%m-%d}: version {first.version}")
        if self.planner is not None:
            start_monitor(self.systems, MONITOR)
            self.gateway = GatewayProcess(self.home / "operations.yaml", MODEL).start()
            self._say(f"the gateway answers at {self.gateway.predict_url}; {MONITOR} is watching")

    def live(self, until: datetime) -> None:
        """Lets the shop live to `until`, with a night at every midnight."""
        while self.now < until:
            start = self.now
            midnight = (start + DAY).replace(hour=0, minute=0, second=0, microsecond=0)
            rollout = self._running_rollout()
            end = min(midnight, until, start + self._step(rollout) if rollout else until)
            if rollout:
                self._serve(rollout, start, end)
            self.set_time(end)
            self.world.advance(self.systems.warehouse, end)
            if rollout:
                self._reconcile(end)
            if end == midnight:
                self._night(end)

    def close(self) -> None:
        """Stops the gateway, gives connections back and lets go of the folder."""
        if self.gateway is not None:
            self.gateway.stop()
            self.gateway = None
        self.systems.close()
        self._folder.close()

    def top_flagged(self, at: datetime) -> list[int]:
        """The ids of the customers with the highest scores in the week before `at`."""
        binding = self.systems.operations.model(MODEL)
        rows = self.systems.warehouse.query(
            f"SELECT {binding.id} AS id, max(score) AS score FROM {binding.predictions} "
            f"WHERE {binding.time} >= $start AND {binding.time} < $end GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {FLAGGED}",
            {"start": at - 7 * DAY, "end": at},
        )
        return [int(each) for each in rows["id"].to_pylist()]

    def predictions(self) -> pd.DataFrame:
        """All batch predictions with their labels so far: id, time, model_version, score, target."""
        from tools.systems import datasets

        binding = self.systems.operations.model(MODEL)
        assert binding.predictions is not None
        rows = datasets.table(self.systems, binding.predictions)
        return datasets.with_labels(self.systems, MODEL, rows, self.now)

    def set_time(self, now: datetime) -> None:
        """Moves the virtual time, for every process of the shop."""
        clock = self.systems.clock
        assert isinstance(clock, VirtualClock)
        clock.set(now)

    def _running_rollout(self) -> Evidence | None:
        newest = self.systems.store.latest(Kind.rollout, MODEL)
        return newest if newest and newest.status in ("pending", "running") else None

    def _step(self, rollout: Evidence) -> timedelta:
        return HOUR if rollout.body["traffic_pct"] <= 10 else 6 * HOUR

    def _serve(self, rollout: Evidence, start: datetime, end: datetime) -> None:
        """Sends the hours' requests to the gateway over HTTP, in order of time."""
        assert self.gateway is not None
        hours = max(1, round((end - start) / HOUR))
        count = REQUESTS_AN_HOUR.get(int(rollout.body["traffic_pct"]), 120) * hours
        requests = list(self.world.live_requests(start, end, count))
        for first in range(0, len(requests), 1_000):
            part = requests[first : first + 1_000]
            self.set_time(part[-1].at)
            answers = send(
                self.gateway.predict_url,
                [{"id": each.customer_id, "features": each.features} for each in part],
            )
            if failed := next(failures(answers), None):
                raise SystemDown(f"answered {failed.status}: {failed.error or failed.body}", where="gateway")
            self.gateway.wait_copies_made()  # more of them than its queue holds would be dropped
        self.gateway.wait_log_drained()

    def _reconcile(self, now: datetime) -> None:
        from tools.deploy.tool import advance

        for result in advance(self.systems, now):
            if (told := in_words(result)) != self._told:
                self._say(f"{now:%Y-%m-%d %H:%M}  {told}")
            self._told = told

    def _night(self, midnight: datetime) -> None:
        score_window(self.systems, MODEL, midnight - DAY, midnight)
        if midnight > DEPLOYED + DAY and (midnight - DEPLOYED) % (7 * DAY) == timedelta():
            flagged = self.top_flagged(midnight)
            split = self.systems.traffic.split(MODEL)
            assert split is not None
            self.campaigns[midnight] = self.world.campaign(self.systems.warehouse, flagged, split.champion, midnight)
        if self.planner is None:
            return
        from agent.triage import triage

        result = triage(self.systems, planner=self.planner)
        self.nights.append(result)
        for model in result.models:
            told = f"{model.model}: {model.severity}: {model.outcome}"
            gist = re.sub(r"[\d,.:-]+", "#", told)
            if gist != self._told:
                self._say(f"{midnight:%Y-%m-%d}  {told}")
            self._told = gist


def in_words(rollout: Rollout) -> str:
    """Where a rollout stands: `version 2 gets 10% of the traffic; gate latency and errors passed`."""
    version, share = f"version {rollout.version}", f"{rollout.traffic_pct:g}% of the traffic"
    stands = {
        Status.PENDING: f"{version} waits for its first stage",
        Status.RUNNING: f"{version} gets {share}",
        Status.PAUSED: f"{version} is paused at {share}: {rollout.reason}",
        Status.PROMOTED: f"{version} is promoted and gets all traffic",
        Status.ROLLED_BACK: f"{version} is rolled back, version {rollout.champion} gets all traffic: {rollout.reason}",
        Status.ABORTED: f"the rollout of {version} is given up: {rollout.reason}",
    }
    gate = rollout.last_gate
    if gate is None or rollout.status not in (Status.RUNNING, Status.PROMOTED):
        return stands[rollout.status]
    verdict = {Verdict.PASS: "passed", Verdict.FAIL: "failed", Verdict.INCONCLUSIVE: "is not conclusive yet"}
    return f"{stands[rollout.status]}; gate {gate.name.replace('_', ' ')} {verdict[gate.verdict]}"

"""Who plays a scenario: the runbook, a language model, its recording, or a planner with a bad habit."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import urlsplit

from agent.planners.choice import Endpoint, choose, openai_planner
from agent.planners.profiles import OPENAI_HOST
from agent.planners.protocol import Planner
from evals.recordings.recording import Header, Recording
from evals.recordings.transport import Recorder, Refused, Replay
from evals.suite.bad_planners import HABITS, BadPlanner
from evals.suite.results import Source
from evals.suite.scenario import Scenario
from policies.errors import InputError
from tools.systems.systems import Systems
from tools.toolbox import toolbox

PLANNERS = ("runbook", "recorded", "openai", *HABITS)
NOWHERE = "http://recording.invalid/v1"
"""Where no endpoint is asked: that of the environment must not matter."""
AT_ONCE = (0.0, 0.0)
"""Pauses between attempts where no server needs them."""


class Seat:
    """The planner's place in one scenario: makes the planner, and says afterwards what there is to say about it."""

    def __init__(self, name: str, scenario: Scenario, *, record: bool = False, scripted: bool = False) -> None:
        if name not in PLANNERS:
            raise InputError(f"{name!r} is not a planner; write {', '.join(PLANNERS)}", where="--planner")
        self._name, self._scenario, self._scripted = name, scenario, scripted
        self._recorder = Recorder() if record else None
        self._replay: Replay | None = None
        self.about: Mapping[str, str] = {}
        self.source: Source = "live"

    def planner(self, systems: Systems) -> Planner:
        """The planner for the scenario's systems. Raises InputError without a recording, a key or a base URL."""
        chosen = self._chosen(systems)
        self.about = {**chosen.about, **self.about}
        return chosen

    def faults(self) -> list[str]:
        """What was wrong with a replay."""
        return [f"recording: {each}" for each in self._replay.faults] if self._replay else []

    def keep(self) -> None:
        """Writes the recording into the scenario's folder, where one was made."""
        if self._recorder is None or not self._recorder.exchanges:
            return
        header = Header(
            how="scripted" if self._scripted else "recorded",
            model=self.about["model"],
            endpoint=_endpoint_kind(self._scripted),
            flavour=self.about["api"],
            prompt=self.about["prompt"],
            made_on=datetime.now(UTC).date(),
        )
        Recording(header=header, exchanges=self._recorder.exchanges).write(self._scenario.recording)

    def _chosen(self, systems: Systems) -> Planner:
        if self._name in HABITS:
            return BadPlanner(self._name, systems.operations, HABITS[self._name])
        tools = toolbox()
        if self._scenario.broken.provider == "down":
            down = Endpoint(NOWHERE, flavour="responses", transport=Refused(), pauses=AT_ONCE)
            return openai_planner(systems, tools, down)
        if self._name == "recorded":
            recording = Recording.read(self._scenario.recording)
            self.source, self._replay = recording.header.how, Replay(recording.exchanges)
            self.about = recording.header.model_dump(mode="json")
            there = Endpoint(NOWHERE, flavour=recording.header.flavour, transport=self._replay, pauses=AT_ONCE)
            return openai_planner(systems, tools, there)
        if self._recorder is not None:
            url, key = os.environ.get("OPENAI_BASE_URL") or None, os.environ.get("OPENAI_API_KEY")
            if url is None and key is None:
                raise InputError("recording needs OPENAI_API_KEY or OPENAI_BASE_URL", where="environment")
            asked = Endpoint(url, key, os.environ.get("GUARDIAN_OPENAI_API"), self._recorder)
            return openai_planner(systems, tools, asked)
        return choose(systems, tools, self._name)


def _endpoint_kind(scripted: bool) -> str:
    """`openai`, `compatible` (another server that speaks its API), or `loopback script`."""
    if scripted:
        return "loopback script"
    url = os.environ.get("OPENAI_BASE_URL")
    return "openai" if not url or urlsplit(url).hostname == OPENAI_HOST else "compatible"

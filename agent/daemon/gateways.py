"""The gateways of the models that are served here, each in a process of its own, started again where one dies."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from policies.errors import GuardianError
from tools.serving.process import GatewayProcess
from tools.systems.systems import Systems

AGAIN_SECONDS = 15.0


def served_here(systems: Systems) -> list[str]:
    """The models with a real-time endpoint and a prediction log."""
    operations = systems.operations
    found = []
    for model, binding in operations.models.items():
        infra = operations.serving_of(model)
        if infra is not None and infra.real_time is not None and binding.prediction_log is not None:
            found.append(model)
    return found


class Gateways:
    """Keeps a gateway running for each model; their ports count up from `first_port` in the order declared."""

    def __init__(self, operations: Path, models: list[str], first_port: int, say: Callable[[str], None]) -> None:
        self._operations = operations
        self._ports = {model: first_port + number for number, model in enumerate(models)}
        self._running: dict[str, GatewayProcess] = {}
        self._not_before: dict[str, float] = {}
        self._say = say

    def keep(self) -> None:
        """Starts what does not run."""
        for model, port in self._ports.items():
            gateway = self._running.get(model)
            if (gateway is not None and gateway.alive) or time.monotonic() < self._not_before.get(model, 0.0):
                continue
            if gateway is not None:
                self._say(f"gateway of {model}: ended, is started again")
                gateway.stop()
            self._not_before[model] = time.monotonic() + AGAIN_SECONDS
            try:
                self._running[model] = GatewayProcess(self._operations, model, port=port, wait_ready=False).start()
            except GuardianError as error:
                self._say(f"gateway of {model}: {error}")
            else:
                self._say(f"gateway of {model}: {self._running[model].predict_url}")

    def stop(self) -> None:
        """Ends them cleanly: their prediction logs are whole."""
        for gateway in self._running.values():
            gateway.stop()

    def readiness(self) -> dict[str, dict[str, Any]]:
        """What each model's gateway says of itself; empty where it does not answer."""
        return {
            model: gateway.readiness() if (gateway := self._running.get(model)) is not None and gateway.alive else {}
            for model in self._ports
        }

    def states(self, said: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
        """Each model's gateway in a few words, by its `readiness`."""
        return {model: self._state(model, said[model]) for model in self._ports}

    def _state(self, model: str, said: Mapping[str, Any]) -> str:
        gateway = self._running.get(model)
        if gateway is None or not gateway.alive:
            return "down"
        return f"{gateway.predict_url} {'ready' if said.get('ready') else 'not ready'}"


def log_faults(said: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """What keeps the log of each gateway that answers from being written, empty where nothing does."""
    shown = {model: str(state["prediction_log"]) for model, state in said.items() if "prediction_log" in state}
    return {model: "" if text == "ok" else text for model, text in shown.items()}

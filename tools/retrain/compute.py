"""Where the trials of a search are fitted: in threads of this process, or as tasks of a Ray cluster."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from tools.retrain import limits
from tools.retrain.search import Attempt, Task, attempt
from tools.systems.ray_cluster import connected

_RETRIES = 5


class Compute(Protocol):
    """Fits several sets of parameters at once."""

    @property
    def at_once(self) -> int:
        """How many trials run at a time."""
        ...

    def map(self, task: Task, given: list[dict[str, Any]], share: float) -> list[Attempt]:
        """An attempt for each set of parameters, in their order (see `search.attempt`)."""
        ...


class Threads:
    """Two fits side by side, each on one thread."""

    at_once = 2

    def map(self, task: Task, given: list[dict[str, Any]], share: float) -> list[Attempt]:
        """An attempt for each set of parameters, in their order."""
        with ThreadPoolExecutor(self.at_once) as pool:
            return list(pool.map(lambda parameters: attempt(task, parameters, share), given))


class RayTasks:
    """Tasks of one CPU on the Ray cluster at `address`. A task whose node dies is run again on another.

    Its nodes have this package, and a user's recipe, installed. Raises InputError where the extra is not installed, or
    no cluster answers.
    """

    def __init__(self, address: str, memory_gb: float) -> None:
        ray = connected(address, "compute: ray", "training.address")
        self._ray = ray
        self._memory_gb = memory_gb
        self._shared: tuple[Task, Any] | None = None
        self.at_once = max(1, int(ray.cluster_resources().get("CPU", 1)))

    def map(self, task: Task, given: list[dict[str, Any]], share: float) -> list[Attempt]:
        """An attempt for each set of parameters, in their order; one lost with its nodes, again and again, failed."""
        if self._shared is None or self._shared[0] is not task:
            self._shared = (task, self._ray.put(task))
        remote = self._ray.remote(num_cpus=1, max_retries=_RETRIES)(_on_a_node)
        waiting = [remote.remote(self._shared[1], parameters, share, self._memory_gb) for parameters in given]
        return [self._collected(each) for each in waiting]

    def _collected(self, reference: Any) -> Attempt:
        try:
            result: Attempt = self._ray.get(reference)
            return result
        except self._ray.exceptions.RayError as error:
            return Attempt(error=f"Ray lost the trial: {str(error).splitlines()[0]}")


def _on_a_node(task: Task, parameters: dict[str, Any], share: float, memory_gb: float) -> Attempt:
    limits.limit_memory(memory_gb)
    return attempt(task, parameters, share)

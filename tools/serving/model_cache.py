"""Registry versions for the gateway: from the local cache at once, else fetched by a process of its own.

Fetching needs MLflow, whose import takes seconds and would stall the requests of any process that does it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from policies.errors import SystemDown

if TYPE_CHECKING:
    from tools.systems.registry import LocalModel, Registry

FETCH_SECONDS = 120


class ModelCache:
    """Satisfies `seams.Models` over a registry whose `fetch` does not import MLflow for a version in its cache."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def fetch(self, name: str, version: str) -> LocalModel:
        """The cache folder of a version. Raises SystemDown with the fetching process's own words."""
        if not (self._registry.cache / name / version / "manifest.json").is_file():
            self._fetch_elsewhere(name, version)
        return self._registry.fetch(name, version)

    def _fetch_elsewhere(self, name: str, version: str) -> None:
        registry = self._registry
        order = {"uri": registry.tracking_uri, "cache": str(registry.cache), "name": name, "version": version}
        try:
            # By stdin, for a tracking URI may hold a password and arguments are visible to every user.
            done = subprocess.run(
                [sys.executable, "-m", "tools.serving.model_cache"],
                input=json.dumps(order).encode(),
                capture_output=True,
                timeout=FETCH_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise SystemDown(f"{name} {version} did not arrive in {FETCH_SECONDS} s", where="model registry") from None
        if done.returncode != 0:
            words = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
            raise SystemDown(words[-1], where="model registry")


def main() -> int:
    """The fetching process: reads its order from stdin."""
    from tools.systems.registry import Registry

    order = json.load(sys.stdin)
    Registry(order["uri"], Path(order["cache"])).fetch(order["name"], order["version"])
    return 0


if __name__ == "__main__":
    sys.exit(main())

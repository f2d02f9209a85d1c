"""`Systems`: everything the tools act on, behind named seams."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from policies.declarations import Operations, load
from policies.declarations.binding import SystemsBlock
from policies.errors import InputError
from tools.systems.clock import Clock, VirtualClock, WallClock
from tools.systems.notify import Notifications
from tools.systems.registry import Registry
from tools.systems.routing.adapters import adapters
from tools.systems.store import Store
from tools.systems.traces import Traces
from tools.systems.traffic import Splits
from tools.systems.warehouse import AnyWarehouse, Warehouse

if TYPE_CHECKING:
    from policies.declarations.binding import Features
    from tools.evaluate.latency import LatencyComparison
    from tools.retrain.job import Job
    from tools.retrain.process import Made


class Trainer(Protocol):
    """Does a training; see `tools.retrain.process.TrainingProcess`, which is the one."""

    def train(self, job: Job, seconds: float, on_trials: Callable[[list[Any]], None]) -> Made:
        """The fitted model; `on_trials` is given the trials as they end."""
        ...


class Replayer(Protocol):
    """Scores rows with a stored artifact; see `tools.evaluate.clean_process.scores_of`, which is the one."""

    def __call__(
        self, folder: Path, rows: Sequence[Mapping[str, Any]], features: Features, memory_gb: float, task: str, /
    ) -> list[float]:
        """What it says of them. Raises ReplayFailed."""
        ...


Stopwatch = Callable[[Callable[[Any], object], Callable[[Any], object], Sequence[Any]], "LatencyComparison"]
"""Times two models on single rows; `tools.evaluate.latency.measure` is the one."""


@dataclass
class Systems:
    """What every tool is given. `home` is the folder of the declarations file.

    `workers` are the models at work at a time: measuring keeps a core busy each, an agent run mostly waits. In place of
    a process of its own, `trainer` opens what a training runs in, and `replayer` scores rows with a stored
    artifact; `stopwatch` takes latencies in place of the clock.
    """

    operations: Operations
    home: Path
    clock: Clock
    store: Store
    warehouse: AnyWarehouse
    registry: Registry
    traffic: Splits
    notifications: Notifications
    traces: Traces | None = None
    workers: int = max(2, os.cpu_count() or 1)
    trainer: Callable[[], AbstractContextManager[Trainer]] | None = None
    replayer: Replayer | None = None
    stopwatch: Stopwatch | None = None

    @property
    def state(self) -> Path:
        """The Guardian's own folder: caches, checkpoints, the embedded databases."""
        folder = self.home / ".guardian"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @classmethod
    def open(cls, declarations: Path) -> Systems:
        """Systems as declared in `declarations`; the environment's URLs win. Raises InputError."""
        operations = load(declarations)
        home = declarations.resolve().parent
        block = operations.systems
        store = Store(_sqlite_from(home, os.environ.get("GUARDIAN_STATE_URL", block.state)))
        clock: Clock = VirtualClock(store) if block.clock == "virtual" else WallClock()
        return cls(
            operations=operations,
            home=home,
            clock=clock,
            store=store,
            warehouse=warehouse_at(home, warehouse_url(block)),
            registry=Registry(
                _sqlite_from(home, os.environ.get("MLFLOW_TRACKING_URI", block.mlflow)), home / ".guardian" / "models"
            ),
            traffic=Splits(store, adapters(block.traffic)),
            notifications=Notifications(store, clock, block.people),
            traces=Traces(_sqlite_from(home, os.environ.get("MLFLOW_TRACKING_URI", block.mlflow))),
        )

    def close(self) -> None:
        """Closes connections."""
        self.warehouse.close()
        self.store.close()


def _sqlite_from(home: Path, url: str) -> str:
    """`url` with a relative SQLite path resolved against `home`."""
    prefix = "sqlite:///"
    if url.startswith(prefix) and not url.startswith(prefix + "/") and url != "sqlite:///:memory:":
        return prefix + str(home / url.removeprefix(prefix))
    return url


def warehouse_url(block: SystemsBlock) -> str:
    """Where the warehouse is; the environment wins."""
    return os.environ.get("GUARDIAN_WAREHOUSE_URL", block.warehouse)


def warehouse_at(home: Path, url: str) -> AnyWarehouse:
    """The warehouse at a URL or in a folder, relative to `home`. Raises InputError for one of another kind."""
    if url.startswith(("postgresql://", "postgres://", "postgresql+psycopg://")):
        _require("postgres", "psycopg")
        from tools.systems.postgres import PostgresWarehouse

        return PostgresWarehouse(url)
    if url.startswith(("spark:", "sc://")):
        _require("spark", "pyspark")
        from tools.systems.spark import SparkWarehouse

        return SparkWarehouse(url, home)
    if url.startswith("snowflake://"):
        _require("snowflake", "snowflake.connector")
        from tools.systems.snowflake import SnowflakeWarehouse

        return SnowflakeWarehouse(url)
    if url.startswith("bigquery://"):
        _require("bigquery", "google.cloud.bigquery")
        from tools.systems.bigquery import BigQueryWarehouse

        return BigQueryWarehouse(url)
    path = url.removeprefix("file://")
    if "://" in path:
        kind = path.partition("://")[0]
        allowed = "a folder of Parquet files, postgresql://…, snowflake://…, bigquery://…, spark:MASTER or sc://…"
        raise InputError(f"{kind}:// is no kind of warehouse here; allowed: {allowed}", where="systems.warehouse")
    if (home / path).is_file():
        wanted = "a warehouse is a folder of Parquet files, one folder a table"
        raise InputError(f"{home / path} is a file, and {wanted}", where="systems.warehouse")
    return Warehouse(home / path)


def _require(extra: str, driver: str) -> None:
    """Raises InputError where the driver of an extra, or what translates for it, is not installed."""
    try:
        import_module(driver)
        import_module("sqlglot")
    except ImportError as error:
        wanted = f"pip install 'mlops-guardian[{extra}]'"
        raise InputError(f"{error.name} is not installed: {wanted}", where="systems.warehouse") from error

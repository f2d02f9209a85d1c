"""Where a batch is scored: on this machine, or where that is outgrown on a cluster of Ray or Spark.

A cluster's machines read their pages from the warehouse themselves, and load the version from the registry, once a
process and digest-checked; what comes back is the output's rows, which one process writes. What is promised of a batch
(each row once, restartable, a page written whole or not at all) is so the same everywhere. They need this package
installed, and must reach the warehouse and MLflow.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol

from policies.errors import GuardianError, InputError, SystemDown
from tools.serving.batch_pages import Pages, Place, reader
from tools.systems.ray_cluster import connected
from tools.systems.systems import Systems, warehouse_at, warehouse_url

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from pyspark.sql import SparkSession

LOCAL = "local"
SPARK = "spark"

_AT_ONCE = 16
"""Pages of a wave on Spark Connect, which does not say how many tasks it runs at a time."""


class BatchCompute(Protocol):
    """Scores pages somewhere, at least one."""

    def scored(self, pages: Pages, seconds: Callable[[], float]) -> Generator[pa.Table]:
        """The output's rows, a page or several at a time, in any order; `seconds` says how long is left. What runs
        elsewhere ends with the iterator. Raises InputError, SystemDown."""
        ...


def compute_of(systems: Systems, name: str) -> BatchCompute:
    """What `systems.compute` has under this name of a pattern's `compute`; where it has nothing, this machine.

    Raises InputError for a warehouse that a cluster's machines cannot read by themselves.
    """
    block = systems.operations.systems
    address = block.compute.get(name)
    if address is None:
        return Here(systems)
    if systems.warehouse.dialect == SPARK:
        told = "machines of a cluster read Parquet or PostgreSQL, and not a warehouse on Spark; write compute: local"
        raise InputError(told, where="serving_infra")
    place = Place(systems.home, warehouse_url(block), systems.registry.tracking_uri)
    return RayData(address, place) if address.startswith("ray:") else Spark(address, place)


class Here:
    """One page after the other in this process; the next is read while one is scored."""

    def __init__(self, systems: Systems) -> None:
        self._systems = systems

    def scored(self, pages: Pages, seconds: Callable[[], float]) -> Generator[pa.Table]:
        """The output's rows, page by page."""
        pipeline = pages.model(self._systems.registry)

        def read(page: int) -> pd.DataFrame:
            return pages.rows(self._systems.warehouse, page)

        with ThreadPoolExecutor(1, "pages") as thread:
            following = thread.submit(read, 0)
            for page in range(1, pages.count + 1):
                found = following.result()
                if page < pages.count:
                    following = thread.submit(read, page)
                if len(found):
                    yield pages.scored(pipeline, found)


class RayData:
    """Waves of pages by Ray Data on the cluster at `ray:ADDRESS` (`ray:auto`: this machine's)."""

    def __init__(self, address: str, place: Place) -> None:
        self._address, self._place = address.removeprefix("ray:"), place

    def scored(self, pages: Pages, seconds: Callable[[], float]) -> Generator[pa.Table]:
        """The output's rows, a wave after the other; a page whose machine dies is scored again on another."""
        ray = connected(self._address, "a batch on Ray", "systems.compute")
        try:
            from ray import data

            data.DataContext.get_current().enable_progress_bars = False
            logging.getLogger("ray.data").setLevel(logging.ERROR)
            at_once = max(1, int(ray.cluster_resources().get("CPU", 1)))
            for first, after in _waves(pages.count, at_once):
                wave = data.range(after - first, override_num_blocks=after - first)
                scored = wave.map_batches(
                    _on_ray, fn_args=(self._place, pages, first), batch_size=1, batch_format="pyarrow", num_cpus=1
                )
                for block in ray.get(scored.to_arrow_refs()):
                    yield from _tables(block)
        except ray.exceptions.RayError as error:
            raise _named(error) from error
        finally:
            ray.shutdown()


def _on_ray(batch: pa.Table, place: Place, pages: Pages, first: int) -> pa.Table:
    import pyarrow as pa

    return pa.table({"rows": pa.array([reader(place, pages).scored(first + n) for n in batch["id"].to_pylist()])})


class Spark:
    """Waves of pages on Spark at `spark:MASTER`, `spark://host:port` or, of Databricks and Spark Connect, `sc://…`."""

    def __init__(self, address: str, place: Place) -> None:
        self._address, self._place = address, place

    def scored(self, pages: Pages, seconds: Callable[[], float]) -> Generator[pa.Table]:
        """The output's rows, a wave of as many pages as Spark runs at a time after the other."""
        import pyarrow as pa

        place = self._place

        def on_spark(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for batch in batches:
                scored = [reader(place, pages).scored(page) for page in batch["id"].to_pylist()]
                yield pa.record_batch({"rows": pa.array(scored, pa.binary())})

        try:
            spark = warehouse_at(place.home, self._address)
        except InputError as error:
            raise InputError(error.message, where="systems.compute") from error
        from tools.systems.spark import SparkWarehouse

        assert isinstance(spark, SparkWarehouse)
        try:
            at_once = _AT_ONCE if spark.remote else spark.run(lambda session: session.sparkContext.defaultParallelism)
            for first, after in _waves(pages.count, at_once):

                def run(session: SparkSession, first: int = first, after: int = after) -> pa.Table:
                    wave = session.range(first, after, 1, after - first)
                    return wave.mapInArrow(on_spark, "rows binary").toArrow()

                yield from _tables(spark.run(run, max(1.0, seconds())))
        finally:
            spark.close()


def _waves(pages: int, at_once: int) -> Iterator[tuple[int, int]]:
    """The first page of each wave, and the first after it."""
    return ((first, min(first + at_once, pages)) for first in range(0, pages, at_once))


def _tables(found: Any) -> Iterator[pa.Table]:
    import pyarrow as pa

    for each in found["rows"]:
        if content := each.as_py():
            yield pa.ipc.open_stream(content).read_all()


def _named(error: Exception) -> GuardianError:
    """An error of Ray as ours: what a page failed on, where it says so."""
    cause = error
    while not isinstance(cause, GuardianError) and isinstance(after := getattr(cause, "cause", None), Exception):
        cause = after
    if isinstance(cause, GuardianError):
        return cause
    return SystemDown(f"Ray gave the batch up: {str(cause).strip().splitlines()[-1]}", where="systems.compute")

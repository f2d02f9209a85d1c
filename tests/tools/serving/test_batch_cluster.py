"""A batch on a cluster of Ray or on Spark scores what this machine would, and keeps what is promised of a batch."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from policies.errors import InputError, SystemDown
from tests.tools.serving.test_batch_run import AT, OUTPUT, scores, table
from tools.serving.batch_pages import Place, pages_of, reader
from tools.serving.batch_run import find_pattern, partition, run_batch
from tools.systems.systems import Systems, warehouse_url

__all__ = ["table"]  # the fixture

RAY, SPARK = (importlib.util.find_spec(name) is not None for name in ("ray", "pyspark"))
REPOSITORY = str(Path(__file__).parents[3])
with_ray = pytest.mark.skipif(not RAY, reason="the extra ray is not installed")
with_spark = pytest.mark.skipif(not SPARK, reason="the extra spark is not installed")


@contextmanager
def declared(world: Any, address: str) -> Iterator[Systems]:
    """The world's systems, with what its batch calls databricks at this address."""
    file = world.operations.with_name("elsewhere.yaml")
    file.write_text(world.operations.read_text() + f'  compute: {{databricks: "{address}"}}\n')
    systems = Systems.open(file)
    try:
        yield systems
    finally:
        systems.close()
        file.unlink()


def expect_what_is_promised(world: Any, systems: Systems, table: pd.DataFrame) -> None:
    """A run in pages scores each row once as the model itself would, and a second one nothing; one that ended early
    leaves whole pages behind, and the next scores the rest."""
    heard: list[int] = []
    done = run_batch(systems, "nightly", AT, page_rows=150, told=heard.append)
    assert (done.rows, done.already, done.compute, done.detail) == (1_000, 0, "databricks", "")
    assert len(heard) > 3
    found, rows = scores(world), table.set_index("customer_id").sort_index()
    alone = systems.registry.load("churn_model", done.version).predict_proba(
        rows[["recency", "orders", "spend", "market"]]
    )
    assert found.index.equals(rows.index) and (found["score"].to_numpy() == alone[:, 1]).all()
    again = run_batch(systems, "nightly", AT, page_rows=150)
    assert (again.rows, again.already) == (0, 1_000)
    for file in world.systems.warehouse.folder(OUTPUT).glob("*.parquet"):
        file.unlink()

    def stopped(rows: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_batch(systems, "nightly", AT, page_rows=150, told=stopped)
    begun = len(scores(world))
    assert 0 < begun < 1_000
    done = run_batch(systems, "nightly", AT, page_rows=150)
    assert (done.rows, done.already) == (1_000 - begun, begun)
    assert scores(world).index.is_unique and len(scores(world)) == 1_000


@contextmanager
def ray_cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        yield cluster
    finally:
        cluster.shutdown()


@with_ray
@pytest.mark.filterwarnings("ignore")
@pytest.mark.timeout(300)
def test_on_ray_nodes_rows_are_scored_once_and_as_here(
    world: Any, table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", REPOSITORY)
    with ray_cluster() as cluster:
        for _ in range(2):
            cluster.add_node(num_cpus=1)
        with declared(world, f"ray:{cluster.address}") as systems:
            expect_what_is_promised(world, systems, table)


@with_ray
@pytest.mark.filterwarnings("ignore")
def test_no_ray_cluster_is_said_in_a_line(world: Any, table: pd.DataFrame) -> None:
    with (
        declared(world, "ray:127.0.0.1:1") as systems,
        pytest.raises(InputError, match=r"systems.compute: no Ray cluster answers at 127.0.0.1:1"),
    ):
        run_batch(systems, "nightly", AT)


@with_spark
@pytest.mark.filterwarnings("ignore")
@pytest.mark.timeout(300)
def test_on_spark_rows_are_scored_once_and_as_here(
    world: Any, table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([REPOSITORY, os.environ.get("PYTHONPATH", "")]))
    with declared(world, "spark:local[2]") as systems:
        expect_what_is_promised(world, systems, table)


@with_spark
def test_no_spark_is_said_in_a_line(world: Any, table: pd.DataFrame) -> None:
    with declared(world, "sc://127.0.0.1:1") as systems, pytest.raises(SystemDown, match="Spark cannot be reached"):
        run_batch(systems, "nightly", AT)


@pytest.mark.parametrize(
    ("address", "extra", "installed"), [("ray:auto", "ray", RAY), ("spark:local[2]", "spark", SPARK)]
)
def test_without_the_extra_it_says_what_to_install(
    world: Any, table: pd.DataFrame, address: str, extra: str, installed: bool
) -> None:
    if installed:
        pytest.skip(f"{extra} is installed here")
    with declared(world, address) as systems, pytest.raises(InputError, match=rf"mlops-guardian\[{extra}\]"):
        run_batch(systems, "nightly", AT)


def test_an_address_of_no_known_kind_is_refused(world: Any) -> None:
    with pytest.raises(InputError, match="compute"), declared(world, "k8s:here"):
        pass


def test_local_is_this_machine_and_stands_for_no_other(world: Any) -> None:
    file = world.operations.with_name("elsewhere.yaml")
    file.write_text(world.operations.read_text() + '  compute: {local: "ray:auto"}\n')
    with pytest.raises(InputError, match="local is this machine"):
        Systems.open(file)
    file.unlink()


def test_a_process_that_is_used_again_reads_the_period_it_is_asked_for_now(world: Any, table: pd.DataFrame) -> None:
    systems = world.systems
    model, pattern = find_pattern(systems, "nightly")
    place = Place(systems.home, warehouse_url(systems.operations.systems), systems.registry.tracking_uri)
    found = []
    for night in (0, -1, 0):
        period = partition(pattern.schedule, AT + timedelta(days=night))
        pages = pages_of(systems, model, world.versions["one"], pattern, period, 500_000, again=False)
        scored = pa.ipc.open_stream(reader(place, pages).scored(0)).read_all()
        assert all(period[0] <= each < period[1] for each in scored["scored_at"].to_pylist())
        found.append(scored.num_rows)
    assert found == [1_000, 50, 1_000]

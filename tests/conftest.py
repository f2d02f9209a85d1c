"""Options of the whole suite."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.bigquery import NEEDS_BIGQUERY, bigquery_url
from tests.fakes.bigquery_server import BigQueryServer, running_bigquery
from tests.postgres import database_url, running_postgres
from tests.snowflake import NEEDS_SNOWFLAKE, running_fakesnow, snowflake_url
from tests.spark import NEEDS_SPARK, spark_warehouse
from tools.systems.postgres import PostgresWarehouse
from tools.systems.systems import warehouse_at
from tools.systems.warehouse import AnyWarehouse

settings.register_profile("long")
"""`--hypothesis-profile=long`: tests over sequences of calls run more and longer ones."""


@pytest.fixture(autouse=True)
def _environment_is_left_alone() -> Iterator[None]:
    """A test that leaves MLflow's URI in the environment would rule the systems that the next one opens."""
    before = os.environ.get("MLFLOW_TRACKING_URI")
    yield
    assert os.environ.get("MLFLOW_TRACKING_URI") == before, "this test left MLFLOW_TRACKING_URI in the environment"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Path]:
    """The socket folder of a PostgreSQL server; see `tests.postgres.database_url`."""
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def fakesnow() -> Iterator[int]:
    """The port of a fake of Snowflake; see `tests.snowflake.snowflake_url`."""
    with running_fakesnow() as port:
        yield port


@pytest.fixture
def bigquery(monkeypatch: pytest.MonkeyPatch) -> Iterator[BigQueryServer]:
    """A fake of BigQuery, to which Google's client speaks meanwhile; see `tests.bigquery.bigquery_url`."""
    with running_bigquery() as service:
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", service.url)
        yield service


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, of each kind that a state store may be in."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/state.db"
    return database_url(request.getfixturevalue("postgres"))


@pytest.fixture(
    params=[
        "postgres",
        pytest.param("spark", marks=NEEDS_SPARK),
        pytest.param("snowflake", marks=NEEDS_SNOWFLAKE),
        pytest.param("bigquery", marks=NEEDS_BIGQUERY),
    ]
)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AnyWarehouse]:
    """An empty warehouse of each kind that is another program."""
    if request.param == "postgres":
        made: AnyWarehouse = PostgresWarehouse(database_url(request.getfixturevalue("postgres")))
    elif request.param == "snowflake":
        made = warehouse_at(tmp_path, snowflake_url(request.getfixturevalue("fakesnow")))
    elif request.param == "bigquery":
        request.getfixturevalue("bigquery")
        made = warehouse_at(tmp_path, bigquery_url())
    else:
        made = spark_warehouse(tmp_path)
    yield made
    made.close()

"""Credentials in URLs: none in a file, none in an error text."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from policies.errors import GuardianError, InputError, SystemDown
from tools.onboarding.onboard import Wanted, _guarded
from tools.systems.credentials import cleaned, without_credentials
from tools.systems.postgres import PostgresWarehouse
from tools.systems.registry import Registry
from tools.systems.store import Store
from tools.systems.traces import Span, Traces

URLS = {
    "postgresql://u:s3cretpw@h:5432/d?sslmode=require": "postgresql://u@h:5432/d?sslmode=require",
    "postgresql://h:5432/d?user=u&password=s3cretpw": "postgresql://h:5432/d?user=u",
    "postgresql://h/d?password=s3cretpw&user=u": "postgresql://h/d?user=u",
    "postgresql://u:p@s3cretpw@h/d": "postgresql://u@h/d",
    "postgresql://u:p/s3cretpw@h/d": "postgresql://u@h/d",
    "sc://h:15002/;token=s3cretpw;user_id=u": "sc://h:15002/;user_id=u",
    "spark://h:7077?spark.hadoop.fs.s3a.secret.key=s3cretpw&folder=f": "spark://h:7077?folder=f",
    "http://admin:s3cretpw@h:5000/a@b": "http://h:5000/a@b",
    "https://s3cretpw@h": "https://h",
}


@pytest.mark.parametrize("url", URLS)
def test_a_url_is_written_without_its_credentials(url: str) -> None:
    assert without_credentials(url) == URLS[url]
    assert without_credentials(URLS[url]) == URLS[url]


@pytest.mark.parametrize("url", URLS)
def test_a_text_about_a_url_does_not_tell_them(url: str) -> None:
    assert "s3cretpw" not in cleaned(f"cannot reach {url} ('s3cretpw@h')", url)


def test_an_unescaped_at_sign_in_the_state_urls_password_is_not_told() -> None:
    with pytest.raises(GuardianError) as told:
        Store("postgresql+psycopg://u:p@ssw0rdXYZ@127.0.0.1:1/d")
    assert "ssw0rdXYZ" not in str(told.value)


def test_a_registry_that_is_down_does_not_tell_its_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(GuardianError) as told:
        Registry("http://u:s3cretQQ@127.0.0.1:1", tmp_path).get("late", "3")
    assert "s3cretQQ" not in str(told.value) and told.value.exit_code == 1


@pytest.mark.parametrize("what", ["register", "give_up", "has_experiment", "trace"])
def test_a_registry_that_cannot_be_written_says_so_in_one_line_without_its_password(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    uri, at = "http://u:s3cretQQ@127.0.0.1:1", datetime(2026, 1, 1)
    registry, example = Registry(uri, tmp_path), pd.DataFrame({"x": [1.0, 2.0]})

    def ask() -> object:
        match what:
            case "register":
                fitted = LogisticRegression().fit(example, [0, 1])
                return registry.register("late", fitted, example=example, params={}, metrics={}, tags={})
            case "give_up":
                return registry.give_up("late", "train-1", "killed")
            case "has_experiment":
                return registry.has_experiment("late")
        return Traces(uri).write(Span("night", "AGENT", at, at), [], {})

    with pytest.raises(SystemDown) as told:
        ask()
    said = str(told.value)
    assert "s3cretQQ" not in said and "\n" not in said and told.value.exit_code == 1
    assert said.startswith("traces: " if what == "trace" else "model registry: ")


def test_spark_does_not_tell_a_password_once_it_is_connected() -> None:
    pytest.importorskip("pyspark")
    from tools.systems.spark import _named

    url = "spark:local[1]?spark.hadoop.fs.s3a.secret.key=s3cretQQ"
    for error in (ValueError("403 with key s3cretQQ\nat line"), RuntimeError(f"no {url}")):
        assert "s3cretQQ" not in str(_named(error, url))


def test_snowflake_does_not_tell_a_password_of_the_url_or_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    from tools.systems.snowflake import SnowflakeWarehouse

    monkeypatch.setenv("SNOWFLAKE_TOKEN", "t0kenQQ")
    warehouse = SnowflakeWarehouse("snowflake://me:s3cretQQ@account/db")
    said = warehouse._line(RuntimeError("250001: login of me with s3cretQQ\nand t0kenQQ failed"))
    assert "QQ" not in said and "login of me" in said


def test_a_port_that_is_no_number_is_bad_input() -> None:
    with pytest.raises(InputError, match="the port is 'abc', and must be a number"):
        PostgresWarehouse("postgresql://u:s3cretpw@127.0.0.1:abc/d").tables()
    with pytest.raises(InputError, match="is no database URL"):
        Store("postgresql+psycopg://u:s3cretpw@127.0.0.1:abc/d")


@pytest.mark.parametrize("url", ["postgresql://u:p@ssw0rdXYZ@127.0.0.1/d", "postgresql://127.0.0.1:1/d?password=XYZpw"])
def test_a_warehouse_that_is_down_does_not_tell_its_password(url: str) -> None:
    with pytest.raises(GuardianError) as told:
        PostgresWarehouse(url).tables()
    assert "XYZ" not in str(told.value)


@pytest.mark.parametrize("url", URLS)
def test_operations_yaml_holds_none(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
    guarded = _guarded(SimpleNamespace(), Wanted(tmp_path, "Late", "models:/late/3", url), False)  # type: ignore[arg-type]
    assert (guarded.warehouse, guarded.tracking) == (URLS[url], URLS[url])

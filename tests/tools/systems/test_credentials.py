"""Credentials in URLs: none in a file, none in an error text."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from policies.errors import GuardianError, InputError
from tools.onboarding.onboard import Wanted, _guarded
from tools.systems.credentials import cleaned, without_credentials
from tools.systems.postgres import PostgresWarehouse
from tools.systems.registry import Registry
from tools.systems.store import Store

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

"""The registry on a real MLflow: versions, aliases, and models opened only when their digest is right."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from pydantic import ValidationError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from policies.declarations.binding import SystemsBlock
from policies.errors import InputError, SystemDown
from tools.systems.pointing import point_mlflow
from tools.systems.registry import Registry, load_local


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    home = tmp_path_factory.mktemp("registry")
    made = Registry(f"sqlite:///{home}/mlflow.db", home / "models")
    rows = pd.DataFrame({"x": [0.0, 1.0, 2.0, 3.0], "y": [1.0, 0.0, 1.0, 0.0]})
    for constant in (1.0, 2.0):
        pipeline = make_pipeline(LogisticRegression(C=constant)).fit(rows, [0, 0, 1, 1])
        made.register("m", pipeline, example=rows, params={"C": constant}, metrics={"auc": 0.8}, tags={"window": "w"})
    return made


def test_versions_carry_what_was_logged(registry: Registry) -> None:
    newest, oldest = registry.versions("m")
    assert (newest.version, oldest.version) == ("2", "1")
    assert newest.params == {"C": "2.0"}
    assert newest.metrics == {"auc": 0.8}
    assert newest.tags["window"] == "w"
    assert newest.digest != oldest.digest
    assert registry.versions("unknown") == []


def test_aliases_move(registry: Registry) -> None:
    assert registry.alias("m", "champion") is None
    registry.set_alias("m", "champion", "1")
    registry.set_alias("m", "champion", "2")
    assert registry.alias("m", "champion") == "2"
    registry.delete_alias("m", "champion")
    registry.delete_alias("m", "champion")
    assert registry.alias("m", "champion") is None


def test_an_unknown_version_is_bad_input(registry: Registry) -> None:
    with pytest.raises(InputError, match="no version '9'"):
        registry.get("m", "9")


def test_a_cached_model_answers_as_registered_and_without_mlflow(registry: Registry) -> None:
    local = registry.fetch("m", "2")
    code = (
        "import sys, pathlib, pandas as pd; from tools.systems.registry import load_local; "
        f"model = load_local(pathlib.Path({str(local.path)!r})); "
        "print(model.predict_proba(pd.DataFrame({'x': [1.5], 'y': [0.5]}))[0, 1]); assert 'mlflow' not in sys.modules"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    expected = registry.load("m", "2").predict_proba(pd.DataFrame({"x": [1.5], "y": [0.5]}))[0, 1]
    assert float(answer.stdout) == expected


def test_a_changed_file_is_not_opened(registry: Registry) -> None:
    local = registry.fetch("m", "1")
    file = local.path / "model.pkl"
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(InputError, match="changed after it was fetched"):
        load_local(local.path)


def test_a_registry_that_is_down_is_no_missing_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(SystemDown, match="API request"):
        Registry("http://127.0.0.1:1", tmp_path).get("m", "3")


@pytest.mark.parametrize(
    ("uri", "told"), [("foo://x", "is no address of MLflow's"), ("sqlite:////proc/x/y.db", "cannot be made")]
)
def test_no_address_of_a_registry_is_bad_input(uri: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=told):
        Registry(uri, tmp_path).get("m", "3")


def test_an_empty_address_is_refused_as_declared() -> None:
    with pytest.raises(ValidationError, match="at least 1 character"):
        SystemsBlock(mlflow="")


def _of_someone_else(home: Path, kind: str) -> Registry:
    """A registry whose version 1 of `t` was registered without the Guardian."""
    import mlflow

    theirs = Registry(f"sqlite:///{home}/mlflow.db", home / "models")
    rows = pd.DataFrame({"x": [0.0, 1.0, 2.0, 3.0]})
    experiment = theirs.client.create_experiment("e", artifact_location=(home / "a").as_uri())
    point_mlflow(theirs.tracking_uri)
    with mlflow.start_run(experiment_id=experiment):
        fitted = LogisticRegression().fit(rows, [0, 0, 1, 1])
        mlflow.sklearn.log_model(
            fitted, name="model", input_example=rows, serialization_format=kind, registered_model_name="t",
            pip_requirements=["scikit-learn"],
        )  # fmt: skip
    return theirs


@pytest.mark.parametrize("kind", ["skops", "cloudpickle"])
def test_what_someone_else_logged_is_changed_only_once_it_fits(kind: str, tmp_path: Path) -> None:
    theirs = _of_someone_else(tmp_path, kind)

    def unfit(fitted: object) -> None:
        raise InputError("does not fit")

    told = "only a pickle is opened here.*cloudpickle" if kind == "skops" else "does not fit"
    with pytest.raises(InputError, match=told):
        theirs.adopt("t", "1", unfit)
    assert theirs.alias("t", "champion") is None
    assert theirs.get("t", "1").digest == ""


def test_a_version_of_someone_elses_is_refused_by_its_missing_tag(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        _of_someone_else(tmp_path, "cloudpickle").load("t", "1")
    told = str(refused.value)
    assert "version 1 has no tag guardian.digest: it was not registered by the Guardian" in told
    assert "`guardian retrain`" in told and "--mlflow-model models:/t/1" in told
    assert "differs" not in told

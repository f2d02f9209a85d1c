"""The registry on a real MLflow: versions, aliases, and models opened only when their digest is right."""

from __future__ import annotations

import subprocess
import sys

import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from policies.errors import InputError
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

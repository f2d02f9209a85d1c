"""What `use_experiment` can name, and what a name that is nothing is told."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path

import pytest

from policies.declarations.training import Training
from policies.errors import InputError
from tests.tools.retrain.samples import MIXED, some_rows
from tools.retrain import recipe
from tools.retrain.project import Project
from tools.retrain.recipe import Hyperparameters
from tools.retrain.recipes import BuiltIn, Recipe, UserFunction, resolve
from tools.systems.pointing import point_mlflow

PROJECT = """
name: bank
entry_points:
  main:
    parameters: {data: path, target: string, seed: {type: float, default: 0}}
    command: "python train.py {data} {target} {seed}"
"""
TRAIN = """
import sys
import mlflow, pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer

data, target, seed = sys.argv[1:]
rows = pd.read_parquet(data)
assert len(rows) == 300, len(rows)
numbers = make_column_transformer((SimpleImputer(), ["x", "z"]))
model = make_pipeline(numbers, LogisticRegression(random_state=int(float(seed))))
with mlflow.start_run():
    model.fit(rows.drop(columns=target), rows[target].astype(int))
    mlflow.sklearn.log_model(model, name="model", serialization_format="cloudpickle")
"""


def _resolved(name: str, home: Path, known: dict[str, str] | None = None) -> Recipe:
    return resolve(name, home, MIXED, "bought", known or {}, home / "scratch")


def test_a_plain_name_is_the_built_in_recipe_with_the_champions_parameters(tmp_path: Path) -> None:
    built_in = _resolved("ChurnModel", tmp_path, {"leaves": "7", "half_life_days": "14.0"})
    assert isinstance(built_in, BuiltIn)
    assert built_in.base == Hyperparameters(leaves=7, half_life_days=14.0)
    assert built_in.starts()[0]["half_life_days"] == 14.0


def test_a_function_reads_back_what_the_champion_recorded(tmp_path: Path) -> None:
    function = _resolved("bank.recipes:logistic", tmp_path)
    assert isinstance(function, UserFunction)
    assert function.starts() == []
    known = {"recipe": "bank.recipes:logistic", **function.described({"kind": "l1", "C": 0.5, "steps": 3})}
    assert _resolved("bank.recipes:logistic", tmp_path, known).starts() == [{"kind": "l1", "C": 0.5, "steps": 3}]
    assert _resolved("bank.recipes:other", tmp_path, known).starts() == []


@pytest.mark.parametrize("name", ["projects/bank", "./bank", "bank/MLproject"])
def test_a_path_without_a_project_is_told(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no MLflow Project in .*module:function"):
        _resolved(name, tmp_path)


def test_a_function_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"No module named 'no_such_bank'.*looked in"):
        _resolved("no_such_bank:recipe", tmp_path).fit({}, some_rows(1, 50, 3, 0), 50, 1)


def test_a_function_that_makes_no_classifier_is_told(tmp_path: Path) -> None:
    (tmp_path / "odd_recipes.py").write_text("def number(trial, features, seed):\n    return 42\n")
    with pytest.raises(InputError, match="gave back a int"):
        _resolved("odd_recipes:number", tmp_path).fit({}, some_rows(1, 50, 3, 0), 50, 1)


def test_an_mlflow_project_trains_and_leaves_nothing_outside_its_scratch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    # The training process may change both as it likes; this one has to be put back.
    monkeypatch.setenv("PATH", os.environ["PATH"])
    (tmp_path / "bank").mkdir()
    (tmp_path / "bank" / "MLproject").write_text(textwrap.dedent(PROJECT))
    (tmp_path / "bank" / "train.py").write_text(TRAIN)
    project = _resolved("bank", tmp_path)
    assert isinstance(project, Project)
    assert not project.tunable
    outer = mlflow.get_tracking_uri()
    try:
        model = project.fit({}, some_rows(1, 900, 9, 0), 300, 3)
    finally:
        point_mlflow(outer)
    assert "MLFLOW_TRACKING_URI" not in os.environ
    scores = recipe.predict(model, some_rows(2, 40, 1, 0).frame).scores
    assert ((scores > 0) & (scores < 1)).all()
    assert {each.name for each in tmp_path.iterdir()} == {"bank", "scratch"}


@pytest.mark.parametrize("more", [{"compute": "ray"}, {"address": "auto"}, {"compute": "local", "address": "auto"}])
def test_ray_and_its_address_belong_together(more: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="compute: ray needs the cluster's address"):
        Training.model_validate({"use_experiment": "x", "data_window": "expanding", **more})

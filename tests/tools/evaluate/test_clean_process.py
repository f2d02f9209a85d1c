"""An artifact must stand on its own: what only this process knows does not count."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pandas as pd
import pytest

from policies.declarations.binding import Features
from tools.evaluate.clean_process import ReplayFailed, scores_of
from tools.systems.registry import digest_file

FEATURES = Features(numeric=["a"])
ROWS = [{"a": 0.0}, {"a": 1.0}, {"a": None}]


def _stored(folder: Path, model: Any) -> Path:
    (folder / "model.pkl").write_bytes(cloudpickle.dumps(model))
    manifest = {"digest": digest_file(folder / "model.pkl"), "file": "model.pkl"}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def _fitted() -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    a = np.linspace(-1, 2, 200)
    return HistGradientBoostingClassifier(max_iter=5).fit(pd.DataFrame({"a": a}), a > 0.4)


def test_a_sound_artifact_predicts_the_same_elsewhere(tmp_path: Path) -> None:
    model = _fitted()
    here = model.predict_proba(pd.DataFrame(ROWS).astype(float))[:, 1]
    assert scores_of(_stored(tmp_path, model), ROWS, FEATURES, 8) == pytest.approx(here.tolist(), abs=1e-12)


def test_a_model_of_a_module_that_only_lives_here_does_not_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = types.ModuleType("a_notebook_cell")
    exec("class Model:\n    def predict_proba(self, rows): return [[0, 1]] * len(rows)", notebook.__dict__)
    monkeypatch.setitem(sys.modules, "a_notebook_cell", notebook)
    notebook.Model.__module__ = "a_notebook_cell"
    import pickle

    folder = _stored(tmp_path, None)
    (folder / "model.pkl").write_bytes(pickle.dumps(notebook.Model()))
    (folder / "manifest.json").write_text(
        json.dumps({"digest": digest_file(folder / "model.pkl"), "file": "model.pkl"})
    )
    with pytest.raises(ReplayFailed, match="a_notebook_cell"):
        scores_of(folder, ROWS, FEATURES, 8)


def _stored_whole(folder: Path, model: Any) -> Path:
    """With the model's class, which another process could not import."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    try:
        return _stored(folder, model)
    finally:
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


class Hanging:
    """A model that never answers."""

    def predict_proba(self, rows: pd.DataFrame) -> np.ndarray:
        import time

        time.sleep(60)
        return np.zeros((len(rows), 2))


def test_a_model_that_hangs_is_given_up(tmp_path: Path) -> None:
    folder = _stored_whole(tmp_path, Hanging())
    with pytest.raises(ReplayFailed, match="no answer in 2 s"):
        scores_of(folder, ROWS, FEATURES, 8, seconds=2)


class Hungry:
    """A model that takes 4 GB to answer."""

    def predict_proba(self, rows: pd.DataFrame) -> np.ndarray:
        return np.ones((500_000_000, len(rows) // 3))[: len(rows)]


def test_a_model_that_takes_more_memory_than_declared_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(ReplayFailed, match=r"memory_limit_gb: 1\.5 GB did not suffice"):
        scores_of(_stored_whole(tmp_path, Hungry()), ROWS, FEATURES, 1.5)

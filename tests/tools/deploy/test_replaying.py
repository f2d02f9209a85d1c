"""What a version that crashes, hangs or fails does to the look that scores labelled rows again: nothing."""

from __future__ import annotations

import json
import pickle
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline

from policies.declarations.binding import Features
from policies.errors import SystemDown
from tests.tools.deploy.conftest import HOUR, MODEL, START, Shop, rows
from tests.tools.deploy.faulty import Crashing, Dragging, Hanging, Hungry, Raising
from tools.deploy.fetching import fetched
from tools.deploy.replaying import OUTCOME, REPLAYS, NotReplayed, Replays
from tools.deploy.rollout import Rollout
from tools.deploy.tool import TOOL, advance, run
from tools.systems.registry import LocalModel, digest_file

FEATURES = Features(numeric=["a", "b"], categorical=[])


def stored(folder: Path, model: Any) -> LocalModel:
    """A fitted model as it lies in the registry's cache."""
    frame, leaves = rows(np.random.default_rng(0), 100)
    folder.mkdir(parents=True)
    (folder / "model.pkl").write_bytes(pickle.dumps(make_pipeline(model).fit(frame, leaves)))
    digest = digest_file(folder / "model.pkl")
    (folder / "manifest.json").write_text(json.dumps({"file": "model.pkl", "digest": digest}))
    return LocalModel(path=folder, digest=digest)


def test_rows_that_cannot_be_sent_are_not_replayed(tmp_path: Path) -> None:
    mixed = pd.DataFrame({"a": [1.0, "x"], "b": 0.0, OUTCOME: 1.0})
    with pytest.raises(NotReplayed, match=r"the rows cannot be sent: .*column a"):
        REPLAYS.weighed(tmp_path, mixed, FEATURES, "binary", 8.0, 5.0)


def test_a_fetch_that_hangs_ends_in_time_and_a_later_one_is_made(tmp_path: Path) -> None:
    goes_on = threading.Event()

    def hangs() -> Path:
        goes_on.wait()
        return tmp_path

    for _ in range(2):
        with pytest.raises(NotReplayed, match=r"its artifact was not fetched within 0\.2 s"):
            fetched(hangs, 0.2)
    goes_on.set()
    assert fetched(hangs, 5.0) == tmp_path


class Faulty:
    """A registry whose version 2 is another model; one that raises if it is None."""

    def __init__(self, real: Any, model: LocalModel | None) -> None:
        self._real, self._model = real, model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def fetch(self, name: str, version: str) -> LocalModel:
        if version != "2":
            found: LocalModel = self._real.fetch(name, version)
            return found
        if self._model is None:
            raise SystemDown("it does not answer", where="model registry")
        return self._model


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (Crashing(), "version 2 cannot be replayed: its process ended with -11"),
        (Hanging(), "version 2 cannot be replayed: no answer in"),
        (Raising(), "version 2 cannot be replayed: ValueError: nothing is right"),
        (Hungry(), "version 2 cannot be replayed: memory_limit_gb: 8 GB did not suffice"),
        (None, "model registry: it does not answer"),
    ],
)
def test_a_challenger_that_cannot_be_replayed_holds_nothing_up_and_the_gate_says_so(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Any, why: str
) -> None:
    shop.gate("2")
    run(shop.systems, TOOL.arguments(strategy="CanaryDeploy", model=MODEL, version="2"))
    shop.live(1, 10_000)
    monkeypatch.setattr("tools.deploy.evidence.REPLAY_SECONDS", 8.0)
    local = stored(tmp_path / "faulty", model) if model is not None else None
    shop.systems.registry = Faulty(shop.systems.registry, local)  # type: ignore[assignment]
    shop.set(START + 12 * HOUR)
    (result,) = advance(shop.systems, shop.now)
    assert isinstance(result, Rollout)
    assert (result.status, result.stage) == ("running", 1)
    assert result.last_gate is not None
    (judged,) = [each for each in result.last_gate.measurements if each.name == "auc_degradation"]
    assert judged.verdict == "inconclusive"
    assert why in judged.detail


def test_one_process_answers_all_and_another_takes_its_place_after_a_crash(tmp_path: Path) -> None:
    sound, crashing = stored(tmp_path / "1", Dragging()).path, stored(tmp_path / "2", Crashing()).path
    frame, leaves = rows(np.random.default_rng(1), 50)
    frame["told_outcome"] = leaves
    replays = Replays()

    def weighed(folder: Path) -> Any:
        return replays.weighed(folder, frame, FEATURES, "binary", 4.0, 30.0)

    expected = 1 / (1 + np.exp(-frame["a"].to_numpy()))
    np.testing.assert_array_equal(weighed(sound), expected)
    first = replays._process
    np.testing.assert_array_equal(weighed(sound), expected)
    assert replays._process is first
    with pytest.raises(NotReplayed, match="ended with -11"):
        weighed(crashing)
    np.testing.assert_array_equal(weighed(sound), expected)
    assert replays._process is not first
    replays._end()


def test_a_process_that_was_killed_meanwhile_is_replaced(tmp_path: Path) -> None:
    sound = stored(tmp_path / "1", Dragging()).path
    frame, leaves = rows(np.random.default_rng(1), 50)
    frame["told_outcome"] = leaves
    for _ in range(2):
        assert len(REPLAYS.weighed(sound, frame, FEATURES, "binary", 4.0, 30.0)) == 50
        assert REPLAYS._process is not None
        REPLAYS._process.kill()
        REPLAYS._process.wait()


def test_a_model_file_that_was_changed_is_not_opened(tmp_path: Path) -> None:
    local = stored(tmp_path / "1", Dragging())
    (local.path / "model.pkl").write_bytes(b"other")
    frame, leaves = rows(np.random.default_rng(1), 50)
    frame["told_outcome"] = leaves
    with pytest.raises(NotReplayed, match="was changed after it was fetched"):
        REPLAYS.weighed(local.path, frame, FEATURES, "binary", 4.0, 30.0)

"""The training process: its limits, what is kept when one is reached, and that it never outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from multiprocessing import Pipe
from pathlib import Path

import pytest

from policies.declarations.training import Training
from policies.errors import GuardianError, InputError
from tests.tools.retrain.samples import MIXED, both, some_rows
from tools.retrain import recipe
from tools.retrain.job import Job
from tools.retrain.process import Made, TrainingProcess
from tools.retrain.search import TrialRecord

RECIPES = """
import os, time
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer


class Careful(LogisticRegression):
    "A class of the user's own: it must travel with the model."


def numbers(frame):
    return np.nan_to_num(frame[["x", "z"]].to_numpy(float))


def good(trial, features, seed):
    print("a recipe may print")
    strength = trial.suggest_float("strength", 0.01, 10, log=True)
    return make_pipeline(FunctionTransformer(numbers), Careful(C=strength, random_state=seed))


class Slow(Careful):
    def fit(self, x, y):
        time.sleep(0 if len(y) < 900 and self.C < 0.5 else 60)
        return super().fit(x, y)


def slow_to_finish(trial, features, seed):
    "The first trial is quick, the others and the last fit hang."
    return make_pipeline(FunctionTransformer(numbers), Slow(C=[0.1, 1.0][trial.suggest_int("hangs", 0, 1)]))


class Hungry(Careful):
    def fit(self, x, y):
        np.ones(4_000_000_000 // 8).sum()
        return super().fit(x, y)


def hungry(trial, features, seed):
    return make_pipeline(FunctionTransformer(numbers), Hungry())


class Dying(Careful):
    def fit(self, x, y):
        os.abort()


def dying(trial, features, seed):
    return make_pipeline(FunctionTransformer(numbers), Dying())


"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "bank_recipes.py").write_text(RECIPES)
    return tmp_path


def _train(home: Path, recipe: str, *, seconds: float = 60, memory: float = 8, **more: object) -> Made:
    with TrainingProcess() as process:
        return process.train(job(home, recipe, memory=memory, **more), seconds, lambda records: None)


def job(home: Path, recipe: str, *, memory: float = 8, trials: int = 2, known: dict[str, str] | None = None) -> Job:
    """A job of 800 rows to train on and 300 to validate."""
    return Job(
        training=Training(use_experiment=recipe, data_window="expanding", memory_limit_gb=memory),
        home=home,
        features=MIXED,
        target="bought",
        rows=both(some_rows(1, 800, 60, 3), some_rows(2, 300, 3, 0)),
        cut=800,
        objective="auc_roc",
        known=known or {},
        trials=trials,
        seed=3,
        earlier=(),
        search_seconds=40,
        scratch=home / "scratch",
    )


def test_a_users_recipe_is_tuned_and_its_model_needs_no_file_of_theirs(home: Path) -> None:
    records: list[TrialRecord] = []
    known = {"recipe": "bank_recipes:good", "recipe.strength": "0.125"}
    with TrainingProcess() as process:
        made = process.train(job(home, "bank_recipes:good", trials=3, known=known), 60, records.extend)
    assert made.stopped is None
    assert records[0].parameters == {"strength": 0.125}
    assert len(records) == 3
    assert set(made.parameters) == {"recipe.strength"}
    assert "bank_recipes" not in sys.modules
    assert recipe.predict(made.model, some_rows(5, 50, 1, 0).frame).scores.shape == (50,)


def test_more_memory_than_declared_is_refused(home: Path) -> None:
    with pytest.raises(InputError, match="not enough memory under the declared memory_limit_gb"):
        _train(home, "bank_recipes:hungry", memory=2)


def test_a_process_that_dies_fails_the_run_alone(home: Path) -> None:
    with pytest.raises(GuardianError, match="ended by SIGABRT"):
        _train(home, "bank_recipes:dying")


def test_at_the_time_limit_the_best_trial_so_far_is_kept_and_the_process_ends(home: Path) -> None:
    records: list[TrialRecord] = []
    known = {"recipe": "bank_recipes:slow_to_finish", "recipe.hangs": "0"}
    with TrainingProcess() as process:
        began = time.monotonic()
        made = process.train(job(home, "bank_recipes:slow_to_finish", trials=1, known=known), 9, records.extend)
        took = time.monotonic() - began
        pid = process.pid
    assert took < 20
    assert "max_training_hours" in (made.stopped or "")
    assert [record.state for record in records] == ["complete"]
    assert recipe.predict(made.model, some_rows(5, 50, 1, 0).frame).scores.shape == (50,)
    assert _gone(pid)


def test_a_limit_before_the_first_trial_is_a_failure(home: Path) -> None:
    with pytest.raises(GuardianError, match=r"max_training_hours.* before a first trial"):
        _train(home, "bank_recipes:good", seconds=0.01)


def test_it_ends_with_the_process_that_started_it(home: Path) -> None:
    known = {"recipe": "bank_recipes:slow_to_finish", "recipe.hangs": "0"}
    script = f"""
        from pathlib import Path
        from tests.tools.retrain.test_process import job
        from tools.retrain.process import TrainingProcess
        with TrainingProcess() as process:
            made = process.train(job(Path({str(home)!r}), "bank_recipes:slow_to_finish", trials=1, known={known!r}), 60,
                                 lambda records: print(process.pid, flush=True))
    """
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    assert not _gone(worker, 0)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert _gone(worker)


def _gone(pid: int, seconds: float = 10) -> bool:
    """Whether a process has ended, or does within `seconds`; one that nobody waited for counts as ended."""
    until = time.monotonic() + seconds
    while True:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
            os.kill(pid, 0)
        except (ProcessLookupError, FileNotFoundError):
            return True
        if time.monotonic() >= until:
            return False
        time.sleep(0.05)


def test_a_worker_whose_parent_is_gone_before_the_job_has_arrived_ends_without_a_word() -> None:
    parent, child = Pipe()
    command = [sys.executable, "-m", "tools.retrain.worker", str(child.fileno())]
    with subprocess.Popen(command, pass_fds=[child.fileno()], stderr=subprocess.PIPE, text=True) as worker:
        child.close()
        os.write(parent.fileno(), b"\x00\x00\x10\x00half a job")
        parent.close()
        assert worker.communicate(timeout=60)[1] == ""
    assert worker.returncode == 0

"""Where a model's recipe comes from: the built-in one, a user's own function, an MLflow Project."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from policies.errors import InputError
from tools.retrain import provenance, recipe
from tools.retrain.recipe import Hyperparameters
from tools.retrain.sampling import Rows
from tools.tasks import BINARY, Task

if TYPE_CHECKING:
    import optuna

    from policies.declarations.binding import Features

HALF_LIVES: tuple[float | None, ...] = (None, 30.0, 14.0, 7.0)
RECIPE_PARAM = "recipe"
BUILT_IN = "built-in"
"""Of all names, the one that says of itself that it is the built-in recipe's."""
_FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_LEARNING_RATES, _LEAF_ROWS, _PENALTIES = (0.04, 0.25), (20, 400), (0.1, 30.0)
Parameters = Mapping[str, Any]


class Recipe(Protocol):
    """How a model is made. It travels to the process, or the machine, that fits it."""

    @property
    def tunable(self) -> bool:
        """Whether there is anything for a search to choose."""
        ...

    def version(self) -> str | None:
        """Which code of the user's makes the model; None where it is ours, or not to be seen from here."""
        ...

    def starts(self) -> list[dict[str, Any]]:
        """Parameters worth trying before any search."""
        ...

    def suggest(self, trial: optuna.Trial) -> dict[str, Any]:
        """The parameters of a trial, as asked of it."""
        ...

    def fit(self, parameters: Parameters, rows: Rows, cap: int, seed: int) -> Any:
        """A fitted model of the task (a classifier has `predict_proba`), made of at most `cap` rows."""
        ...

    def described(self, parameters: Parameters) -> dict[str, str]:
        """The parameters as the registry records them."""
        ...


@dataclass(frozen=True)
class BuiltIn:
    """The pipeline of `recipe`, around the parameters that the champion recorded."""

    features: Features
    base: Hyperparameters
    task: Task = BINARY

    @property
    def tunable(self) -> bool:
        """Always: how much to forget, and how fast to learn."""
        return True

    def version(self) -> None:
        """Ours, which `provenance.code_version` names."""

    def starts(self) -> list[dict[str, Any]]:
        """The champion's parameters with each half-life in turn, its own first.

        After a change how much to forget matters more than anything else.
        """
        base = self.base
        return [
            {
                "half_life_days": life,
                "learning_rate": float(np.clip(base.learning_rate, *_LEARNING_RATES)),
                "min_leaf_rows": int(np.clip(base.min_leaf_rows, *_LEAF_ROWS)),
                "l2": float(np.clip(base.l2, *_PENALTIES)),
            }
            for life in sorted(HALF_LIVES, key=lambda life: life != base.half_life_days)
        ]

    def suggest(self, trial: optuna.Trial) -> dict[str, Any]:
        """What a fit forgets and how it learns; capacity stays the champion's."""
        life = trial.suggest_categorical("half_life_days", HALF_LIVES)
        return {
            "half_life_days": None if life is None else float(life),
            "learning_rate": trial.suggest_float("learning_rate", *_LEARNING_RATES, log=True),
            "min_leaf_rows": trial.suggest_int("min_leaf_rows", *_LEAF_ROWS, log=True),
            "l2": trial.suggest_float("l2", *_PENALTIES, log=True),
        }

    def fit(self, parameters: Parameters, rows: Rows, cap: int, seed: int) -> Any:
        """The pipeline fitted on `rows`, thinned to `cap` by the parameters' half-life."""
        chosen = replace(self.base, **parameters)
        part = rows.thinned(chosen.half_life_days, cap)
        # However few rows there are, the trees must still be able to split them.
        leaf = max(1, min(chosen.min_leaf_rows, len(part) // 50))
        pipeline = recipe.build(self.features, replace(chosen, min_leaf_rows=leaf), seed, self.task)
        return recipe.fit(pipeline, part.frame, part.outcomes, self.task)

    def described(self, parameters: Parameters) -> dict[str, str]:
        """As `Hyperparameters.from_params` reads them back."""
        return replace(self.base, **parameters).as_params()


@dataclass(frozen=True)
class UserFunction:
    """A user's `module:function`, found beside the declarations or installed.

    It is called as `function(trial, features, seed)` and gives back an unfitted classifier (of numbers a regressor) in
    the manner of scikit-learn, over a frame of `features.numeric` (float) and `features.categorical` (text or None).
    What it asks of the trial (`trial.suggest_float`, …) is what the search tunes. `known`: what the champion recorded.
    """

    target: str
    home: Path
    features: Features
    known: Parameters
    task: Task = BINARY

    @property
    def tunable(self) -> bool:
        """Whatever it asks of a trial."""
        return True

    def is_there(self) -> bool:
        """Whether its module, or the package it is in, can be found, without running any of it."""
        name = self.target.partition(":")[0].split(".")[0]
        return PathFinder.find_spec(name, [*sys.path, str(self.home)]) is not None

    def version(self) -> str | None:
        """That of the file, or the package, that the function is in."""
        file = provenance.recipe_file(self.target, self.home)
        return None if file is None else provenance.version_of(file)

    def starts(self) -> list[dict[str, Any]]:
        """The champion's parameters, where this recipe made it."""
        prefix = f"{RECIPE_PARAM}."
        if self.known.get(RECIPE_PARAM) != self.target:
            return []
        found = {key.removeprefix(prefix): text for key, text in self.known.items() if key.startswith(prefix)}
        return [{name: json.loads(text) for name, text in found.items()}] if found else []

    def suggest(self, trial: optuna.Trial) -> dict[str, Any]:
        """What the function asks of the trial."""
        self._function()(trial, self.features, 0)
        return dict(trial.params)

    def fit(self, parameters: Parameters, rows: Rows, cap: int, seed: int) -> Any:
        """The function's estimator fitted on `rows`, evenly thinned to `cap`."""
        import optuna

        part = rows.thinned(None, cap)
        estimator = self._function()(optuna.trial.FixedTrial(dict(parameters)), self.features, seed)
        made = type(estimator).__name__
        if not hasattr(estimator, "fit"):
            raise InputError(f"gave back a {made}, which is no estimator with fit", self.target)
        try:
            self.task.asked(estimator)
        except InputError as error:
            raise InputError(f"gave back a {made}: {error.message}", self.target) from error
        return recipe.fit(estimator, part.frame, part.outcomes, self.task)

    def described(self, parameters: Parameters) -> dict[str, str]:
        """One entry a parameter, as JSON, so that `starts` reads them back."""
        return {f"{RECIPE_PARAM}.{name}": json.dumps(value) for name, value in parameters.items()}

    def _function(self) -> Callable[..., Any]:
        import cloudpickle

        module_name, _, name = self.target.partition(":")
        if str(self.home) not in sys.path:
            sys.path.append(str(self.home))
        try:
            module = importlib.import_module(module_name)
            function: Callable[..., Any] = getattr(module, name)
        except (ImportError, AttributeError) as error:
            raise InputError(f"cannot be imported: {error}; looked in {self.home} too", self.target) from error
        # A class defined in that file travels inside the model: who serves it need not have the file.
        cloudpickle.register_pickle_by_value(module)
        return function


def resolve(
    use_experiment: str,
    home: Path,
    features: Features,
    target: str,
    known: Mapping[str, str],
    scratch: Path,
    task: Task = BINARY,
) -> Recipe:
    """The recipe that `training.use_experiment` names (see `Training`).

    `home` is the declarations' folder, `known` what the champion's run recorded, `scratch` a folder for files that
    outlive no run.

    Raises:
        InputError: it looks like a path, and no MLflow Project is there.
    """
    from tools.retrain.project import Project

    if _FUNCTION.fullmatch(use_experiment):
        return UserFunction(use_experiment, home, features, known, task)
    if "://" in use_experiment or use_experiment.startswith("git@"):
        return Project(use_experiment, features, target, scratch)
    if (home / use_experiment / "MLproject").is_file():
        return Project(str(home / use_experiment), features, target, scratch)
    if "/" in use_experiment or use_experiment.startswith("."):
        wanted = "a folder with a file MLproject, module:function, or the name of an experiment"
        raise InputError(f"there is no MLflow Project in {home / use_experiment}; write {wanted}", use_experiment)
    return BuiltIn(features, Hyperparameters.from_params(known), task)

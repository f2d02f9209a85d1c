"""A user's MLflow Project as a recipe."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from policies.errors import InputError
from tools.retrain import provenance
from tools.retrain.sampling import Rows
from tools.systems.pointing import point_mlflow

if TYPE_CHECKING:
    import optuna

    from policies.declarations.binding import Features

MODEL_NAME = "model"


@dataclass(frozen=True)
class Project:
    """An MLflow Project whose entry point `main` takes `data` (a Parquet file), `target` (its column) and `seed`.

    It logs a fitted scikit-learn model of the task with `mlflow.sklearn.log_model(…, name="model",
    serialization_format="cloudpickle")`. It runs in this Python environment and against a tracking store of its own in
    `scratch`, which is thrown away: what is worth keeping is registered with the run that asked for it, so that a
    project stopped half-way leaves nothing behind.
    """

    uri: str
    features: Features
    target: str
    scratch: Path

    @property
    def tunable(self) -> bool:
        """A project tunes itself."""
        return False

    def version(self) -> str | None:
        """That of the project's folder; a project from elsewhere is named by its address."""
        return provenance.version_of(Path(self.uri)) if Path(self.uri).is_dir() else None

    def starts(self) -> list[dict[str, Any]]:
        """None."""
        return []

    def suggest(self, trial: optuna.Trial) -> dict[str, Any]:
        """Nothing is asked of the trial."""
        return {}

    def fit(self, parameters: Mapping[str, Any], rows: Rows, cap: int, seed: int) -> Any:
        """Runs the project on `rows`, evenly thinned to `cap`, and loads the model that it logged."""
        import mlflow
        from mlflow.exceptions import MlflowException

        part = rows.thinned(None, cap)
        self.scratch.mkdir(parents=True, exist_ok=True)
        data = self.scratch / f"rows-{len(part)}.parquet"
        part.frame.assign(**{self.target: part.outcomes}).to_parquet(data)
        given = {"data": str(data), "target": self.target, "seed": str(seed)}
        point_mlflow(f"sqlite:///{self.scratch / 'project.db'}")
        # `python` in its command must be this one.
        os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        if mlflow.get_experiment_by_name("project") is None:
            mlflow.create_experiment("project", artifact_location=(self.scratch / "artifacts").as_uri())
        try:
            run = mlflow.projects.run(self.uri, parameters=given, env_manager="local", experiment_name="project")
            return mlflow.sklearn.load_model(f"runs:/{run.run_id}/{MODEL_NAME}")
        except MlflowException as error:
            raise InputError(f"its MLflow Project failed: {error.message}", where=self.uri) from error

    def described(self, parameters: Mapping[str, Any]) -> dict[str, str]:
        """Nothing: the project keeps its parameters to itself."""
        return {}

"""The model registry: MLflow, with the aliases `champion` and `challenger`. MLflow is imported at first use."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import pickle
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from policies.errors import InputError, SystemDown
from tools.systems.credentials import cleaned, without_credentials
from tools.systems.pointing import point_mlflow

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

CHAMPION = "champion"
CHALLENGER = "challenger"
PREVIOUS = "previous"
RUN_TAG = "guardian.run"
DIGEST_TAG = "guardian.digest"
_SIZE_TAG = "guardian.size_mb"


class ModelVersion(BaseModel):
    """A registered version; `digest` is the SHA-256 of its model file, `size_mb` that file's size."""

    model_config = ConfigDict(frozen=True)

    name: str
    version: str
    run_id: str
    created_at: datetime
    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]
    aliases: tuple[str, ...]
    digest: str
    size_mb: float


class LocalModel(BaseModel):
    """A version's files in the local cache: the model file and `manifest.json`."""

    model_config = ConfigDict(frozen=True)

    path: Path
    digest: str


class Registry:
    """Versions of models at an MLflow tracking URI; `cache` holds digest-checked copies for serving."""

    def __init__(self, tracking_uri: str, cache: Path) -> None:
        self.tracking_uri = tracking_uri
        self.cache = cache
        self._client: MlflowClient | None = None
        self._connecting = threading.Lock()
        self._loaded: dict[tuple[str, str], Any] = {}

    @property
    def client(self) -> MlflowClient:
        """MLflow's client, connected at first use."""
        with self._connecting:
            if self._client is None:
                self._client = self._connect()
            return self._client

    def _connect(self) -> MlflowClient:
        os.environ.setdefault("MLFLOW_MODEL_CATALOG_URI", "")  # else MLflow looks prices up on the network
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        if self.tracking_uri.startswith("sqlite:///"):
            folder = Path(self.tracking_uri.removeprefix("sqlite:///")).parent
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InputError(f"{folder} cannot be made: {error.strerror}", where="systems.mlflow") from error
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        for noisy in ("mlflow", "alembic"):
            logging.getLogger(noisy).setLevel(logging.ERROR)
        try:
            return MlflowClient(self.tracking_uri, self.tracking_uri)
        except MlflowException as error:
            shown = without_credentials(self.tracking_uri)
            allowed = "sqlite:///…, postgresql://… or http://…"
            raise InputError(f"{shown!r} is no address of MLflow's; write {allowed}", where="systems.mlflow") from error

    def versions(self, name: str) -> list[ModelVersion]:
        """All versions, newest first; empty where the model is not registered."""
        with self._asked(name):
            found = self.client.search_model_versions(f"name='{_safe(name)}'", max_results=1000)
        return [self.get(name, each.version) for each in sorted(found, key=lambda v: -int(v.version))]

    def get(self, name: str, version: str) -> ModelVersion:
        """One version. Raises InputError where the registry has none such."""
        with self._asked(name, version):
            found = self.client.get_model_version(_safe(name), str(version))
            run = self.client.get_run(found.run_id)
        return ModelVersion(
            name=name,
            version=str(found.version),
            run_id=found.run_id,
            created_at=datetime.fromtimestamp(found.creation_timestamp / 1000, UTC).replace(tzinfo=None),
            params=dict(run.data.params),
            metrics=dict(run.data.metrics),
            tags=dict(found.tags),
            aliases=tuple(found.aliases),
            digest=found.tags.get(DIGEST_TAG, ""),
            size_mb=float(found.tags.get(_SIZE_TAG, "nan")),
        )

    def alias(self, name: str, alias: str) -> str | None:
        """The version that holds an alias, None where nobody does."""
        from mlflow.exceptions import MlflowException

        try:
            return str(self.client.get_model_version_by_alias(_safe(name), alias).version)
        except MlflowException as error:
            if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
                return None
            raise self._down(error) from error

    @contextmanager
    def _asked(self, name: str, version: str = "") -> Iterator[None]:
        """Turns MLflow's refusals into InputError for what it does not have, SystemDown for the rest."""
        from mlflow.exceptions import MlflowException

        try:
            yield
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise InputError(f"has no version {version!r} of {name!r}", where="model registry") from error
            raise self._down(error) from error

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Turns whatever MLflow and its transports raise while something is written into one line."""
        from mlflow.exceptions import MlflowException

        try:
            yield
        except MlflowException as error:
            raise self._down(error) from error
        except OSError as error:  # of files, and of requests
            told = (str(error).splitlines() or [type(error).__name__])[0]
            raise SystemDown(cleaned(told, self.tracking_uri), where="model registry") from error

    def _down(self, error: MlflowException) -> SystemDown:
        told = (str(error.message).splitlines() or [type(error).__name__])[0]
        return SystemDown(cleaned(told, self.tracking_uri), where="model registry")

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Gives an alias to a version, taking it from whichever had it. Raises InputError where there is no such."""
        with self._asked(name, version):
            self.client.set_registered_model_alias(_safe(name), alias, str(version))

    def delete_alias(self, name: str, alias: str) -> None:
        """Takes an alias away; nothing happens where nobody has it."""
        if self.alias(name, alias) is not None:
            with self._asked(name):
                self.client.delete_registered_model_alias(_safe(name), alias)

    def tag(self, name: str, version: str, key: str, value: str) -> None:
        """Sets a tag on a version. Raises InputError where there is no such."""
        with self._asked(name, version):
            self.client.set_model_version_tag(_safe(name), str(version), key, value)

    def register(
        self,
        name: str,
        pipeline: Any,
        *,
        example: pd.DataFrame,
        params: Mapping[str, object],
        metrics: Mapping[str, float],
        tags: Mapping[str, str],
        artifacts: Mapping[str, bytes] | None = None,
    ) -> ModelVersion:
        """Logs a run with a fitted scikit-learn pipeline and registers it as the next version.

        `example`: a few rows of the model's input; the signature is taken from them. `artifacts`: file name → content.
        Raises SystemDown where MLflow does not take it.
        """
        with self._reached():
            return self._register(name, pipeline, example, params, metrics, tags, artifacts or {})

    def _register(
        self,
        name: str,
        pipeline: Any,
        example: pd.DataFrame,
        params: Mapping[str, object],
        metrics: Mapping[str, float],
        tags: Mapping[str, str],
        artifacts: Mapping[str, bytes],
    ) -> ModelVersion:
        client = self.client
        point_mlflow(self.tracking_uri)
        import mlflow
        import sklearn
        from mlflow.models import infer_signature

        speaks = "predict_proba" if hasattr(pipeline, "predict_proba") else "predict"
        run_name = f"{name} {len(self._numbers(name)) + 1}"
        with mlflow.start_run(experiment_id=self._experiment(name), run_name=run_name, tags=dict(tags)) as run:
            mlflow.log_params({key: str(value) for key, value in params.items()})
            mlflow.log_metrics({key: float(value) for key, value in metrics.items()})
            with tempfile.TemporaryDirectory() as folder:
                for artifact, content in artifacts.items():
                    (Path(folder) / artifact).parent.mkdir(parents=True, exist_ok=True)
                    (Path(folder) / artifact).write_bytes(content)
                mlflow.log_artifacts(folder)
            info = mlflow.sklearn.log_model(
                pipeline,
                name="model",
                serialization_format="cloudpickle",
                signature=infer_signature(example, getattr(pipeline, speaks)(example)),
                pip_requirements=[f"scikit-learn=={sklearn.__version__}", "cloudpickle", "pandas", "numpy"],
                pyfunc_predict_fn=speaks,
            )
        self._ensure_model(name)
        path = self._download(info.model_uri)
        try:
            file = next(path.glob("model.pkl"))
            about = {DIGEST_TAG: digest_file(file), _SIZE_TAG: f"{file.stat().st_size / 1e6:.6f}"}
        finally:
            shutil.rmtree(path, ignore_errors=True)
        # The last step, with everything it needs at once: a version that is there is whole.
        found = client.create_model_version(_safe(name), info.model_uri, run.info.run_id, tags={**tags, **about})
        return self.get(name, found.version)

    def adopt(self, name: str, version: str, try_out: Callable[[Any], object]) -> ModelVersion:
        """Takes a version that someone else registered into the Guardian's care: digest, size, the alias `champion`.

        Nothing is changed before `try_out` was given the fitted pipeline, and did not raise. Raises InputError where it
        is not a scikit-learn model with a signature, which is what can be served and judged.
        """
        if not (found := self.get(name, version)).digest:
            path = self._download(f"models:/{_safe(name)}/{found.version}")
            try:
                file = path / "model.pkl"
                _require_pickle(path, f"version {version} of {name!r}")
                with file.open("rb") as stream:
                    try_out(pickle.load(stream))
                self.tag(name, found.version, _SIZE_TAG, f"{file.stat().st_size / 1e6:.6f}")
                self.tag(name, found.version, DIGEST_TAG, digest_file(file))
            finally:
                shutil.rmtree(path, ignore_errors=True)
        else:
            try_out(self.load(name, found.version))
        self.set_alias(name, CHAMPION, found.version)
        return self.get(name, found.version)

    def has_experiment(self, name: str) -> bool:
        """Whether MLflow has an experiment of that name."""
        with self._reached():
            return self.client.get_experiment_by_name(name) is not None

    def made_by(self, name: str, run_id: str) -> ModelVersion | None:
        """The version that the training run `run_id` registered, None where it registered none."""
        with self._asked(name):
            found = self.client.search_model_versions(f"name='{_safe(name)}'", max_results=1000)
        return next((self.get(name, each.version) for each in found if each.tags.get(RUN_TAG) == run_id), None)

    def give_up(self, name: str, run_id: str, reason: str) -> None:
        """Ends what the training run `run_id` began to log and did not register: failed, with the reason as a tag."""
        with self._reached():
            experiment = self.client.get_experiment_by_name(name)
            if experiment is None or self.made_by(name, run_id) is not None:
                return
            there = [str(experiment.experiment_id)]
            for run in self.client.search_runs(there, f"tags.`{RUN_TAG}` = '{run_id}'"):
                self.client.set_tag(run.info.run_id, "guardian.failure", reason)
                self.client.set_terminated(run.info.run_id, "FAILED")
                for model in self.client.search_logged_models(there, f"source_run_id = '{run.info.run_id}'"):
                    self.client.delete_logged_model(model.model_id)

    def fetch(self, name: str, version: str) -> LocalModel:
        """A version's files in the local cache, downloaded once and checked against the registered digest."""
        folder = self.cache / _safe(name) / str(version)
        if not (folder / "manifest.json").is_file():
            self._fill_cache(folder, name, self.get(name, version))
        manifest = json.loads((folder / "manifest.json").read_text())
        return LocalModel(path=folder, digest=manifest["digest"])

    def _fill_cache(self, folder: Path, name: str, version: ModelVersion) -> None:
        import yaml

        if not version.digest:
            raise InputError(
                f"version {version.version} has no tag {DIGEST_TAG}: it was not registered by the Guardian, which "
                "opens only files whose SHA-256 it knows. A challenger is registered by `guardian retrain`, by your "
                "own code with training.use_experiment: module:function; a version of someone else's becomes the "
                f"first champion of a new folder by `guardian init … --mlflow-model models:/{name}/{version.version}`",
                where=f"model registry: {name}",
            )
        path = self._download(f"models:/{_safe(name)}/{version.version}")
        try:
            digest = digest_file(path / "model.pkl")
            if digest != version.digest:
                raise InputError(
                    f"version {version.version} is not the artifact that was registered (its SHA-256 differs)",
                    where=f"model registry: {name}",
                )
            signature = yaml.safe_load((path / "MLmodel").read_text())["signature"]
            features = [
                {"name": each["name"], "kind": "categorical" if each["type"] == "string" else "numeric"}
                for each in json.loads(signature["inputs"])
            ]
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path / "model.pkl", folder / "model.pkl")
            manifest = {"name": name, "version": version.version, "digest": digest, "features": features}
            partial = folder / "manifest.partial"
            partial.write_text(json.dumps({**manifest, "file": "model.pkl"}, indent=1))
            partial.replace(folder / "manifest.json")
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def load(self, name: str, version: str) -> Any:
        """The fitted pipeline of a version, from the digest-checked cache; kept in this process."""
        key = (name, str(version))
        if key not in self._loaded:
            self._loaded[key] = load_local(self.fetch(name, version).path)
        return self._loaded[key]

    def _download(self, uri: str) -> Path:
        import mlflow

        point_mlflow(self.tracking_uri)
        target = tempfile.mkdtemp(prefix="guardian-model-")
        try:
            return Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=target))
        except Exception as error:
            shutil.rmtree(target, ignore_errors=True)
            raise SystemDown(
                f"{uri} cannot be fetched: {cleaned(error, self.tracking_uri)}", where="model registry"
            ) from error

    def _numbers(self, name: str) -> list[str]:
        return [v.version for v in self.client.search_model_versions(f"name='{_safe(name)}'", max_results=1000)]

    def _experiment(self, name: str) -> str:
        found = self.client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        location = None
        if self.tracking_uri.startswith("sqlite:///"):
            beside = Path(self.tracking_uri.removeprefix("sqlite:///")).resolve().parent
            location = (beside / "mlartifacts" / _safe(name)).as_uri()
        return str(self.client.create_experiment(name, artifact_location=location))

    def _ensure_model(self, name: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self.client.create_registered_model(_safe(name))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise


def _require_pickle(folder: Path, version: str) -> None:
    """Raises InputError where a downloaded model is not what can be served: a pickle with a signature."""
    if (folder / "model.skops").is_file():
        raise InputError(
            f"{version} is stored as model.skops, MLflow's default, and only a pickle is opened here, by its SHA-256 "
            'and without MLflow; log it again: mlflow.sklearn.log_model(…, serialization_format="cloudpickle")',
            where="model registry",
        )
    if not (folder / "model.pkl").is_file() or "signature:" not in (folder / "MLmodel").read_text():
        wanted = "a scikit-learn model logged with a signature"
        how = 'mlflow.sklearn.log_model(…, serialization_format="cloudpickle", input_example=…)'
        raise InputError(f"{version} is not {wanted}: {how}", where="model registry")


def digest_file(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load_local(folder: Path) -> Any:
    """The fitted pipeline in a cache folder, after its digest is checked; MLflow is not imported.

    Raises InputError where the file is not the one the manifest names: a pickle is opened from the registry alone.
    """
    manifest = json.loads((folder / "manifest.json").read_text())
    file = folder / manifest["file"]
    if digest_file(file) != manifest["digest"]:
        raise InputError("the cached model file was changed after it was fetched; delete the folder", str(folder))
    with file.open("rb") as stream:
        return pickle.load(stream)


def _safe(name: str) -> str:
    if not name or any(character in name for character in "'\"/\\:") or name.startswith("."):
        raise InputError(f"{name!r} is not a registry name", where="model registry")
    return name

"""The champion that serves, the challenger by its alias, and the holdout they are judged on."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from policies.declarations.binding import ModelBinding
from policies.errors import GuardianError, InputError
from tools import tasks
from tools.deploy.permission import serving_version
from tools.evaluate import clean_process
from tools.evaluate.clean_process import ReplayFailed
from tools.evaluate.latency import LatencyComparison, measure
from tools.evaluate.result import Holdout
from tools.retrain import recipe, rows, training
from tools.retrain.evidence import threshold
from tools.systems import holdouts
from tools.systems.registry import CHALLENGER
from tools.tasks import Answers, Outcomes, Task

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from tools.systems.registry import ModelVersion
    from tools.systems.systems import Systems
    from tools.tasks.predicted import Predicted

_TIMED_ROWS = 24
_UNSOUND = "it gives scores that are not numbers"


@dataclass(frozen=True)
class Judged:
    """What one version says of the holdout rows, alone and beside the outcomes; `failure` says why it says nothing."""

    version: ModelVersion
    pipeline: Any
    task: Task
    said: Predicted | None = None
    scored: Answers | None = None
    failure: str = ""

    def metrics(self, names: list[str], latency: LatencyComparison | None, *, champion: bool) -> dict[str, float]:
        """The named metrics that can be computed from scores, and the measured ones of the artifact."""
        found = {"model_size_mb": self.version.size_mb}
        if self.scored is not None:
            for name in names:
                entry = self.task.metric(name)
                if entry.compute is not None:
                    found[name] = entry(self.scored)
        if latency is not None:
            tail = latency.champion_p99_ms if champion else latency.challenger_p99_ms
            found["inference_ms"] = latency.champion_ms if champion else latency.challenger_ms
            found["inference_ms_p99"] = found["latency_p99"] = tail
        return {name: value for name, value in found.items() if np.isfinite(value)}


@dataclass(frozen=True)
class HoldoutRows:
    """The labelled rows of a dataset: the table as read, the model's input, outcomes, and what describes them."""

    table: pa.Table
    rows: pd.DataFrame
    frame: pd.DataFrame
    outcomes: Outcomes
    about: Holdout
    task: Task


def resolve(systems: Systems, model: str, challenge: str) -> tuple[ModelVersion, ModelVersion]:
    """The champion that serves, and the challenger. Raises InputError where one is missing, or both are one."""
    registry, name = systems.registry, systems.operations.model(model).registry_name
    where = f"champion_challengers.{challenge}"
    champion, challenger = serving_version(systems, model), registry.alias(name, CHALLENGER)
    if champion is None:
        raise InputError(f"{name} has no version with the alias 'champion' to compare with", where=where)
    if challenger is None:
        raise InputError(f"{name} has no challenger; retrain first", where=where)
    if champion == challenger:
        raise InputError(f"version {champion} of {name} is the champion already; retrain first", where=where)
    return registry.get(name, champion), registry.get(name, challenger)


def read_holdout(systems: Systems, model: str, as_of: datetime) -> HoldoutRows:
    """The holdout's rows that have a label. Raises InputError where their outcomes do not differ."""
    binding, dataset = systems.operations.model(model), systems.operations.holdout_of(model)
    table = holdouts.read(systems, model, as_of)
    missing = [
        name for name in (binding.target, binding.time, *binding.features.names) if name not in table.schema.names
    ]
    if missing:
        raise InputError(f"has no column {', '.join(missing)}", where=dataset)
    found: pd.DataFrame = table.to_pandas().dropna(subset=[binding.target])
    found = found.sort_values([binding.time, binding.id], kind="stable", ignore_index=True)
    task = tasks.of(binding.task)
    outcomes = task.outcomes(found[binding.target].to_numpy(), dataset)
    if not tasks.differ(outcomes):
        said = f"its {len(found):,} labelled rows are all {task.uniform}"
        raise InputError(f"{said}: nothing can be compared", where=dataset)
    used = [binding.id, binding.time, *binding.features.names, binding.target]
    about = Holdout(
        dataset=dataset,
        rows=len(found),
        positives=task.positives(outcomes),
        start=found[binding.time].iloc[0].to_pydatetime(),
        end=found[binding.time].iloc[-1].to_pydatetime(),
        digest=rows.digest(found[used]),
    )
    return HoldoutRows(table, found, recipe.feature_frame(found, binding.features), outcomes, about, task)


def judge_champion(systems: Systems, version: ModelVersion, holdout: HoldoutRows) -> Judged:
    """What the champion says. A champion that cannot score is an error: there is nothing to compare with."""
    pipeline, where = systems.registry.load(version.name, version.version), f"champion, version {version.version}"
    try:
        said = recipe.predict(pipeline, holdout.frame, holdout.task)
    except InputError as error:
        raise InputError(error.message, where=where) from error
    if not tasks.sound(said):
        raise InputError(f"{_UNSOUND}: nothing can be compared with it", where=where)
    return _judged(version, pipeline, holdout, said)


def judge_challenger(systems: Systems, version: ModelVersion, holdout: HoldoutRows) -> Judged:
    """What the challenger says; a challenger that fails to load or to score has none, and the reason."""
    try:
        pipeline = systems.registry.load(version.name, version.version)
    except GuardianError:
        raise
    except Exception as error:  # whatever a broken model raises is its failure, not ours
        return Judged(version, None, holdout.task, failure=f"it fails to load: {_reason(error)}")
    try:
        said = recipe.predict(pipeline, holdout.frame, holdout.task)
        recipe.predict(pipeline, holdout.frame.iloc[:1], holdout.task)  # as it is asked when it serves
    except Exception as error:
        return Judged(version, None, holdout.task, failure=f"it fails to score the holdout: {_reason(error)}")
    if not tasks.sound(said):
        return Judged(version, pipeline, holdout.task, failure=_UNSOUND)
    return _judged(version, pipeline, holdout, said)


def _reason(error: Exception) -> str:
    return error.message if isinstance(error, InputError) else f"{type(error).__name__}: {error}"


def _judged(version: ModelVersion, pipeline: Any, holdout: HoldoutRows, said: Predicted) -> Judged:
    scored = holdout.task.answers(holdout.outcomes, said, threshold(version))
    return Judged(version, pipeline, holdout.task, said, scored)


def latency(systems: Systems, champion: Judged, challenger: Judged, holdout: HoldoutRows) -> LatencyComparison:
    """Single-row latency of both, on rows spread over the holdout."""
    places = np.linspace(0, len(holdout.frame) - 1, _TIMED_ROWS).astype(int)
    singles = [holdout.frame.iloc[place : place + 1] for place in places]
    ours, theirs = (holdout.task.asked(each.pipeline) for each in (champion, challenger))
    with recipe.one_thread():
        return (systems.stopwatch or measure)(ours, theirs, singles)


@dataclass(frozen=True)
class Replay:
    """What the stored artifact predicts for the rows logged with it, beside what was logged."""

    logged: list[float]
    replayed: list[float]
    digest_matches: bool
    error: str = ""


def replay(systems: Systems, version: ModelVersion, binding: ModelBinding, memory_gb: float) -> Replay:
    """Fetches the artifact's file and has a clean process of that much memory score the example rows of its run."""
    logged = _logged_example(systems, version.run_id)
    try:
        local = systems.registry.fetch(version.name, version.version)
        matches = local.digest == version.digest
        if logged is None:
            return Replay([], [], matches)
        score = systems.replayer or clean_process.scores_of
        scores = score(local.path, logged["rows"], binding.features, memory_gb, binding.task)
    except (ReplayFailed, GuardianError) as error:
        return Replay([], [], True, f"the artifact does not load or predict in a clean process: {error}")
    return Replay(list(logged["scores"]), scores, matches)


def shared_rows(systems: Systems, version: ModelVersion, binding: ModelBinding, holdout: HoldoutRows) -> int | None:
    """How many rows of the holdout, by id and time, the version was trained on; None where it did not record that."""
    recorded = _logged(systems, version.run_id, training.KEYS_FILE)
    if recorded is None:
        return None
    judged = rows.keys(holdout.rows[binding.id], holdout.rows[binding.time])
    return int(np.isin(judged, rows.restored(recorded)).sum())


def _logged_example(systems: Systems, run_id: str) -> Mapping[str, Any] | None:
    logged = _logged(systems, run_id, training.EXAMPLE_FILE)
    found: Mapping[str, Any] | None = None if logged is None else json.loads(logged)
    return found


def _logged(systems: Systems, run_id: str, file: str) -> bytes | None:
    """A file that a training logged beside its model, None where it did not."""
    from mlflow.exceptions import MlflowException

    with tempfile.TemporaryDirectory() as folder:
        try:
            return Path(systems.registry.client.download_artifacts(run_id, file, folder)).read_bytes()
        except (MlflowException, OSError):
            return None


def trained_until(version: ModelVersion) -> datetime | None:
    """Time of the last row a version was trained on, None where it did not say."""
    text = version.tags.get(training.TRAIN_END_TAG)
    return datetime.fromisoformat(text) if text else None

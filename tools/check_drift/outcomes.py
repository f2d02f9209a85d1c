"""What was true of the rows: labels of the window and of the baseline, beside what the champion said of those rows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from policies.errors import InputError
from tools import tasks
from tools.check_drift.label_delay import label_delay
from tools.check_drift.material import Material
from tools.check_drift.performance import Performance, measure, measure_classes
from tools.check_drift.profiles import UNREADABLE, Profile, profile
from tools.systems import datasets
from tools.systems.labels import known
from tools.systems.warehouse import quote
from tools.tasks.classes import FROM_LABELS
from tools.tasks.predicted import LABEL, SCORE, Predicted

if TYPE_CHECKING:
    import pandas as pd

    from policies.declarations.binding import Labels

COVERED = 0.9
"""Share of the rows that must have a recorded score for the recorded ones to stand for all."""

_MOST_SCORED = 20_000
"""Labelled rows scored by a check at most, spread evenly over the window: an AUC is then known to within 0.01."""


@dataclass(frozen=True)
class Judged:
    """Outcomes (numbers, or names of classes) and what the champion said of the same rows."""

    outcomes: NDArray[Any]
    predicted: Predicted

    def __len__(self) -> int:
        return len(self.outcomes)


def arrived(material: Material, start: datetime) -> tuple[NDArray[Any], str]:
    """Outcomes known by now of rows from `start` on, and in words how many of the rows they cover and how late."""
    found: tuple[NDArray[Any], str] = material.kept(f"arrived {start}", lambda: _arrived(material, start))
    return found


def _arrived(material: Material, start: datetime) -> tuple[NDArray[Any], str]:
    systems, binding, labels = material.systems, material.binding, material.binding.labels
    material.require_labels()
    key, at = quote(binding.id), quote(binding.time)
    sql = f"""
        SELECT l.{quote(labels.value)}, f.{key} IS NOT NULL AS of_a_row FROM {known(labels, "$end", _made(labels))}
        LEFT JOIN (SELECT DISTINCT {key}, {at} FROM {binding.table} WHERE {at} >= $start AND {at} < $end) AS f
        ON f.{key} = l.{quote(labels.id)} AND f.{at} = l.{quote(labels.time)}
    """
    found = systems.warehouse.query(sql, {"start": start, "end": material.at})
    told = found.filter(found["of_a_row"])
    outcomes, _ = tasks.known_outcomes(tasks.of(binding.task), told.column(0).to_pandas())
    delay = str(label_delay(systems, material.monitor.model, start, material.at, len(outcomes)))
    if strays := found.num_rows - told.num_rows:
        delay += f"; {strays:,} labels belong to no row of {binding.table}"
    return outcomes, delay


def judged(material: Material, start: datetime, metric: str) -> tuple[Judged, str]:
    """Labelled rows from `start` on with the champion's word, in time order, and how many of the rows they cover.

    Recorded scores are used where they cover nine tenths of the labelled rows (and say enough for the metric), else
    the rows are scored now.
    """
    outcomes, delay = arrived(material, start)
    task = material.binding.task
    recorded = None
    if task != "multiclass" or metric in FROM_LABELS:
        recorded = _recorded(material, start, _made(material.binding.labels))
    if recorded is not None and (material.elsewhere or _covers(recorded, len(outcomes))):
        return recorded, delay
    material.require_features()
    rows = datasets.labelled(material.systems, material.monitor.model, start, material.at, material.at)
    if len(rows) > _MOST_SCORED:
        rows = rows.iloc[np.linspace(0, len(rows) - 1, _MOST_SCORED).astype(int)]
        delay += f", {_MOST_SCORED:,} of them scored now"
    return _beside(rows[material.binding.target], material.predict(rows), task), delay


def stream(material: Material, start: datetime) -> Judged:
    """Rows whose labels arrived after `start`, up to now, in the order they did, with the champion's word of them.

    Whenever the rows were made: labels that are 30 days late are news today. Raises InputError for a missing table.
    """
    binding, warehouse = material.binding, material.systems.warehouse
    labels = binding.labels
    params = {"start": start, "end": material.at}
    material.require_labels()
    came = warehouse.query(f"SELECT count(*) FROM {known(labels, '$end', _told(labels))}", params)[0][0].as_py()
    recorded = _recorded(material, start, _told(labels))
    if recorded is not None and (material.elsewhere or _covers(recorded, came)):
        return recorded
    material.require_features()
    chosen = ", ".join(f"f.{quote(name)}" for name in binding.features.names)
    sql = f"""
        SELECT {chosen}, l.{quote(labels.value)} AS "{_AT}"
        FROM {binding.table} f
        JOIN {known(labels, "$end", _told(labels))}
          ON l.{quote(labels.id)} = f.{quote(binding.id)} AND l.{quote(labels.time)} = f.{quote(binding.time)}
        ORDER BY l.{quote(labels.arrived)}, f.{quote(binding.time)}, f.{quote(binding.id)}
    """
    rows = warehouse.query(sql, params).to_pandas()
    if len(rows) > _MOST_SCORED:
        rows = rows.iloc[np.linspace(0, len(rows) - 1, _MOST_SCORED).astype(int)]
    return _beside(rows[_AT], material.predict(rows), binding.task)


def baseline_judged(material: Material) -> Judged:
    """The baseline's labelled rows with the champion's word of them."""
    frame, predicted = material.scored_baseline()
    labelled = _labelled(material, frame.assign(**{_AT: np.arange(len(frame))}))
    return _beside(labelled[material.binding.target], predicted.take(labelled[_AT].to_numpy()), material.binding.task)


def baseline_performance(material: Material, metric: str) -> Performance:
    """The champion's metric on the baseline's labelled rows; stored once all of them are labelled."""
    path = material.stored(f"performance-{metric}", f"-v{material.champion()}.json")
    try:
        return Performance.restore(json.loads(path.read_text()))
    except UNREADABLE:
        found = measured(material, metric, baseline_judged(material))
        if found.rows == len(material.scored_baseline()[0]) and material.keeps_words:
            path.write_text(json.dumps(found.dump()))
        return found


def baseline_outcomes(material: Material) -> Profile:
    """Profile of the baseline's outcomes; stored once all of its rows are labelled."""
    path, binding = material.stored("outcomes", ".npz"), material.binding
    try:
        return Profile.load(path)
    except InputError:
        rows = material.baseline_frame()
        outcomes, _ = tasks.known_outcomes(tasks.of(binding.task), _labelled(material, rows)[binding.target])
        found = outcome_profile(material, outcomes)
        if found.rows == len(rows) and material.keeps:
            found.save(path)
        return found


def outcome_profile(material: Material, outcomes: NDArray[Any], like: Profile | None = None) -> Profile:
    """Profile of outcomes under the target's name; classes are categories."""
    target = material.binding.target
    coded = [] if material.binding.task == "regression" else [target]
    return profile({target: outcomes}, categorical=coded, like=like)


def measured(material: Material, metric: str, rows: Judged) -> Performance:
    """The metric over judged rows, by the model's task. Raises InputError for a metric of another task."""
    if material.binding.task == "multiclass":
        return measure_classes(metric, rows.outcomes, rows.predicted)
    return measure(metric, rows.outcomes, rows.predicted.scores, material.threshold(metric))


_AT = "__row"


def _made(labels: Labels) -> str:
    """Labels of rows of the window."""
    return f"{quote(labels.time)} >= $start AND {quote(labels.time)} < $end"


def _told(labels: Labels) -> str:
    """Labels that came in the window, corrections among them."""
    return f"{quote(labels.arrived)} > $start"


def _covers(recorded: Judged, rows: int) -> bool:
    return len(recorded) > 0 and len(recorded) >= COVERED * rows


def _beside(values: pd.Series, predicted: Predicted, task: str) -> Judged:
    outcomes, missing = tasks.known_outcomes(tasks.of(task), values)
    return Judged(outcomes, predicted.take(~missing))


def _recorded(material: Material, start: datetime, which: str) -> Judged | None:
    """Labelled rows with the champion's recorded word, as labels arrived; None where nothing is recorded."""
    binding, warehouse = material.binding, material.systems.warehouse
    labels = binding.labels
    if binding.predictions is None or not all(map(warehouse.exists, (binding.predictions, labels.table))):
        return None
    material.require_predictions()
    several = binding.task == "multiclass"
    sql = f"""
        SELECT l.{quote(labels.value)} AS outcome, p.{SCORE}{f", p.{LABEL}" if several else ""}
        FROM {binding.predictions} p
        JOIN {known(labels, "$end", which)}
          ON l.{quote(labels.id)} = p.{quote(binding.id)} AND l.{quote(labels.time)} = p.{quote(binding.time)}
        WHERE p.model_version = $version
        ORDER BY l.{quote(labels.arrived)}, p.{quote(binding.time)}, p.{quote(binding.id)}
    """
    params = {"start": start, "end": material.at, "version": material.champion()}
    found = warehouse.query(sql, params)
    return _beside(found.column(0).to_pandas(), material.as_recorded(found), binding.task)


def _labelled(material: Material, rows: pd.DataFrame) -> pd.DataFrame:
    """The baseline's rows whose label is known: from the label table, else from the baseline itself."""
    binding = material.binding
    if material.systems.warehouse.exists(binding.labels.table) and {binding.id, binding.time} <= set(rows.columns):
        material.require_labels()
        datasets.require_columns(material.systems, material.reference().table, [], times=[binding.time])
        joined = datasets.with_labels(material.systems, material.monitor.model, rows, material.at)
        if not joined.empty or binding.target not in rows.columns:
            return joined
    if binding.target not in rows.columns:
        raise InputError(f"has no labels and no column {binding.target!r}", where=str(material.reference()))
    return rows.dropna(subset=[binding.target])

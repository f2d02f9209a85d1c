"""The evidence a retraining rests on, read from the store, the warehouse and the registry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from policies.declarations.base import Severity
from policies.declarations.drift import SchemaDrift
from policies.declarations.training import DecayTrigger
from tools import tasks
from tools.deploy.permission import serving_version
from tools.retrain import recipe, training
from tools.retrain.triggers import DriftSeen, Performance
from tools.systems import datasets
from tools.systems.labels import known, newly_told
from tools.systems.store import Evidence, Kind
from tools.systems.warehouse import quote

if TYPE_CHECKING:
    from tools.systems.registry import ModelVersion
    from tools.systems.systems import Systems

_REPORTS_READ = 200
_FEWEST_LABELLED = 200


def reports(systems: Systems, model: str, monitors: list[str]) -> list[DriftSeen]:
    """Reports of these monitors that could be checked, newest first; of each monitor the newest, however rare it is."""
    rows: list[Evidence] = []
    for monitor in monitors:
        said = {"monitor": monitor, "status": "checked"}
        rows += systems.store.list(Kind.drift_report, model, said=said, limit=_REPORTS_READ)
    number = {row.id: int(row.id.rpartition("-")[2]) for row in rows}
    return [seen(row) for row in sorted(rows, key=lambda row: (row.created_at, number[row.id]), reverse=True)]


def seen(row: Evidence) -> DriftSeen:
    """A drift report's row as triggers read it."""
    body = row.body
    return DriftSeen(
        report_id=row.id,
        monitor=str(body.get("monitor")),
        checked_at=row.created_at,
        detected=bool(body.get("drift_detected")),
        severity=Severity(body.get("severity", "unknown")),
        broken=tuple(map(str, broken(row))),
        first_seen=_first_seen(body.get("diagnosis") or {}),
    )


def _first_seen(diagnosis: Mapping[str, Any]) -> datetime | None:
    day = diagnosis.get("first_seen")
    return datetime.fromisoformat(day) if day and diagnosis.get("kind") in ("world", "both") else None


@dataclass(frozen=True)
class Broken:
    """A critical finding of a schema check: what is broken, and how."""

    subject: str
    detail: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.detail}"


def broken_data(systems: Systems, model: str) -> list[Broken]:
    """The critical findings of the newest schema check of each of the model's monitors, whatever else failed there."""
    monitors = systems.operations.drift_monitors
    watching = {
        name
        for name in systems.operations.monitors_of(model)
        if any(isinstance(each, SchemaDrift) for each in monitors[name].monitors)
    }
    newest = _schema_checks(systems, model, _REPORTS_READ)
    if not watching <= newest.keys():  # a rare check may lie behind many reports of other checks
        newest = _schema_checks(systems, model, None)
    return list(dict.fromkeys(finding for row in newest.values() for finding in broken(row)))


def _schema_checks(systems: Systems, model: str, limit: int | None) -> dict[str, Evidence]:
    """Monitor → its newest report with a schema check, among the newest `limit` reports (None: all)."""
    newest: dict[str, Evidence] = {}
    for row in systems.store.list(Kind.drift_report, model, limit=limit):
        if any(check.get("type") == "schema_drift" for check in row.body.get("checks", ())):
            newest.setdefault(str(row.body.get("monitor")), row)
    return newest


def broken(row: Evidence) -> list[Broken]:
    """The critical schema findings of a drift report."""
    return [
        Broken(str(check.get("subject")), str(check.get("detail")))
        for check in row.body.get("checks", ())
        if check.get("type") == "schema_drift" and check.get("severity") == Severity.critical
    ]


def broken_sources(systems: Systems, model: str, findings: list[Broken]) -> dict[str, list[str]]:
    """What is broken of each of the model's declared sources, in plain words; what belongs to none is under ""."""
    told: dict[str, list[str]] = {}
    sources = systems.operations.model(model).sources
    for each in findings:
        owned = [name for name, it in sources.items() if each.subject in (*it.features, it.loaded_at)]
        for name in owned:
            told.setdefault(name, []).append(f"{name}: {each}")
        if not owned:
            told.setdefault("", []).append(str(each))
    return told


def runs(systems: Systems, pipeline: str, model: str) -> list[Evidence]:
    """Started runs of a pipeline, newest first."""
    return [row for row in systems.store.list(Kind.training_run, model) if row.body.get("pipeline") == pipeline]


def champion(systems: Systems, model: str) -> ModelVersion | None:
    """The version that serves."""
    version = serving_version(systems, model)
    return None if version is None else systems.registry.get(systems.operations.model(model).registry_name, version)


def performance(
    systems: Systems, model: str, trigger: DecayTrigger, serving: ModelVersion | None, now: datetime
) -> Performance:
    """The champion's metric over the rows of the trigger's window whose label has arrived."""
    if serving is None:
        return Performance(trigger.metric, None, 0)
    binding = systems.operations.model(model)
    rows = datasets.labelled(systems, model, now - trigger.window, now, now)
    if len(rows) < _FEWEST_LABELLED:
        return Performance(trigger.metric, None, len(rows))
    pipeline = systems.registry.load(binding.registry_name, serving.version)
    task = tasks.of(binding.task)
    said = recipe.predict(pipeline, recipe.feature_frame(rows, binding.features), task)
    judged = task.answers(task.outcomes(rows[binding.target].to_numpy()), said, threshold(serving))
    value = task.metric(trigger.metric)(judged)
    return Performance(trigger.metric, value if np.isfinite(value) else None, len(rows))


def threshold(version: ModelVersion) -> float:
    """The score at which a version flags a row: what it recorded, else 0.5."""
    return float(version.params.get(training.THRESHOLD_PARAM, 0.5))


def moment(version: ModelVersion | None, tag: str) -> datetime | None:
    """A time that a version's training recorded."""
    text = "" if version is None else version.tags.get(tag, "")
    return datetime.fromisoformat(text) if text else None


def labels_since(systems: Systems, model: str, table: str, since: datetime | None, now: datetime) -> int:
    """Rows first labelled in (`since`, `now`], by a table like the model's labels; a correction is no new label."""
    labels = systems.operations.model(model).labels
    datasets.require(systems, table)
    sql = f"SELECT count(*) FROM {newly_told(labels, '$since', '$now', table=table)}"
    found = systems.warehouse.query(sql, {"since": since or datetime(1900, 1, 1), "now": now})
    return int(found.column(0)[0].as_py())


def labelled_rows(systems: Systems, model: str, start: datetime, end: datetime, now: datetime) -> tuple[int, float]:
    """Rows in [start, end) labelled by `now`, and how many such rows a day there are of late (the 14 days to `end`).

    A label of no row in the model's table teaches nothing, and is not counted.
    """
    binding = systems.operations.model(model)
    labels, at = binding.labels, quote(binding.time)
    sql = f"""
        SELECT count(*) FILTER (f.{at} >= $start), count(*) FILTER (f.{at} >= $late)
        FROM {binding.table} f
        JOIN {known(labels, "$now", f"{quote(labels.time)} >= least($start, $late) AND {quote(labels.time)} < $end")}
          ON l.{quote(labels.id)} = f.{quote(binding.id)} AND l.{quote(labels.time)} = f.{at}
        WHERE f.{at} >= least($start, $late) AND f.{at} < $end
    """
    late = end - timedelta(days=14)
    found = systems.warehouse.query(sql, {"start": start, "late": late, "end": end, "now": now})
    return int(found.column(0)[0].as_py()), int(found.column(1)[0].as_py()) / 14

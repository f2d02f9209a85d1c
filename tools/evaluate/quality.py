"""Everything the quality gate asks about one challenger, measured on the holdout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np

from policies.declarations.drift import SchemaDrift
from policies.declarations.evaluation import QualityGate
from tools.evaluate import gate
from tools.evaluate.contenders import HoldoutRows, Judged, replay, shared_rows, trained_until
from tools.evaluate.gate import Check, SegmentReading
from tools.evaluate.metrics import Direction, metric

if TYPE_CHECKING:
    from policies.declarations import Operations
    from policies.declarations.drift import Schema
    from tools.systems.systems import Systems


def demanded(operations: Operations, model: str) -> list[str]:
    """Metrics by name that the model's gate and its pipeline ask for, whether or not they weigh in the comparison."""
    declared, pipeline = operations.gate_of(model), operations.pipeline_of(model)
    named = list(declared.metrics) if declared else []
    return [*named, operations.retraining_pipelines[pipeline].promotion.metric] if pipeline else named


def checks(
    systems: Systems,
    model: str,
    declared: QualityGate,
    holdout: HoldoutRows,
    champion: Judged,
    challenger: Judged,
    ours: Mapping[str, float],
    theirs: Mapping[str, float],
) -> list[Check]:
    """Every check of the gate, `ours` and `theirs` being the champion's and the challenger's metrics."""
    nan = float("nan")
    about = holdout.about
    found = [
        gate.enough_rows(about.rows, holdout.task.support(holdout.outcomes), declared.min_rows),
        *gate.required_metrics(declared.metrics, theirs),
        *_improvement(systems, model, ours, theirs),
        _data_quality(systems, model, declared, holdout),
    ]
    if declared.segments is not None:
        readings = segment_readings(holdout, declared.segments.columns, champion, challenger)
        found += gate.segments(readings, declared.segments.max_degradation, declared.segments.min_rows)
    for name, measured, limit in (
        ("calibration_error", "calibration_error", declared.max_calibration_error),
        ("latency_ms", "inference_ms", declared.max_latency_ms),
        ("model_size_mb", "model_size_mb", declared.max_model_size_mb),
    ):
        if limit is not None:
            found.append(gate.ceiling(name, theirs.get(measured, nan), limit))
    shared = shared_rows(systems, challenger.version, systems.operations.model(model), holdout)
    found.append(gate.no_overlap(trained_until(challenger.version), about.start, shared))
    again = replay(systems, challenger.version, systems.operations.model(model), systems.operations.memory_gb_of(model))
    found.append(gate.artifact_replays(again.logged, again.replayed, again.digest_matches, again.error))
    return found


def segment_readings(
    holdout: HoldoutRows, columns: list[str], champion: Judged, challenger: Judged
) -> Iterator[SegmentReading]:
    """Both models by the task's measure for each value of each column, missing values being a segment of their own."""
    assert champion.said is not None
    assert challenger.said is not None
    for column in columns:
        raw = holdout.frame[column].astype(object)
        values = raw.where(raw.notna(), "(missing)").astype(str).to_numpy()
        for value in sorted(set(values)):
            inside = values == value
            outcomes = holdout.outcomes[inside]
            ours, theirs = champion.said.take(inside), challenger.said.take(inside)
            yield SegmentReading(
                column=column,
                value=value,
                rows=int(inside.sum()),
                support=holdout.task.support(outcomes),
                read=holdout.task.reading(outcomes, ours, theirs),
            )


def _improvement(
    systems: Systems, model: str, ours: Mapping[str, float], theirs: Mapping[str, float]
) -> Iterator[Check]:
    """What the retraining pipeline demands of a retrained model, where one is declared."""
    name = systems.operations.pipeline_of(model)
    if name is None:
        return
    promotion = systems.operations.retraining_pipelines[name].promotion
    before, after = (each.get(promotion.metric, float("nan")) for each in (ours, theirs))
    higher = metric(promotion.metric).direction is Direction.HIGHER
    yield gate.improvement(promotion.metric, before, after, promotion.min_improvement, higher=higher)


def _data_quality(systems: Systems, model: str, declared: QualityGate, holdout: HoldoutRows) -> Check:
    """Share of the holdout's columns that keep their contract; without a contract, that hold finite values."""
    schema = _contract(systems, model)
    if schema is None:
        kept = {name: bool(np.any(holdout.frame[name].notna())) for name in holdout.frame.columns}
    else:
        from tools.check_drift.contract import validate

        binding = systems.operations.model(model)
        plain = schema.model_copy(update={"rows_per_day": None})
        span = max(holdout.about.end - holdout.about.start, timedelta(hours=1))
        judged = validate(plain, holdout.table, binding.time, span)
        kept = dict.fromkeys(schema.columns, True)
        for each in judged:
            if each.subject in kept:
                kept[each.subject] &= not each.found
    broken = [name for name, holds in kept.items() if not holds]
    rate = 1 - len(broken) / len(kept)
    detail = f"broken: {', '.join(broken)}" if broken else f"all {len(kept)} columns keep their contract"
    return gate.floor("data_quality_pass_rate", rate, declared.data_quality_pass_rate, detail)


def _contract(systems: Systems, model: str) -> Schema | None:
    operations = systems.operations
    for name in operations.monitors_of(model):
        for each in operations.drift_monitors[name].monitors:
            if isinstance(each, SchemaDrift):
                return operations.schemas[each.expected_schema]
    return None

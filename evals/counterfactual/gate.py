"""The stored checks of a quality gate under other declared bounds: what was measured is judged once more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from policies.declarations import Operations
from policies.declarations.evaluation import QualityGate
from tools.evaluate.gate import Check, Verdict, ceiling, floor, required_metrics

_CEILINGS = (
    ("calibration_error", "calibration_error", "max_calibration_error"),
    ("latency_ms", "inference_ms", "max_latency_ms"),
    ("model_size_mb", "model_size_mb", "max_model_size_mb"),
)
"""The name of a check, of the metric that it reads, and of the bound that is declared."""
_ALWAYS = ("data_quality_pass_rate", "no_overlap", "artifact_replays")
"""Checks that every gate makes."""


def regated(body: Mapping[str, Any], model: str, operations: Operations) -> list[Check]:
    """The checks that the model's gate asks for in `operations`, over the numbers of an evaluation's `body`.

    A bound that was not declared then is held against the challenger's measured metrics, and is inconclusive where
    nothing was measured. What has no declared bound (the replayed artifact, rows in common) stays as it was judged.
    Empty without a gate, then or now.
    """
    declared = operations.gate_of(model)
    stored = {each["name"]: Check.model_validate(each) for each in body.get("gate", {}).get("checks", ())}
    if declared is None or not stored:
        return []
    measured = dict(body["challenger"]["metrics"])
    measured |= {name: check.value for name, check in stored.items() if check.value is not None}
    return [
        *_kept(stored, declared),
        *required_metrics(declared.metrics, measured),
        *_improvement(stored, model, operations),
        *_ceilings(stored, measured, declared),
        *_segments(stored, declared),
    ]


def _kept(stored: Mapping[str, Check], declared: QualityGate) -> Iterator[Check]:
    for name, check in stored.items():
        if name == "holdout_rows":
            yield _rows(check, declared.min_rows)
        elif name == "data_quality_pass_rate" and check.value is not None:
            yield floor(name, check.value, declared.data_quality_pass_rate, check.detail)
        elif name in _ALWAYS:
            yield check


def _rows(check: Check, minimum: int) -> Check:
    """Too few rows are inconclusive, as in the gate; what was short for another reason stays so."""
    text = f">= {minimum}"
    if check.value is None or check.threshold == text:
        return check
    if check.value < minimum:
        verdict = Verdict.INCONCLUSIVE
    else:
        was = float((check.threshold or "0").removeprefix(">= "))
        verdict = check.verdict if check.value >= was else Verdict.PASSED
    return check.model_copy(update={"threshold": text, "verdict": verdict})


def _improvement(stored: Mapping[str, Check], model: str, operations: Operations) -> Iterator[Check]:
    pipeline = operations.pipeline_of(model)
    if pipeline is None:
        return
    promotion = operations.retraining_pipelines[pipeline].promotion
    check = stored.get(f"improvement:{promotion.metric}")
    if check is not None and check.value is not None:
        yield floor(check.name, check.value, promotion.min_improvement, check.detail)
    elif check is not None:
        yield check


def _ceilings(stored: Mapping[str, Check], measured: Mapping[str, float], declared: QualityGate) -> Iterator[Check]:
    for name, metric, bound in _CEILINGS:
        limit: float | None = getattr(declared, bound)
        if limit is None:
            continue
        check = stored.get(name)
        value = check.value if check else measured.get(metric)
        yield ceiling(name, float("nan") if value is None else value, limit)


def _segments(stored: Mapping[str, Check], declared: QualityGate) -> Iterator[Check]:
    """A fall beyond a smaller bound is inconclusive where it had passed: whether it is proven was not kept."""
    if declared.segments is None:
        return
    text = f"<= {declared.segments.max_degradation:g} below champion"
    for column in declared.segments.columns:
        name = f"segment:{column}"
        found = [each for each in stored.values() if each.name == name or each.name.startswith(f"{name}=")]
        if not found:
            yield Check(name=name, value=None, threshold=text, verdict=Verdict.INCONCLUSIVE, detail="not measured then")
        for check in found:
            if check.value is None or check.threshold == text:
                yield check
                continue
            beyond = check.value > declared.segments.max_degradation
            unproven = Verdict.FAILED if check.verdict is Verdict.FAILED else Verdict.INCONCLUSIVE
            yield check.model_copy(
                update={"threshold": text, "verdict": unproven if beyond else Verdict.PASSED},
            )

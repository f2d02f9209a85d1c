"""The gate's checks: what passes, what fails, what nobody can know."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.evaluate import gate
from tools.evaluate.gate import Check, SegmentReading, Verdict
from tools.tasks import BINARY, Reading

verdicts = st.sampled_from(list(Verdict))


def _check(verdict: Verdict) -> Check:
    return Check(name="x", value=None, threshold=None, verdict=verdict)


def _segment(champion: float, challenger: float, low: float, high: float, rows: int = 5000) -> SegmentReading:
    outcomes = (np.arange(rows) < rows // 10).astype(float)
    read = Reading("auc", "AUC", champion, challenger, champion - challenger, low, high)
    return SegmentReading("market", "EU", rows, BINARY.support(outcomes), read)


@given(st.lists(verdicts))
def test_a_gate_passes_only_when_nothing_failed_or_is_unknown(found: list[Verdict]) -> None:
    passed = gate.status([_check(each) for each in found]) is Verdict.PASSED
    blocked = Verdict.FAILED in found or Verdict.INCONCLUSIVE in found
    assert passed == (not blocked and Verdict.PASSED in found)


def test_a_failure_is_never_hidden_by_what_is_unknown() -> None:
    assert gate.status([_check(Verdict.INCONCLUSIVE), _check(Verdict.FAILED)]) is Verdict.FAILED
    assert gate.status([]) is Verdict.INCONCLUSIVE


def test_required_metrics() -> None:
    checks = gate.required_metrics({"auc_roc": "> 0.80", "f1": ">= 0.3"}, {"auc_roc": 0.80, "f1": 0.3})
    assert [each.verdict for each in checks] == [Verdict.FAILED, Verdict.PASSED]
    assert [(each.value, each.threshold) for each in checks] == [(0.80, "> 0.80"), (0.3, ">= 0.3")]
    assert gate.required_metrics({"auc_roc": "> 0.80"}, {})[0].verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("rows", "positives", "verdict"),
    [(999, 100, "inconclusive"), (1000, 19, "inconclusive"), (1000, 990, "inconclusive"), (1000, 20, "passed")],
)
def test_too_few_rows_are_inconclusive(rows: int, positives: int, verdict: str) -> None:
    outcomes = (np.arange(rows) < positives).astype(float)
    assert gate.enough_rows(rows, BINARY.support(outcomes), 1000).verdict == verdict


def test_the_promised_improvement_is_absolute() -> None:
    assert gate.improvement("auc_roc", 0.80, 0.811, 0.01).verdict is Verdict.PASSED
    assert gate.improvement("auc_roc", 0.80, 0.809, 0.01).verdict is Verdict.FAILED
    assert gate.improvement("log_loss", 0.30, 0.28, 0.01, higher=False).verdict is Verdict.PASSED
    assert gate.improvement("auc_roc", math.nan, 0.9, 0.01).verdict is Verdict.INCONCLUSIVE


def test_segments_respect_noise() -> None:
    def verdict(reading: SegmentReading) -> Verdict:
        return gate.segments([reading], 0.05, 500)[0].verdict

    assert verdict(_segment(0.80, 0.78, -0.03, -0.01)) is Verdict.PASSED
    assert verdict(_segment(0.80, 0.70, -0.12, -0.08)) is Verdict.FAILED
    assert verdict(_segment(0.80, 0.70, -0.25, 0.05)) is Verdict.INCONCLUSIVE
    assert verdict(_segment(0.80, 0.60, -0.4, -0.1, rows=499)) is Verdict.SKIPPED
    assert verdict(_segment(0.80, 0.60, -0.4, -0.1, rows=190)) is Verdict.SKIPPED


def test_a_column_of_small_segments_was_not_judged() -> None:
    few = _segment(0.80, 0.80, -0.1, 0.1, rows=100)
    alone = gate.segments([few], 0.05, 500)
    assert [each.verdict for each in alone] == [Verdict.SKIPPED, Verdict.INCONCLUSIVE]
    assert alone[1].name == "segment:market"
    beside = gate.segments([few, _segment(0.80, 0.80, -0.1, 0.1)], 0.05, 500)
    assert [each.verdict for each in beside] == [Verdict.SKIPPED, Verdict.PASSED]


@given(value=st.floats(0, 1), limit=st.floats(0, 1))
def test_ceiling_and_floor(value: float, limit: float) -> None:
    assert (gate.ceiling("calibration_error", value, limit).verdict is Verdict.PASSED) == (value <= limit)
    assert (gate.floor("data_quality_pass_rate", value, limit).verdict is Verdict.PASSED) == (value >= limit)
    assert gate.ceiling("latency_ms", math.nan, limit).verdict is Verdict.INCONCLUSIVE


def test_training_rows_never_reach_into_the_holdout() -> None:
    start = datetime(2026, 1, 11)
    before, after = start - timedelta(minutes=1), start + timedelta(minutes=1)
    for shared in (None, 0):
        assert gate.no_overlap(before, start, shared).verdict is Verdict.PASSED
        assert gate.no_overlap(after, start, shared).verdict is Verdict.FAILED
        assert gate.no_overlap(None, start, shared).verdict is Verdict.INCONCLUSIVE
    assert gate.no_overlap(before, start, 1).verdict is Verdict.FAILED, "whatever the version says of its last row"
    assert gate.no_overlap(start, start, None).verdict is Verdict.FAILED
    assert gate.no_overlap(start, start, 0).verdict is Verdict.PASSED, "rows of one load have one time"


def test_an_artifact_replays_what_was_logged() -> None:
    assert gate.artifact_replays([0.1, 0.2], [0.1, 0.2], True).verdict is Verdict.PASSED
    assert gate.artifact_replays([0.1, 0.2], [0.1, 0.3], True).verdict is Verdict.FAILED
    assert gate.artifact_replays([0.1, 0.2], [0.1], True).verdict is Verdict.FAILED
    assert gate.artifact_replays([0.1], [0.1], False).verdict is Verdict.FAILED
    assert gate.artifact_replays([0.1], [math.nan], True).verdict is Verdict.FAILED
    assert gate.artifact_replays([], [], True).verdict is Verdict.INCONCLUSIVE
    assert gate.artifact_replays(None, None, True, "does not load").verdict is Verdict.FAILED

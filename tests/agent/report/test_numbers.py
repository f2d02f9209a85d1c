"""Numbers as people read them."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from agent.report import numbers


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (0.0, "0"),
        (0.2, "0.2"),
        (0.8471, "0.847"),
        (-0.0412, "−0.0412"),
        (0.9999, "1"),
        (12.345, "12.3"),
        (100.0, "100"),
        (12345.6, "12,346"),
        (0.00000012, "1e-07"),
    ],
)
def test_number(value: float | None, shown: str) -> None:
    assert numbers.number(value) == shown


def test_units() -> None:
    assert numbers.measured("p99_latency_ms", 8.94) == "8.94 ms"
    assert numbers.measured("model_size_mb", 2.14) == "2.1 MB"
    assert numbers.measured("error_rate", 0.0123) == "1.23%"
    assert numbers.measured("auc_roc", 0.84) == "0.840"
    assert numbers.measured("holdout_rows", 100_000.0) == "100,000"
    assert numbers.money(0.0042) == "$0.0042"
    assert numbers.money(1234.5) == "$1,234.50"
    assert numbers.percent(0.0512) == "5.1%"
    assert numbers.signed_percent(0.031) == "+3.1%"
    assert numbers.signed_percent(-0.031) == "−3.1%"
    assert numbers.signed_percent(0.0) == "0.0%"
    assert numbers.p_value(1e-9) == "< 0.001"


def test_times_and_words() -> None:
    assert numbers.short_moment(datetime(2026, 1, 7, 14, 5)) == "7 Jan, 14:05"
    assert numbers.short_moment(datetime(2026, 1, 7)) == "7 Jan"
    assert numbers.span(timedelta(minutes=24)) == "24 min"
    assert numbers.span(timedelta(hours=41)) == "41 h"
    assert numbers.span(timedelta(days=7)) == "7 d"
    assert numbers.words("p99_latency_ms") == "p99 latency"
    assert numbers.words("auc_roc") == "AUC"
    assert numbers.words("intervention_roi") == "intervention ROI"

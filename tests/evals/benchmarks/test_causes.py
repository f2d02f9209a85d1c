"""The benchmark of causes in small: one seed's shop of half the customers, each cause once."""

from __future__ import annotations

from datetime import date, datetime

import pytest
from threadpoolctl import threadpool_limits

from evals.benchmarks.causes import KINDS, Look, looked_at, looks, table
from evals.simshop import ALL_CAUSES


@pytest.fixture(scope="module")
def found() -> list[Look]:
    with threadpool_limits(1):
        return looks(11, 50_000, quiet_hours=1)


def test_the_declared_monitor_tells_the_causes_apart(found: list[Look]) -> None:
    wrong = [(look.cause, kind, look.answers[kind]) for look in found for kind in KINDS if look.right(kind) is False]
    assert [look.cause for look in found] == [None, *ALL_CAUSES]
    assert wrong == []
    assert [look.cause for look in found if not look.origin_right] == []
    assert [look.cause for look in found if look.onset_right is False] == []
    assert {look.cause for look in found if look.onset_right} == {*ALL_CAUSES} - {"changed_reasons"}


def test_the_table_counts_what_is_right(found: list[Look]) -> None:
    told = table(found)
    assert "right               42/42 = 100.0%; worst cell 100%" in told
    assert "false alarms        0 of 1 checks of quiet shops, on 0 of 1 days" in told


def test_what_could_not_be_judged_is_not_right() -> None:
    look = Look(1, "more_churn", datetime(2026, 1, 22), dict.fromkeys(KINDS, "unknown"), "world", None, None)
    assert look.right("label_drift") is False
    assert look.right("concept_drift") is False
    assert Look(1, "product_launch", look.at, look.answers, "world", None, None).right("prediction_drift") is None


def test_a_cause_is_looked_at_while_it_is_in_force() -> None:
    assert looked_at(ALL_CAUSES["crm_lag"]) == datetime(2026, 1, 31, 2)
    assert all(cause.active(looked_at(cause).date()) for cause in ALL_CAUSES.values())
    assert looked_at(ALL_CAUSES["price_change"]).date() == date(2026, 1, 22)

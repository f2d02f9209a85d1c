"""Conditions are parsed by a grammar and never evaluated as code."""

from __future__ import annotations

import math

import pytest

from policies.conditions import parse_bound, parse_condition


def test_the_seeds_conditions() -> None:
    error = parse_condition("error_rate > 0.01")
    assert error.holds({"error_rate": 0.02})
    assert not error.holds({"error_rate": 0.01})
    assert parse_condition("p99_latency_ms > 300").comparisons[0].bound.limit == 300


def test_and_binds_tighter_than_or() -> None:
    condition = parse_condition("a > 1 and b > 1 or c > 1")
    assert condition.holds({"c": 2})
    assert condition.holds({"a": 2, "b": 2})
    assert not condition.holds({"a": 2, "c": 0})


def test_what_was_not_measured_never_holds() -> None:
    condition = parse_condition("a > 1 or b < 1")
    assert not condition.holds({})
    assert not condition.holds({"a": math.nan, "b": math.nan})


def test_units() -> None:
    assert parse_condition("error_rate > 1%").comparisons[0].bound.limit == 0.01
    assert parse_condition("p99_latency_ms > 0.3 s").comparisons[0].bound.limit == 300


@pytest.mark.parametrize(
    "text", ["", "error_rate", "> 1", "a > b", "a > 1; b > 1", "(a > 1)", "a > 1 and", "a ** 2 > 1"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a condition"):
        parse_condition(text)


def test_a_condition_reads_as_it_was_written() -> None:
    assert str(parse_condition("a>1 and b<=2 or c==3")) == "a > 1 and b <= 2 or c == 3"
    assert str(parse_bound(" >0.80 ")) == "> 0.8"

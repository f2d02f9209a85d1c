"""Conditions over measured numbers: `error_rate > 0.01`, `p99_latency_ms > 300 and error_rate > 0.001`.

Grammar (no expression is ever evaluated as code)::

    condition  := all_of ("or" all_of)*
    all_of     := comparison ("and" comparison)*
    comparison := NAME OPERATOR NUMBER [UNIT]
    OPERATOR   := ">" | ">=" | "<" | "<=" | "=="
    UNIT       := "%" (hundredths) | "ms" | "s" (times 1000, for names that end in _ms)
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
}

_BOUND = re.compile(r"\s*(>=|<=|==|>|<)\s*(-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)\s*(%|ms|s)?\s*")
_NAME = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)")


@dataclass(frozen=True)
class Bound:
    """An operator and a limit, as in `> 0.80`."""

    operator: str
    limit: float

    def holds(self, value: float) -> bool:
        """True where `value OPERATOR limit`; a NaN never holds."""
        return OPERATORS[self.operator](value, self.limit)

    def __str__(self) -> str:
        return f"{self.operator} {self.limit:g}"


@dataclass(frozen=True)
class Comparison:
    """One measured name against a bound."""

    name: str
    bound: Bound

    def holds(self, values: Mapping[str, float]) -> bool:
        """True where the named value is present and beyond the bound."""
        return self.name in values and self.bound.holds(values[self.name])

    def __str__(self) -> str:
        return f"{self.name} {self.bound}"


@dataclass(frozen=True)
class Condition:
    """Alternatives ("or") of conjunctions ("and") of comparisons."""

    any_of: tuple[tuple[Comparison, ...], ...]

    def holds(self, values: Mapping[str, float]) -> bool:
        """True where every comparison of one alternative holds; an unmeasured name never holds."""
        return any(all(each.holds(values) for each in all_of) for all_of in self.any_of)

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """All comparisons, in the order written."""
        return tuple(each for all_of in self.any_of for each in all_of)

    def __str__(self) -> str:
        return " or ".join(" and ".join(str(each) for each in all_of) for all_of in self.any_of)


def parse_bound(text: str, name: str = "") -> Bound:
    """`"> 0.80"` → Bound. Raises ValueError that says what would be right."""
    match = _BOUND.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a bound: write an operator ({', '.join(OPERATORS)}) and a number")
    return Bound(match[1], _in_unit(float(match[2]), match[3], name))


def parse_condition(text: str) -> Condition:
    """`"error_rate > 0.01 and p99_latency_ms > 300"` → Condition. Raises ValueError that says what would be right."""
    alternatives = []
    for alternative in re.split(r"\bor\b", text):
        alternatives.append(tuple(_parse_comparison(part, text) for part in re.split(r"\band\b", alternative)))
    return Condition(tuple(alternatives))


def _parse_comparison(part: str, whole: str) -> Comparison:
    name = _NAME.match(part)
    if name is None:
        raise ValueError(f"{whole!r} is not a condition: write NAME OPERATOR NUMBER, for example 'error_rate > 0.01'")
    try:
        return Comparison(name[1], parse_bound(part[name.end() :], name[1]))
    except ValueError:
        raise ValueError(
            f"{whole!r} is not a condition: after {name[1]!r} comes an operator ({', '.join(OPERATORS)}) and a number"
        ) from None


def _in_unit(number: float, unit: str | None, name: str) -> float:
    if unit == "%":
        return number / 100
    if unit == "s" and name.endswith("_ms"):
        return number * 1000
    return number

"""What a request must carry: every feature of the model, a number or null, a string or null where it is categorical.

What the declarations add to that (`contract`) comes as `Limits`: the names that may be there at all, features that are
never null, and the values that are allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

Values = tuple[tuple[Any, ...], tuple[Any, ...]]
"""Numeric values (float, int or None) and categorical values (str or None), each in the schema's order."""

LARGEST = 3.4e38
"""About the largest single-precision number: beyond it many models overflow, and nothing measured is that large."""

_NULL = frozenset({type(None)})
_NUMBERS = frozenset({int, float})
_STRINGS = frozenset({str})


class InvalidInstance(Exception):
    """One instance that the model cannot score: which field, and what would be right."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


def _getter(names: Sequence[str]) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    if not names:
        return lambda _: ()
    if len(names) == 1:
        only = names[0]
        return lambda features: (features[only],)
    return itemgetter(*names)


@dataclass(frozen=True)
class Limits:
    """What is declared of an instance.

    Attributes:
        known: all names that may be in it; None: any.
        not_null: features that must have a value.
        whole: numeric features that must be whole numbers.
        ranges: lowest and highest value (inclusive) of each numeric feature, in the schema's order; empty: any.
        categories: the allowed strings of each categorical feature, in the schema's order, None: any; empty: any.
    """

    known: frozenset[str] | None = None
    not_null: frozenset[str] = frozenset()
    whole: frozenset[str] = frozenset()
    ranges: tuple[tuple[float, float], ...] = ()
    categories: tuple[frozenset[str] | None, ...] = ()


@dataclass(frozen=True)
class FeatureSchema:
    """The model's input columns. `null_numbers`, `null_strings`: whether the model itself copes with missing ones."""

    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    order: tuple[str, ...]
    null_numbers: bool = True
    null_strings: bool = True
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_numbers", _getter(self.numeric))
        object.__setattr__(self, "_strings", _getter(self.categorical))
        object.__setattr__(self, "_number_types", _NUMBERS | _NULL if self.null_numbers else _NUMBERS)
        object.__setattr__(self, "_string_types", _STRINGS | _NULL if self.null_strings else _STRINGS)

    @classmethod
    def of(cls, features: Sequence[Mapping[str, str]]) -> FeatureSchema:
        """From a manifest's `[{"name", "kind"}]`; every kind but `categorical` is numeric."""
        names = tuple(feature["name"] for feature in features)
        kinds = {feature["name"]: feature["kind"] for feature in features}
        return cls(
            numeric=tuple(name for name in names if kinds[name] != "categorical"),
            categorical=tuple(name for name in names if kinds[name] == "categorical"),
            order=names,
        )

    def read(self, features: object) -> Values:
        """The model's values of one instance. Raises InvalidInstance that names the first field at fault."""
        try:
            numbers = self._numbers(features)  # type: ignore[attr-defined]
            strings = self._strings(features)  # type: ignore[attr-defined]
        except (KeyError, TypeError, IndexError):
            raise self._fault(features) from None
        if (
            self._number_types.issuperset(map(type, numbers))  # type: ignore[attr-defined]
            and self._string_types.issuperset(map(type, strings))  # type: ignore[attr-defined]
            and self._keeps_limits(features, numbers, strings)  # type: ignore[arg-type]
        ):
            return numbers, strings
        raise self._fault(features)

    def _keeps_limits(self, features: Mapping[str, Any], numbers: tuple[Any, ...], strings: tuple[Any, ...]) -> bool:
        limits = self.limits
        if limits.known is not None and len(features) != len(self.order) and not limits.known.issuperset(features):
            return False
        has_null = None in numbers or None in strings
        if has_null and any(features[name] is None for name in limits.not_null):
            return False
        for number, (low, high) in zip(numbers, limits.ranges, strict=False):
            if number is not None and not low <= number <= high:
                return False
        for string, allowed in zip(strings, limits.categories, strict=False):
            if allowed is not None and string is not None and string not in allowed:
                return False
        return all(type(features[name]) is int or _is_whole(features[name]) for name in limits.whole)

    def _fault(self, features: object) -> InvalidInstance:
        if not isinstance(features, dict):
            return InvalidInstance("", f"must be an object of features, not {_shown(features)}")
        known = self.limits.known
        # A misspelt name is the cause, the feature that is then missing only its effect.
        if known is not None and (unknown := next((name for name in features if name not in known), None)) is not None:
            return InvalidInstance(unknown[:80], "is no feature of this model and no column of its contract")
        for name in self.order:
            if name not in features:
                return InvalidInstance(name, "is missing")
            if (problem := self._problem(name, features[name])) is not None:
                return InvalidInstance(name, problem)
        return InvalidInstance("", "cannot be read")

    def _problem(self, name: str, value: object) -> str | None:
        """What is wrong with a feature's value, None where nothing is."""
        is_text, limits = name in self.categorical, self.limits
        nulls = (self.null_strings if is_text else self.null_numbers) and name not in limits.not_null
        if value is None and nulls:
            return None
        if type(value) not in (_STRINGS if is_text else _NUMBERS):
            wanted = ("a string" if is_text else "a number") + (" or null" if nulls else "")
            return f"must be {wanted}, not {_shown(value)}"
        if name in limits.whole and not _is_whole(value):
            return f"must be a whole number, not {value}"
        if is_text and limits.categories:
            allowed = limits.categories[self.categorical.index(name)]
            if allowed is not None and value not in allowed:
                return f"must be one of {', '.join(sorted(allowed))}, not {_shown(value)}"
        if not is_text and limits.ranges:
            low, high = limits.ranges[self.numeric.index(name)]
            if not low <= value <= high:  # type: ignore[operator]
                return f"must be {_range(low, high)}, not {value:g}"
        return None


def _is_whole(value: object) -> bool:
    return value is None or isinstance(value, int) or (isinstance(value, float) and value.is_integer())


def _range(low: float, high: float) -> str:
    if high == LARGEST and low > -LARGEST:
        return f"at least {low:g}"
    if low == -LARGEST and high < LARGEST:
        return f"at most {high:g}"
    return f"between {low:g} and {high:g}"


def _shown(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case str():
            return f"the string {value[:40]!r}"
        case dict():
            return "an object"
        case list():
            return "a list"
    return f"the number {value}"

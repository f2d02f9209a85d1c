"""What a request must carry: every feature of the model, a number or null, a string or null where it is categorical.

What the declarations add to that (`contract`) comes as `Limits`: names that may come along unread, so that callers may
send a whole row of the feature table, features that are never null, and the values that are expected.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

Values = tuple[tuple[Any, ...], tuple[Any, ...]]
"""Numeric values (float, int or None) and categorical values (str or None), each in the schema's order."""

LARGEST = 3.4028234e38
"""The largest single-precision number: beyond it many models overflow, and nothing measured is that large."""

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
    """What is declared of a request: `ranges` (inclusive) by numeric, `categories` by categorical feature, in order.

    `carried` are all names that may be in an instance; None: any. No categories: any.
    """

    carried: frozenset[str] | None = None
    not_null: frozenset[str] = frozenset()
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

    @classmethod
    def of_wire(cls, document: Mapping[str, Any]) -> FeatureSchema:
        """From what `wire` gave."""
        numeric, categorical, order = (tuple(document[each]) for each in ("numeric", "categorical", "order"))
        return cls(numeric, categorical, order, document["null_numbers"], document["null_strings"])

    def wire(self) -> dict[str, Any]:
        """As JSON for another process, without the limits."""
        names = {"numeric": self.numeric, "categorical": self.categorical, "order": self.order}
        return {**names, "null_numbers": self.null_numbers, "null_strings": self.null_strings}

    def reads_as(self, other: FeatureSchema) -> bool:
        """Whether this schema would read the same values from every instance that `other` has read."""
        return (
            self.numeric == other.numeric
            and self.categorical == other.categorical
            and self.null_numbers >= other.null_numbers
            and self.null_strings >= other.null_strings
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
            and (self.limits.carried is None or len(features) == len(self.order) or self._all_known(features))  # type: ignore[arg-type]
            and not (self.limits.not_null and (None in numbers or None in strings) and self._null_of(features))
        ):
            return numbers, strings
        raise self._fault(features)

    def outside(self, values: Values) -> tuple[str, ...]:
        """Features whose value is outside its declared range or categories; such a request is served, and counted.

        Raises InvalidInstance for a number beyond single precision.
        """
        found = []
        for name, number, (low, high) in zip(self.numeric, values[0], self.limits.ranges, strict=False):
            if number is not None and not low <= number <= high:
                if abs(number) > LARGEST:
                    raise InvalidInstance(name, f"must be within ±{LARGEST:.2g}, not {number:g}")
                found.append(name)
        for name, string, known in zip(self.categorical, values[1], self.limits.categories, strict=False):
            if known is not None and string is not None and string not in known:
                found.append(name)
        return tuple(found)

    def _all_known(self, features: Mapping[str, Any]) -> bool:
        return self.limits.carried is None or self.limits.carried.issuperset(features)

    def _null_of(self, features: Any) -> str | None:
        """The first feature that is null and must not be."""
        return next((name for name in self.order if name in self.limits.not_null and features[name] is None), None)

    def _fault(self, features: object) -> InvalidInstance:
        if not isinstance(features, dict):
            return InvalidInstance("", f"must be an object of features, not {_shown(features)}")
        for name in self.order:
            if name not in features:
                return InvalidInstance(name, "is missing")
            is_text = name in self.categorical
            nulls = (self.null_strings if is_text else self.null_numbers) and name not in self.limits.not_null
            value = features[name]
            if type(value) not in (_STRINGS if is_text else _NUMBERS) and not (value is None and nulls):
                wanted = ("a string" if is_text else "a number") + (" or null" if nulls else "")
                return InvalidInstance(name, f"must be {wanted}, not {_shown(value)}")
        carried = self.limits.carried
        unknown = next((name for name in features if carried is not None and name not in carried), None)
        if unknown is not None:
            return InvalidInstance(unknown[:80], "is no feature of this model and no column of its contract")
        return InvalidInstance("", "cannot be read")


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

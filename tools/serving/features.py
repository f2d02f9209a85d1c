"""What a request must carry: every declared feature, numbers or null for numeric ones, strings for categorical ones.

Columns that the model does not declare are ignored, so that callers may send a whole row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

Values = tuple[tuple[Any, ...], tuple[Any, ...]]
"""Numeric values (float, int or None) and categorical values (str), each in the schema's order."""

_NUMBERS = frozenset({int, float, type(None)})
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
class FeatureSchema:
    """The model's input columns. `nullable` says whether the model itself copes with missing numbers."""

    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    order: tuple[str, ...]
    nullable: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "_numbers", _getter(self.numeric))
        object.__setattr__(self, "_strings", _getter(self.categorical))
        object.__setattr__(self, "_allowed", _NUMBERS if self.nullable else _NUMBERS - {type(None)})

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
        """The declared values of one instance. Raises InvalidInstance that names the first field at fault."""
        try:
            numbers = self._numbers(features)  # type: ignore[attr-defined]
            strings = self._strings(features)  # type: ignore[attr-defined]
        except (KeyError, TypeError, IndexError):
            raise self._fault(features) from None
        if self._allowed.issuperset(map(type, numbers)) and _STRINGS.issuperset(map(type, strings)):  # type: ignore[attr-defined]
            return numbers, strings
        raise self._fault(features)

    def _fault(self, features: object) -> InvalidInstance:
        if not isinstance(features, dict):
            return InvalidInstance("", f"must be an object of features, not {_shown(features)}")
        for name in self.order:
            if name not in features:
                return InvalidInstance(name, "is missing")
            value = features[name]
            if name in self.categorical:
                if type(value) is not str:
                    return InvalidInstance(name, f"must be a string, not {_shown(value)}")
            elif value is None and not self.nullable:
                return InvalidInstance(name, "must be a number; this model takes no null")
            elif type(value) not in _NUMBERS:
                return InvalidInstance(name, f"must be a number or null, not {_shown(value)}")
        return InvalidInstance("", "cannot be read")


def _shown(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return f"the string {value[:40]!r}"
    return {dict: "an object", list: "a list"}.get(type(value), f"the number {value}")

"""What differs between two declarations and no stored evidence can answer: told, so that silence is no "no change"."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from policies.declarations import Operations

_ASKED = (
    "drift_monitors.*.monitors.*.threshold",
    "drift_monitors.*.monitors.*.critical_multiple",
    "retraining_pipelines.*.triggers.*.source",
    "retraining_pipelines.*.triggers.*.min_severity",
    "retraining_pipelines.*.triggers.*.cooldown_hours",
    "retraining_pipelines.*.promotion.metric",
    "retraining_pipelines.*.promotion.min_improvement",
    "champion_challengers.*.evaluation.min_weighted_improvement",
    "champion_challengers.*.evaluation.require_significance",
    "quality_gates.*",
)
"""What `decisions` asks again of the numbers that were measured."""
_NOT_ASKED = ("quality_gates.*.max_age",)
_GONE = (
    ("drift_monitors", "*"),
    ("drift_monitors", "*", "monitors", "*"),
    ("retraining_pipelines", "*"),
    ("retraining_pipelines", "*", "triggers", "drift_detected*"),
    ("champion_challengers", "*"),
)
"""What `decisions` knows to be missing: its rows are not looked at, or not held against it."""


def unasked(declared: Operations, other: Operations) -> list[str]:
    """The dotted paths of the keys that differ and have no part in `decisions`."""
    found = _differing(declared.model_dump(mode="json"), other.model_dump(mode="json"), ())
    return sorted({".".join(path) for path, gone in found if not _asked(path, gone)})


def _asked(path: tuple[str, ...], gone: bool) -> bool:
    if gone and any(len(path) == len(known) and all(map(fnmatchcase, path, known)) for known in _GONE):
        return True
    dotted = ".".join(path)
    if any(fnmatchcase(dotted, pattern) for pattern in _NOT_ASKED):
        return False
    return any(fnmatchcase(dotted, pattern) for pattern in _ASKED)


def _differing(one: Any, two: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], bool]]:
    """Paths to what differs, and whether the second lacks it."""
    one, two = _keyed(one), _keyed(two)
    if not (isinstance(one, Mapping) and isinstance(two, Mapping)):
        if one != two:
            yield path, two is None
        return
    for key in [*one, *(key for key in two if key not in one)]:
        yield from _differing(one.get(key), two.get(key), (*path, str(key)))


def _keyed(value: Any) -> Any:
    """A list by what its items are called, and by their places where that does not tell them apart."""
    if not isinstance(value, list):
        return value
    names = [_called(each) for each in value]
    told_apart = all(names) and len({*names}) == len(names)
    return dict(zip(names if told_apart else map(str, range(len(value))), value, strict=True))


def _called(item: Any) -> str:
    keys = ("name", "type", "method")
    return ":".join(str(item[key]) for key in keys if item.get(key)) if isinstance(item, Mapping) else str(item)

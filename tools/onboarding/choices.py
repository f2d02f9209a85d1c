"""What the user said of the columns, and which of them that leaves to be read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from policies.errors import InputError

Task = Literal["binary", "multiclass", "regression"]

MOST_COLUMNS = 5_000
TARGETS = ("target", "label", "outcome", "class", "churn", "churned", "default", "fraud", "is_fraud", "survived")
TIMES = (
    "timestamp", "time", "datetime", "date", "event_time", "created_at", "scored_at", "at", "ts", "day", "updated_at",
)  # fmt: skip
PREDICTIONS = ("prediction", "predictions", "predicted", "pred", "y_pred", "y_hat", "yhat")
ID = re.compile(r"(^|[_\s])(id|uuid|guid|key)$|(?<=[a-z])(Id|ID|Uuid|UUID)$", re.IGNORECASE)
TIMELY = re.compile(
    r"(^|[_\s])(at|ts|time|timestamp|date|datetime|day|epoch|unix|created|updated)(_?(s|ms|us|utc))?$"
    r"|(?<=[a-z])(At|Ts|Time|Timestamp|Date)$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Choices:
    """What the user said; None where it is to be detected."""

    target: str | None = None
    prediction: str | None = None
    time: str | None = None
    id: str | None = None
    label_time: str | None = None
    positive: str | None = None
    task: Task | None = None
    ignore: tuple[str, ...] = ()
    features: tuple[str, ...] | None = None

    @property
    def named(self) -> dict[str, str | None]:
        """The columns that options name one by one."""
        return {
            "target": self.target,
            "prediction": self.prediction,
            "time": self.time,
            "id": self.id,
            "label-time": self.label_time,
        }


def decided(choices: Choices, option: str, column: str) -> Choices:
    """The choices with an answer to what was undecided."""
    answer: dict[str, Any] = {option.replace("-", "_"): column}
    return replace(choices, **answer)


def to_read(choices: Choices, names: Sequence[str], where: str) -> list[str]:
    """The columns to read: all but the ignored ones; of a table that is too wide, with `features`, only what is named.

    Named is what an option names, and what has the name of an outcome, a time or an id. Raises InputError where an
    option names no column, or more columns are left than can be watched.
    """
    require_known(choices, names)
    ignored = set(choices.ignore)
    left = [name for name in names if name not in ignored]
    if choices.features is not None and len(left) > MOST_COLUMNS:
        named = {*choices.features, *filter(None, choices.named.values())}
        left = [
            name for name in left if name in named or name.lower() in TARGETS or ID.search(name) or TIMELY.search(name)
        ]
        if choices.target is None and not any(name.lower() in TARGETS for name in left):
            raise InputError(f"has {len(names):,} columns; name the one that holds the outcome with --target", where)
    if len(left) > MOST_COLUMNS:
        raise InputError(
            f"has {len(left):,} columns, more than the {MOST_COLUMNS:,} that can be watched one by one; "
            "name those that the model uses with --features",
            where=where,
        )
    return left


def require_known(choices: Choices, names: Sequence[str]) -> None:
    """Raises InputError where an option names no column, or two of them the same."""
    known, asked = set(names), choices.named
    several = [("ignore", each) for each in choices.ignore] + [("features", each) for each in choices.features or ()]
    for option, name in [*asked.items(), *several]:
        if name is not None and name not in known:
            raise InputError(f"there is no column {name!r}; there are: {shown(names)}", where=f"--{option}")
    for option, name in [*asked.items(), *[("features", each) for each in choices.features or ()]]:
        if name in choices.ignore:
            raise InputError(f"column {name!r} is named by --{option} too; leave it out of one", where="--ignore")
    given = [name for name in asked.values() if name is not None]
    if len(set(given)) < len(given):
        twice = next(name for name in given if given.count(name) > 1)
        raise InputError(f"column {twice!r} is named for two purposes; name each column once", where="command line")


def shown(names: Sequence[str], most: int = 30) -> str:
    """The names in quotes, the first of them where they are many."""
    return ", ".join(map(repr, names[:most])) + (f" and {len(names) - most:,} more" if len(names) > most else "")

"""What all declarations share: the strict base model, names, durations, cron expressions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
)

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


class Declared(BaseModel):
    """A block of `operations.yaml`: immutable, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Severity(StrEnum):
    """How bad a finding is. `unknown` is what could not be judged, and is never `ok`."""

    ok = "ok"
    unknown = "unknown"
    warning = "warning"
    critical = "critical"

    @property
    def rank(self) -> int:
        """0 (ok) to 3 (critical)."""
        return list(Severity).index(self)


_LONGEST = timedelta(days=36_500)


def worst(severities: list[Severity]) -> Severity:
    """The highest severity, `ok` for none."""
    return max(severities, key=lambda each: each.rank, default=Severity.ok)


def parse_duration(value: object) -> timedelta:
    """`"1h"`, `"7d"`, `"90m"` → timedelta. Raises ValueError."""
    if isinstance(value, timedelta):
        return value
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhdw])\s*", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"{value!r} is not a duration: write a number and s, m, h, d or w, for example '12h'")
    seconds = float(match[1]) * _UNITS[match[2]]
    if seconds > _LONGEST.total_seconds():
        raise ValueError(f"{value!r} is too long: at most {show_duration(_LONGEST)}")
    return timedelta(seconds=seconds)


def show_duration(value: timedelta) -> str:
    """timedelta → the shortest declared form, `"41h"`."""
    seconds = value.total_seconds()
    for unit in ("d", "h", "m"):
        if seconds and seconds % _UNITS[unit] == 0:
            return f"{seconds / _UNITS[unit]:g}{unit}"
    return f"{seconds:g}s"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(show_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?[smhdw]$", "examples": ["1h", "7d"]}),
]


def named_twice(names: Sequence[object]) -> str | None:
    """What is wrong with a list that names something twice, None where nothing is."""
    twice = next((name for number, name in enumerate(names) if name in names[:number]), None)
    return None if twice is None else f"names {twice!r} twice; write it once"


def _no_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a number; yes, no, true and false are none")
    return value


Positive = Annotated[float, BeforeValidator(_no_bool), Field(gt=0)]


def _check_cron(text: str) -> str:
    from croniter import CroniterError, croniter

    if len(text.split()) != 5:
        raise ValueError(f"{text!r} is not a cron expression: five fields, for example '0 2 * * 0' (Sunday, 2 AM)")
    for number, (name, low, high) in enumerate(_CRON_FIELDS):
        alone = ["*"] * 5
        alone[number] = text.split()[number]
        try:
            croniter(" ".join(alone))
        except CroniterError:
            allowed = f"{low} to {high}, *, a list, a range or a step such as */5"
            raise ValueError(
                f"{text!r} is not a cron expression: {name} is {alone[number]!r}; allowed: {allowed}"
            ) from None
    try:
        croniter(text).get_next()
    except CroniterError:
        raise ValueError(f"{text!r} never comes: no month has such a day") from None
    return text


_CRON_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of month", 1, 31), ("month", 1, 12), ("day of week", 0, 7))


Cron = Annotated[str, AfterValidator(_check_cron)]


def _check_frequency(text: str) -> str:
    if text in FREQUENCIES or text == "on_ingestion":
        return text
    try:
        return _check_cron(text)
    except ValueError as error:
        allowed = ", ".join([*FREQUENCIES, "on_ingestion"])
        if " " in text.strip():
            raise ValueError(f"{error}; or one of {allowed}") from None
        raise ValueError(f"{text!r} is not a frequency: one of {allowed}, or a cron expression") from None


FREQUENCIES = {
    "hourly": timedelta(hours=1),
    "daily": timedelta(days=1),
    "weekly": timedelta(days=7),
    "monthly": timedelta(days=30),
    "quarterly": timedelta(days=91),
}
Frequency = Annotated[str, AfterValidator(_check_frequency)]


def frequency_period(frequency: str) -> timedelta:
    """The period one tick of `frequency` covers; a day for `on_ingestion` and cron expressions."""
    return FREQUENCIES.get(frequency, timedelta(days=1))

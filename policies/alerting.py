"""What a new observation does to an alert, and where a person is reached. Pure functions.

One alert an incident: what repeats is not called out again until its quiet period is over, what gets worse is, and
what recovered and comes back within the quiet period is the same alert.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from policies.declarations.base import Severity
from policies.declarations.binding import Person


class AlertStatus(StrEnum):
    """`notice` is a message about something that happened: it neither repeats nor recovers."""

    open = "open"
    acknowledged = "acknowledged"
    resolved = "resolved"
    notice = "notice"


class Change(StrEnum):
    """What an observation is to people: `opened`, `worse`, `reminded` call them, the others change the message."""

    opened = "opened"
    worse = "worse"
    reminded = "reminded"
    reopened = "reopened"
    repeated = "repeated"

    @property
    def calls(self) -> bool:
        """Whether people are called, not only the message changed."""
        return self in (Change.opened, Change.worse, Change.reminded)


def of_source(source: str, owner: str) -> str:
    """The key of the incident that a declared source is broken: the same whoever notices it, in whichever model."""
    return f"source {source} of {owner}"


def listed(models: Sequence[str], most: int = 5) -> str:
    """`A, B and C`; of many the first ones and how many more."""
    shown = list(models) if len(models) <= most else [*models[: most - 1], f"{len(models) - most + 1} more"]
    return " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))


@dataclass(frozen=True)
class Standing:
    """An alert as it stands: its worst severity so far, and when people were last called."""

    status: AlertStatus
    peak: Severity
    called_at: datetime
    resolved_at: datetime | None


def observed(standing: Standing | None, severity: Severity, now: datetime, quiet: timedelta) -> Change:
    """What an incident that is seen `now` with `severity` is; `opened` asks for a new alert."""
    if standing is None:
        return Change.opened
    if standing.status is AlertStatus.resolved and now - (standing.resolved_at or standing.called_at) >= quiet:
        return Change.opened
    if severity.rank > standing.peak.rank:
        return Change.worse
    if standing.status is not AlertStatus.acknowledged and now - standing.called_at >= quiet:
        return Change.reminded
    return Change.reopened if standing.status is AlertStatus.resolved else Change.repeated


@dataclass(frozen=True)
class Address:
    """One place where a person is reached; `channel` is slack, pagerduty or email."""

    person: str
    channel: str
    address: str


def addresses(
    person: str, people: Mapping[str, Person], channels: Sequence[str], severity: Severity
) -> tuple[Address, ...]:
    """Where `person` is reached: over the declared `channels`, or over whatever there is where those reach nobody.

    Without declared channels nobody is paged for less than a critical matter, but for who has nothing but a pager.
    A name with an @ that is nobody's is an e-mail address. Empty where nothing is known of a person.
    """
    bound = people.get(person)
    if bound is None:
        return (Address(person, "email", person),) if "@" in person else ()
    known = [Address(person, name, at) for name, at in bound.model_dump().items() if at]
    if channels:
        wanted = [each for each in known if each.channel in channels]
    else:
        wanted = [each for each in known if each.channel != "pagerduty" or severity is Severity.critical]
    return tuple(wanted or known)

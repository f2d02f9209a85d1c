"""What happens to the shop, and when: dated causes, each of which can be switched on alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date

DRIFT_TYPES = frozenset(
    {"data_drift", "concept_drift", "prediction_drift", "label_drift", "feature_drift", "schema_drift"}
)


@dataclass(frozen=True)
class Cause:
    """One change in the world, in force from `starts` up to and including `ends` (None: for good).

    `raises` are the drift types a good monitor reports because of it, `spares` those it must not report; a type in
    neither set is left open (a launch may or may not move the scores). `stale_source` names a source whose data
    arrive late while the cause is in force.
    """

    name: str
    starts: date
    about: str
    raises: frozenset[str]
    spares: frozenset[str]
    ends: date | None = None
    stale_source: str | None = None

    def __post_init__(self) -> None:
        unknown = (self.raises | self.spares) - DRIFT_TYPES
        if unknown or self.raises & self.spares:
            raise ValueError(f"cause {self.name}: drift types must be distinct and among {sorted(DRIFT_TYPES)}")
        if self.ends is not None and self.ends < self.starts:
            raise ValueError(f"cause {self.name} ends on {self.ends}, before it starts on {self.starts}")

    def active(self, day: date) -> bool:
        """Whether the cause is in force on that day."""
        return self.starts <= day and (self.ends is None or day <= self.ends)


ALL_CAUSES: dict[str, Cause] = {
    cause.name: cause
    for cause in (
        Cause(
            name="product_launch",
            starts=date(2026, 1, 7),
            about="a new app and checkout: more visits, fewer abandoned carts, more app users; same reasons to leave",
            raises=frozenset({"data_drift", "feature_drift"}),
            spares=frozenset({"concept_drift", "label_drift", "schema_drift"}),
        ),
        Cause(
            name="price_change",
            starts=date(2026, 1, 8),
            about="higher prices: larger baskets, falling spend; alone it leaves the reasons to leave as they were",
            raises=frozenset({"data_drift", "feature_drift"}),
            spares=frozenset({"concept_drift", "label_drift", "schema_drift"}),
        ),
        Cause(
            name="changed_reasons",
            starts=date(2026, 1, 8),
            about="customers who live on discounts leave because of the prices; for the others the old reasons fade",
            raises=frozenset({"concept_drift"}),
            spares=frozenset({"data_drift", "schema_drift"}),
        ),
        Cause(
            name="crm_lag",
            starts=date(2026, 1, 23),
            ends=date(2026, 1, 31),
            about="a CRM migration: support data and departures are 48 hours late, back-filled the day after it ends",
            raises=frozenset(),
            spares=frozenset({"data_drift", "concept_drift", "feature_drift"}),
            stale_source="crm",
        ),
        Cause(
            name="more_churn",
            starts=date(2026, 1, 8),
            about="everyone is more likely to leave, in the same order as before",
            raises=frozenset({"label_drift"}),
            spares=frozenset({"data_drift", "concept_drift", "feature_drift", "schema_drift"}),
        ),
        Cause(
            name="changed_correlation",
            starts=date(2026, 1, 8),
            about="who used to open few mails opens many, and the reverse; every feature keeps its distribution",
            raises=frozenset({"feature_drift"}),
            spares=frozenset({"data_drift", "concept_drift", "label_drift", "schema_drift"}),
        ),
        Cause(
            name="renamed_column",
            starts=date(2026, 1, 8),
            about="an upstream release writes email_open_rate as email_opens_share",
            raises=frozenset({"schema_drift"}),
            spares=frozenset({"concept_drift", "label_drift"}),
        ),
    )
}


@dataclass(frozen=True)
class Story:
    """The causes that happen in one world."""

    causes: tuple[Cause, ...] = ()

    @classmethod
    def of(cls, *names: str) -> Story:
        """The story in which only these causes happen, on their usual dates. Raises ValueError for an unknown name."""
        unknown = [name for name in names if name not in ALL_CAUSES]
        if unknown:
            raise ValueError(f"unknown cause {', '.join(unknown)}; known are {', '.join(ALL_CAUSES)}")
        return cls(tuple(ALL_CAUSES[name] for name in names))

    def without(self, *names: str) -> Story:
        """This story with the named causes left out."""
        return Story(tuple(cause for cause in self.causes if cause.name not in names))

    def moved(self, name: str, starts: date, ends: date | None = None) -> Story:
        """This story with one cause on other dates. Raises ValueError if it is no part of the story."""
        if self.cause(name) is None:
            raise ValueError(f"cause {name} is no part of this story")
        return Story(tuple(replace(c, starts=starts, ends=ends) if c.name == name else c for c in self.causes))

    def cause(self, name: str) -> Cause | None:
        """The cause of that name, if it is part of the story."""
        return next((cause for cause in self.causes if cause.name == name), None)

    def active(self, name: str, day: date) -> bool:
        """Whether the named cause is part of the story and in force on that day."""
        cause = self.cause(name)
        return cause is not None and cause.active(day)

    def raises(self, day: date) -> frozenset[str]:
        """Drift types that a good monitor reports on data of that day."""
        return _union(cause.raises for cause in self.causes if cause.active(day))

    def spares(self, day: date) -> frozenset[str]:
        """Drift types that nothing in force on that day justifies reporting."""
        active = [cause for cause in self.causes if cause.active(day)]
        if not active:
            return DRIFT_TYPES
        return frozenset.intersection(*(cause.spares for cause in active))


def _union(sets: Iterable[frozenset[str]]) -> frozenset[str]:
    return frozenset().union(*sets)


FULL_STORY = Story.of("product_launch", "price_change", "changed_reasons", "crm_lag")
QUIET = Story()

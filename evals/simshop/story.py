"""What happens to the shop, and when: the causes at work in one world, each of which can be switched on alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date

from evals.simshop.causes import ALL_CAUSES, DRIFT_TYPES, Cause


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

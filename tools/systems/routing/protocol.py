"""`Traffic`: what a change of the split is asked of, whatever routes the requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol


class Asked(Protocol):
    """The split that is asked for; `challenger_pct` in 0..100."""

    @property
    def model(self) -> str: ...
    @property
    def champion(self) -> str: ...
    @property
    def challenger(self) -> str | None: ...
    @property
    def challenger_pct(self) -> float: ...
    @property
    def mirrored(self) -> bool: ...
    @property
    def salt(self) -> str: ...
    @property
    def endpoints(self) -> Mapping[str, str]: ...


class Traffic(Protocol):
    """Routes one model's requests. Every call is safe to repeat."""

    @property
    def mirrors(self) -> bool:
        """Whether it can give the challenger a copy of each request."""
        ...

    def apply(self, asked: Asked, record: Callable[[], int], seconds: float, /) -> str:
        """Puts a split in force and calls `record`, which writes it down and numbers it. Gives the evidence's status.

        What waits for an outside system records only after it acknowledged. Raises SystemDown where it did not, and
        InputError where it cannot serve what is asked: nothing is recorded then.
        """
        ...

    def in_force(self, asked: Asked, /) -> bool:
        """Whether this very split is what is routed by now. Raises SystemDown."""
        ...

    def health(self, version: str, /) -> tuple[int, int]:
        """Asks a version's machines whether they answer: how often they were asked, and how often one did not."""
        ...

    def reachable(self) -> str:
        """What answers, for `guardian doctor`. Raises SystemDown, InputError."""
        ...

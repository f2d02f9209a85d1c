"""A recording as a file: JSON Lines, a header that says how it came about, then one exchange a line.

No header of a request is kept, so no key can be; of a response only those are that the client acts on.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent.planners.profiles import Flavour
from policies.errors import InputError


class Header(BaseModel):
    """`recorded`: from the model at an endpoint of that kind, on that day. `scripted`: the answers written by hand."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    how: Literal["recorded", "scripted"]
    model: str
    endpoint: str
    flavour: Flavour
    prompt: str
    made_on: date


class Exchange(BaseModel):
    """One request and its answer; `request` and `response` are the bodies' text as they went over the wire.

    Without an answer (the connection broke, or took too long) `status` is None, and `response` says why.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str
    path: str
    request: str
    status: int | None = Field(ge=100, le=599)
    headers: dict[str, str] = {}
    response: str


class Recording(BaseModel):
    """All of a run's traffic, in order."""

    model_config = ConfigDict(frozen=True)

    header: Header
    exchanges: list[Exchange]

    @classmethod
    def read(cls, path: Path) -> Recording:
        """The recording in a file. Raises InputError where there is none or a line is no exchange."""
        try:
            head, *rest = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            raise InputError(f"no recording: {why}; make one with guardian eval --record", where=str(path)) from None
        if not head:
            raise InputError("no recording: it is empty; make one with guardian eval --record", where=str(path))
        header = _line(Header, head, path, 1)
        exchanges = [_line(Exchange, each, path, number) for number, each in enumerate(rest, start=2)]
        return cls(header=header, exchanges=exchanges)

    def write(self, path: Path) -> None:
        """Puts the recording in place, whole. Raises InputError where that cannot be done."""
        try:
            with tempfile.TemporaryDirectory(prefix=".recording-", dir=path.parent) as scratch:
                partial = Path(scratch) / path.name
                partial.write_text("\n".join(self._lines()) + "\n", encoding="utf-8")
                partial.replace(path)
        except OSError as error:
            raise InputError(f"cannot be written: {error.strerror}", where=str(path)) from None

    def _lines(self) -> Iterator[str]:
        yield self.header.model_dump_json()
        for each in self.exchanges:
            yield each.model_dump_json()


Line = TypeVar("Line", bound=BaseModel)


def _line(kind: type[Line], text: str, path: Path, number: int) -> Line:
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = "".join(f"{part}: " for part in first["loc"])
        raise InputError(f"is no recording: {place}{first['msg']}", where=f"{path}:{number}") from None

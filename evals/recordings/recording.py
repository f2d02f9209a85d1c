"""A recording as a file: JSON Lines, a header that says how it came about, then one exchange a line.

No header of a request is kept, so no key can be; of a response only those are that the client acts on.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from policies.errors import InputError


class Header(BaseModel):
    """`recorded`: from the model at an endpoint of that kind, on that day. `scripted`: the answers written by hand."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    how: Literal["recorded", "scripted"]
    model: str
    endpoint: str
    flavour: str
    prompt: str
    made_on: date


class Exchange(BaseModel):
    """One request and its answer; `request` and `response` are the bodies' text as they went over the wire."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str
    path: str
    request: str
    status: int
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
            lines = path.read_text(encoding="utf-8").splitlines()
            header = Header.model_validate_json(lines[0])
            return cls(header=header, exchanges=[Exchange.model_validate_json(line) for line in lines[1:]])
        except (OSError, IndexError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is empty"
            raise InputError(f"no recording: {why}; make one with guardian eval --record", where=str(path)) from None
        except ValidationError as error:
            raise InputError(f"is no recording: {error.errors()[0]['msg']}", where=str(path)) from None

    def write(self, path: Path) -> None:
        """Puts the recording in place, whole."""
        partial = path.with_suffix(".partial")
        partial.write_text("\n".join(self._lines()) + "\n", encoding="utf-8")
        partial.replace(path)

    def _lines(self) -> Iterator[str]:
        yield self.header.model_dump_json()
        for each in self.exchanges:
            yield each.model_dump_json()

"""What every command shares: the declarations file, the output format, and the systems opened on demand."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.untrusted import printable

if TYPE_CHECKING:
    from pydantic import BaseModel

    from tools.systems.systems import Systems


class Session:
    """One call of the command line. Results go to stdout, everything else to stderr."""

    def __init__(self, operations: Path, as_json: bool) -> None:
        self.operations = operations
        self.as_json = as_json
        self._systems: Systems | None = None

    @property
    def systems(self) -> Systems:
        """The systems of the declarations file, opened at first use."""
        if self._systems is None:
            from tools.systems.systems import Systems

            self._systems = Systems.open(self.operations)
        return self._systems

    def emit(self, result: BaseModel, show: Callable[[Any], str]) -> None:
        """Prints a result: its JSON, or what `show` makes of it."""
        sys.stdout.write(result.model_dump_json(indent=2) if self.as_json else printable(show(result)))
        sys.stdout.write("\n")

    def say(self, text: str) -> None:
        """A line of progress, to stderr."""
        sys.stderr.write(printable(text) + "\n")
        sys.stderr.flush()

    def close(self) -> None:
        """Gives connections back."""
        if self._systems is not None:
            self._systems.close()

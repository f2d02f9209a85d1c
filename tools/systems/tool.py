"""The one shape of a tool."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

if TYPE_CHECKING:
    from tools.systems.systems import Systems


class Effect(StrEnum):
    """Whether a tool only measures, or changes something."""

    READ = "read"
    WRITE = "write"


@dataclass(frozen=True)
class Tool:
    """A tool the planner may pick. Its docstring (of `run`) is what the model reads.

    `arguments` has no defaults and no open dictionaries; `references` maps an argument to the declarations block whose
    names it takes, so that the schema shown to the model lists exactly the declared names.
    """

    name: str
    effect: Effect
    arguments: type[BaseModel]
    result: type[BaseModel]
    run: Callable[[Systems, Any], BaseModel]
    references: dict[str, str]

    @property
    def description(self) -> str:
        """The first paragraph of the docstring of `run`."""
        return (inspect.getdoc(self.run) or "").split("\n\n")[0].replace("\n", " ")

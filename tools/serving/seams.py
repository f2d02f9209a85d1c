"""What the gateway needs of the systems around it, as protocols; `tools.systems` satisfies them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pyarrow as pa


class Split(Protocol):
    """Who serves which share of a model's traffic. `number` grows with every change; pct is 0..100."""

    @property
    def number(self) -> int: ...
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
    """The desired split, and the workers' word that they serve it."""

    def split(self, model: str, /) -> Split | None: ...
    def acknowledge(self, worker: str, model: str, number: int, /) -> None: ...
    def heartbeat(self, worker: str, model: str, /) -> None: ...
    def leave(self, worker: str, /) -> None: ...


class Fetched(Protocol):
    """A registry version's digest-checked local folder."""

    @property
    def path(self) -> Path: ...


class Models(Protocol):
    """Resolves a registry version to local files. May block for seconds; raises where it cannot."""

    def fetch(self, name: str, version: str, /) -> Fetched: ...


class LogTable(Protocol):
    """Where prediction rows end; `append` writes one file atomically, replacing a file of the same name."""

    def append(self, table: str, data: pa.Table, name: str) -> object: ...


class Clock(Protocol):
    """The time of the world served, naive UTC."""

    def now(self) -> datetime: ...

"""What is still to be scored of a batch's partition, in pages that any machine can read and score by itself."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from policies.declarations.binding import ModelBinding
from policies.declarations.serving import Batch
from policies.errors import InputError
from tools.serving.batch import predictions
from tools.systems.registry import Registry
from tools.systems.systems import Systems, warehouse_at
from tools.systems.warehouse import AnyWarehouse, quote

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


@dataclass(frozen=True)
class Pages:
    """`count` pages, told apart by a hash of the id: each page is a query of its own, wherever it is asked.

    `version` is scored with, and must have the `digest` it had when the run began.
    """

    count: int
    sql: str
    params: Mapping[str, object]
    binding: ModelBinding
    version: str
    digest: str

    def rows(self, warehouse: AnyWarehouse, page: int) -> pd.DataFrame:
        """The rows of a page. A row without an id is left out, and so is the second of the same id and time."""
        frame: pd.DataFrame = warehouse.query(self.sql, {**self.params, "page": page}).to_pandas()
        return frame.drop_duplicates([self.binding.id, self.binding.time], ignore_index=True)

    def model(self, registry: Registry) -> Any:
        """The fitted pipeline. Raises InputError where its file is another than when the run began."""
        name = self.binding.registry_name
        if registry.get(name, self.version).digest != self.digest:
            raise InputError(f"version {self.version} was replaced while its batch ran", where=name)
        return registry.load(name, self.version)

    def scored(self, pipeline: Any, rows: pd.DataFrame) -> pa.Table:
        """What the output table gets of these rows."""
        return predictions(self.binding, pipeline, self.version, rows)


def pages_of(
    systems: Systems,
    model: str,
    version: str,
    pattern: Batch,
    period: tuple[datetime, datetime],
    page_rows: int,
    *,
    again: bool,
) -> Pages:
    """The rows of the period that are not in the output yet (of which some are there where `again`), about
    `page_rows` a page."""
    binding = systems.operations.model(model)
    id_, time_ = quote(binding.id), quote(binding.time)
    chosen = ", ".join(f"f.{quote(each)}" for each in (binding.id, binding.time, *binding.features.names))
    asked = f"f.{time_} >= $start AND f.{time_} < $end AND f.{id_} IS NOT NULL"
    if again:
        asked += f" AND NOT EXISTS (SELECT 1 FROM {pattern.output} o WHERE o.{id_} = f.{id_} AND o.{time_} = f.{time_})"
    params = dict(zip(("start", "end"), period, strict=True))
    count = systems.warehouse.query(f"SELECT count(*) AS n FROM {pattern.input} f WHERE {asked}", params)
    pages = math.ceil(int(count["n"][0].as_py()) / page_rows)
    part = f"AND hash(CAST(f.{id_} AS VARCHAR)) % {pages:d} = $page" if pages > 1 else ""
    sql = f"SELECT {chosen} FROM {pattern.input} f WHERE {asked} {part}"
    digest = systems.registry.get(binding.registry_name, version).digest
    return Pages(pages, sql, params, binding, version, digest)


@dataclass(frozen=True)
class Place:
    """Where a machine of a cluster finds what it needs: the warehouse's and MLflow's URLs, which it must reach too."""

    home: Path
    warehouse: str
    mlflow: str


class _Reader:
    """Reads and scores pages on a machine of a cluster, with connections and a copy of the model of its own."""

    def __init__(self, place: Place, pages: Pages) -> None:
        self.place, self.pages = place, pages
        self._warehouse = warehouse_at(place.home, place.warehouse)
        self._cache = tempfile.TemporaryDirectory(prefix="guardian-models-")
        self._registry = Registry(place.mlflow, Path(self._cache.name))

    @cached_property
    def _pipeline(self) -> Any:
        return self.pages.model(self._registry)

    def scored(self, page: int) -> bytes:
        """A page's rows of the output as an Arrow stream; empty for a page without rows."""
        import pyarrow as pa

        rows = self.pages.rows(self._warehouse, page)
        if not len(rows):
            return b""
        table = self.pages.scored(self._pipeline, rows)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        content: bytes = sink.getvalue().to_pybytes()
        return content


_held: list[_Reader] = []


def reader(place: Place, pages: Pages) -> _Reader:
    """This process's reader of these very pages at this place, kept for the next of them; one of others is let go."""
    if not _held or (_held[0].place, _held[0].pages) != (place, pages):
        _held[:] = [_Reader(place, pages)]
    return _held[0]

"""What a scenario breaks: columns renamed on the way in, labels and rows that stop, wrong scores, an outage of the
warehouse, and an artifact replaced in the registry."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from evals.simshop.tables import FEATURES_TABLE, LABELS_TABLE, PREDICTIONS_TABLE
from evals.suite.scenario import Broken
from policies.errors import SystemDown
from tools.systems.registry import DIGEST_TAG
from tools.systems.systems import Systems
from tools.systems.warehouse import Warehouse


class FaultyWarehouse(Warehouse):
    """The warehouse with a scenario's faults; `down` is set and cleared by whoever lets time pass."""

    def __init__(self, root: Path, broken: Broken) -> None:
        super().__init__(root)
        self._broken = broken
        self.down = False

    def query(self, sql: str, params: Mapping[str, object] | None = None, **limits: Any) -> pa.Table:
        """As the warehouse; SystemDown while it is down."""
        if self.down:
            raise SystemDown("connection refused", where="warehouse")
        return super().query(sql, params, **limits)

    def append(self, table: str, data: pa.Table, name: str) -> Path:
        """As the warehouse, after the faults of that table and day. A file of no label is an empty one."""
        if table == FEATURES_TABLE and (day := _day(name)) is not None:
            for each in self._broken.columns:
                if day >= each.since:
                    data = data.rename_columns({each.column: each.named})
            for scaled in self._broken.scaled:
                if day >= scaled.since:
                    data = _with(data, scaled.column, pc.multiply(data[scaled.column], scaled.times))
            if self._broken.rows_stop is not None and day >= self._broken.rows_stop:
                data = data.slice(0, 0)
        elif table == LABELS_TABLE and name.startswith("arrived-") and self._broken.labels_stop is not None:
            if date.fromisoformat(name.removeprefix("arrived-")) >= self._broken.labels_stop:
                data = data.slice(0, 0)
        elif table == PREDICTIONS_TABLE and self._broken.scores_from is not None:
            since = datetime.combine(self._broken.scores_from, datetime.min.time())
            wrong = pc.if_else(pc.greater_equal(data["scored_at"], since), pc.sqrt(data["score"]), data["score"])
            data = _with(data, "score", wrong)
        return super().append(table, data, name)


def replace_artifact(systems: Systems, version: str) -> None:
    """The registry holds another artifact of that version, for every model that has the version."""
    for binding in systems.operations.models.values():
        systems.registry.tag(binding.registry_name, version, DIGEST_TAG, "0" * 64)


def _with(data: pa.Table, column: str, values: pa.ChunkedArray) -> pa.Table:
    """The table with other values in a column."""
    return data.set_column(data.schema.get_field_index(column), column, values)


def _day(name: str) -> date | None:
    """The day of a file that holds one, None for a week's."""
    try:
        return date.fromisoformat(name) if "W" not in name else None
    except ValueError:
        return None

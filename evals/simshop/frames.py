"""Days as Arrow tables in the layouts of the warehouse."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evals.simshop.shop import DAY_US, HOUR_US, Micros
from evals.simshop.simulation import LAG_HOURS, Day
from evals.simshop.tables import CATEGORIES, CRM_FEATURES, NUMERIC, RENAMED, TIMESTAMP

_NAMES: Final = {column: pa.array(values) for column, values in CATEGORIES.items()}


def feature_table(day: Day, *, corrected: bool, renamed: bool = False) -> pa.Table:
    """The day's rows of `ml_features.customer_360`; `corrected` undoes late deliveries.

    Raises ValueError for a day whose rows are not retained.
    """
    if day.numeric is None:
        raise ValueError(f"the rows of {day.day} are not retained")
    late = day.delivered if day.delivered is not None and not corrected else None
    columns: dict[str, pa.Array] = {"customer_id": pa.array(day.ids), "scored_at": timestamps(day.scored_at)}
    for name in CATEGORIES:
        columns[name] = category(name, day.codes[name])
    for name in NUMERIC:
        values = late[name] if late is not None and name in CRM_FEATURES else day.numeric[name]
        columns[RENAMED.get(name, name) if renamed else name] = pa.array(values, from_pandas=True)
    lag = LAG_HOURS * HOUR_US if late is not None else 0
    for name, loaded in _load_times(day.scored_at, lag).items():
        columns[name] = timestamps(loaded)
    return pa.table(columns)


def label_table(days: Sequence[Day], arrived: date | None = None, now_us: int | None = None) -> pa.Table:
    """Rows of `ml_labels.churn_actuals` in order of arrival.

    All labels of these days, or those that arrived on one date, or those of that date that arrived by `now_us`.
    """
    parts: list[tuple[npt.NDArray[Any], ...]] = []
    for day in days:
        chosen: slice | npt.NDArray[np.bool_] = slice(None)
        if arrived is not None:
            begin = (arrived.toordinal() - date(1970, 1, 1).toordinal()) * DAY_US
            end = begin + DAY_US - 1 if now_us is None else min(begin + DAY_US - 1, now_us)
            chosen = (day.arrives >= begin) & (day.arrives <= end)
        parts.append((day.ids[chosen], day.scored_at[chosen], day.churned[chosen], day.arrives[chosen]))
    ids, scored_at, churned, arrives = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((ids, arrives))
    return pa.table(
        {
            "customer_id": pa.array(ids[order]),
            "scored_at": timestamps(scored_at[order]),
            "churned": pa.array(churned[order]),
            "labelled_at": timestamps(arrives[order]),
        }
    )


def holdout_table(day: Day, *, renamed: bool = False) -> pa.Table:
    """The day's corrected rows with their outcome, for `ml_features.customer_360_holdout`."""
    table = feature_table(day, corrected=True, renamed=renamed)
    return table.append_column("churned", pa.array(day.churned))


def category(name: str, codes: npt.NDArray[np.uint8]) -> pa.Array:
    """Category codes as strings."""
    return _NAMES[name].take(pa.array(codes))


def timestamps(values: Micros) -> pa.Array:
    """Microseconds since 1970 as naive UTC timestamps."""
    return pa.array(values).view(TIMESTAMP)


def _load_times(scored_at: Micros, crm_lag_us: int) -> dict[str, Micros]:
    """When each source was last loaded before a row was made: orders hourly, web every 15 min, CRM every four hours,
    billing at two in the morning."""
    quarter = HOUR_US // 4
    return {
        "orders_loaded_at": scored_at // HOUR_US * HOUR_US,
        "web_loaded_at": scored_at // quarter * quarter,
        "crm_loaded_at": scored_at // (4 * HOUR_US) * (4 * HOUR_US) - crm_lag_us,
        "billing_loaded_at": (scored_at - 2 * HOUR_US) // DAY_US * DAY_US + 2 * HOUR_US,
    }

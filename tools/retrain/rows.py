"""Labelled rows for training, thinned inside the warehouse so that a year of them fits in memory."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from policies.errors import InputError
from tools import tasks
from tools.retrain import recipe, sampling
from tools.retrain.recipe import Floats
from tools.retrain.recipes import HALF_LIVES
from tools.retrain.sampling import Rows
from tools.systems import datasets
from tools.systems.labels import known
from tools.systems.warehouse import quote

if TYPE_CHECKING:
    import pandas as pd

    from tools.systems.systems import Systems

EARLIEST = datetime(1900, 1, 1)
Keys = np.ndarray[tuple[int], np.dtype[np.uint64]]


@dataclass(frozen=True)
class TrainingRows:
    """What a run learns from: rows sorted by time, their times and keys, and how many labelled rows they stand for."""

    rows: Rows
    times: np.ndarray[tuple[int], np.dtype[np.datetime64]]
    keys: Keys
    labelled: int
    digest: str

    def between(self, start: datetime | None, end: datetime) -> Rows:
        """Rows with time in [start, end)."""
        inside = self.times < np.datetime64(end, "us")
        if start is not None:
            inside &= self.times >= np.datetime64(start, "us")
        return self.rows.at(np.flatnonzero(inside))

    @property
    def last(self) -> datetime:
        """Time of the latest row."""
        latest: datetime = self.times[-1].astype("datetime64[us]").item()
        return latest


def labelled_per_day(
    systems: Systems, model: str, start: datetime | None, end: datetime, as_of: datetime
) -> pd.DataFrame:
    """Days (`day`) before `end` with how many of their rows are `labelled` by `as_of`; days without are left out.

    Raises:
        InputError: no row of the window has a label.
    """
    coverage = datasets.label_coverage(systems, model, start or EARLIEST, end, as_of)
    found = coverage[coverage["labelled"] > 0].reset_index(drop=True)
    if found.empty:
        binding = systems.operations.model(model)
        raise InputError(
            f"no labelled row lies in [{start or 'the beginning'}, {end}), so there is nothing to train on",
            where=binding.labels.table,
        )
    return found


def read(
    systems: Systems, model: str, start: datetime | None, end: datetime, as_of: datetime, max_rows: int
) -> TrainingRows:
    """Labelled rows in [start, end), as many as any half-life of the search needs to fill `max_rows`.

    A day is read at the highest share that one of `recipes.HALF_LIVES` would keep of it; which of its rows are read is
    a hash of id and time, so that the same table always gives the same rows.

    Raises:
        InputError: there is no labelled row, or only one outcome among them.
    """
    binding, labels = systems.operations.model(model), systems.operations.model(model).labels
    task = tasks.of(binding.task)
    days = labelled_per_day(systems, model, start, end, as_of)
    shares = _shares(days, end, max_rows)
    names = dict.fromkeys((binding.id, binding.time, *binding.features.names))
    chosen = ", ".join(f"f.{quote(name)}" for name in names)
    key = f"hash(f.{quote(binding.id)}, f.{quote(binding.time)})"
    sql = f"""
        WITH s AS (SELECT unnest($days) AS day, unnest($shares) AS share)
        SELECT {chosen}, s.share AS _share, l.{quote(labels.value)} AS _outcome
        FROM {binding.table} f
        JOIN s ON s.day = date_trunc('day', f.{quote(binding.time)})
        JOIN {known(labels, "$as_of", f"{quote(labels.time)} >= $start AND {quote(labels.time)} < $end")}
          ON l.{quote(labels.id)} = f.{quote(binding.id)} AND l.{quote(labels.time)} = f.{quote(binding.time)}
        WHERE f.{quote(binding.time)} >= $start AND f.{quote(binding.time)} < $end
          AND {key} / 18446744073709551616.0 < s.share
        ORDER BY f.{quote(binding.time)}, f.{quote(binding.id)}
    """
    params = {
        "days": [day.to_pydatetime() for day in days["day"]],
        "shares": shares.tolist(),
        "start": start or EARLIEST,
        "end": end,
        "as_of": as_of,
    }
    found: pd.DataFrame = systems.warehouse.query(sql, params).to_pandas()
    outcomes = task.outcomes(found["_outcome"].to_numpy(), binding.labels.table)
    if not tasks.differ(outcomes):
        raise InputError(f"the {len(outcomes):,} labelled rows are all {task.uniform}", where=binding.labels.table)
    times = found[binding.time].to_numpy("datetime64[us]")
    rows = Rows(
        frame=recipe.feature_frame(found, binding.features),
        outcomes=outcomes,
        ages=sampling.ages_in_days(times, end),
        stands_for=1 / found["_share"].to_numpy(np.float64),
    )
    known_by = keys(found[binding.id], found[binding.time])
    of_values = digest(found.assign(_outcome=outcomes))
    return TrainingRows(rows, times, known_by, int(days["labelled"].sum()), of_values)


def _shares(days: pd.DataFrame, end: datetime, max_rows: int) -> Floats:
    """Share of each day's rows to read; a day counts as old as its noon."""
    counts = days["labelled"].to_numpy(np.int64)
    ages = sampling.ages_in_days(days["day"].to_numpy("datetime64[us]"), end) - 0.5
    kept = np.stack([sampling.inclusion(sampling.recency(ages, life), counts, max_rows) for life in HALF_LIVES])
    return np.asarray(kept.max(axis=0), dtype=np.float64)


def keys(ids: pd.Series, times: pd.Series) -> Keys:
    """One number a row, the same for the same id and time in whatever table: a hash of 64 bits.

    Whole numbers are the same whether a table holds them as integers or not.
    """
    import pandas as pd
    from pandas.util import hash_pandas_object

    named = pd.DataFrame({"id": ids.convert_dtypes().astype(str).to_numpy(), "time": times.to_numpy("datetime64[us]")})
    hashed: Keys = hash_pandas_object(named, index=False).to_numpy().astype(np.uint64, copy=False)
    return hashed


def written(keys: Keys) -> bytes:
    """Keys as a file of NumPy's, sorted, which `restored` reads."""
    file = io.BytesIO()
    np.save(file, np.sort(keys), allow_pickle=False)
    return file.getvalue()


def restored(file: bytes) -> Keys:
    """The keys of a file. Raises InputError for one that holds none."""
    try:
        found: Keys = np.load(io.BytesIO(file), allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise InputError("holds no keys of rows: train again", where="the version's training_rows.npy") from error
    return found


def digest(frame: pd.DataFrame) -> str:
    """SHA-256 over the values of a frame's rows, in their order."""
    from pandas.util import hash_pandas_object

    return hashlib.sha256(hash_pandas_object(frame, index=False).to_numpy().tobytes()).hexdigest()

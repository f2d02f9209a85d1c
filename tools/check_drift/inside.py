"""Profiles computed inside an engine: a scan counts the histogram keys of all columns, and only counts travel.

A value's key is that of `numeric`: the upper 19 bits of the float32 of its distance from the centre, which
PostgreSQL, Spark, Snowflake and BigQuery give too. So bins, edges and counts are those that Python computes from the
same rows. A baseline takes three scans (quartiles, keys, deciles), what is compared with it one, categories one more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from policies.errors import InputError
from tools.check_drift.bins import Summary, looks_again
from tools.check_drift.categorical import CategorySummary
from tools.check_drift.inside_counts import is_number, is_time
from tools.check_drift.inside_postgres import PostgresSource
from tools.check_drift.inside_reckoned import BigQuerySource, SnowflakeSource
from tools.check_drift.inside_source import Source
from tools.check_drift.inside_spark import SparkSource
from tools.check_drift.numeric import NumericSummary
from tools.check_drift.profiles import Profile, of_kind
from tools.systems.warehouse import AnyWarehouse

_SOURCES: dict[str, type[Source]] = {
    "postgres": PostgresSource,
    "spark": SparkSource,
    "snowflake": SnowflakeSource,
    "bigquery": BigQuerySource,
}


def computes_inside(warehouse: AnyWarehouse) -> bool:
    """Whether profiles of this warehouse are computed where its rows are."""
    return warehouse.dialect in _SOURCES


def profile_inside(
    warehouse: AnyWarehouse,
    table: str,
    where: str | None,
    params: Mapping[str, object],
    columns: Sequence[str],
    *,
    categorical: Sequence[str] = (),
    like: Profile | None = None,
) -> Profile:
    """The profile of a table's rows that `where` lets through; `like` is the baseline's, as in `profiles.profile`.

    Raises InputError for a missing column, SystemDown where the engine gives up.
    """
    types = warehouse.columns(table)
    if missing := [name for name in columns if name not in types]:
        raise InputError(f"no column {', '.join(map(repr, missing))}; present: {', '.join(types)}", where=table)
    known = like.columns if like else {}
    source = _SOURCES[warehouse.dialect](warehouse, table, where, params, types)
    counted = [
        name
        for name in columns
        if name in categorical
        or not (is_number(types[name]) or is_time(types[name]))
        or isinstance(known.get(name), CategorySummary)
    ]
    numbers = [name for name in columns if name not in counted]
    found: dict[str, Summary] = {}
    if numbers:
        centres = {name: known[name].centre for name in numbers if isinstance(known.get(name), NumericSummary)}  # type: ignore[union-attr]
        if rest := [name for name in numbers if name not in centres]:
            centres |= source.centres(rest)
        found |= source.histograms(numbers, centres)
        summaries = {name: each for name, each in found.items() if isinstance(each, NumericSummary)}
        found |= source.deciles(summaries) if like is None else source.counted_at(_unsure(summaries, known))
    if counted:
        found |= source.categories(counted)
    rows = source.rows()
    return Profile(rows, {name: of_kind(found[name], known.get(name)) for name in columns})


def _unsure(
    summaries: Mapping[str, NumericSummary], known: Mapping[str, Summary]
) -> dict[str, tuple[NumericSummary, list[float]]]:
    """The columns to be counted at their baseline's points, and those."""
    pairs = ((name, each, known.get(name)) for name, each in summaries.items())
    return {
        name: (each, like.points.tolist())
        for name, each, like in pairs
        if isinstance(like, NumericSummary) and looks_again(like, each)
    }

"""Which feature row a request was scored on: the newest of its id at the time of the request."""

from __future__ import annotations

from collections.abc import Sequence

from policies.declarations.binding import ModelBinding
from tools.systems.warehouse import quote


def first_answers(
    dialect: str, binding: ModelBinding, asked: str, kept: Sequence[str], apart: Sequence[str] = ()
) -> str:
    """The end of a WITH: `first_answers` has, of the requests in `asked`, the first for each feature row.

    Columns: `id`, `at`, `request_id` and `kept` of `asked`, and the row's `feature_time`. Rows older than `$reach` are
    none, and requests without a row are left out. Of each value of the columns `apart` there is a first request.

    DuckDB has a join for it. Elsewhere rows of both kinds are put in one order and looked through once, for which no
    engine needs to know how many there are of an id.
    """
    id_, time = quote(binding.id), quote(binding.time)
    own = ("id", '"at"', "request_id", *kept)
    featured = f"""
            SELECT CAST({id_} AS VARCHAR) AS feature_id, {time} AS feature_time FROM {binding.table}
            WHERE {time} >= $reach AND {time} <= $until AND CAST({id_} AS VARCHAR) IN (SELECT id FROM {asked})"""
    if dialect == "duckdb":
        scored = f"""
            SELECT {", ".join(f"a.{each}" for each in own)}, f.feature_time FROM {asked} a
            ASOF JOIN ({featured}) f ON a.id = f.feature_id AND a."at" >= f.feature_time"""
    else:
        scored = f"""
            SELECT is_asked, {", ".join(own)}, max(feature_time) OVER (
                PARTITION BY id ORDER BY "at" RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS feature_time
            FROM (SELECT 1 AS is_asked, {", ".join(own)}, NULL AS feature_time FROM {asked}
                  UNION ALL
                  SELECT 0, feature_id, feature_time, {", ".join("NULL" for _ in own[2:])}, feature_time
                  FROM ({featured}) AS f) AS both_kinds"""
    only_asked = "" if dialect == "duckdb" else "AND is_asked = 1"
    return f"""
        scored AS ({scored}),
        first_answers AS (
            SELECT {", ".join(own)}, feature_time FROM scored WHERE feature_time IS NOT NULL {only_asked}
            QUALIFY row_number() OVER (
                PARTITION BY {", ".join((*apart, "id", "feature_time"))} ORDER BY "at", request_id) = 1)"""

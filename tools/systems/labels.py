"""The one place that says what a label is: of all that was told of a row by a moment, what was told last.

A label table may hold several rows for one (id, time): a correction is a later arrival, and an arrival without a value
takes the label back. Every query reads labels through these SELECTs, written for DuckDB.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tools.systems.warehouse import quote

if TYPE_CHECKING:
    from policies.declarations.binding import Labels


def known(labels: Labels, by: str, where: str = "true") -> str:
    """The labels as they were known at `by`, one row per (id, time), as the source `l` of a FROM or a JOIN.

    Its columns are the table's own id, time, value and arrived, the last being when that value came. Rows of the same
    arrival that disagree are settled by value, so that the answer is the same each time.

    Args:
        labels: which table, and which of its columns.
        by: the moment, an SQL expression such as `$as_of`; what arrived later is not seen.
        where: bounds of time, or a moment after which the last arrival must have come. Nothing else: a condition on
            values would bring the corrected ones back.
    """
    id_, time, value, arrived = (quote(each) for each in (labels.id, labels.time, labels.value, labels.arrived))
    chosen = ", ".join(dict.fromkeys((id_, time, value, arrived)))
    newest = f"{arrived} DESC, {value} DESC NULLS LAST"
    return f"""(
        SELECT {chosen} FROM {labels.table} WHERE {arrived} <= {by} AND {where}
        QUALIFY row_number() OVER (PARTITION BY {id_}, {time} ORDER BY {newest}) = 1 AND {value} IS NOT NULL) AS l"""


def newly_told(labels: Labels, since: str, by: str, *, table: str | None = None) -> str:
    """The rows first labelled in (`since`, `by`], and when, as the source `l` with the columns id, time and arrived.

    A correction of a label that was told before is none of them, and neither is a label of no time. `table` is read
    instead of the labels' own, and has the same columns.
    """
    id_, time, arrived = quote(labels.id), quote(labels.time), quote(labels.arrived)
    source = table or labels.table
    first = "" if time == arrived else f", min(n.{arrived}) AS {arrived}"
    return f"""(
        SELECT n.{id_}, n.{time}{first} FROM {source} AS n
        WHERE n.{arrived} > {since} AND n.{arrived} <= {by} AND n.{time} IS NOT NULL
          AND NOT EXISTS (SELECT 1 FROM {source} AS o
                          WHERE o.{arrived} <= {since} AND o.{id_} = n.{id_} AND o.{time} = n.{time})
        GROUP BY n.{id_}, n.{time}) AS l"""

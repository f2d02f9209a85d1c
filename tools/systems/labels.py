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
    newest = f"{quote(labels.arrived)} DESC, {quote(labels.value)} DESC NULLS LAST"
    return f"({_ranked(labels, by, where, newest)} AND {quote(labels.value)} IS NOT NULL) AS l"


def first_told(labels: Labels, by: str, where: str = "true", *, table: str | None = None) -> str:
    """What was told first of each (id, time) by `by`, as the source `l`: when its row came to be labelled.

    As `known`, but a correction changes nothing, and `where` may only bound the time. `table` is read instead of the
    labels' own, and has the same columns.
    """
    return f"({_ranked(labels, by, where, quote(labels.arrived), table)}) AS l"


def _ranked(labels: Labels, by: str, where: str, order: str, table: str | None = None) -> str:
    id_, time = quote(labels.id), quote(labels.time)
    chosen = ", ".join(dict.fromkeys((id_, time, quote(labels.value), quote(labels.arrived))))
    return f"""
        SELECT {chosen} FROM {table or labels.table} WHERE {quote(labels.arrived)} <= {by} AND {where}
        QUALIFY row_number() OVER (PARTITION BY {id_}, {time} ORDER BY {order}) = 1"""

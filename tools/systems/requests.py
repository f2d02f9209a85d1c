"""The requests of a prediction log, whose rows are the instances that were asked for.

Instances of one request share its failure and its latency: whoever counts them as requests takes one mishap for as many
as the request had instances.
"""

from __future__ import annotations

from collections.abc import Sequence


def by_request(
    log: str,
    where: str,
    *,
    apart: Sequence[str] = (),
    failed: str = "error IS NOT NULL",
    greatest: Sequence[str] = ("latency_ms",),
) -> str:
    """A subquery with a row a request, of the rows of `log` for which `where` holds.

    Columns: those of `apart`, by whose values the rows of one request are kept apart; `at`, its first row's; `errors`,
    above zero where any of its rows `failed`; and each of `greatest`, the largest value among its rows. A row without a
    `request_id` is a request of its own.
    """
    kept = "".join(f"{each}, " for each in apart)
    error = f"CASE WHEN {failed} THEN 1 ELSE 0 END"
    largest = "".join(f", max({each}) AS {each}" for each in greatest)
    alone = "".join(f", {each}" for each in greatest)
    # Two of ten million ids share a hash with a chance of 3 in a million; it halves the time that the text takes.
    return f"""(
        SELECT {kept}min("at") AS "at", max({error}) AS errors{largest} FROM {log}
        WHERE {where} AND request_id IS NOT NULL GROUP BY {kept}hash(request_id)
        UNION ALL
        SELECT {kept}"at", {error} AS errors{alone} FROM {log} WHERE {where} AND request_id IS NULL
    ) AS requests"""

"""What the business sees: customers, revenue, and what comes of contacting those a model flags."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evals.simshop import frames
from evals.simshop.shop import DAY_US, HISTORY_FROM, Mask
from evals.simshop.simulation import Booking, Day
from evals.simshop.tables import TIMESTAMP

CLOSED_DAYS: Final = 30
"""How long the customers table keeps a closed account."""
NEVER_LEAVING: Final = 0.015
"""Whose true chance of leaving within the week is below this says, when contacted, that they never meant to leave."""
ACCEPTS: Final = 0.6
"""Share of those about to leave whom an offer in time keeps."""
COST: Final = {"contact": 25.0, "offer": 20.0}
"""Cost in dollars of contacting a customer, and of the discount for whoever takes it."""
MONEY: Final = pa.decimal128(12, 2)
CAMPAIGNS: Final = pa.schema(
    [
        ("week", pa.date32()),
        ("model_version", pa.string()),
        ("customer_id", pa.int64()),
        ("contacted_at", TIMESTAMP),
        ("outcome", pa.string()),
        ("retained_arr", MONEY),
        ("intervention_cost", MONEY),
    ]
)
"""The table of retention campaigns: a row a customer contacted."""


@dataclass(frozen=True)
class CampaignCounts:
    """What came of one week's retention campaign; amounts in dollars of annual recurring revenue, and dollars."""

    contacted: int
    already_churned: int
    never_leaving: int
    retained: int
    left: int
    retained_arr: float
    intervention_cost: float


def customers_table(days: dict[date, Day], now: datetime, now_us: int) -> pa.Table:
    """Everyone who has an account, and those who closed theirs in the last 30 days (`churned`, `churned_at`)."""
    shown = [_shown(day, now, now_us) for day in days.values() if day.day <= now.date()]
    rows = [(day, mask) for day, mask in shown if mask.any()]

    def column(values: Iterable[npt.NDArray[Any]]) -> npt.NDArray[Any]:
        return np.concatenate([v[mask] for v, (_, mask) in zip(values, rows, strict=True)])

    left_at = column(day.left_at for day, _ in rows)
    churned = left_at <= now_us
    codes = {
        name: frames.category(name, column(day.codes[name] for day, _ in rows))
        for name in ("segment", "market", "channel")
    }
    return pa.table(
        {
            "customer_id": pa.array(column(day.ids for day, _ in rows)),
            **codes,
            "registered_at": frames.timestamps(column(day.registered for day, _ in rows)),
            "churned": pa.array(churned),
            "churned_at": pa.array(left_at, mask=~churned).view(TIMESTAMP),
            "active": pa.array(column(day.active for day, _ in rows) & ~churned),
        }
    )


def _shown(day: Day, now: datetime, now_us: int) -> tuple[Day, Mask]:
    """Which of the day's rows stand for an account of the customers table: a current one, or one lately closed."""
    scored = day.scored_at <= now_us
    latest = scored & (day.scored_at > now_us - 7 * DAY_US)
    closed = (day.left_at <= now_us) & (day.left_at > now_us - CLOSED_DAYS * DAY_US)
    return day, scored & ~day.already_left & (closed | (latest & (day.left_at > now_us)))


def arr_table(bookings: Sequence[Booking], today: date) -> pa.Table:
    """Annual recurring revenue a quarter, from 2024-Q2 on; the running quarter's row covers the trailing 91 days.

    `end_arr` is what the period opened with and won, before churn and expansion are booked: the shop's formula for
    net revenue retention takes `churn_arr` off and adds `expansion_arr` itself.
    """
    booked = bookings[: (today - HISTORY_FROM).days]
    won, churned, expanded = (np.array(v) for v in zip(*((b.won, b.churned, b.expanded) for b in booked), strict=True))
    total = np.concatenate([[0.0], np.cumsum(won - churned + expanded)])
    rows: list[dict[str, object]] = []
    for name, begin, end in _periods(today):
        span = slice((begin - HISTORY_FROM).days, (end - HISTORY_FROM).days)
        start = float(total[span.start])
        rows.append(
            {
                "period": name,
                "start_arr": round(start, 2),
                "churn_arr": round(float(churned[span].sum()), 2),
                "expansion_arr": round(float(expanded[span].sum()), 2),
                "end_arr": round(start + float(won[span].sum()), 2),
            }
        )
    return pa.Table.from_pylist(rows)


def _periods(today: date) -> Iterable[tuple[str, date, date]]:
    year, quarter = 2024, 2
    while True:
        begin = date(year, 3 * quarter - 2, 1)
        end = date(year + quarter // 4, 3 * quarter % 12 + 1, 1)
        name = f"{year}-Q{quarter}"
        if today < end:
            yield name, today - timedelta(days=91), today
            return
        yield name, begin, end
        year, quarter = (year, quarter + 1) if quarter < 4 else (year + 1, 1)


def run_campaign(
    seed: int, days: Sequence[Day], flagged: Sequence[int], model_version: str, at_us: int
) -> tuple[pa.Table, CampaignCounts]:
    """Contact the flagged customers at that moment and see what comes of it.

    Outcomes rest on each customer's latest row: `already_churned` (closed before they were scored), `never_leaving`
    (and not pleased to be asked), `left` (closed since, or declined and leaves), `retained`, `stayed` (would have
    anyway). Raises ValueError for a customer who was not scored within these days.
    """
    wanted = np.array(list(dict.fromkeys(flagged)), dtype=np.int64)
    ids, scored_at = _column(days, "ids"), _column(days, "scored_at")
    order = np.lexsort((scored_at, ids))
    order = order[scored_at[order] <= at_us]
    found = np.searchsorted(ids[order], wanted, side="right") - 1
    if len(order) == 0 or (found < 0).any() or (ids[order][found] != wanted).any():
        raise ValueError("flagged customers must have been scored within the week before the campaign")
    rows = order[found]
    chance, churned, left_at, arr = (_column(days, name)[rows] for name in ("chance", "churned", "left_at", "arr"))
    already = _column(days, "already_left")[rows]
    accepts = _lot(seed, wanted, at_us // (7 * DAY_US)) < ACCEPTS
    in_time = churned & ~already & (left_at > at_us)
    never = ~churned & (chance < NEVER_LEAVING)
    outcome = np.select(
        [already, never, in_time & accepts, churned], ["already_churned", "never_leaving", "retained", "left"], "stayed"
    )
    retained = outcome == "retained"
    cost = COST["contact"] + np.where(retained, COST["offer"], 0.0)
    retained_arr = np.where(retained, np.round(arr, 2), 0.0)
    week = date(1970, 1, 1) + timedelta(days=int(at_us // DAY_US))
    week -= timedelta(days=week.weekday())
    count = len(wanted)
    table = pa.table(
        [
            pa.array([week] * count, pa.date32()),
            pa.array([model_version] * count, pa.string()),
            pa.array(wanted),
            pa.array(np.full(count, at_us)).view(TIMESTAMP),
            pa.array(outcome.astype(object), pa.string()),
            _money(retained_arr),
            _money(cost),
        ],
        schema=CAMPAIGNS,
    )
    return table, CampaignCounts(
        contacted=count,
        already_churned=int(already.sum()),
        never_leaving=int((outcome == "never_leaving").sum()),
        retained=int(retained.sum()),
        left=int((outcome == "left").sum()),
        retained_arr=round(float(retained_arr.sum()), 2),
        intervention_cost=round(float(cost.sum()), 2),
    )


def _column(days: Sequence[Day], name: str) -> npt.NDArray[Any]:
    return np.concatenate([getattr(day, name) for day in days])


def _lot(seed: int, ids: npt.NDArray[np.int64], week: int) -> npt.NDArray[np.float64]:
    """A uniform number a customer and week, whoever else is asked: the finaliser of splitmix64 (Steele et al. 2014)."""
    x = ids.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    x ^= np.uint64((seed * 1_000_003 + week) & 0xFFFFFFFF) << np.uint64(17)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return (x >> np.uint64(11)).astype(np.float64) / 2.0**53


def _money(amounts: npt.NDArray[np.float64]) -> pa.Array:
    """Whole cents as decimals: a sum of them is the same in whatever order an engine adds."""
    return pa.array([Decimal(int(cents)).scaleb(-2) for cents in np.round(amounts * 100)], MONEY)

"""The world as the warehouse sees it: history once, then day by day as time passes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

import numpy as np
import pyarrow as pa

from evals.simshop import business, frames
from evals.simshop.labels import MAX_DELAY_DAYS
from evals.simshop.shop import HISTORY_FROM, micros
from evals.simshop.simulation import Day, Simulation, retained
from evals.simshop.story import FULL_STORY, Story
from evals.simshop.tables import (
    ARR_TABLE,
    BASELINE_TABLE,
    CAMPAIGNS_TABLE,
    CATEGORIES,
    CUSTOMERS_TABLE,
    FEATURES_TABLE,
    HOLDOUT_TABLE,
    LABELS_TABLE,
    NUMERIC,
    TableWriter,
)

LIVE_FROM: Final = datetime(2026, 1, 6)
"""The Tuesday the model is deployed; the history ends the midnight before."""
BASELINE_DAYS: Final = (date(2025, 12, 25), date(2025, 12, 31))
DAILY_FROM: Final = date(2025, 12, 22)
"""From that Monday on a file holds a day, before it a week."""
LABELS_BY_ARRIVAL_FROM: Final = date(2025, 12, 8)
"""Labels of rows scored from that Monday on lie in files by day of arrival; all earlier ones arrived before 2026."""
REMEMBERED_FROM: Final = date(2025, 11, 24)
_ONE_DAY: Final = timedelta(days=1)
_FEATURE_DAYS: Final = 30


@dataclass(frozen=True)
class Request:
    """One scoring request of live traffic; `features` holds only JSON types."""

    customer_id: str
    features: dict[str, str | int | float | None]
    at: datetime


class World:
    """A shop of so many customers, grown from one seed, in which one story happens.

    The same seed, size and story give the same data, whatever the order and the steps of the calls. The world keeps
    its state in memory; `resume` brings a new object to where another one stopped.
    """

    def __init__(self, seed: int, customers: int = 100_000, story: Story = FULL_STORY) -> None:
        if customers < 70:
            raise ValueError(f"a shop needs at least 70 customers, ten for each day of the week, not {customers}")
        self.seed, self.customers, self.story = seed, customers, story
        self.now: datetime | None = None
        self._simulation = Simulation(seed, customers, story)
        self._days: dict[date, Day] = {}

    def build_history(self, warehouse: TableWriter, progress: Callable[[int, int], None] | None = None) -> None:
        """Write 2024-01-01 to 2026-01-05: one week in eight before 2025-10, every week since.

        `progress(done, total)` is told the days simulated so far.
        """
        self._expect_unborn()
        total = (LIVE_FROM.date() - HISTORY_FROM).days
        week: list[Day] = []
        while (day := self._simulation.next_day) < LIVE_FROM.date():
            done = self._simulate()
            if retained(day) and day < DAILY_FROM:
                week.append(done)
            if week and day.weekday() == 6:
                self._write_week(warehouse, week)
                week = []
            if progress is not None:
                progress((day - HISTORY_FROM).days + 1, total)
        for day, done in self._days.items():
            if day >= DAILY_FROM:
                warehouse.append(FEATURES_TABLE, self._features(done, corrected=False), day.isoformat())
        begin, end = BASELINE_DAYS
        baseline = [self._features(d, corrected=True) for day, d in self._days.items() if begin <= day <= end]
        warehouse.append(BASELINE_TABLE, pa.concat_tables(baseline), end.isoformat())
        arrived = LABELS_BY_ARRIVAL_FROM
        while arrived < LIVE_FROM.date():
            self._write_labels(warehouse, arrived, micros(LIVE_FROM.date()))
            arrived += _ONE_DAY
        warehouse.append(CAMPAIGNS_TABLE, business.CAMPAIGNS.empty_table(), "none-yet")
        self._finish(warehouse, LIVE_FROM, since=LIVE_FROM.date() - timedelta(days=7))

    def advance(self, warehouse: TableWriter, until: datetime) -> None:
        """Let time pass up to `until`: write rows scored, labels arrived, accounts closed and revenue booked by then.

        Raises ValueError before the history stands, or when asked to go back.
        """
        if self.now is None:
            raise ValueError("build the history, or resume, before time can pass")
        if until < self.now:
            raise ValueError(f"time is {self.now} already and cannot go back to {until}")
        since = self.now.date()
        until_us = _micros_at(until)
        day = since
        while day <= until.date():
            today = self._day(day)
            scored = today.rows_until(until_us)
            if scored:
                table = self._features(today, corrected=self._corrected(day, until.date()))
                warehouse.append(FEATURES_TABLE, table.slice(0, scored), day.isoformat())
            self._write_labels(warehouse, day, until_us)
            if day > since:
                self._back_fill(warehouse, day)
            day += _ONE_DAY
        self._finish(warehouse, until, since)

    def live_day(self, warehouse: TableWriter, day: date) -> None:
        """Let time pass to the end of that day."""
        self.advance(warehouse, datetime.combine(day + _ONE_DAY, datetime.min.time()))

    def resume(self, at: datetime) -> None:
        """Take up the world at a moment up to which another object has written it already; writes nothing."""
        self._expect_unborn()
        if at < LIVE_FROM:
            raise ValueError(f"a world can be resumed from {LIVE_FROM} on, not at {at}")
        self._day(at.date())
        self.now = at

    def with_story(self, story: Story) -> World:
        """A copy of this world, at the same moment and with the same past, in which that story happens.

        Raises ValueError where a cause of either story starts in what is simulated already.
        """
        lived = self._simulation.next_day
        if begun := [cause.name for s in (self.story, story) for cause in s.causes if cause.starts < lived]:
            raise ValueError(f"the world has lived up to {lived} already, into {', '.join(begun)}")
        copy = deepcopy(self)
        copy.story = copy._simulation.story = story
        return copy

    def campaign(
        self, warehouse: TableWriter, flagged: Iterable[int | str], model_version: str, at: datetime
    ) -> business.CampaignCounts:
        """Contact the customers that the serving model flagged in the week up to `at`, and record what comes of it.

        Outcomes are the world's, whatever else was asked before; they change no label, so that worlds with different
        models stay comparable. Raises ValueError for customers not scored in that week.
        """
        self._day(at.date())
        week = [d for day, d in self._days.items() if at.date() - timedelta(days=7) <= day <= at.date()]
        ids = [int(customer) for customer in flagged]
        table, counts = business.run_campaign(self.seed, week, ids, model_version, _micros_at(at))
        warehouse.append(CAMPAIGNS_TABLE, table, f"{at:%Y-%m-%dT%H%M%S}-v{model_version}")
        return counts

    def live_requests(self, start: datetime, end: datetime, n: int) -> Iterator[Request]:
        """`n` requests spread evenly over [start, end), each for a row scored then, so that its label exists later.

        Requests come in order of time. Where `n` exceeds the rows scored, customers ask again later in the window.
        Raises ValueError for a window with no rows, or one the world has left behind.
        """
        begin_us, end_us = _micros_at(start), _micros_at(end)
        picked: list[tuple[Day, int]] = []
        day = start.date()
        while day <= (end - timedelta(microseconds=1)).date():
            today = self._day(day)
            if today.numeric is None:
                raise ValueError(f"the rows of {day} are no longer at hand; ask for requests as time passes")
            first, last = np.searchsorted(today.scored_at, [begin_us, end_us])
            picked.extend((today, row) for row in range(int(first), int(last)))
            day += _ONE_DAY
        if not picked:
            raise ValueError(f"nobody is scored between {start} and {end}")
        gap = max((end_us - begin_us) // max(n, 1), 1)
        for i in range(n):
            source, row = picked[i * len(picked) // n]
            at_us = max(int(source.scored_at[row]), begin_us + i * gap)
            yield Request(str(source.ids[row]), self._request(source, row), _datetime_at(at_us))

    def _request(self, day: Day, row: int) -> dict[str, str | int | float | None]:
        values: dict[str, str | int | float | None] = {}
        assert day.numeric is not None
        delivered = day.delivered or {}
        for name in NUMERIC:
            value = delivered.get(name, day.numeric[name])[row].item()
            values[name] = None if isinstance(value, float) and math.isnan(value) else value
        for name, labels in CATEGORIES.items():
            values[name] = labels[day.codes[name][row]]
        return values

    def _expect_unborn(self) -> None:
        if self._simulation.next_day != HISTORY_FROM:
            raise ValueError("this world has begun already; make a new one")

    def _day(self, day: date) -> Day:
        while self._simulation.next_day <= day:
            self._simulate()
        if day not in self._days:
            raise ValueError(f"the world remembers no rows of {day}, only from {REMEMBERED_FROM} on")
        return self._days[day]

    def _simulate(self) -> Day:
        day = self._simulation.step()
        if day.day >= REMEMBERED_FROM:
            self._days[day.day] = day
        forgotten = self._days.get(day.day - timedelta(days=_FEATURE_DAYS))
        if forgotten is not None:
            forgotten.numeric = forgotten.delivered = None
        return day

    def _corrected(self, day: date, today: date) -> bool:
        lag = self.story.cause("crm_lag")
        return lag is not None and lag.active(day) and lag.ends is not None and today > lag.ends

    def _features(self, day: Day, *, corrected: bool) -> pa.Table:
        return frames.feature_table(day, corrected=corrected, renamed=self.story.active("renamed_column", day.day))

    def _write_week(self, warehouse: TableWriter, week: list[Day]) -> None:
        name = f"{week[0].day:%G-W%V}"
        tables = [self._features(day, corrected=False) for day in week]
        warehouse.append(FEATURES_TABLE, pa.concat_tables(tables), name)
        if week[0].day < LABELS_BY_ARRIVAL_FROM:
            warehouse.append(LABELS_TABLE, frames.label_table(week), name)

    def _write_labels(self, warehouse: TableWriter, arrived: date, now_us: int) -> None:
        first = max(arrived - timedelta(days=MAX_DELAY_DAYS + 1), LABELS_BY_ARRIVAL_FROM)
        days = [d for day, d in self._days.items() if first <= day <= arrived]
        table = frames.label_table(days, arrived, now_us)
        if table.num_rows:
            warehouse.append(LABELS_TABLE, table, f"arrived-{arrived}")

    def _back_fill(self, warehouse: TableWriter, today: date) -> None:
        """On the day after the CRM migration, write the days it made late once more, as they should have been."""
        lag = self.story.cause("crm_lag")
        if lag is None or lag.ends is None or today != lag.ends + _ONE_DAY:
            return
        day = lag.starts
        while day <= lag.ends:
            warehouse.append(FEATURES_TABLE, self._features(self._day(day), corrected=True), day.isoformat())
            day += _ONE_DAY

    def _finish(self, warehouse: TableWriter, until: datetime, since: date) -> None:
        """Bring to that moment the tables that replace what they held; `since` is the last day they were brought to."""
        today = until.date()
        day = max(since + _ONE_DAY, today - timedelta(days=6))
        while day <= today:
            labelled = self._day(day - timedelta(days=MAX_DELAY_DAYS + 1))
            table = frames.holdout_table(labelled, renamed=self.story.active("renamed_column", labelled.day))
            warehouse.append(HOLDOUT_TABLE, table, f"weekday-{labelled.day.weekday()}")
            day += _ONE_DAY
        warehouse.append(CUSTOMERS_TABLE, business.customers_table(self._days, until, _micros_at(until)), "customers")
        warehouse.append(ARR_TABLE, business.arr_table(self._simulation.bookings, today), "arr_summary")
        self.now = until


def _micros_at(moment: datetime) -> int:
    return micros(moment.date()) + (moment - datetime.combine(moment.date(), datetime.min.time())) // timedelta(
        microseconds=1
    )


def _datetime_at(value: int) -> datetime:
    return datetime(1970, 1, 1) + timedelta(microseconds=value)

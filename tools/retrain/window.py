"""Which rows a model learns from: the declared data window and the split in time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from policies.errors import InputError

VALIDATION_SHARE = 1 / 3
MAX_VALIDATION = timedelta(days=7)
_ROLLING = re.compile(r"rolling_(\d+)_(months|days)")


@dataclass(frozen=True)
class TemporalSplit:
    """Half-open spans of row times: train [start, cut), validation [cut, end), holdout from `holdout_start`.

    `start` is None for an expanding window. Raises InputError when the spans overlap or are out of order: a
    model judged on rows it was chosen by, or chosen by rows it was fitted on, is a leak.
    """

    start: datetime | None
    cut: datetime
    end: datetime
    holdout_start: datetime

    def __post_init__(self) -> None:
        ordered = (self.start is None or self.start < self.cut) and self.cut < self.end <= self.holdout_start
        if not ordered:
            raise InputError(
                f"train [{self.start}, {self.cut}), validation [{self.cut}, {self.end}) and the holdout from "
                f"{self.holdout_start} must follow each other in time",
                where="temporal_split",
            )

    def place_of_cut(self, times: npt.NDArray[np.datetime64]) -> int:
        """The place of the first validation row among rows with these times, in order.

        Rows before it are trained on. Since every one of them is earlier than any after it, and all are earlier than
        the holdout, no customer's future is in its past.

        Raises:
            InputError: a row lies out of order or in the holdout's time, or a slice is empty: a leak, or no split.
        """
        cut = int(np.searchsorted(times, np.datetime64(self.cut, "us")))
        if not 0 < cut < len(times):
            found = f"{cut} of {len(times)} rows are earlier than {self.cut}, where validation begins"
            raise InputError(f"{found}; rows are needed on both sides", where="temporal_split")
        if (times[1:] < times[:-1]).any() or times[-1] >= np.datetime64(self.holdout_start, "us"):
            found = f"rows up to {times.max()} are not in order, or not before the holdout from {self.holdout_start}"
            raise InputError(f"{found}: the model would learn what it is judged by", where="temporal_split")
        return cut


def window_start(data_window: str, end: datetime) -> datetime | None:
    """First moment of a window ending at `end`: `rolling_12_months`, `rolling_90_days`; None: `expanding`.

    Months are calendar months; 31 March less one month is the last day of February.

    Raises:
        InputError: the window is none of these.
    """
    if data_window == "expanding":
        return None
    match = _ROLLING.fullmatch(data_window)
    if match is None:
        raise InputError(
            f"{data_window!r} is not a data window: rolling_N_months, rolling_N_days or expanding",
            where="data_window",
        )
    count = int(match[1])
    if match[2] == "days":
        return end - timedelta(days=count)
    months = end.year * 12 + end.month - 1 - count
    year, month = divmod(months, 12)
    next_month = datetime(year + (month == 11), (month + 1) % 12 + 1, 1)
    last_day = (next_month - timedelta(days=1)).day
    return end.replace(year=year, month=month + 1, day=min(end.day, last_day))


def temporal_split(
    data_window: str, first_row: datetime, holdout_start: datetime, changed_at: datetime | None = None
) -> TemporalSplit:
    """The split that ends where the holdout starts.

    The validation slice is the last third of the time since the world changed, at most seven days, so that
    rows of the new world are on both sides of the cut: judged on old rows alone, the search would always
    choose to remember everything. Without a known change it is the last seven days, or the last third of a
    window shorter than 21 days.

    Args:
        first_row: time of the earliest row there is.
        changed_at: when the drift began; a change before the window or after its end does not count.
    """
    start = window_start(data_window, holdout_start)
    begin = first_row if start is None else max(start, first_row)
    if changed_at is not None and begin < changed_at < holdout_start:
        begin = changed_at
    span = holdout_start - begin
    if span <= timedelta(0):
        raise InputError(
            f"no row lies before the holdout, which starts {holdout_start}; the first row is of {first_row}",
            where="temporal_split",
        )
    validation = min(MAX_VALIDATION, span * VALIDATION_SHARE)
    return TemporalSplit(start, holdout_start - validation, holdout_start, holdout_start)

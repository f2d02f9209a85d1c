"""The holdout that a new working folder declares, from what its rows and their labels show."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING

from policies.declarations.binding import LatestLabelled
from tools.onboarding.plan import Plan

if TYPE_CHECKING:
    import pandas as pd

_MOST_DAYS = 28
_TELLING, _TELLING_OF_EITHER = 2_000, 60
"""So many labelled rows, and so many of the rarest class, hold a comparison of two models."""
_MOST_LABELS = 0.95


def held_out_later(plan: Plan, frame: pd.DataFrame, time: str, held: pd.DataFrame) -> LatestLabelled:
    """What is held out from now on: the newest labelled rows, as long a time as at first but four weeks at most.

    They are as many as tell two models apart, and no more than a fifth of what is labelled. With a column that says
    when labels came, rows wait until nineteen of twenty labels have.
    """
    import pandas as pd

    labelled = held[held[plan.target].notna()]
    outcomes, times = labelled[plan.target], labelled[time]
    share = 1.0 if plan.task == "regression" else float(outcomes.value_counts(normalize=True).min())
    wanted = max(_TELLING, math.ceil(_TELLING_OF_EITHER / share)) if len(outcomes) else 1
    days = math.ceil((times.max() - times.min()) / pd.Timedelta(days=1)) if len(outcomes) else 1
    delay = 0
    if plan.label_time is not None:
        waited = (frame[plan.label_time] - frame[time])[frame[plan.target].notna()].dropna().dt.total_seconds()
        late = float(waited.quantile(_MOST_LABELS)) / 86_400 if len(waited) else 0.0
        delay = math.ceil(late) if late >= 1 else 0
    return LatestLabelled(
        latest=timedelta(days=min(max(days, 1), _MOST_DAYS)),
        min_rows=max(1, min(wanted, len(outcomes))),
        label_delay=timedelta(days=delay),
    )

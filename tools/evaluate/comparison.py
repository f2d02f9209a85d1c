"""Champion against challenger in one number, and the three ends of the flowchart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from tools.evaluate.metrics import Direction


class Outcome(StrEnum):
    """The three ends of an evaluation."""

    CHALLENGER_WINS = "challenger_wins"
    TIE = "tie"
    CHAMPION_WINS = "champion_wins"


class WeightedMetric(BaseModel):
    """One metric of a comparison: its share of the whole and its good direction."""

    model_config = ConfigDict(frozen=True)

    name: str
    weight: float
    direction: Direction


class Contribution(BaseModel):
    """What one metric adds to the weighted improvement; `relative` is None where the metric is missing."""

    model_config = ConfigDict(frozen=True)

    metric: str
    weight: float
    champion: float | None
    challenger: float | None
    relative: float | None
    weighted: float
    detail: str = ""


class Comparison(BaseModel):
    """The weighted improvement and where it comes from."""

    model_config = ConfigDict(frozen=True)

    improvement: float
    contributions: list[Contribution]

    @property
    def missing(self) -> list[str]:
        """Metrics that could not be compared."""
        return [part.metric for part in self.contributions if part.relative is None]


def relative_improvement(champion: float, challenger: float, direction: Direction) -> float:
    """(challenger - champion) / |champion| in the metric's good direction; 0.02 means 2% better.

    Where the champion's value is 0 a ratio does not exist: equal values are 0, anything else counts as one
    whole (+1 or -1). NaN in gives NaN out.
    """
    gain = challenger - champion if direction is Direction.HIGHER else champion - challenger
    if math.isnan(gain):
        return math.nan
    if champion == 0:
        return math.copysign(1.0, gain) if gain else 0.0
    return gain / abs(champion)


def compare(
    metrics: Sequence[WeightedMetric],
    champion: Mapping[str, float],
    challenger: Mapping[str, float],
    *,
    measured: Mapping[str, tuple[float, str]] | None = None,
) -> Comparison:
    """Weighted improvement = sum over the metrics of weight x relative improvement in the good direction.

    A metric that is missing or undefined (NaN) on either side adds nothing and keeps its weight: the others
    are not scaled up, so a challenger gains nothing by a metric that nobody could measure, and `judge` lets
    an incomplete comparison end no better than a tie.

    Args:
        measured: relative improvement and a remark for metrics whose difference was judged elsewhere,
            `inference_ms` say, where a difference within the noise of its measurement is 0.
    """
    parts = []
    for item in metrics:
        ours, theirs = champion.get(item.name, math.nan), challenger.get(item.name, math.nan)
        if measured and item.name in measured:
            relative, detail = measured[item.name]
        else:
            relative, detail = relative_improvement(ours, theirs, item.direction), ""
        known = not math.isnan(relative)
        parts.append(
            Contribution(
                metric=item.name,
                weight=item.weight,
                champion=None if math.isnan(ours) else ours,
                challenger=None if math.isnan(theirs) else theirs,
                relative=relative if known else None,
                weighted=item.weight * relative if known else 0.0,
                detail=detail if known else "missing or undefined on one side; adds nothing",
            )
        )
    return Comparison(improvement=math.fsum(part.weighted for part in parts), contributions=parts)


def judge(
    improvement: float,
    interval: tuple[float, float],
    minimum: float,
    *,
    complete: bool = True,
    require_interval: bool = True,
) -> Outcome:
    """Which end the evaluation has.

    Both sides need the same: the challenger wins when it is better by at least `minimum` and the interval lies wholly
    above zero, the champion when the challenger is worse by at least `minimum` and the interval lies wholly below
    (unless the declaration turns the interval off). All else is a tie, "within tolerance" in the seed's flowchart: the
    champion stays, and nothing is archived on chance. No difference at all is a tie, whatever `minimum` is. With a
    metric missing (`complete` false) the challenger cannot win.
    """
    better = not require_interval or interval[0] > 0
    worse = not require_interval or interval[1] < 0
    if improvement > 0 and improvement >= minimum and better and complete:
        return Outcome.CHALLENGER_WINS
    if improvement < 0 and improvement <= -minimum and worse:
        return Outcome.CHAMPION_WINS
    return Outcome.TIE

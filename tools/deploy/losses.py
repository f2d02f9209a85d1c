"""Evidence on the challenger's mean loss against the champion's, of several classes and of numbers.

As in `ranking` there are two estimates of one gain: *served*, of each variant's own answers, the champion's weighted so
that its requests spread over the stages as the challenger's do; and *replayed*, of both versions on the same labelled
rows, paired. The gain is

- of several classes, accuracy(challenger) - accuracy(champion); a row's loss is 1 for a wrong class, else 0;
- of numbers, 1 - MAE(challenger) / MAE(champion), for an error has the unit of what is foretold, and a limit must not.
  Its error is that of the ratio's linearisation (the delta method).

Both are means over rows, near normal from some hundred rows on, and are tested by the same normal mixture as the AUC
(`ranking.log_e_above`), which may be looked at at any time. Large errors that are rare make a mean slow to become
normal: hence no evidence below FEWEST_ROWS, and one imagined row that is wholly wrong.
"""

from __future__ import annotations

import math

import numpy as np

from tools.deploy.ranking import Difference, Floats, RankingEvidence, Replayed, Served, same_period, weighed

FEWEST_ROWS = 100
RELATIVE = {"accuracy_degradation": False, "mae_increase": True}
"""By what is measured: whether the loss is told as a share of the champion's."""


def compare(
    name: str, challenger: Served, champion: Served, replayed: Replayed | None, limit: float, alpha: float
) -> RankingEvidence:
    """Everything the labels say; `limit` the largest loss of `name` allowed, `alpha` the level at which it passes."""
    served = served_gain(challenger, champion, relative=RELATIVE[name])
    paired = None if replayed is None else replayed_gain(replayed, relative=RELATIVE[name])
    rows = len(replayed.label) if replayed is not None else len(challenger.label)
    found = weighed(served, paired, rows if paired else len(challenger.label), limit, alpha)
    return found or RankingEvidence(0.0, 0.0, None, None, None, max(0, FEWEST_ROWS - rows))


def replayed_gain(rows: Replayed, *, relative: bool) -> Difference | None:
    """The gain on the same rows; None with fewer than 100 of them, or nothing to be relative to."""
    theirs, ours = rows.champion, rows.challenger
    if len(ours) < FEWEST_ROWS:
        return None
    before, after = float(theirs.mean()), float(ours.mean())
    if relative and before <= 0:
        return None
    ratio, unit = (after / before, before) if relative else (1.0, 1.0)
    spread = float(np.std(ours - ratio * theirs, ddof=1)) / unit / math.sqrt(len(ours))
    return _difference(before, after, math.hypot(spread, 1.0 / len(ours)), relative=relative)


def served_gain(challenger: Served, champion: Served, *, relative: bool) -> Difference | None:
    """The gain between each variant's own answers; None with fewer than 100 of either, or nothing to be relative to."""
    weight = same_period(challenger.stage, champion.stage)
    kept = weight > 0
    if min(len(challenger.score), int(kept.sum())) < FEWEST_ROWS:
        return None
    after, ours = _mean(challenger.score, np.ones(len(challenger.score)))
    before, theirs = _mean(champion.score[kept], weight[kept])
    if relative and before <= 0:
        return None
    ratio, unit = (after / before, before) if relative else (1.0, 1.0)
    few = 1.0 / min(len(challenger.score), int(kept.sum()))
    return _difference(before, after, math.hypot(ours / unit, ratio * theirs / unit, few), relative=relative)


def _mean(values: Floats, weight: Floats) -> tuple[float, float]:
    """The weighted mean and its standard error."""
    mean = float(np.average(values, weights=weight))
    return mean, math.sqrt(float((weight**2 * (values - mean) ** 2).sum())) / float(weight.sum())


def _difference(before: float, after: float, error: float, *, relative: bool) -> Difference:
    if relative:
        return Difference(before, after, error, gain=1.0 - after / before)
    return Difference(1.0 - before, 1.0 - after, error)

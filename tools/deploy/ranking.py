"""Evidence on the challenger's AUC against the champion's, from labels as they arrive.

Labelled answers of one variant, in the order in which their evidence arrived, are cut into disjoint blocks, each
closed as soon as it has four rows of both classes. The share of a block's (positive, negative) pairs that the score
orders rightly is an unbiased, bounded and independent observation of the AUC; a block of one positive and its dozen
negatives carries two to three times the evidence of a single pair. Each challenger block is held against the
champion's blocks of the same time: their difference D in [-1, 1] has the mean AUC(challenger) - AUC(champion).

Against a limit d on the degradation, "D's mean <= -d" is tested by betting (Waudby-Smith & Ramdas 2024, "Estimating
means of bounded random variables by betting", JRSS-B 86): the capital prod(1 + b (D_i + d)), averaged over several
fixed bets b that keep it positive, is an e-process. Its mirror tests "mean >= -d"; inverting both over d gives a
confidence sequence.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tools.deploy.rates import Floats

_BLOCK_ROWS = 4
_BETS = np.array([0.125, 0.25, 0.5, 0.75, 0.95])
_GRID = np.linspace(-1.0, 1.0, 401)


@dataclass(frozen=True)
class Labelled:
    """Scores with their labels in the order of arrival: `arrived` (any sortable number), `score`, `label` (bool)."""

    arrived: Floats
    score: Floats
    label: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class RankingEvidence:
    """What the labels say: AUCs (None without both classes), evidence in nats, interval of challenger - champion."""

    auc: float | None
    champion_auc: float | None
    duels: int
    log_e_fail: float
    log_e_pass: float
    interval: tuple[float, float]
    duels_needed: int | None


def auc(score: Floats, label: npt.NDArray[np.bool_]) -> float | None:
    """The share of (positive, negative) pairs that the score orders rightly, ties one half; None without both."""
    from scipy.stats import rankdata

    positives = int(label.sum())
    negatives = len(label) - positives
    if positives == 0 or negatives == 0:
        return None
    ranks = float(rankdata(score)[label].sum())
    return (ranks - positives * (positives + 1) / 2) / (positives * negatives)


def _blocks(rows: Labelled) -> list[tuple[float, float]]:
    """(time of closing, AUC inside) of each disjoint block."""
    order = np.argsort(rows.arrived, kind="stable")
    arrived, score, label = rows.arrived[order], rows.score[order], rows.label[order]
    found, start, positives = [], 0, 0
    for i, positive in enumerate(label):
        positives += int(positive)
        size = i + 1 - start
        if size >= _BLOCK_ROWS and 0 < positives < size:
            inside = auc(score[start : i + 1], label[start : i + 1])
            assert inside is not None
            found.append((float(arrived[i]), inside))
            start, positives = i + 1, 0
    return found


def duels(challenger: Labelled, champion: Labelled) -> Floats:
    """Differences D: each challenger block less the mean of the champion's blocks that arrived since the last one."""
    events = sorted([(t, 1, v) for t, v in _blocks(challenger)] + [(t, 0, v) for t, v in _blocks(champion)])
    found: list[float] = []
    waiting: list[float] = []
    opponents: list[float] = []
    for _, is_challenger, value in events:
        if is_challenger and opponents:
            found.append(value - math.fsum(opponents) / len(opponents))
            opponents.clear()
        elif is_challenger:
            waiting.append(value)
        elif waiting:
            found.append(waiting.pop(0) - value)
        else:
            opponents.append(value)
    return np.array(found, dtype=np.float64)


def _log_capital(gains: Floats, worst_loss: float) -> Floats:
    """Log of the capital averaged over the bets; gains: (..., duels), none below -worst_loss."""
    from scipy.special import logsumexp

    if gains.shape[-1] == 0:
        return np.zeros(gains.shape[:-1])
    paths = np.log1p(gains[..., None] * (_BETS / worst_loss)).sum(axis=-2)
    return np.asarray(logsumexp(paths, axis=-1) - math.log(len(_BETS)), dtype=np.float64)


def log_e_degraded(differences: Floats, limit: float) -> float:
    """Evidence, in nats, that the challenger's AUC is more than `limit` below the champion's."""
    return float(_log_capital(-differences - limit, 1.0 + limit))


def log_e_not_degraded(differences: Floats, limit: float) -> float:
    """Evidence, in nats, that the challenger's AUC is less than `limit` below the champion's."""
    return float(_log_capital(differences + limit, 1.0 - limit))


def interval(differences: Floats, alpha: float) -> tuple[float, float]:
    """(1-alpha) confidence sequence of challenger - champion, to the grid's 0.005, rounded outwards."""
    bound = math.log(2.0 / alpha)
    low = [g for g in _GRID[1:-1] if _log_capital(differences - g, 1.0 + g) < bound]
    high = [g for g in _GRID[1:-1] if _log_capital(g - differences, 1.0 - g) < bound]
    step = float(_GRID[1] - _GRID[0])
    return (
        max(-1.0, float(min(low)) - step) if low else 1.0,
        min(1.0, float(max(high)) + step) if high else -1.0,
    )


def compare(challenger: Labelled, champion: Labelled, limit: float, alpha: float) -> RankingEvidence:
    """Everything the labels say about the challenger; `limit` an absolute drop in AUC, alpha the level to pass at."""
    differences = duels(challenger, champion)
    log_e_pass = log_e_not_degraded(differences, limit)
    needed = None
    if len(differences):
        growth = float(np.log1p((differences + limit) * (_BETS / (1.0 - limit))[:, None]).mean(axis=1).max())
        missing = math.log(1.0 / alpha) - log_e_pass
        if growth > 0:
            needed = max(0, math.ceil(missing / growth))
    return RankingEvidence(
        auc=auc(challenger.score, challenger.label),
        champion_auc=auc(champion.score, champion.label),
        duels=len(differences),
        log_e_fail=log_e_degraded(differences, limit),
        log_e_pass=log_e_pass,
        interval=interval(differences, alpha),
        duels_needed=needed,
    )

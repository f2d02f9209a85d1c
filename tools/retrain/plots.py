"""The plots logged with a training, as SVG: the ROC curve, the calibration, the trials of the search."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from tools.evaluate.metrics import CALIBRATION_BINS, Floats, Scored, auc_roc, calibration_error
from tools.retrain.search import TrialRecord

_SIDE, _MARGIN, _POINTS = 320, 44, 200


def drawn(judged: Scored | None, trials: Sequence[TrialRecord]) -> dict[str, bytes]:
    """File name → SVG, of the search that chose a model, and of a binary one's scores on its validation rows."""
    plots = {} if judged is None else {"plots/roc.svg": roc(judged), "plots/calibration.svg": calibration(judged)}
    values = [(each.number, each.value) for each in trials if each.value is not None]
    if values:
        plots["plots/trials.svg"] = search(values)
    return {name: text.encode() for name, text in plots.items()}


def roc(judged: Scored) -> str:
    """True positive rate over false positive rate."""
    hits, misses = np.cumsum(judged.positives), np.cumsum(1 - judged.positives)
    places = np.linspace(0, len(judged) - 1, min(_POINTS, len(judged))).astype(int)
    x = np.r_[0.0, misses[places] / max(misses[-1], 1)]
    y = np.r_[0.0, hits[places] / max(hits[-1], 1)]
    title = f"ROC on the validation rows, AUC {auc_roc(judged):.4f}"
    return _chart(title, "false positive rate", "true positive rate", x, y, top=1.0, diagonal=True)


def calibration(judged: Scored) -> str:
    """Observed rate over mean score, in tenths of the rows by score."""
    counts = np.bincount(judged.bins, minlength=CALIBRATION_BINS)
    filled = counts > 0
    x = np.bincount(judged.bins, judged.scores, minlength=CALIBRATION_BINS)[filled] / counts[filled]
    y = np.bincount(judged.bins, judged.outcomes, minlength=CALIBRATION_BINS)[filled] / counts[filled]
    title = f"Calibration on the validation rows, error {calibration_error(judged):.4f}"
    return _chart(title, "mean score", "observed rate", x, y, top=float(max(x.max(), y.max())), diagonal=True)


def search(values: Sequence[tuple[int, float]]) -> str:
    """The objective of each trial."""
    numbers, objective = np.array(values, dtype=np.float64).T
    low, high = float(objective.min()), float(objective.max())
    x = numbers / max(float(numbers.max()), 1.0)
    y = (objective - low) / ((high - low) or 1.0)
    title = f"Objective of {len(values)} trials, {low:.4f} to {high:.4f}"
    return _chart(title, "trial", "objective (worst to best)", x, y, top=1.0, diagonal=False)


def _chart(title: str, across: str, up: str, x: Floats, y: Floats, *, top: float, diagonal: bool) -> str:
    """Points joined by a line, on a square of [0, `top`] both ways."""
    left, bottom, size = _MARGIN, _MARGIN + _SIDE, 2 * _MARGIN + _SIDE
    scale = _SIDE / (top or 1.0)
    dots = list(zip(left + x * scale, bottom - y * scale, strict=True))
    line = " ".join(f"{a:.1f},{b:.1f}" for a, b in dots)
    middle = left + _SIDE / 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size}" height="{size}" font-family="sans-serif">',
        f'<rect width="{size}" height="{size}" fill="white"/>',
        f'<rect x="{left}" y="{_MARGIN}" width="{_SIDE}" height="{_SIDE}" fill="none" stroke="#999"/>',
        f'<text x="{middle}" y="24" font-size="13" text-anchor="middle">{escape(title)}</text>',
        f'<text x="{middle}" y="{size - 12}" font-size="12" text-anchor="middle">{escape(across)}</text>',
        f'<text x="16" y="{middle}" font-size="12" text-anchor="middle" transform="rotate(-90 16 {middle})">'
        f"{escape(up)}</text>",
    ]
    if diagonal:
        parts.append(f'<path d="M{left} {bottom} L{left + _SIDE} {_MARGIN}" stroke="#ccc" fill="none"/>')
    parts.append(f'<polyline points="{line}" fill="none" stroke="#1f6feb" stroke-width="2"/>')
    if len(dots) <= CALIBRATION_BINS * 10:
        parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="#1f6feb"/>' for a, b in dots]
    return "\n".join([*parts, "</svg>"])

"""What is worth saying of a first champion: that it is too good to be true, or no better than guessing."""

from __future__ import annotations

import math
from collections.abc import Mapping

from tools.onboarding.layout import Layout
from tools.onboarding.plan import Plan

_TOO_GOOD = 0.995


def of_champion(plan: Plan, layout: Layout, metrics: Mapping[str, float]) -> list[str]:
    """Remarks on its AUC (of numbers its R²) over rows it has not seen; none where nothing was measured."""
    if (auc := metrics.get("holdout_auc_roc")) is not None:
        if auc > _TOO_GOOD:
            return [f"AUC {auc:.4f} is too good: does a feature hold the outcome itself?"]
        guessed = 0.5 + 2 * _spread(plan, layout)
        return [_idle(plan, f"AUC {auc:.3f}", f"up to {guessed:.3f}")] if auc <= guessed else []
    r2 = metrics.get("holdout_r2")
    return [_idle(plan, f"R² {r2:.3f}", "0")] if r2 is not None and r2 <= 0 else []


def _idle(plan: Plan, reached: str, guessed: str) -> str:
    seen = f"{reached} on rows it has not seen, where guessing reaches {guessed}"
    return f"the first champion is no better than guessing ({seen}): do the features tell of {plan.target}?"


def _spread(plan: Plan, layout: Layout) -> float:
    """Standard deviation of the AUC of scores that know nothing: sqrt((m + n + 1) / 12mn), Mann and Whitney (1947).

    `m` and `n` are rows with the rarest outcome and with any other, as many as a share of those held out.
    """
    rows = layout.labelled * layout.held_out / layout.rows
    share = float(plan.outcomes.values.dropna().value_counts(normalize=True).min())
    m, n = max(1.0, rows * share), max(1.0, rows * (1 - share))
    return math.sqrt((m + n + 1) / (12 * m * n))

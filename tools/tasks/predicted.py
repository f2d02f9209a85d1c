"""What a model said of some rows, whatever its task."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tools.systems import files

Floats = NDArray[np.float64]
SCORE = "score"
LABEL = "label"

Names = NDArray[np.str_]


@dataclass(frozen=True)
class Predicted:
    """`scores`, shape (rows,): the probability of 1, the value of a regression, or that of the foretold class.

    Of several classes also `labels`, the class foretold, and where they are known the `probabilities` of `classes`,
    shape (rows, classes).
    """

    scores: Floats
    labels: Names | None = None
    probabilities: Floats | None = None
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.scores)

    def columns(self) -> dict[str, NDArray[Any]]:
        """What prediction drift looks at: the scores, and of several classes the class foretold."""
        return {SCORE: self.scores} if self.labels is None else {LABEL: self.labels, SCORE: self.scores}

    def take(self, rows: NDArray[Any]) -> Predicted:
        """The rows at these positions."""
        return Predicted(
            self.scores[rows],
            None if self.labels is None else self.labels[rows],
            None if self.probabilities is None else self.probabilities[rows],
            self.classes,
        )

    def save(self, path: Path) -> None:
        """Writes one NPZ file, replacing it atomically."""
        parts: dict[str, Any] = {"scores": self.scores, "classes": np.array(self.classes, dtype=np.str_)}
        if self.labels is not None:
            parts["labels"] = self.labels
        if self.probabilities is not None:
            parts["probabilities"] = self.probabilities
        files.replace(path, lambda file: np.savez(file, **parts))

    @staticmethod
    def load(path: Path) -> Predicted:
        """Reads what `save` wrote. Raises one of `tools.check_drift.profiles.UNREADABLE`."""
        with np.load(path, allow_pickle=False) as stored:
            return Predicted(
                stored["scores"], stored.get("labels"), stored.get("probabilities"), tuple(stored["classes"].tolist())
            )


def class_names(values: Any) -> Names:
    """Names of classes, alike for 1, 1.0 and "1"."""
    return np.array([_name(value) for value in np.asarray(values).tolist()], dtype=np.str_)


def _name(value: Any) -> str:
    return f"{value:.15g}" if isinstance(value, float) else str(value)

"""scikit-learn's steps over numbers as the few operations they are, for the paths that do without `transform`.

Each has the operations of the step's own `transform`, in their order, so that not a bit differs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Operation = tuple[Literal["Sub", "Div", "Mul", "Add", "Fill"], Floats]
"""What is done to every row with these numbers, one a column. `Fill` puts them in the place of NaN."""

_BY: Mapping[str, Callable[[Floats, Floats], Floats]] = {
    "Sub": np.subtract,
    "Div": np.divide,
    "Mul": np.multiply,
    "Add": np.add,
    "Fill": lambda matrix, values: np.where(np.isnan(matrix), values, matrix),
}


class NotConvertible(Exception):
    """What keeps a pipeline from being taken apart."""


def steps_of(pipeline: Any) -> list[Any]:
    """The steps of a pipeline and of those inside it, in order; [None] where they do nothing."""
    steps = [step for _, step in pipeline.steps] if type(pipeline).__name__ == "Pipeline" else [pipeline]
    nested = [inner for step in steps for inner in (steps_of(step) if type(step).__name__ == "Pipeline" else [step])]
    return [step for step in nested if step is not None and step != "passthrough"] or [None]


def operations(steps: Sequence[Any]) -> list[Operation]:
    """Those of fitted steps, one after the other. Raises NotConvertible for a step that is none of these."""
    found: list[tuple[Any, Any]] = []
    for step in [inner for outer in steps for inner in steps_of(outer)]:
        match type(step).__name__:
            case "NoneType":
                continue
            case "FunctionTransformer" if step.func is None:
                continue
            case "SimpleImputer":
                found.append(("Fill", _filled(step)))
            case "StandardScaler":
                found += [("Sub", step.mean_ if step.with_mean else None), ("Div", step.scale_)]
            case "RobustScaler":
                found += [("Sub", step.center_), ("Div", step.scale_)]
            case "MinMaxScaler" if not step.clip:
                found += [("Mul", step.scale_), ("Add", step.min_)]
            case other:
                raise NotConvertible(f"{step if isinstance(step, str) else other} is not understood")
    return [(name, np.asarray(values, dtype=np.float64)) for name, values in found if values is not None]


def applied(matrix: Floats, each: Sequence[Operation]) -> Floats:
    """The matrix, shape (rows, columns), after these operations."""
    for name, values in each:
        matrix = _BY[name](matrix, values)
    return matrix


def _filled(step: Any) -> Floats:
    filled: Floats = np.asarray(step.statistics_, dtype=np.float64)
    missing = step.missing_values
    if step.add_indicator or np.isnan(filled).any() or not (isinstance(missing, float) and np.isnan(missing)):
        raise NotConvertible("a SimpleImputer with an indicator, an empty column, or of something else than NaN")
    return filled

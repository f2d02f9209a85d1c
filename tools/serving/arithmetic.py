"""scikit-learn's steps over numbers as the few operations they are, for the paths that do without `transform`.

Each has the operations of the step's own `transform`, in their order, so that not a bit differs.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Operation = tuple[Literal["Sub", "Div", "Mul", "Add", "Fill"], Floats]
"""What is done to every row with these numbers, one a column. `Fill` puts them in the place of NaN."""

_PROBES = 64

_BY: Mapping[str, Callable[[Floats, Floats], Floats]] = {
    "Sub": np.subtract,
    "Div": np.divide,
    "Mul": np.multiply,
    "Add": np.add,
    "Fill": lambda matrix, values: np.where(np.isnan(matrix), values, matrix),
}


OPERATIONS = tuple(_BY)
"""Their names, numbered as `_compiled.c` does."""


class NotConvertible(Exception):
    """What keeps a pipeline from being taken apart."""


def steps_of(pipeline: Any) -> list[Any]:
    """The steps of a pipeline and of those inside it, in order; [None] where they do nothing."""
    steps = [step for _, step in pipeline.steps] if type(pipeline).__name__ == "Pipeline" else [pipeline]
    nested = [inner for step in steps for inner in (steps_of(step) if type(step).__name__ == "Pipeline" else [step])]
    return [step for step in nested if step is not None and step != "passthrough"] or [None]


def operations(steps: Sequence[Any]) -> list[Operation]:
    """Those of fitted steps, one after the other.

    Raises NotConvertible for a step that is none of these, and where its `transform` does something else by now.
    """
    flat = [inner for outer in steps for inner in steps_of(outer)]
    found: list[tuple[Any, Any]] = []
    for step in flat:
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
    each: list[Operation] = [(name, np.asarray(values, np.float64)) for name, values in found if values is not None]
    fitted = [step for step in flat if hasattr(step, "transform")]
    if each and not _agree(fitted, each):
        raise NotConvertible(f"what {' and '.join(type(step).__name__ for step in fitted)} computes is not understood")
    return each


def applied(matrix: Floats, each: Sequence[Operation]) -> Floats:
    """The matrix, shape (rows, columns), after these operations."""
    for name, values in each:
        matrix = _BY[name](matrix, values)
    return matrix


def transformed(matrix: Floats, steps: Sequence[Any]) -> Floats:
    """The matrix after these steps' own `transform`."""
    return reduce(lambda found, step: np.asarray(step.transform(found)), steps, matrix)


def _agree(steps: Sequence[Any], each: Sequence[Operation]) -> bool:
    """Whether both ways say the same to the bit, of numbers of all sizes: trees split at numbers that occur."""
    random = np.random.default_rng(0)
    shape = (_PROBES, len(each[0][1]))
    probe = random.normal(size=shape) * 10.0 ** random.uniform(-6, 9, shape)
    probe[random.random(shape) < 0.1] = np.nan
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # where a step was fitted with names, an array has none
            wanted = transformed(probe, steps)
    except ValueError:
        return False
    return np.array_equal(applied(probe, each), wanted, equal_nan=True)


def _filled(step: Any) -> Floats:
    fitted_as = getattr(step, "_fill_dtype", np.float64)  # private; it fills with numbers as precise as it was given
    filled: Floats = np.asarray(step.statistics_).astype(fitted_as).astype(np.float64)
    missing = step.missing_values
    if step.add_indicator or np.isnan(filled).any() or not (isinstance(missing, float) and np.isnan(missing)):
        raise NotConvertible("a SimpleImputer with an indicator, an empty column, or of something else than NaN")
    return filled

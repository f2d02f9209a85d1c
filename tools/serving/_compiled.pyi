from typing import Any

from numpy import float64, int64, uint32
from numpy.typing import NDArray

class Forest: ...

def forest(
    nodes: NDArray[Any],
    bits: NDArray[uint32],
    roots: NDArray[int64],
    start: NDArray[float64],
    places: NDArray[int64],
    kinds: NDArray[int64],
    values: NDArray[float64],
) -> Forest: ...
def walk(forest: Forest, rows: list[Any], sums: NDArray[float64]) -> None: ...

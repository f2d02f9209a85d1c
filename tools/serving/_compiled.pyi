from typing import Any

from numpy import float64, int64, uint32
from numpy.typing import NDArray

def walk(
    matrix: NDArray[float64],
    nodes: NDArray[Any],
    bits: NDArray[uint32],
    roots: NDArray[int64],
    sums: NDArray[float64],
    width: int,
) -> None: ...

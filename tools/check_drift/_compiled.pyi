from typing import Any

from numpy import float64, int32, int64, uint8
from numpy.typing import NDArray

Ints = NDArray[int64]

def scan(
    values: NDArray[Any], centre: float, table: NDArray[int32], ranks: Ints, counts: Ints
) -> tuple[int, tuple[int, int, int, float, float, float, float, bool]]: ...
def distance(
    one: tuple[Ints, Ints, float, float, float], two: tuple[Ints, Ints, float, float, float], first: int, after: int
) -> tuple[float, float, float]: ...
def tally(bytes: NDArray[uint8], counts: Ints) -> None: ...
def divergences(
    before: NDArray[float64], after: NDArray[float64], floor: float
) -> tuple[float, float, float, float, float]: ...
def psi_error(before: NDArray[float64], after: NDArray[float64], moved: NDArray[float64], floor: float) -> float: ...

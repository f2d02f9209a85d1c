from typing import Any

from numpy import int32, int64
from numpy.typing import NDArray

Ints = NDArray[int64]

def scan(
    values: NDArray[Any], centre: float, table: NDArray[int32], ranks: Ints, counts: Ints
) -> tuple[int, tuple[int, int, int, float, float, float, float, bool]]: ...
def distance(
    one: tuple[Ints, Ints, float, float, float], two: tuple[Ints, Ints, float, float, float], first: int, after: int
) -> tuple[float, float, float]: ...

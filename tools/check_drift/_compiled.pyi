from typing import Any

from numpy import int32, int64
from numpy.typing import NDArray

Ints = NDArray[int64]

def scan(
    values: NDArray[Any], centre: float, table: NDArray[int32], ranks: Ints, counts: Ints
) -> tuple[int, tuple[int, int, int, float, float, float, float, bool]]: ...
def merge(
    ranks_a: Ints, counts_a: Ints, ranks_b: Ints, counts_b: Ints, ranks: Ints, up_to_a: Ints, up_to_b: Ints
) -> int: ...

from typing import Any

from numpy import int32
from numpy.typing import NDArray

def scan(
    values: NDArray[Any], centre: float, table: NDArray[int32]
) -> tuple[int, int, int, float, float, float, float, bool]: ...

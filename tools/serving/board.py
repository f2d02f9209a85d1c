"""Numbers that all processes of a gateway share: one row of counters and gauges for each worker, in a mapped file.

A worker adds to its own row, anybody reads all of them; a number is eight aligned bytes, so no reader sees half of one.
The file outlives every process: the next gateway finds in it how much of the prediction log a killed one had not
written. Each gateway holds a lock on its file, so that two on one machine take two.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
from collections.abc import Sequence
from pathlib import Path

from policies.errors import SystemDown

_HEADER = 64
_NUMBER = 8
_MOST_GATEWAYS = 64


class Board:
    """`slots` rows with a float64 for each of `names`. What the file held before is in the rows until it is cleared.

    `left`: an earlier gateway left it so; False where the file is new, or was laid out otherwise. Raises SystemDown
    where it cannot be made.
    """

    def __init__(self, folder: Path, model: str, names: Sequence[str], slots: int) -> None:
        width = len(names) * _NUMBER
        size = _HEADER + width * slots
        layout = hashlib.sha256("\n".join([str(slots), *names]).encode()).digest()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = _lock_first(folder, model)
            self.left = os.fstat(self._file).st_size == size and os.pread(self._file, len(layout), 0) == layout
            if not self.left:
                os.ftruncate(self._file, 0)
                os.ftruncate(self._file, size)
                os.pwrite(self._file, layout, 0)
            view = memoryview(mmap.mmap(self._file, size))
        except OSError as error:
            raise SystemDown(f"{folder} cannot hold counters: {error.strerror}", where="gateway") from error
        self.rows: list[memoryview[float]] = [
            view[_HEADER + i * width : _HEADER + (i + 1) * width].cast("d") for i in range(slots)
        ]  # fmt: skip

    def clear(self) -> None:
        """Sets every number to zero."""
        for row in self.rows:
            row[:] = memoryview(bytes(row.nbytes)).cast("d")


def _lock_first(folder: Path, model: str) -> int:
    for number in range(_MOST_GATEWAYS):
        file = os.open(folder / f"{model}-{number}.board", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            continue
        return file
    raise SystemDown(f"{_MOST_GATEWAYS} gateways of {model} run here already", where="gateway")

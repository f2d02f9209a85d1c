"""Worker processes and the folder they work in, both of which end with whoever started them, however that ends."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from tools.serving.lifeline import die_with_parent

_PAUSES = (0.0, 0.1, 0.5, 1.0, 3.0)
"""Seconds before each try to delete a folder: what a killed process had started may write for a moment longer."""


@contextmanager
def scratch_folder(prefix: str) -> Iterator[Path]:
    """A folder that is gone afterwards. SIGTERM ends the block like Ctrl-C does."""
    with _interrupted_by_sigterm():
        folder = Path(tempfile.mkdtemp(prefix=prefix))
        try:
            yield folder
        finally:
            for pause in _PAUSES:
                time.sleep(pause)
                shutil.rmtree(folder, ignore_errors=True)
                if not folder.exists():
                    break


@contextmanager
def pool_of(workers: int, scratch: Path, prepare: Callable[[], None] | None = None) -> Iterator[ProcessPoolExecutor]:
    """Processes of their own: what MLflow and DuckDB keep for a whole process is never shared with the caller.

    Their temporary files lie in `scratch`; each calls `prepare` first. Where the block fails they are killed.
    """
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    begin = (os.getpid(), scratch, prepare)
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=begin) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for each in set(multiprocessing.active_children()) - others:
                each.kill()
            raise


def _begin(parent: int, scratch: Path, prepare: Callable[[], None] | None) -> None:
    die_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; who made the pool decides
    os.environ["TMPDIR"] = tempfile.tempdir = str(scratch)
    if prepare is not None:
        prepare()


@contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

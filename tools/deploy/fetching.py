"""A registered artifact within a time limit: a registry that hangs must hold up no look, and no rollback after it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from tools.deploy.replaying import NotReplayed

_FETCHING = threading.Lock()
"""Held until a fetch ends, however late: two at once would write the same files of the cache."""


def fetched(fetch: Callable[[], Path], seconds: float) -> Path:
    """What `fetch` gives, or raises. Raises NotReplayed where it takes longer than `seconds`; it then goes on beside,
    so that a later look finds the artifact in the cache.
    """
    late = f"its artifact was not fetched within {max(seconds, 0.0):.3g} s"
    if seconds <= 0.0 or not _FETCHING.acquire(timeout=seconds):
        raise NotReplayed(late)
    found: Future[Path] = Future()

    def run() -> None:
        try:
            found.set_result(fetch())
        except BaseException as error:
            found.set_exception(error)
        finally:
            _FETCHING.release()

    threading.Thread(target=run, name="fetch", daemon=True).start()
    try:
        return found.result(seconds)
    except TimeoutError as error:
        if found.done():  # just now, or with a TimeoutError of its own
            return found.result()
        raise NotReplayed(late) from error

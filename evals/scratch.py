"""A folder that a demo or an example makes, and may make anew when it is run again."""

from __future__ import annotations

import contextlib
import importlib.resources
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from policies.errors import InputError

_MARK = ".guardian-example"
_ABOUT = "Made by an example of the Guardian, which makes it anew when run again."


class ScratchFolder:
    """A fresh folder with a warehouse and the declarations that ship in `package`, held by this process until closed.

    The operating system lets go of it when the process dies. Raises InputError where it cannot be made, where something
    else than an earlier example lives there, and where an example is running in it, which is left untouched.
    """

    def __init__(self, home: Path, package: str) -> None:
        with _faults_named(home):
            if home.exists() and not home.is_dir():
                raise InputError("is a file; name a folder with --dir", where=str(home))
            if home.exists() and any(home.iterdir()) and not (home / _MARK).exists():
                raise InputError("is not empty and no example's folder; name another with --dir", where=str(home))
            home.mkdir(parents=True, exist_ok=True)
            self._mark = _held(home)
            self._make(home, package)

    def __enter__(self) -> ScratchFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets another process make the folder anew."""
        self._mark.close()

    def _make(self, home: Path, package: str) -> None:
        for each in home.iterdir():
            if each.name != _MARK:
                shutil.rmtree(each) if each.is_dir() and not each.is_symlink() else each.unlink()
        (home / "warehouse").mkdir()
        declarations = importlib.resources.files(package) / "operations.yaml"
        (home / "operations.yaml").write_text(declarations.read_text(encoding="utf-8"), encoding="utf-8")


@contextlib.contextmanager
def _faults_named(home: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"cannot be made or written: {error.strerror}; name another folder with --dir", where=str(home)
        ) from error


def _held(home: Path) -> IO[str]:
    """The folder's mark, locked. It is never deleted: whoever holds the lock of a deleted file holds nothing."""
    import fcntl

    mark = (home / _MARK).open("a+", encoding="utf-8")
    try:
        fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        with mark:
            pid = _noted(mark).get("pid", "unknown")
        raise InputError(
            f"a demo is running in this folder (pid {pid}); wait for its end or name another with --dir",
            where=str(home),
        ) from None
    mark.truncate(0)
    mark.write(json.dumps({"about": _ABOUT, "pid": os.getpid()}) + "\n")
    mark.flush()
    return mark


def _noted(mark: IO[str]) -> dict[str, object]:
    """What the mark says; nothing where it is just being written."""
    mark.seek(0)
    try:
        return dict(json.loads(mark.read()))
    except ValueError:
        return {}

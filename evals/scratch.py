"""A folder that a demo or an example makes, and makes anew when it is run again; what people keep in it stays."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.resources
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

from policies.errors import InputError

_MARK = ".guardian-example"
_ABOUT = "Made by an example of the Guardian. Run again, it makes its own files anew and leaves yours."
_OF_A_USER = ("GUARDIAN_STATE_URL", "GUARDIAN_WAREHOUSE_URL", "MLFLOW_TRACKING_URI")
"""What in the environment would have an example write into a user's own systems."""
_OWN = (".guardian", "report.html")
"""What an example leaves in its folder, besides the tables of its world and the declarations."""


class ScratchFolder:
    """A folder with a warehouse and the declarations that ship in `package`, held by this process until closed.

    Of what is there, only what an earlier example made is deleted: its state, its report and the `tables` of its world.
    Declarations that were edited since are kept aside, which `say` tells. This process and its children forget the
    addresses of a user's own systems: an example lives in its folder alone.

    The operating system lets go of the folder when the process dies. Raises InputError where it cannot be made, where
    something else than an earlier example lives there, and where an example is running in it: it is left untouched.
    """

    def __init__(
        self, home: Path, package: str, tables: Sequence[str], say: Callable[[str], None] = lambda line: None
    ) -> None:
        shipped = (importlib.resources.files(package) / "operations.yaml").read_bytes()
        with _faults_named(home):
            if home.exists() and not home.is_dir():
                raise InputError("is a file; name a folder with --dir", where=str(home))
            if home.exists() and any(home.iterdir()) and not (home / _MARK).exists():
                raise InputError("is not empty and no example's folder; name another with --dir", where=str(home))
            home.mkdir(parents=True, exist_ok=True)
            self._mark, noted = _held(home)
            _keep_edited(home / "operations.yaml", {noted.get("declarations"), _digest(shipped)}, say)
            _note(self._mark, shipped)
            for own in _OWN:
                _delete(home / own)
            for table in tables:
                _delete(home.joinpath("warehouse", *table.split(".")))
            (home / "warehouse").mkdir(exist_ok=True)
            (home / "operations.yaml").write_bytes(shipped)
        for name in _OF_A_USER:
            os.environ.pop(name, None)

    def __enter__(self) -> ScratchFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets another process make the folder anew."""
        self._mark.close()


@contextlib.contextmanager
def _faults_named(home: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"cannot be made or written: {error.strerror}; name another folder with --dir", where=str(home)
        ) from error


def _keep_edited(declarations: Path, pristine: set[object], say: Callable[[str], None]) -> None:
    """Moves declarations that are not as an example wrote them to the first free name."""
    if not declarations.exists() or _digest(declarations.read_bytes()) in pristine:
        return
    names = ["operations.yaml.bak", *(f"operations.yaml.bak{number}" for number in range(2, 1000))]
    kept = next(path for name in names if not (path := declarations.with_name(name)).exists())
    declarations.rename(kept)
    say(f"{declarations} was edited: it is kept as {kept.name}")


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _held(home: Path) -> tuple[IO[str], dict[str, object]]:
    """The folder's mark, locked, and what it says. It is never deleted: a deleted file's lock keeps nobody out."""
    import fcntl

    mark = (home / _MARK).open("a+", encoding="utf-8")
    try:
        fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        with mark:
            pid = _said(mark).get("pid", "unknown")
        raise InputError(
            f"a demo is running in this folder (pid {pid}); wait for its end or name another with --dir",
            where=str(home),
        ) from None
    return mark, _said(mark)


def _note(mark: IO[str], declarations: bytes) -> None:
    mark.truncate(0)
    mark.write(json.dumps({"about": _ABOUT, "pid": os.getpid(), "declarations": _digest(declarations)}) + "\n")
    mark.flush()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _said(mark: IO[str]) -> dict[str, object]:
    """What a mark says; nothing where it is new or just being written."""
    mark.seek(0)
    try:
        return dict(json.loads(mark.read()))
    except ValueError:
        return {}

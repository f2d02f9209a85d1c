"""A folder that a demo or an example makes, and may delete when it is run again."""

from __future__ import annotations

import importlib.resources
import shutil
from pathlib import Path

from policies.errors import InputError

_MARK = ".guardian-example"


def scratch_folder(home: Path, package: str) -> None:
    """Makes `home` an empty folder with a warehouse and the declarations that ship in `package`.

    Raises InputError where something else than an earlier example lives there.
    """
    if home.exists() and any(home.iterdir()):
        if not (home / _MARK).exists():
            raise InputError("is not empty and no example's folder; name another with --dir", where=str(home))
        shutil.rmtree(home)
    (home / "warehouse").mkdir(parents=True)
    (home / _MARK).write_text("Made by an example of the Guardian, which deletes it when run again.\n")
    declarations = importlib.resources.files(package) / "operations.yaml"
    (home / "operations.yaml").write_text(declarations.read_text(encoding="utf-8"), encoding="utf-8")

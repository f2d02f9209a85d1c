"""What a training was made with: the code's version and the recipe's, Python and the installed packages."""

from __future__ import annotations

import functools
import hashlib
import platform
import subprocess
import sys
from importlib.machinery import PathFinder
from pathlib import Path

_SUFFIXES = (".py", ".yaml", ".yml", ".toml")
_CODE = Path(__file__).parent


@functools.cache
def code_version() -> str:
    """The package's installed version, and the digest of the code that trains: `0.1.0+sha256.1f3a…`."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        installed = version("mlops-guardian")
    except PackageNotFoundError:
        installed = "0"
    return f"{installed}+sha256.{_digest(_CODE)}"


def recipe_file(target: str, home: Path) -> Path | None:
    """Where a user's `module:function` is written, found without running any of it: the file of its module, or the
    folder of the package that it is in. None where there is none, or none in Python.
    """
    name = target.partition(":")[0].split(".")[0]
    spec = PathFinder.find_spec(name, [*sys.path, str(home)])
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    file = Path(spec.origin)
    return file.parent if spec.submodule_search_locations else file


def version_of(path: Path) -> str:
    """`git.<commit>` of a file or folder that its repository holds as it is, `git.<commit>+sha256.…` where it was
    changed since, and the digest of its code alone outside of any repository.
    """
    folder = path if path.is_dir() else path.parent
    digest = f"sha256.{_digest(path)}"
    try:
        held = _git(folder, "ls-files", "--", str(path))
        commit = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--", str(path))
    except (OSError, subprocess.SubprocessError):
        return digest
    if not held:
        return digest
    return f"git.{commit}+{digest}" if changed else f"git.{commit}"


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "core.fsmonitor=false", "-C", str(folder), *arguments]
    ended = subprocess.run(  # noqa: S603  git itself, a list of arguments and no shell
        command, check=True, capture_output=True, text=True, timeout=10
    )
    return ended.stdout.strip()


def _digest(path: Path) -> str:
    """The first 64 bits of the SHA-256 of a file, or of all that is code in a folder, with their names."""
    code = hashlib.sha256()
    inside = (each for each in path.rglob("*") if each.suffix in _SUFFIXES or each.name == "MLproject")
    for file in sorted(inside) if path.is_dir() else [path]:
        code.update(f"{file.relative_to(path)}\0".encode())
        code.update(file.read_bytes())
    return code.hexdigest()[:16]


@functools.cache
def environment() -> dict[str, str]:
    """`python`, `platform`, and every installed package's version by its name."""
    from importlib.metadata import distributions

    packages = {each.name: each.version for each in distributions() if each.name}
    return {"python": platform.python_version(), "platform": platform.platform(), **dict(sorted(packages.items()))}

"""What a training was made with: the code's version, Python and the installed packages."""

from __future__ import annotations

import functools
import hashlib
import platform
from pathlib import Path

_CODE = Path(__file__).parent


@functools.cache
def code_version() -> str:
    """The package's installed version, and the digest of the code that trains: `0.1.0+sha256.1f3a…`."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        installed = version("mlops-guardian")
    except PackageNotFoundError:
        installed = "0"
    code = hashlib.sha256()
    for file in sorted(_CODE.glob("*.py")):
        code.update(file.read_bytes())
    return f"{installed}+sha256.{code.hexdigest()[:16]}"


@functools.cache
def environment() -> dict[str, str]:
    """`python`, `platform`, and every installed package's version by its name."""
    from importlib.metadata import distributions

    packages = {each.name: each.version for each in distributions() if each.name}
    return {"python": platform.python_version(), "platform": platform.platform(), **dict(sorted(packages.items()))}

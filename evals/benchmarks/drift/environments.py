"""An environment for each peer, built from its requirements pinned in a folder, and kept in a cache folder."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def python_of(peer: str, cache: Path, pinned: Path = HERE) -> Path | str:
    """The interpreter of the peer's environment, built where it is not there yet; else why it cannot be had."""
    requirements = pinned / f"{peer}.txt"
    version = hashlib.sha256(requirements.read_bytes()).hexdigest()[:10]
    folder = cache / f"{peer}-{version}"
    python = folder / "bin" / "python"
    ready = folder / "ready"
    if ready.exists():
        return python
    print(f"building the environment of {peer}", file=sys.stderr)
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements]
    for command in ([sys.executable, "-m", "venv", "--clear", folder], install):
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            lines = done.stderr.strip().splitlines()
            return f"cannot be installed: {lines[-1] if lines else done.returncode}"
    ready.touch()
    return python

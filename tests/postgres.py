"""A private PostgreSQL server for a test session: a new cluster in a temporary folder, reached by its socket only."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest


def database_url(server: Path) -> str:
    """The URL of a new, empty database."""
    import psycopg

    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(f"host={server} user=postgres dbname=postgres", autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')  # made of hexadecimal digits above
    return f"postgresql+psycopg://postgres@/{name}?host={server}"


@contextmanager
def running_postgres() -> Iterator[Path]:
    """The socket folder of a running server. Skips the test where PostgreSQL is not installed."""
    programs = _programs()
    user = _owner()
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    if user is not None:
        os.chown(folder, user, -1)
    data = folder / "data"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "user": user, "cwd": folder}
    subprocess.run([programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-N"], check=True, **quiet)  # type: ignore[call-overload]
    options = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={folder}", "-c", "fsync=off"]
    server = subprocess.Popen([programs / "postgres", "-D", data, *options], **quiet)  # type: ignore[call-overload]
    try:
        _wait(folder)
        yield folder
    finally:
        server.send_signal(signal.SIGINT)  # ends without waiting for clients
        server.wait(20)
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path:
    """Where initdb and postgres are: on the path, or where Debian keeps them."""
    on_path = shutil.which("initdb")
    folders = [*([Path(on_path).parent] if on_path else []), *sorted(Path("/usr/lib/postgresql").glob("*/bin"))]
    found = next((each for each in folders if (each / "initdb").exists() and (each / "postgres").exists()), None)
    return found or absent("PostgreSQL (initdb, postgres) is not installed")


def absent(what: str) -> NoReturn:
    """A system is not here: the test is skipped, or fails where GUARDIAN_SYSTEMS_REQUIRED says it must be."""
    if os.environ.get("GUARDIAN_SYSTEMS_REQUIRED"):
        pytest.fail(what)
    pytest.skip(what)


def _owner() -> int | None:
    """PostgreSQL refuses to run as root: its own user does, where tests are run by root."""
    if os.getuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres").pw_uid
    except KeyError:
        absent("PostgreSQL does not run as root, and there is no user postgres")


def _wait(folder: Path) -> None:
    import psycopg

    until = time.monotonic() + 20
    while True:
        try:
            psycopg.connect(f"host={folder} user=postgres dbname=postgres").close()
            return
        except psycopg.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)

"""fakesnow, a fake of Snowflake on DuckDB, as a server on this machine; tests are skipped where it is not installed.

The connector is the real one and speaks to it over HTTP. fakesnow needs other versions of our libraries: it is a
command of an environment of its own, on the path or in GUARDIAN_FAKESNOW.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

FAKESNOW = os.environ.get("GUARDIAN_FAKESNOW") or shutil.which("fakesnow")
CONNECTOR = (
    importlib.util.find_spec("snowflake") is not None and importlib.util.find_spec("snowflake.connector") is not None
)
INSTALLED = CONNECTOR and FAKESNOW is not None
NEEDS_SNOWFLAKE = [
    pytest.mark.skipif(not INSTALLED, reason="the extra snowflake, or fakesnow, is not installed"),
    pytest.mark.timeout(120),
]


@contextmanager
def running_fakesnow() -> Iterator[int]:
    """The port of a running fake."""
    assert FAKESNOW is not None
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen([FAKESNOW, "-s", "-p", str(port)], **quiet)  # type: ignore[call-overload]
    try:
        until = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert server.poll() is None and time.monotonic() < until, "fakesnow does not start"
                time.sleep(0.1)
        yield port
    finally:
        server.kill()
        server.wait(20)


def snowflake_url(port: int, name: str | None = None) -> str:
    """The URL of a database, a new and empty one where it has no name."""
    database = name or f"T{uuid.uuid4().hex}".upper()
    return f"snowflake://fake:secret@fakesnow/{database}/PUBLIC?host=127.0.0.1&port={port}&protocol=http"

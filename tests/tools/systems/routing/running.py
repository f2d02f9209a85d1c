"""Programs that a test starts and stops: machines, HAProxy, a name server."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.postgres import absent


@contextmanager
def machine(version: str, host: str = "127.0.0.1", port: int = 0) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A machine that serves a version, and its port."""
    command = [sys.executable, str(Path(__file__).with_name("machine.py")), version, host, str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


@contextmanager
def program(name: str, package: str, arguments: list[str], ready: Callable[[], object]) -> Iterator[None]:
    """A program of the distribution's, once `ready` no longer raises. Skips the test where it is not installed."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if found is None:
        absent(f"{name} (Debian package {package}) is not installed")
    with subprocess.Popen([found, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            until = time.monotonic() + 15
            while True:
                try:
                    ready()
                    break
                except Exception:
                    if process.poll() is not None or time.monotonic() > until:
                        process.kill()
                        raise AssertionError(process.communicate()[1]) from None
                    time.sleep(0.05)
            yield
        finally:
            process.kill()


def free_port() -> int:
    """A port of the loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

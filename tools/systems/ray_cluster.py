"""A connection to a Ray cluster, whose extra is optional."""

from __future__ import annotations

import socket
from typing import Any

from policies.errors import InputError

_SECONDS = 5.0


def connected(address: str, asked: str, where: str) -> Any:
    """The module `ray`, connected to the cluster at `address` (`auto`: this machine's), which `where` declares.

    Raises InputError where the extra that `asked` needs is not installed, or no cluster answers.
    """
    try:
        import ray
    except ImportError as error:
        raise InputError(f"{asked} needs the extra: pip install 'mlops-guardian[ray]'", where=where) from error
    try:
        _reach(address.removeprefix("ray://"))
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", configure_logging=False)
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"no Ray cluster answers at {address}: {error}", where=where) from error
    return ray


def _reach(address: str) -> None:
    """Raises OSError where nobody listens: Ray itself would try for minutes, and then end this process."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), _SECONDS).close()

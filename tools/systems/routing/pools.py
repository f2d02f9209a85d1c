"""Which of two pools of machines runs which version: each machine is asked."""

from __future__ import annotations

import http.client
import json
from typing import Protocol

from policies.declarations.routing import SEATS
from policies.errors import InputError

PROBES = 44
"""Clean answers that pass a health check; see `tools.deploy.blue_green.UNHEALTHY`."""
_SECONDS = 1.0


class Pools(Protocol):
    """Two pools as declared."""

    @property
    def version_path(self) -> str: ...
    def machines(self, pool: str, /) -> list[str]: ...


def pool_of(pools: Pools, version: str) -> str:
    """The pool all of whose machines say that they serve `version`. Raises InputError that says what each says."""
    said = {pool: [_version(each, pools.version_path) for each in pools.machines(pool)] for pool in SEATS}
    for pool, versions in said.items():
        if all(each == version for each in versions):
            return pool
    told = "; ".join(f"{pool}: {', '.join(str(v or 'no answer') for v in each)}" for pool, each in said.items())
    raise InputError(
        f"no pool serves version {version} on all its machines ({told}); start it on the idle one",
        where=f"GET {pools.version_path}",
    )


def probe(pools: Pools, version: str) -> tuple[int, int]:
    """Asks the pool of `version` `PROBES` times in turn: (asked, failed). Raises InputError where no pool serves it."""
    machines = pools.machines(pool_of(pools, version))
    answers = [_version(machines[n % len(machines)], pools.version_path) for n in range(PROBES)]
    return PROBES, sum(each != version for each in answers)


def _version(address: str, path: str) -> str | None:
    """What a machine says it serves; None where it does not answer as it should."""
    connection = http.client.HTTPConnection(address, timeout=_SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = json.loads(answer.read(65536))
        said = body["champion"] if "champion" in body else body["version"]  # a gateway's /readyz says its champion
        return str(said) if answer.status == 200 else None
    except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException):
        return None
    finally:
        connection.close()

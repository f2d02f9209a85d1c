"""A name server as `Traffic`: one dynamic update moves a name from one environment's address to the other's.

The update (RFC 2136) replaces the address and the note of which environment runs which version, at `_guardian.RECORD`,
in one message, which a server applies as a whole; it is signed by a TSIG key (RFC 8945). Who looked the name up before
keeps the old address for up to its ttl.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from policies.declarations.routing import SEATS, NameServerRouting
from policies.errors import InputError, SystemDown
from tools.systems.routing.pools import pool_of, probe
from tools.systems.routing.protocol import Asked

if TYPE_CHECKING:
    from dns.message import Message
    from dns.tsig import Key

KEY = "GUARDIAN_DNS_KEY"
_TRIES = 3
_SECONDS = 2.0


class NameServerTraffic:
    """One name. What the server answers after the update decides whether it was acknowledged."""

    mirrors = False

    def __init__(self, declared: NameServerRouting) -> None:
        self._declared = declared

    def apply(self, asked: Asked, record: Callable[[], int], seconds: float) -> str:
        live = self._live(asked)
        notes = {pool: version for pool, version in self._notes().items() if version not in self._versions(asked)}
        for version in self._versions(asked):
            notes[self._pool(version)] = version
        self._update(self._declared.blue if live == "blue" else self._declared.green, notes)
        record()
        return "acknowledged"

    def in_force(self, asked: Asked) -> bool:
        return self._address() == self._ip(self._live(asked))

    def health(self, version: str) -> tuple[int, int]:
        return probe(self._declared, version)

    def reachable(self) -> str:
        return f"the name server answers: {self._declared.record} is {self._address() or 'not set yet'}"

    def _versions(self, asked: Asked) -> list[str]:
        return [asked.champion, *([asked.challenger] if asked.challenger else [])]

    def _live(self, asked: Asked) -> str:
        """The pool that is to get all requests."""
        share = 0.0 if asked.mirrored or asked.challenger is None else asked.challenger_pct
        if share not in (0.0, 100.0):
            raise InputError(f"a name gives no share of {share:g}%, only all or nothing", where=self._declared.record)
        return self._pool(asked.challenger if share and asked.challenger else asked.champion)

    def _pool(self, version: str) -> str:
        """As noted in the zone; the machines are asked where it is not, so that going back waits for nobody."""
        known = next((pool for pool, each in self._notes().items() if each == version), None)
        return known or pool_of(self._declared, version)

    def _ip(self, pool: str) -> str:
        return self._declared.blue if pool == "blue" else self._declared.green

    def _update(self, address: str, notes: dict[str, str]) -> None:
        from dns.update import UpdateMessage

        record, update = self._declared.record, UpdateMessage(self._declared.zone)
        for kind in ("A", "AAAA"):
            update.delete(record, kind)
        update.add(record, self._declared.ttl, _kind(address), address)
        said = " ".join(f"{pool}={notes[pool]}" for pool in SEATS if pool in notes)
        update.replace(self._note, self._declared.ttl, "TXT", f'"{said}"')
        self._ask(update)
        if self._address() != address:
            raise SystemDown(f"took the update, and {record} is not {address}", where=self._where)

    def _address(self) -> str | None:
        """The one address of the record; None without one."""
        found = [text for kind in ("A", "AAAA") for text in self._look_up(self._declared.record, kind)]
        return str(ipaddress.ip_address(found[0])) if len(found) == 1 else None

    def _notes(self) -> dict[str, str]:
        """Pool → version, as noted."""
        said = " ".join(self._look_up(self._note, "TXT")).replace('"', "")
        pairs = [each.partition("=") for each in said.split()]
        return {pool: version for pool, _, version in pairs if pool in SEATS}

    @property
    def _note(self) -> str:
        return f"_guardian.{self._declared.record}"

    @property
    def _where(self) -> str:
        return f"name server {self._declared.server}"

    def _look_up(self, name: str, kind: str) -> list[str]:
        from dns.message import make_query

        answer = self._ask(make_query(name, kind))
        return [item.to_text() for rrset in answer.answer if rrset.rdtype.name == kind for item in rrset]

    def _ask(self, message: Message) -> Message:
        """Signed, over TCP, a few tries. Raises SystemDown, and InputError where the server refuses."""
        import dns.exception
        import dns.query
        import dns.rcode
        import dns.tsig

        message.use_tsig(_key())
        host, _, port = self._declared.server.rpartition(":")
        for attempt in range(_TRIES):
            try:
                answer: Any = dns.query.tcp(message, host.strip("[]"), timeout=_SECONDS, port=int(port))
                break
            except dns.tsig.PeerError as error:
                raise InputError(f"does not accept the key in {KEY}: {error}", where=self._where) from error
            except (OSError, EOFError, dns.exception.DNSException) as error:
                if attempt + 1 == _TRIES:
                    said = str(error) or type(error).__name__
                    raise SystemDown(f"does not answer: {said}", where=self._where) from error
        if answer.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            said = dns.rcode.to_text(answer.rcode())
            raise InputError(f"refused: {said}; may the key in {KEY} update {self._declared.zone}?", where=self._where)
        return answer  # type: ignore[no-any-return]


def _kind(address: str) -> str:
    return "AAAA" if ":" in address else "A"


def _key() -> Key:
    """The TSIG key of the environment. Raises InputError."""
    try:
        from dns.tsig import Key
    except ImportError as error:
        wanted = "pip install 'mlops-guardian[dns]'"
        raise InputError(f"dnspython is not installed: {wanted}", where="systems.traffic") from error
    parts = os.environ.get(KEY, "").split(":", 2)
    try:
        algorithm, name, secret = parts
        return Key(name, secret, algorithm)
    except Exception:
        raise InputError("is not set to ALGORITHM:NAME:SECRET, for example hmac-sha256:guardian:…", where=KEY) from None

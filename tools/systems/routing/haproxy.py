"""HAProxy as `Traffic`: one entry of a map, set by the runtime API, says who gets which buckets.

An entry is `CHAMPION_POOL:OTHER_POOL:BUCKETS:CHAMPION_VERSION:OTHER_VERSION:SALT`, read once a request: a change of it
is atomic, closes no connection and reloads nothing. Buckets below BUCKETS, of 10,000, go to the other pool.
Server weights are not used: they move ids back and forth, and lost requests (5 in 1,000 changes).
Runtime API: https://docs.haproxy.org/2.6/management.html#9.3
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from policies.declarations.routing import HAProxyRouting
from policies.errors import InputError, SystemDown
from tools.systems.routing.pools import pool_of, probe
from tools.systems.routing.protocol import Asked

BUCKETS = 10_000
TEMPLATE = "haproxy.cfg.j2"
_TRIES = 3
_SECONDS = 2.0
_WORD = re.compile(r"[A-Za-z0-9_.\-]*")


@dataclass(frozen=True)
class Entry:
    """A map's entry; a version is empty where it is not known."""

    champion_pool: str
    other_pool: str
    buckets: int = 0
    champion: str = ""
    other: str = ""
    salt: str = ""

    def text(self) -> str:
        return ":".join(map(str, (self.champion_pool, self.other_pool, self.buckets, self.champion, self.other,
                                  self.salt)))  # fmt: skip

    @classmethod
    def parsed(cls, text: str) -> Entry:
        """Raises InputError for one that is none."""
        parts = text.split(":")
        if len(parts) != 6 or {parts[0], parts[1]} != {"blue", "green"} or not parts[2].isdigit():
            raise InputError(f"{text!r} is no entry; write blue:green:0:::", where="HAProxy's map")
        return cls(parts[0], parts[1], int(parts[2]), *parts[3:])


class HAProxyTraffic:
    """One model's entry. An answer that is not the entry that was set is no acknowledgement."""

    mirrors = False

    def __init__(self, model: str, declared: HAProxyRouting) -> None:
        self._model = _plain("model", model)
        self._declared = declared

    def apply(self, asked: Asked, record: Callable[[], int], seconds: float) -> str:
        until = time.monotonic() + seconds
        for attempt in range(_TRIES):
            try:
                self._write(self._entry(asked, self._read()))
                break
            except SystemDown:
                if attempt + 1 == _TRIES or time.monotonic() > until:
                    raise
                time.sleep(0.05 * 2**attempt)
        record()
        return "acknowledged"

    def in_force(self, asked: Asked) -> bool:
        now = self._read()
        return now.champion == asked.champion and now == self._entry(asked, now)

    def health(self, version: str) -> tuple[int, int]:
        return probe(self._declared, version)

    def reachable(self) -> str:
        entry = self._read()
        return f"HAProxy answers: {entry.champion_pool} is live, {entry.buckets / 100:g}% go to {entry.other_pool}"

    def _entry(self, asked: Asked, now: Entry) -> Entry:
        """What `now` becomes. The machines are asked where a version is not known; not to give traffic back."""
        champion, salt = _plain("version", asked.champion), _plain("salt", asked.salt)
        if champion in (now.champion, now.other):
            swapped = champion != now.champion
        else:
            swapped = pool_of(self._declared, champion) != now.champion_pool
            now = replace(now, other=champion) if swapped else replace(now, champion=champion)
        if swapped:
            now = Entry(now.other_pool, now.champion_pool, 0, now.other, now.champion)
        if asked.challenger is None:
            return replace(now, buckets=0, salt=salt)
        challenger = _plain("version", asked.challenger)
        if challenger != now.other and pool_of(self._declared, challenger) != now.other_pool:
            raise InputError(f"{now.champion_pool} serves both versions; start {challenger} on {now.other_pool}")
        share = 0.0 if asked.mirrored else asked.challenger_pct
        return replace(now, buckets=round(share * BUCKETS / 100), other=challenger, salt=salt)

    def _read(self) -> Entry:
        answer = self._ask(f"get map {self._declared.map} {self._model}")
        found = re.search(r'value="([^"]*)"', answer)
        if "found=yes" not in answer or found is None:
            said = answer.strip() or "nothing"
            raise InputError(f"no entry {self._model} ({said}); write: {self._model} blue:green:0:::", where="HAProxy")
        return Entry.parsed(found[1])

    def _write(self, entry: Entry) -> None:
        said = self._ask(f"set map {self._declared.map} {self._model} {entry.text()}").strip()
        if said or self._read() != entry:
            raise SystemDown(f"did not take {entry.text()}: {said or 'another entry is in force'}", where="HAProxy")

    def _ask(self, command: str) -> str:
        """One command a connection, answered up to its end. Raises SystemDown."""
        where = self._declared.socket
        try:
            with _connected(where) as link:
                link.sendall(command.encode() + b"\n")
                chunks = []
                while chunk := link.recv(65536):
                    chunks.append(chunk)
        except OSError as error:
            raise SystemDown(f"the runtime API does not answer: {error}", where=f"HAProxy at {where}") from error
        return b"".join(chunks).decode()


def configuration(model: str, declared: HAProxyRouting, bind: str) -> str:
    """HAProxy's whole configuration for a model that is asked for at `bind` (HOST:PORT)."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("tools.systems.routing", "."),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701  (no HTML; every value is checked where it is declared)
    )
    template = environment.get_template(TEMPLATE)
    return template.render(model=_plain("model", model), routing=declared, bind=bind, buckets=BUCKETS)


def _connected(where: str) -> socket.socket:
    if not where.startswith("/"):
        host, _, port = where.rpartition(":")
        return socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS)
    link = socket.socket(socket.AF_UNIX)
    link.settimeout(_SECONDS)
    try:
        link.connect(where)
    except OSError:
        link.close()
        raise
    return link


def _plain(what: str, text: str) -> str:
    """A word that cannot end a command of the runtime API or a field of an entry."""
    if not _WORD.fullmatch(text):
        raise InputError(f"{what} {text!r} may hold letters, digits and . _ - only", where="HAProxy")
    return text

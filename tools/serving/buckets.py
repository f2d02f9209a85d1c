"""Sticky routing: a keyed hash of the request's id picks one of 10,000 buckets, the lowest go to the challenger.

A bucket never changes, only the threshold moves; so while the challenger's share rises, no id moves back.
The key is the model's name, so that two models' experiments do not always meet the same customers; an experiment's
own salt goes with it, so that one experiment's arms are not the next one's.
"""

from __future__ import annotations

from hashlib import blake2b

BUCKETS = 10_000
_SPAN = 2**64


class BucketRouter:
    """Buckets of one model's request ids; `salt` makes them an experiment's own."""

    def __init__(self, model: str, salt: str = "") -> None:
        name = f"{model}\0{salt}" if salt else model
        self._keyed = blake2b(digest_size=8, key=blake2b(name.encode(), digest_size=32).digest())

    def bucket(self, request_id: str) -> int:
        """0..9,999, uniform over ids, the same in every process."""
        keyed = self._keyed.copy()
        keyed.update(request_id.encode("utf-8", "surrogatepass"))
        return int.from_bytes(keyed.digest(), "big") * BUCKETS // _SPAN


def threshold(challenger_pct: float) -> int:
    """Buckets below this number belong to the challenger. `challenger_pct` in 0..100, resolved to 0.01."""
    return max(0, min(BUCKETS, round(challenger_pct * BUCKETS / 100)))

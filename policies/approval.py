"""May a person decide, and does a given approval still hold? Pure functions from a request to a decision."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from policies.promotion import Decision


def may_decide(person: str, approvers: Sequence[str]) -> Decision:
    """Whether `person` may approve or deny: only who is listed, so nobody where nobody is."""
    listed = ", ".join(approvers) or "nobody"
    reasons = () if person in approvers else (f"{person!r} is not an approver; {listed} may decide",)
    return Decision(policy="approvers", allowed=not reasons, reasons=reasons)


def still_holds(*, approved: tuple[str, str], asked: tuple[str, str], now: datetime, expires_at: datetime) -> Decision:
    """Whether an approval covers what is about to be done. Both pairs are (digest of the call, digest of its evidence).

    It holds for exactly the approved call, on the evidence it was approved on, until it expires.
    """
    reasons = []
    if approved[0] != asked[0]:
        reasons.append("another action was approved")
    if approved[1] != asked[1]:
        reasons.append("the evidence has changed since it was asked for")
    if now > expires_at:
        reasons.append(f"it expired at {expires_at:%Y-%m-%d %H:%M}")
    return Decision(policy="approval", allowed=not reasons, reasons=tuple(reasons))

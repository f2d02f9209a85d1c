"""Approvals: rows of the store that say what a person is asked, what they said, and that it was done once.

`pending` → `approved` → `used`, or `denied`, `expired`, `superseded` (the evidence changed: it is asked again). The row
decides, never a message or a resumed graph. Every change of status expects the revision that was read, so of two
clicks, resumes or processes one wins.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from agent.authority import Call
from agent.cards import redraw
from agent.grounds import call_digest, digest, evidence_of
from policies.approval import may_decide, still_holds
from policies.errors import InputError, PolicyRefusal
from tools.systems.store import Evidence, Kind, StaleRevision
from tools.systems.systems import Systems

PENDING, APPROVED, USED = "pending", "approved", "used"
DENIED, EXPIRED, SUPERSEDED = "denied", "expired", "superseded"
OPEN = (PENDING, APPROVED)


class Approval(BaseModel):
    """The body of an approval's row. `digest` is of the call, `evidence_digest` of what it rests on.

    `call` names the one call that may use it; `thread` is the waiting conversation, None for the command line.
    """

    model_config = ConfigDict(frozen=True)

    what: str
    whom: str
    action: str
    arguments: dict[str, Any]
    digest: str
    evidence: dict[str, Any]
    evidence_digest: str
    approvers: list[str]
    expires_at: datetime
    asked_by: str
    call: str
    run_id: str | None = None
    thread: str | None = None
    decided_by: str | None = None
    decided_at: datetime | None = None
    why: str | None = None


def read(row: Evidence) -> Approval:
    """An approval's row as what it is about."""
    return Approval.model_validate(row.body)


def find(systems: Systems, id: str) -> Evidence:
    """The approval `id`. Raises InputError where there is none."""
    row = systems.store.get(id)
    if row.kind is not Kind.approval:
        raise InputError(f"is not an approval but a {row.kind.name}; ids of approvals look like approval-3", where=id)
    return row


def approvers_of(systems: Systems, row: Evidence) -> list[str]:
    """Who may decide now: those who were asked, and are listed still."""
    asked = read(row)
    rule = systems.operations.systems.approval_of(asked.action)
    return [each for each in asked.approvers if rule.mode != "approve" or each in rule.approvers]


def decide(systems: Systems, id: str, person: str, *, approve: bool, why: str | None = None) -> Evidence:
    """Writes a person's decision into a pending row; exactly one decision is ever written.

    Raises PolicyRefusal where the person may not or it expired, InputError where it was decided already.
    """
    row, now = find(systems, id), systems.clock.now()
    asked = read(row)
    may_decide(person, approvers_of(systems, row)).enforce()
    if row.status == PENDING and now > asked.expires_at:
        row = expire(systems, row)
    if row.status == EXPIRED:
        raise PolicyRefusal("approval", f"it expired at {asked.expires_at:%Y-%m-%d %H:%M}", where=id)
    if row.status != PENDING:
        raise InputError(f"is {row.status} already{f', by {asked.decided_by}' if asked.decided_by else ''}", where=id)
    status = APPROVED if approve else DENIED
    decided = asked.model_copy(update={"decided_by": person, "decided_at": now, "why": why})
    try:
        row = systems.store.update(id, body=decided, status=status, expected_revision=row.revision)
    except StaleRevision:
        other = find(systems, id)
        raise InputError(f"was {other.status} by {read(other).decided_by} at the same moment", where=id) from None
    detail = {"approval": id, "digest": asked.digest, "evidence": asked.evidence_digest, "why": why}
    systems.store.audit(person, status, detail, at=now)
    redraw(systems, row)
    return row


def expire(systems: Systems, row: Evidence) -> Evidence:
    """Marks a row whose time is over; where it was decided at the same moment, that stands."""
    return _moved(systems, row, EXPIRED)


def current(systems: Systems, id: str) -> Evidence:
    """The row as it is now, expired where its time is over and nobody decided."""
    row = find(systems, id)
    over = row.status == PENDING and systems.clock.now() > read(row).expires_at
    return expire(systems, row) if over else row


def claim(systems: Systems, id: str, call: Call) -> Evidence:
    """Uses an approved row for exactly what was approved: the row afterwards, `used`, `expired` or `superseded`.

    Only one caller ever gets from `approved` to `used`; who holds the row's call may come back to a used one.
    """
    row, now = find(systems, id), systems.clock.now()
    asked = read(row)
    if row.status != APPROVED:
        return row
    _, evidence = evidence_of(systems, call)
    holds = still_holds(
        approved=(asked.digest, asked.evidence_digest),
        asked=(call_digest(call), digest(evidence)),
        now=now,
        expires_at=asked.expires_at,
    )
    if holds.allowed:
        return _moved(systems, row, USED)
    gone = _moved(systems, row, EXPIRED if now > asked.expires_at else SUPERSEDED)
    systems.store.audit("guardian", f"approval {gone.status}", {"approval": id, "reasons": holds.reasons}, at=now)
    return gone


def refusal(row: Evidence) -> PolicyRefusal:
    """Why a row that was denied or expired lets nothing happen."""
    asked = read(row)
    if row.status == DENIED:
        return PolicyRefusal(
            "approval", f"{row.id} was denied by {asked.decided_by}{f': {asked.why}' if asked.why else ''}"
        )
    return PolicyRefusal("approval", f"{row.id} expired at {asked.expires_at:%Y-%m-%d %H:%M}, unused")


def open_of(systems: Systems, model: str) -> Evidence | None:
    """The request of a run about the model that waits for a decision, None where there is none."""
    rows = systems.store.list(Kind.approval, model, status=PENDING)
    now = systems.clock.now()
    return next((row for row in reversed(rows) if now <= read(row).expires_at and read(row).run_id), None)


def rest_on(systems: Systems, id: str, facts: Mapping[str, Any]) -> None:
    """Puts the approval into the chain of evidence: what came of the call rests on it."""
    for key in ("rollout_id", "run_id"):
        if isinstance(made := facts.get(key), str) and systems.store.get(made).rests_on != id:
            systems.store.update(made, rests_on=id)


def _moved(systems: Systems, row: Evidence, status: str) -> Evidence:
    """The row with its new status; where someone else was faster, the row as they left it."""
    try:
        moved = systems.store.update(row.id, status=status, expected_revision=row.revision)
    except StaleRevision:
        return find(systems, row.id)
    redraw(systems, moved)
    return moved

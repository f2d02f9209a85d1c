"""Asking a person before a call is carried out: once for each call, and again where the evidence changed."""

from __future__ import annotations

from agent.approvals import DENIED, EXPIRED, OPEN, PENDING, USED, Approval, claim, read, refusal
from agent.authority import Call
from agent.cards import facts_of_card, notice_of
from agent.grounds import call_digest, digest, evidence_of
from policies.declarations import Severity
from policies.declarations.approvals import ApprovalRule
from policies.errors import PolicyRefusal
from tools.systems.store import Evidence, Kind
from tools.systems.systems import Systems


def agreed(
    systems: Systems, call: Call, standing: str, *, key: str, asked_by: str, run_id: str, thread: str
) -> Evidence | None:
    """What a person says to the call `key`: None where nobody must be asked, a `used` row where it may be carried out
    now, else the row it waits for. `standing` is the row asked before for this call, empty where none was.

    Raises PolicyRefusal where it was denied or nobody decided in time.
    """
    row = claim(systems, standing, call) if standing else None
    if row is not None and row.status == USED and read(row).call == key:
        return row
    if row is not None and row.status in (DENIED, EXPIRED):
        raise refusal(row)
    rule = systems.operations.systems.approval_of(call.tool.name)
    if rule.mode != "approve":
        return None
    return ask(systems, call, rule, key=key, asked_by=asked_by, run_id=run_id, thread=thread)


def ask(
    systems: Systems,
    call: Call,
    rule: ApprovalRule,
    *,
    key: str,
    asked_by: str,
    run_id: str | None = None,
    thread: str | None = None,
) -> Evidence:
    """The open request for the call `key`: the one already made, else a new one, of which the approvers are told.

    Raises PolicyRefusal where the same was denied on the same evidence before.
    """
    asked = _request(systems, call, rule, key, asked_by, run_id, thread)
    for row in systems.store.list(Kind.approval, call.model, limit=100):
        known = read(row)
        if row.status in OPEN and known.call == key:
            tell_approvers(systems, row)
            return row
        if row.status == DENIED and (known.digest, known.evidence_digest) == (asked.digest, asked.evidence_digest):
            raise PolicyRefusal("approval", f"{refusal(row).reason}; on the same evidence it is not asked for again")
    rests_on, _ = evidence_of(systems, call)
    row = systems.store.add(
        Kind.approval,
        call.model,
        asked,
        at=systems.clock.now(),
        version=getattr(call.arguments, "version", None),
        status=PENDING,
        rests_on=rests_on,
    )
    tell_approvers(systems, row)
    return row


def tell_approvers(systems: Systems, row: Evidence) -> None:
    """Tells everybody who may decide, once."""
    asked = read(row)
    if row.status != PENDING:
        return
    facts = facts_of_card(systems, row)
    for person in asked.approvers:
        systems.notifications.notify(person, Severity.warning, notice_of(row), about=row.id, facts=facts)


def _request(
    systems: Systems,
    call: Call,
    rule: ApprovalRule,
    key: str,
    asked_by: str,
    run_id: str | None,
    thread: str | None,
) -> Approval:
    given = call.arguments.model_dump(mode="json")
    _, evidence = evidence_of(systems, call)
    shown = " ".join(f"{name}={value}" for name, value in given.items() if value is not None)
    return Approval(
        what=f"{call.tool.name} {shown}",
        whom=", ".join(rule.approvers) or "nobody may decide: no approver is declared",
        action=call.tool.name,
        arguments=given,
        digest=call_digest(call),
        evidence=evidence,
        evidence_digest=digest(evidence),
        approvers=list(rule.approvers),
        expires_at=systems.clock.now() + rule.expires_after,
        asked_by=asked_by,
        call=key,
        run_id=run_id,
        thread=thread,
    )

"""What people see of an approval: built from its row and the rows it rests on, again at every change."""

from __future__ import annotations

from typing import Any

from agent.untrusted import clean
from policies.errors import InputError
from tools.systems.channels.card import Card
from tools.systems.store import Evidence, Kind
from tools.systems.systems import Systems

_SAYS = {
    "approved": "Approved by {by}, being carried out",
    "used": "Approved by {by} and carried out",
    "denied": "Denied by {by}{why}",
    "expired": "Expired: nobody decided in time",
    "superseded": "Superseded: the evidence changed, it is asked again",
}


def card_of(systems: Systems, row: Evidence) -> Card:
    """The card of an approval's row."""
    body = row.body
    return Card(
        approval=row.id,
        what=clean(body["what"], 250),
        asked_by=clean(body["asked_by"], 80),
        until=str(body["expires_at"])[:16].replace("T", " "),
        whom=clean(body["whom"], 200),
        evidence=_evidence(systems, row),
        numbers=_numbers(systems, row),
        says=says(row),
        approved=row.status in ("approved", "used"),
    )


def says(row: Evidence) -> str:
    """How an approval stands, in words for people; empty while it waits."""
    if row.status == "expired" and row.body.get("decided_by"):
        return f"Approved by {clean(row.body['decided_by'], 80)}, and expired unused"
    why = f": {clean(row.body['why'], 300)}" if row.body.get("why") else ""
    return _SAYS.get(str(row.status), "").format(by=clean(row.body.get("decided_by"), 80), why=why)


def notice_of(row: Evidence) -> str:
    """An approval in a line, where no card can be shown."""
    body = row.body
    until = str(body["expires_at"])[:16].replace("T", " ")
    if stands := says(row):
        return f"{row.id}: {body['what']}: {stands}."
    return f"{row.id} waits for you: {body['what']}, asked by {body['asked_by']}, until {until}."


def redraw(systems: Systems, row: Evidence) -> None:
    """Every message about the approval shows how it stands now."""
    systems.notifications.amend(row.id, notice_of(row), facts_of_card(systems, row))


def facts_of_card(systems: Systems, row: Evidence) -> dict[str, Any]:
    """The facts that a notice about the approval carries."""
    return {"card": card_of(systems, row).model_dump(mode="json")}


def _evidence(systems: Systems, row: Evidence) -> list[str]:
    chain = _chain(systems, row)
    return [f"{each.id} ({each.status})" if each.status else each.id for each in chain[:5]]


def _numbers(systems: Systems, row: Evidence) -> list[str]:
    """What decides, with its limits: the gate's checks, the comparison, or the findings of a drift report."""
    lines: list[str] = []
    for each in _chain(systems, row):
        if each.kind is Kind.gate:
            lines += [_check(check, "verdict", "name") for check in each.body.get("checks", ())]
        if each.kind is Kind.evaluation and isinstance(gain := each.body.get("weighted_improvement"), int | float):
            lines.append(f"{each.body.get('verdict')}: weighted improvement {gain:+.2%}")
        if each.kind is Kind.drift_report:
            bad = [c for c in each.body.get("checks", ()) if c.get("severity") in ("warning", "critical")]
            lines += [_check(check, "severity", "subject") for check in bad[:3]]
    return lines[:10]


def _check(check: dict[str, Any], verdict: str, name: str) -> str:
    limit = f" (limit {_short(check['threshold'])})" if check.get("threshold") is not None else ""
    return f"{clean(check.get(name), 80)}: {check.get(verdict)}: {_short(check.get('value'))}{limit}"


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else clean(value, 60)


def _chain(systems: Systems, row: Evidence) -> list[Evidence]:
    try:
        return list(systems.store.chain(row.id))[1:]
    except InputError:
        return []

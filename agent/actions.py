"""Carrying out an authorised call: intent row, the tool, audit row, outcome row.

A call is named by its key, which the run gives it (never the planner). A key with an outcome is not carried out again:
after a restart the stored outcome is the answer.
"""

from __future__ import annotations

import logging
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from agent.rendering import facts_of, text_of
from agent.untrusted import clean
from policies.errors import GuardianError, PolicyRefusal
from tools.systems.store import Kind, append_audit
from tools.systems.systems import Systems
from tools.systems.tables import ActionRow, EvidenceRow
from tools.systems.tool import Tool

_log = logging.getLogger(__name__)

MADE_BY_TOOLS = {
    Kind.drift_report: "report_id",
    Kind.training_run: "run_id",
    Kind.evaluation: "evaluation_id",
    Kind.rollout: "rollout_id",
    Kind.kpi_reading: "kpi_id",
}
"""The evidence that tools store, and where their results name its row."""


class Outcome(BaseModel):
    """What came of a call: compact facts, and the text the planner reads."""

    model_config = ConfigDict(frozen=True)

    status: Literal["done", "failed", "refused"]
    text: str
    facts: dict[str, Any] = {}


def carry_out(
    systems: Systems, tool: Tool, arguments: BaseModel, *, model: str, key: str, run_id: str, actor: str
) -> Outcome:
    """Runs `tool` once for `key` about `model` and stores what came of it. An error is an outcome, never raised."""
    begun, before = _intend(systems, tool, arguments, model, key, run_id, actor)
    if begun is not None and begun.outcome is not None and begun.status != "intended":
        return Outcome.model_validate(begun.outcome)
    adopted = None if begun is None else _adopted(systems, tool, arguments, model, before)
    outcome = adopted or _run(systems, tool, arguments)
    now = systems.clock.now()
    with systems.store.writing() as session:
        append_audit(session, actor, f"{tool.name} {outcome.status}", {"call": key, "outcome": outcome.text}, at=now)
        row = session.get_one(ActionRow, key)
        row.status, row.outcome, row.ended_at = outcome.status, outcome.model_dump(mode="json"), now
    return outcome


def begun(systems: Systems, key: str) -> bool:
    """Whether the call `key` was intended, carried out or not."""
    with systems.store.reading() as session:
        return session.get(ActionRow, key) is not None


def carried_out(systems: Systems, key: str) -> bool:
    """Whether the call `key` has an outcome."""
    with systems.store.reading() as session:
        row = session.get(ActionRow, key)
    return row is not None and row.status != "intended"


def _intend(
    systems: Systems, tool: Tool, arguments: BaseModel, model: str, key: str, run_id: str, actor: str
) -> tuple[ActionRow | None, dict[str, int]]:
    """The row of an earlier attempt (None: this is the first), and the newest evidence when it began."""
    given = arguments.model_dump(mode="json")
    now = systems.clock.now()
    with systems.store.writing() as session:
        begun = session.get(ActionRow, key)
        if begun is not None:
            return begun, dict((begun.outcome or {}).get("before", {}))
        before = _newest(session, model)
        session.add(
            ActionRow(
                call_id=key,
                run_id=run_id,
                tool=tool.name,
                arguments=given,
                status="intended",
                outcome={"before": before},
                started_at=now,
            )
        )
        append_audit(session, actor, f"{tool.name} intended", {"call": key, "arguments": given}, at=now)
    return None, before


def _newest(session: Session, model: str) -> dict[str, int]:
    """The highest number of each kind of evidence about a model."""
    query = select(EvidenceRow.kind, func.max(EvidenceRow.number)).where(EvidenceRow.model == model)
    return {str(kind): int(number) for kind, number in session.execute(query.group_by(EvidenceRow.kind))}


def _adopted(systems: Systems, tool: Tool, arguments: BaseModel, model: str, before: dict[str, int]) -> Outcome | None:
    """The result that an interrupted attempt did store as evidence before it was cut off, None where it stored none.

    It is this call's result where it came after the intent and says of itself what the arguments say.
    """
    given = arguments.model_dump(mode="json")
    for kind, named in MADE_BY_TOOLS.items():
        row = systems.store.latest(kind, model)
        if row is None or row.id == f"{kind.value}-{before.get(kind.value)}":
            continue
        if any(row.body[name] != value for name, value in given.items() if name in row.body):
            continue
        try:
            id_of_row = {named: row.id} if named in tool.result.model_fields else {}
            return _done(tool.result.model_validate({**row.body, **id_of_row}))
        except ValidationError:
            continue
    return None


def _run(systems: Systems, tool: Tool, arguments: BaseModel) -> Outcome:
    try:
        return _done(tool.run(systems, arguments))
    except PolicyRefusal as refusal:
        return Outcome(status="refused", text=clean(refusal, 600))
    except GuardianError as error:
        return Outcome(status="failed", text=clean(f"{tool.name} failed: {error}", 600))
    except Exception as error:  # a bug in a tool ends that call, not the night
        _log.exception("%s failed unexpectedly", tool.name)
        return Outcome(status="failed", text=clean(f"{tool.name} failed unexpectedly: {error!r}", 600))


def _done(result: BaseModel) -> Outcome:
    facts = facts_of(result)
    return Outcome(status="done", text=text_of(facts), facts=facts)

"""What follows a person's decision: a waiting run goes on, a command that waited is carried out."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from agent.actions import Outcome, carried_out, carry_out
from agent.approvals import (
    APPROVED,
    OPEN,
    PENDING,
    USED,
    approvers_of,
    claim,
    current,
    decide,
    find,
    read,
    refusal,
    rest_on,
)
from agent.asking import ask
from agent.authority import Call, enforce
from agent.graph import Progress
from agent.grounds import call_digest
from agent.planners.choice import choose
from agent.planners.protocol import Planner
from agent.planners.runbook import RunbookPlanner
from agent.runs import RUNNING, Run, RunBusy, claimed, runs_with
from agent.state import WAITING
from agent.triage import continue_waiting, tools_of
from agent.untrusted import clean
from policies.approval import may_decide
from policies.errors import ApprovalPending, GuardianError, InputError, PolicyRefusal
from tools.systems.store import Evidence, Kind
from tools.systems.systems import Systems
from tools.systems.tool import Tool
from tools.toolbox import parse_arguments

PATIENCE = 10.0
"""Seconds to wait for another process that works on the run."""


class ApprovalLine(BaseModel):
    """One approval: what it is for, and how it stands."""

    approval_id: str
    status: str
    what: str
    model: str
    version: str | None
    rests_on: str | None
    evidence: dict[str, Any]
    digest: str
    asked_by: str
    asked_at: datetime
    whom: str
    approvers: list[str]
    expires_at: datetime
    decided_by: str | None
    why: str | None
    run_id: str | None


class Approvals(BaseModel):
    """Approvals, newest first."""

    approvals: list[ApprovalLine]


class Decided(ApprovalLine):
    """A decision, and what came of it: the call's outcome, or the report of the run that went on."""

    outcome: str


def listed(systems: Systems, *, everything: bool = False) -> Approvals:
    """What waits for a person, or every approval."""
    rows = (current(systems, row.id) for row in systems.store.list(Kind.approval, limit=200))
    return Approvals(approvals=[_line(row) for row in rows if everything or row.status in OPEN])


def consent(systems: Systems, tool: Tool, arguments: BaseModel, model: str) -> None:
    """Whether a person's own command may be carried out at once.

    Raises PolicyRefusal where it is denied, ApprovalPending where somebody must agree first; `approve` carries it out.
    """
    call = Call(model=model, tool=tool, arguments=arguments)
    rule = systems.operations.systems.approval_of(tool.name)
    if rule.mode == "auto":
        return
    enforce(systems, call)
    row = ask(systems, call, rule, key=f"command line/{call_digest(call)}", asked_by="command line")
    raise _pending(row)


def answer(
    systems: Systems,
    id: str,
    person: str,
    *,
    approve: bool,
    why: str | None = None,
    progress: Progress = lambda line: None,
    toolbox: Mapping[str, Tool] | None = None,
) -> Decided:
    """Writes the decision and does what follows from it. Approving again what was cut off before it was carried out
    finishes it; nothing is done twice.

    Raises PolicyRefusal, InputError where it was decided already, ApprovalPending where the evidence changed and a new
    request was made, GuardianError where the call failed.
    """
    row = find(systems, id)
    cut_off = row.status == APPROVED or (row.status == USED and not carried_out(systems, row.id))
    if approve and cut_off and read(row).thread is None:
        may_decide(person, approvers_of(systems, row)).enforce()
    elif not (approve and row.status == APPROVED):
        row = decide(systems, id, person, approve=approve, why=why)
    run_id = read(row).run_id
    if run_id is not None:
        outcome = _go_on(systems, run_id, progress, toolbox)
    else:
        outcome = _carry_out(systems, row, tools_of(toolbox)).text if approve else ""
    return Decided(**_line(find(systems, id)).model_dump(), outcome=outcome)


def go_on_with_conversations(systems: Systems, toolbox: Mapping[str, Tool] | None = None) -> None:
    """What somebody asked for in a conversation goes on where nobody decided in time, or who did was cut off."""
    tools = tools_of(toolbox)
    for run_id in [*runs_with(systems, WAITING), *runs_with(systems, RUNNING)]:
        if Run.open(systems, run_id).record.asked is not None:
            with suppress(RunBusy):
                continue_waiting(systems, run_id, _planner_of(systems, tools, run_id), tools)


def _go_on(systems: Systems, run_id: str, progress: Progress, toolbox: Mapping[str, Tool] | None) -> str:
    """Goes on with the run that waited, in this process; the report, or why it goes on later."""
    tools = tools_of(toolbox)
    planner = _planner_of(systems, tools, run_id)
    until = time.monotonic() + PATIENCE
    while True:
        try:
            result = continue_waiting(systems, run_id, planner, tools, progress=progress)
        except RunBusy:
            if time.monotonic() > until:
                return f"{run_id} is at work in another process; the next triage goes on with it"
            time.sleep(0.2)
            continue
        if result is not None:
            return result.report
        ended = Run.open(systems, run_id).record.result or {}  # another process was faster
        return str(ended.get("report") or f"{run_id} is {systems.store.get(run_id).status}")


def _planner_of(systems: Systems, tools: Mapping[str, Tool], run_id: str) -> Planner:
    """The run's own planner, the runbook where that is not at hand here."""
    try:
        return choose(systems, tools, Run.open(systems, run_id).record.planner)
    except InputError:
        return RunbookPlanner(systems.operations)


def _carry_out(systems: Systems, row: Evidence, tools: Mapping[str, Tool]) -> Outcome:
    """Carries out what the row holds, once: its own arguments, on the evidence that was approved."""
    with claimed(systems, row.id):
        asked = read(row)
        tool = tools[asked.action]
        arguments = parse_arguments(tool, systems.operations, asked.arguments)
        call = Call(model=row.model, tool=tool, arguments=arguments)
        if row.status != USED:
            enforce(systems, call)
        held = claim(systems, row.id, call)
        if held.status != USED:
            raise _again(systems, held, call)
        outcome = carry_out(
            systems,
            tool,
            arguments,
            model=row.model,
            key=row.id,
            run_id=row.id,
            actor=f"{asked.decided_by} {row.id}",
        )
        rest_on(systems, row.id, outcome.facts)
    if outcome.status == "refused":
        raise PolicyRefusal("tool", outcome.text, where=row.id)
    if outcome.status == "failed":
        raise GuardianError(outcome.text, where=row.id)
    return outcome


def _again(systems: Systems, row: Evidence, call: Call) -> GuardianError:
    """What a row that no longer holds leads to: a new request where only the evidence changed."""
    if row.status != "superseded":
        return refusal(row)
    asked = read(row)
    rule = systems.operations.systems.approval_of(call.tool.name)
    return _pending(ask(systems, call, rule, key=asked.call, asked_by=asked.asked_by))


def _pending(row: Evidence) -> ApprovalPending:
    asked = read(row)
    waits = "was approved and waits to be carried out" if row.status == APPROVED else f"waits for {asked.whom}"
    return ApprovalPending(row.id, f"{asked.what} {waits}, until {asked.expires_at:%Y-%m-%d %H:%M}")


def _line(row: Evidence) -> ApprovalLine:
    asked = read(row)
    return ApprovalLine(
        approval_id=row.id,
        status=row.status or PENDING,
        what=clean(asked.what),
        model=row.model,
        version=row.version,
        rests_on=row.rests_on,
        evidence=asked.evidence,
        digest=asked.digest,
        asked_by=asked.asked_by,
        asked_at=row.created_at,
        whom=asked.whom,
        approvers=asked.approvers,
        expires_at=asked.expires_at,
        decided_by=asked.decided_by,
        why=asked.why,
        run_id=asked.run_id,
    )

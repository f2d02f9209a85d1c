"""How a played scenario ended, read from the systems: aliases, traffic, evidence, approvals, messages, calls."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel
from sqlalchemy import func, select

from agent.budget import Spent
from agent.runs import RunRecord
from agent.validation import validate
from evals.suite.scenario import ModelEnd
from policies.alerting import AlertStatus
from policies.errors import DeclarationError
from tools.systems.registry import CHALLENGER, CHAMPION
from tools.systems.store import Kind
from tools.systems.systems import Systems
from tools.systems.tables import AlertRow, AuditRow, DeliveryRow, SpendRow


class Message(BaseModel):
    """Something people were told."""

    to: str
    severity: str
    text: str


class MadeCall(BaseModel):
    """A call a planner made, in order over all runs: `status` is done, refused, failed or invalid."""

    run: str
    model: str
    tool: str
    arguments: dict[str, Any]
    status: str
    facts: dict[str, Any] = {}


class EndState(BaseModel):
    """Everything that graders look at. `handed_over` says why the planner played did not decide all itself."""

    models: dict[str, ModelEnd]
    messages: list[Message]
    reached: dict[str, list[str]] = {}
    problems: list[str] = []
    incidents: int = 0
    conversations: int = 0
    reports: list[str] = []
    approvals: list[str]
    runs: list[str]
    calls: list[MadeCall]
    handed_over: list[str] = []
    spent: Spent
    audit_sound: bool


def read_end(systems: Systems, *, validated: bool) -> EndState:
    """The end as the store, the registry and the traffic have it; `problems` only where it is `validated`."""
    runs = _runs(systems)
    return EndState(
        models={model: _model_end(systems, model) for model in systems.operations.models},
        messages=_messages(systems),
        reached=_reached(systems),
        problems=_problems(systems) if validated else [],
        incidents=_incidents(systems),
        conversations=sum(len(run.conversations) for run in runs),
        reports=[str(run.result["report"]) for run in runs if run.result is not None],
        approvals=[row.status or "" for row in reversed(systems.store.list(Kind.approval))],
        runs=[row.status or "" for row in reversed(systems.store.list(Kind.run))],
        calls=_calls(systems),
        handed_over=[note for run in runs for each in run.conversations.values() for note in each["notes"]],
        spent=_spent(systems),
        audit_sound=systems.store.verify_audit() is None,
    )


def _model_end(systems: Systems, model: str) -> ModelEnd:
    store, registry = systems.store, systems.registry
    name = systems.operations.model(model).registry_name
    split = systems.traffic.split(model)
    evaluation = store.latest(Kind.evaluation, model)
    rollout = store.latest(Kind.rollout, model)
    report = store.latest(Kind.drift_report, model)
    trainings = [row for row in store.list(Kind.training_run, model) if row.body.get("pipeline") and row.version]
    return ModelEnd(
        champion=registry.alias(name, CHAMPION),
        challenger=registry.alias(name, CHALLENGER),
        serves=split.champion if split is not None and not split.challenger_pct else None,
        trained=len(trainings),
        verdict=evaluation.body.get("verdict") if evaluation else None,
        gate=evaluation.body.get("gate", {}).get("status") if evaluation else None,
        rollout=rollout.status if rollout else None,
        severity=report.body.get("severity") if report else None,
    )


def _messages(systems: Systems) -> list[Message]:
    with systems.store.reading() as session:
        told = session.scalars(select(AuditRow).where(AuditRow.action == "notify").order_by(AuditRow.number))
        return [Message.model_validate(json.loads(row.detail)) for row in told]


def _reached(systems: Systems) -> dict[str, list[str]]:
    """The channels by which each person is told, in the order of the alphabet."""
    with systems.store.reading() as session:
        rows = session.execute(select(DeliveryRow.person, DeliveryRow.channel).distinct())
        found: dict[str, list[str]] = {}
        for person, channel in sorted((row.person, row.channel) for row in rows):
            found.setdefault(person, []).append(channel)
    return found


def _problems(systems: Systems) -> list[str]:
    """What `guardian validate` says of the declarations."""
    try:
        validate(systems, systems.home / "operations.yaml")
    except DeclarationError as error:
        return str(error).splitlines()
    return []


def _incidents(systems: Systems) -> int:
    with systems.store.reading() as session:
        query = select(func.count()).select_from(AlertRow).where(AlertRow.status != AlertStatus.notice.value)
        return session.scalar(query) or 0


def _runs(systems: Systems) -> list[RunRecord]:
    """All runs, oldest first."""
    return [RunRecord.model_validate(row.body) for row in reversed(systems.store.list(Kind.run))]


def _calls(systems: Systems) -> list[MadeCall]:
    calls = []
    for row in reversed(systems.store.list(Kind.run)):
        record = RunRecord.model_validate(row.body)
        for conversation in record.conversations.values():
            for step in conversation["steps"]:
                call = step.get("call") or {"name": "(unusable)", "arguments": {}}
                calls.append(
                    MadeCall(
                        run=row.id,
                        model=conversation["model"],
                        tool=call["name"],
                        arguments=call["arguments"],
                        status=step["status"],
                        facts=step.get("facts", {}),
                    )
                )
    return calls


def _spent(systems: Systems) -> Spent:
    with systems.store.reading() as session:
        rows = list(session.scalars(select(SpendRow)))
    usd = sum(row.reserved_usd if row.settled_usd is None else row.settled_usd for row in rows)
    tokens = sum(row.reserved_tokens if row.settled_tokens is None else row.settled_tokens for row in rows)
    return Spent(cost_usd=round(usd, 9), tokens=tokens, llm_calls=len(rows))

"""The state store's tables (SQLAlchemy 2 typed ORM). Times are naive UTC."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, DateTime, Float, ForeignKey, Index, Integer, String, Text, UniqueConstraint, false
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """Base of all tables."""


class EvidenceRow(Base):
    """A row that justifies a change, and the row it rests on."""

    __tablename__ = "evidence"
    __table_args__ = (UniqueConstraint("kind", "number"), Index("evidence_of_model", "kind", "model", "number"))

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    number: Mapped[int]
    model: Mapped[str] = mapped_column(String(200))
    version: Mapped[str | None] = mapped_column(String(40))
    status: Mapped[str | None] = mapped_column(String(40))
    created_at: Mapped[datetime] = mapped_column(DateTime)
    rests_on: Mapped[str | None] = mapped_column(String(40))
    revision: Mapped[int] = mapped_column(default=1)
    body: Mapped[dict[str, Any]] = mapped_column(JSON)


class ClockRow(Base):
    """The virtual time of this store's run."""

    __tablename__ = "clock"

    id: Mapped[int] = mapped_column(primary_key=True)
    now: Mapped[datetime] = mapped_column(DateTime)


class SplitRow(Base):
    """A model's traffic split; the newest number of a model is in force."""

    __tablename__ = "splits"

    model: Mapped[str] = mapped_column(String(200), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    champion: Mapped[str] = mapped_column(String(40))
    challenger: Mapped[str | None] = mapped_column(String(40))
    challenger_pct: Mapped[float] = mapped_column(Float)
    mirrored: Mapped[bool] = mapped_column(default=False, server_default=false())
    salt: Mapped[str] = mapped_column(String(120), default="", server_default="")
    endpoints: Mapped[dict[str, str]] = mapped_column(JSON, default=dict, server_default="{}")
    at: Mapped[datetime] = mapped_column(DateTime)


class WorkerRow(Base):
    """A serving worker: its last sign of life (wall-clock seconds) and the split it serves."""

    __tablename__ = "workers"

    worker: Mapped[str] = mapped_column(String(80), primary_key=True)
    model: Mapped[str] = mapped_column(String(200), primary_key=True)
    acknowledged: Mapped[int] = mapped_column(Integer, default=0)
    seen: Mapped[float] = mapped_column(Float)


class ActionRow(Base):
    """A tool call by an agent: the intent before it acts, the outcome after."""

    __tablename__ = "actions"

    call_id: Mapped[str] = mapped_column(String(120), primary_key=True)
    run_id: Mapped[str] = mapped_column(String(40), index=True)
    tool: Mapped[str] = mapped_column(String(60))
    arguments: Mapped[dict[str, Any]] = mapped_column(JSON)
    status: Mapped[str] = mapped_column(String(20))
    outcome: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    started_at: Mapped[datetime] = mapped_column(DateTime)
    ended_at: Mapped[datetime | None] = mapped_column(DateTime)


class TrialRow(Base):
    """A finished trial of a training run's search. `task` is the digest of what was searched: data, recipe, seed."""

    __tablename__ = "trials"

    run_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    task: Mapped[str] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(20))
    value: Mapped[float | None] = mapped_column(Float)
    early: Mapped[float | None] = mapped_column(Float)
    parameters: Mapped[dict[str, Any]] = mapped_column(JSON)
    distributions: Mapped[dict[str, Any]] = mapped_column(JSON)


class SpendRow(Base):
    """One model call's cost: reserved before it is made, settled after. An unsettled row counts as reserved."""

    __tablename__ = "spend"

    id: Mapped[int] = mapped_column(primary_key=True)
    agent: Mapped[str] = mapped_column(String(200), index=True)
    run_id: Mapped[str] = mapped_column(String(40))
    at: Mapped[datetime] = mapped_column(DateTime)
    model: Mapped[str] = mapped_column(String(80))
    reserved_usd: Mapped[float] = mapped_column(Float)
    reserved_tokens: Mapped[int]
    settled_usd: Mapped[float | None] = mapped_column(Float)
    settled_tokens: Mapped[int | None]
    prompt_tokens: Mapped[int | None]
    output_tokens: Mapped[int | None]
    ended_at: Mapped[datetime | None] = mapped_column(DateTime)


class AuditRow(Base):
    """The append-only log of what was done: each row's digest covers the one before."""

    __tablename__ = "audit"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(DateTime)
    actor: Mapped[str] = mapped_column(String(80))
    action: Mapped[str] = mapped_column(String(80))
    detail: Mapped[str] = mapped_column(Text)
    digest: Mapped[str] = mapped_column(String(64))


class AlertRow(Base):
    """One incident as people are told of it, or a notice of something that happened.

    `revision` counts changes of the message, `calls` how often people are called by it; `seen_in` is the run or row
    that saw it last, so that a run that is continued does not count twice. `token` is its name on the far side,
    `facts` what its incident is recognised by.
    """

    __tablename__ = "alerts"

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(300), index=True)
    model: Mapped[str] = mapped_column(String(200), index=True)
    status: Mapped[str] = mapped_column(String(20))
    severity: Mapped[str] = mapped_column(String(20))
    peak: Mapped[str] = mapped_column(String(20))
    title: Mapped[str] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Text)
    facts: Mapped[dict[str, Any]] = mapped_column(JSON)
    token: Mapped[str] = mapped_column(String(32))
    seen_in: Mapped[str] = mapped_column(String(80))
    seen: Mapped[int]
    revision: Mapped[int]
    calls: Mapped[int]
    opened_at: Mapped[datetime] = mapped_column(DateTime)
    called_at: Mapped[datetime] = mapped_column(DateTime)
    changed_at: Mapped[datetime] = mapped_column(DateTime)
    resolved_at: Mapped[datetime | None] = mapped_column(DateTime)


class SlackEventRow(Base):
    """An event of Slack's, by its id: the second delivery of one is none. `heard` is what is to be answered, None where
    nothing is; `place` the message that will hold the answer."""

    __tablename__ = "slack_events"

    event_id: Mapped[str] = mapped_column(String(80), primary_key=True)
    at: Mapped[datetime] = mapped_column(DateTime)
    heard: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    place: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    done: Mapped[bool]


class DeliveryRow(Base):
    """The outbox: one place that an alert is brought to, which shows revision `sent` of it and should show `wanted`.

    `due` is when to try (wall-clock seconds); while a process tries, when another may. `trying` stays where it is not
    known whether an attempt arrived. `place` is the message on the far side.
    """

    __tablename__ = "deliveries"
    __table_args__ = (UniqueConstraint("alert_id", "channel", "address"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    alert_id: Mapped[int] = mapped_column(ForeignKey("alerts.id"))
    person: Mapped[str] = mapped_column(String(200))
    channel: Mapped[str] = mapped_column(String(20))
    address: Mapped[str] = mapped_column(String(300))
    wanted: Mapped[int]
    sent: Mapped[int]
    calls_sent: Mapped[int]
    attempts: Mapped[int]
    trying: Mapped[bool]
    due: Mapped[float] = mapped_column(Float)
    place: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    error: Mapped[str] = mapped_column(Text)

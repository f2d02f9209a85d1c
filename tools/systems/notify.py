"""Telling people: every alert and every notice is recorded here, with the places it is to be brought to.

The rows of the outbox are written in the transaction that writes the alert and its line in the audit log: what was
recorded is brought to people by `tools.systems.outbox`, now or after a crash, and what was not recorded by nobody.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from policies.alerting import Address, AlertStatus, Change, Standing, addresses, observed
from policies.declarations import Severity
from policies.declarations.binding import Person
from policies.declarations.drift import Alerts
from policies.errors import InputError
from tools.systems.store import Store, append_audit
from tools.systems.tables import AlertRow, DeliveryRow

if TYPE_CHECKING:
    from tools.systems.clock import Clock

OPEN = (AlertStatus.open.value, AlertStatus.acknowledged.value)


@dataclass(frozen=True)
class Incident:
    """Something that is not as it should be, until it is over. `key` names its cause and stays the same from night to
    night; `title` is a line, `text` what was found and done; `people` maps a name to the declared channels. `facts` are
    kept with the alert, to know the incident again by; of one that several models have, `models` are all of them."""

    key: str
    model: str
    severity: Severity
    title: str
    text: str
    people: Mapping[str, Sequence[str]]
    quiet_period: timedelta = Alerts().quiet_period
    facts: Mapping[str, Any] = field(default_factory=dict)


class Alert(BaseModel):
    """An alert as people are told of it."""

    model_config = ConfigDict(frozen=True, from_attributes=True)

    id: int
    key: str
    model: str
    status: AlertStatus
    severity: Severity
    title: str
    text: str
    facts: dict[str, Any]
    token: str
    seen: int
    revision: int
    calls: int
    opened_at: datetime
    called_at: datetime
    changed_at: datetime
    resolved_at: datetime | None

    @property
    def models(self) -> list[str]:
        """Whose incident it is."""
        return [str(each) for each in self.facts.get("models", ())] or [self.model]


class Notifications:
    """Alerts and notices to the people declared under `systems.people`."""

    def __init__(self, store: Store, clock: Clock, people: Mapping[str, Person] | None = None) -> None:
        self._store = store
        self._clock = clock
        self._people = people or {}

    def notify(
        self, to: str, severity: Severity, text: str, *, about: str = "", facts: Mapping[str, Any] | None = None
    ) -> None:
        """A notice to `to`. What was said to them `about` that row already is not said again.

        With a `card` among its `facts` it is shown as one where the channel can (`tools.systems.channels.card`).
        """
        self._notice(to, addresses(to, self._people, (), severity), severity, text, about, facts or {})

    def reply(self, to: str, place: str, text: str, *, about: str) -> None:
        """A notice to `to` in the Slack thread `place` (`CHANNEL/TS`) where they asked; a text `about` a row once."""
        self._notice(to, (Address(to, "slack", place),), Severity.ok, text, about, {})

    def amend(self, about: str, text: str, facts: Mapping[str, Any]) -> None:
        """What was said `about` a row is settled: the messages say how, a page is resolved, and nobody is called."""
        title, _, rest = text.partition("\n")
        told = select(AlertRow).where(
            AlertRow.key.startswith(f"{about} notice ", autoescape=True),
            AlertRow.status == AlertStatus.notice.value,
        )
        with self._store.writing() as session:
            for row in session.scalars(told):
                if (row.title, row.text, row.facts) != (title, rest, dict(facts)):
                    now = self._clock.now()
                    row.title, row.text, row.facts = title, rest, dict(facts)
                    row.revision, row.changed_at, row.resolved_at = row.revision + 1, now, row.resolved_at or now
                    _wanted(session, row)

    def report(self, incident: Incident, *, seen_in: str) -> Change | None:
        """Records that `incident` is seen; what that is to people, None where `seen_in` had it recorded already."""
        now, severity = self._clock.now(), incident.severity
        with self._store.writing() as session:
            row = session.scalar(
                select(AlertRow).where(AlertRow.key == incident.key).order_by(AlertRow.id.desc()).limit(1)
            )
            if row is not None and row.seen_in == seen_in and row.status in OPEN and _same(row, incident):
                return None
            change = observed(_standing(row), severity, now, incident.quiet_period)
            if row is None or change is Change.opened:
                row = _opened(incident.key, incident.model, severity, incident.title, incident.text, now, seen_in)
                row.facts = dict(incident.facts)
                session.add(row)
                session.flush()
            else:
                _seen_again(row, incident, change, now, seen_in)
            told = {
                person: addresses(person, self._people, channels, severity)
                for person, channels in incident.people.items()
            }
            if change.calls:
                self._called(session, row, told, f"{incident.title}\n{incident.text}".strip(), now)
            _wanted(session, row)
            return change

    def resolve(self, key: str, why: str) -> bool:
        """The incident `key` is over; False where none is open."""
        with self._store.writing() as session:
            row = session.scalar(select(AlertRow).where(AlertRow.key == key, AlertRow.status.in_(OPEN)))
            if row is None:
                return False
            now = self._clock.now()
            row.status, row.resolved_at, row.changed_at = AlertStatus.resolved.value, now, now
            row.text = f"{why}\n{row.text}".strip()
            row.revision += 1
            _wanted(session, row)
            append_audit(session, "guardian", "resolved", {"alert": row.id, "key": key, "why": why}, at=now)
            return True

    def acknowledge(self, id: int, by: str) -> Alert:
        """`by` has taken the incident: it is not called out again unless it gets worse. Raises InputError."""
        with self._store.writing() as session:
            row = session.get(AlertRow, id)
            if row is None or row.status not in OPEN:
                numbers = session.scalars(select(AlertRow.id).where(AlertRow.status.in_(OPEN)).order_by(AlertRow.id))
                shown = ", ".join(map(str, numbers)) or "none"
                raise InputError(f"no open alert has the number {id}; open are: {shown}", where="alerts")
            if row.status == AlertStatus.open.value:
                now = self._clock.now()
                row.status, row.changed_at = AlertStatus.acknowledged.value, now
                row.text = f"{row.text}\nTaken by {by}.".strip()
                row.revision += 1
                _wanted(session, row)
                append_audit(session, by, "acknowledged", {"alert": row.id, "key": row.key}, at=now)
            return Alert.model_validate(row)

    def open(self, model: str | None = None) -> list[Alert]:
        """Open alerts, of a model or all, oldest first."""
        query = select(AlertRow).where(AlertRow.status.in_(OPEN)).order_by(AlertRow.id)
        with self._store.reading() as session:
            found = [Alert.model_validate(row) for row in session.scalars(query)]
        return [each for each in found if model is None or model in each.models]

    def _notice(
        self,
        to: str,
        places: Sequence[Address],
        severity: Severity,
        text: str,
        about: str,
        facts: Mapping[str, Any],
    ) -> None:
        digest = hashlib.sha256(f"{to}\n{text}".encode()).hexdigest()[:16]
        key = f"{about or secrets.token_hex(8)} notice {digest}"
        now = self._clock.now()
        with self._store.writing() as session:
            if about and session.scalar(select(AlertRow.id).where(AlertRow.key == key)) is not None:
                return
            title, _, rest = text.partition("\n")
            row = _opened(key, "", severity, title, rest, now, about)
            row.status, row.facts = AlertStatus.notice.value, dict(facts)
            session.add(row)
            session.flush()
            self._called(session, row, {to: places}, text, now)

    def _called(
        self, session: Session, row: AlertRow, told: Mapping[str, Sequence[Address]], text: str, now: datetime
    ) -> None:
        """Everybody has a line in the audit log, and each of their places a row in the outbox; one place one row."""
        known = select(DeliveryRow.channel, DeliveryRow.address).where(DeliveryRow.alert_id == row.id)
        there = {(channel, address) for channel, address in session.execute(known)}
        for each in (each for found in told.values() for each in found):
            if (each.channel, each.address) not in there:
                there.add((each.channel, each.address))
                session.add(_delivery(row, each))
        for person in told:
            said = {"to": person, "severity": row.severity, "text": text}
            append_audit(session, "guardian", "notify", said, at=now)


def _opened(key: str, model: str, severity: Severity, title: str, text: str, now: datetime, seen_in: str) -> AlertRow:
    return AlertRow(
        key=key,
        model=model,
        status=AlertStatus.open.value,
        severity=severity.value,
        peak=severity.value,
        title=title,
        text=text,
        facts={},
        token=secrets.token_hex(8),
        seen_in=seen_in,
        seen=1,
        revision=1,
        calls=1,
        opened_at=now,
        called_at=now,
        changed_at=now,
    )


def _seen_again(row: AlertRow, incident: Incident, change: Change, now: datetime, seen_in: str) -> None:
    row.severity, row.title, row.text = incident.severity.value, incident.title, incident.text
    row.facts = dict(incident.facts)
    row.peak = max(Severity(row.peak), incident.severity, key=lambda each: each.rank).value
    row.seen, row.seen_in = row.seen + (row.seen_in != seen_in), seen_in
    row.revision, row.changed_at = row.revision + 1, now
    if change.calls:
        row.calls, row.called_at = row.calls + 1, now
    if row.status == AlertStatus.resolved.value or change is Change.worse:
        row.status, row.resolved_at = AlertStatus.open.value, None


def _standing(row: AlertRow | None) -> Standing | None:
    if row is None:
        return None
    return Standing(AlertStatus(row.status), Severity(row.peak), row.called_at, row.resolved_at)


def _same(row: AlertRow, incident: Incident) -> bool:
    told = (incident.severity.value, incident.title, incident.text)
    return (row.severity, row.title, row.text) == told


def _wanted(session: Session, row: AlertRow) -> None:
    """Every place the alert was brought to is to show its newest revision."""
    session.flush()
    session.execute(update(DeliveryRow).where(DeliveryRow.alert_id == row.id).values(wanted=row.revision))


def _delivery(row: AlertRow, place: Address) -> DeliveryRow:
    return DeliveryRow(
        alert_id=row.id,
        person=place.person,
        channel=place.channel,
        address=place.address,
        wanted=row.revision,
        sent=0,
        calls_sent=0,
        attempts=0,
        trying=False,
        due=0.0,
        place=None,
        error="",
    )

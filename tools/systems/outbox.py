"""The outbox: brings every recorded alert to its places, with retries, across crashes, each once.

A letter is claimed in the store before it is sent and ticked off after. Where the process dies between the two, another
finds the claim once it is over and knows that the letter may have arrived; how it is kept from arriving twice is each
channel's own matter, and said there. What counts is the newest state of an alert: a channel that was down for a night
gets one message, not the night's.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import select
from sqlalchemy.orm import Session

from tools.systems.channels.channel import Channel, Letter, Undelivered
from tools.systems.clock import Clock
from tools.systems.notify import Alert
from tools.systems.store import Store, append_audit
from tools.systems.tables import AlertRow, DeliveryRow

_log = logging.getLogger(__name__)

CLAIM_SECONDS = 120.0
"""Longer than any attempt takes: with this the claim of a killed process is over."""
FIRST_WAIT_SECONDS = 5.0
LONGEST_WAIT_SECONDS = 900.0
KEPT = timedelta(days=3)
"""An alert that did not change for this long is not sent any more: it would be news of another time."""


class Delivered(BaseModel):
    """What a pass did: letters sent, letters that failed with their reasons, letters that still wait."""

    model_config = ConfigDict(frozen=True)

    sent: int
    failed: list[str]
    waiting: int


class Outbox:
    """Sends what is due. `clock` says how old an alert is, `seconds` (wall clock) when to try again."""

    def __init__(
        self, store: Store, clock: Clock, channels: Mapping[str, Channel], seconds: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._clock = clock
        self._channels = channels
        self._seconds = seconds

    def deliver(self) -> Delivered:
        """One pass over what is due. A channel that fails is left alone for the rest of the pass."""
        self._give_up()
        sent, failed = 0, []
        usable = set(self._channels)
        while (claimed := self._claim(usable)) is not None:
            row_id, channel, wanted, letter = claimed
            try:
                place = self._channels[channel].send(letter)
            except Exception as error:
                cause = error if isinstance(error, Undelivered) else _fault(error, channel)
                self._put_back(row_id, cause, letter.doubtful)
                failed.append(str(cause))
                if cause.doubtful or cause.wait is not None:
                    usable.discard(channel)
                continue
            self._tick_off(row_id, wanted, letter.alert.calls, place)
            sent += 1
        return Delivered(sent=sent, failed=failed, waiting=self.waiting())

    def waiting(self) -> int:
        """How many letters wait for a channel that is configured."""
        query = select(DeliveryRow.id).where(_open, DeliveryRow.channel.in_(self._channels))
        with self._store.reading() as session:
            return len(session.scalars(query).all())

    def _claim(self, channels: set[str]) -> tuple[int, str, int, Letter] | None:
        now = self._seconds()
        due = select(DeliveryRow).where(_open, DeliveryRow.due <= now, DeliveryRow.channel.in_(channels))
        with self._store.reading() as session:
            if session.scalar(due.limit(1)) is None:
                return None
        with self._store.writing() as session:
            row = session.scalar(due.order_by(DeliveryRow.due, DeliveryRow.id).limit(1))
            if row is None:
                return None
            alert = Alert.model_validate(session.get_one(AlertRow, row.alert_id))
            letter = Letter(
                alert=alert,
                address=row.address,
                token=f"{alert.token}-{row.id}",
                place=row.place,
                calls_sent=row.calls_sent,
                doubtful=row.trying,
            )
            row.trying, row.due, row.attempts = True, now + CLAIM_SECONDS, row.attempts + 1
            return row.id, row.channel, alert.revision, letter

    def _tick_off(self, id: int, revision: int, calls: int, place: dict[str, Any] | None) -> None:
        with self._store.writing() as session:
            row = session.get_one(DeliveryRow, id)
            row.sent, row.calls_sent, row.place = revision, calls, place
            row.trying, row.attempts, row.due, row.error = False, 0, 0.0, ""

    def _put_back(self, id: int, error: Undelivered, in_doubt: bool) -> None:
        with self._store.writing() as session:
            row = session.get_one(DeliveryRow, id)
            wait = error.wait or min(FIRST_WAIT_SECONDS * 2.0 ** (row.attempts - 1), LONGEST_WAIT_SECONDS)
            if row.error != str(error):
                self._note(session, row, "notify failed", str(error))
            row.trying = error.doubtful or in_doubt
            row.due, row.error = self._seconds() + wait, str(error)

    def _give_up(self) -> None:
        old = select(DeliveryRow, AlertRow.revision).join(AlertRow, AlertRow.id == DeliveryRow.alert_id)
        old = old.where(_open, AlertRow.changed_at < self._now() - KEPT)
        with self._store.reading() as session:
            if session.execute(old.limit(1)).first() is None:
                return
        with self._store.writing() as session:
            for row, revision in session.execute(old).all():
                if row.error:
                    self._note(session, row, "notify given up", row.error)
                row.sent, row.trying = revision, False

    def _note(self, session: Session, row: DeliveryRow, action: str, error: str) -> None:
        detail = {"to": row.person, "channel": row.channel, "alert": row.alert_id, "error": error}
        append_audit(session, "guardian", action, detail, at=self._now())

    def _now(self) -> datetime:
        return self._clock.now()


def _fault(error: Exception, channel: str) -> Undelivered:
    """A bug in a channel ends that attempt, not the pass. Its text may hold a secret: only its kind is kept."""
    _log.exception("%s failed unexpectedly", channel)
    return Undelivered(f"failed unexpectedly: {type(error).__name__}", channel, doubtful=True)


_open = DeliveryRow.sent < DeliveryRow.wanted

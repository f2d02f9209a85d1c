"""Telling people once: a message that was recorded is not recorded again, whatever was killed meanwhile."""

from __future__ import annotations

import json
from datetime import datetime

from sqlalchemy import select

from agent.untrusted import clean
from policies.declarations import Severity
from policies.errors import GuardianError
from tools.systems.systems import Systems
from tools.systems.tables import AuditRow


def alert(systems: Systems, person: str, severity: Severity, text: str, *, since: datetime) -> None:
    """Notifies `person` unless the very same was said since `since`: `text` names the row it is about.

    A channel that is down is noted in the audit log, and holds nobody up.
    """
    message = json.dumps({"to": person, "severity": severity.value, "text": text}, sort_keys=True)
    said = select(AuditRow.number).where(AuditRow.action == "notify", AuditRow.at >= since, AuditRow.detail == message)
    with systems.store.reading() as session:
        if session.scalar(said.limit(1)) is not None:
            return
    try:
        systems.notifications.notify(person, severity, text)
    except GuardianError as error:
        detail = {"to": person, "error": clean(error), "text": text}
        systems.store.audit("guardian", "notify failed", detail, at=systems.clock.now())

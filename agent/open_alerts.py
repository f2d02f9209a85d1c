"""Open incidents and their letters, as the command line shows them."""

from __future__ import annotations

from pydantic import BaseModel
from sqlalchemy import select

from tools.systems.notify import Alert
from tools.systems.systems import Systems
from tools.systems.tables import DeliveryRow


class Delivery(BaseModel):
    """Where an alert was brought; `state`: `sent`, or `waiting` with the last error."""

    person: str
    channel: str
    address: str
    state: str
    error: str


class OpenAlert(BaseModel):
    """An open alert and its places."""

    alert: Alert
    deliveries: list[Delivery]


class OpenAlerts(BaseModel):
    """Open alerts, oldest first."""

    alerts: list[OpenAlert]


def listed(systems: Systems) -> OpenAlerts:
    """Every open alert."""
    with systems.store.reading() as session:
        rows = list(session.scalars(select(DeliveryRow).order_by(DeliveryRow.id)))
    found = []
    for alert in systems.notifications.open():
        places = [
            Delivery(
                person=row.person,
                channel=row.channel,
                address=row.address,
                state="sent" if row.sent >= row.wanted else "waiting",
                error=row.error,
            )
            for row in rows
            if row.alert_id == alert.id
        ]
        found.append(OpenAlert(alert=alert, deliveries=places))
    return OpenAlerts(alerts=found)

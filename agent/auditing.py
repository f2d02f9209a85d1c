"""`guardian audit verify`: is the audit log as it was written?"""

from __future__ import annotations

from pydantic import BaseModel
from sqlalchemy import func, select

from policies.errors import GuardianError
from tools.systems.systems import Systems
from tools.systems.tables import AuditRow


class AuditLog(BaseModel):
    """A sound log: how many rows, and the digest of the last. Who notes it elsewhere finds rows cut off its end too."""

    rows: int
    head: str | None


def verify(systems: Systems) -> AuditLog:
    """Follows the chain of digests. Raises GuardianError that names the first row that was edited or is missing."""
    broken = systems.store.verify_audit()
    if broken is not None:
        raise GuardianError(f"row {broken} was edited, or a row before it is missing", where="audit log")
    with systems.store.reading() as session:
        rows = session.scalar(select(func.count()).select_from(AuditRow)) or 0
        head = session.scalar(select(AuditRow.digest).order_by(AuditRow.number.desc()).limit(1))
    return AuditLog(rows=rows, head=head)

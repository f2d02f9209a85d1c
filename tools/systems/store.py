"""The state store: evidence rows, and sessions over the other tables. SQLite (WAL) or PostgreSQL."""

from __future__ import annotations

import builtins
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection, create_engine, event, func, make_url, select
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from policies.errors import GuardianError, InputError, SystemDown
from tools.systems import migrations, sqlite
from tools.systems.credentials import cleaned
from tools.systems.tables import AuditRow, Base, EvidenceRow

_FORMS = "write sqlite:///path/to/state.db or postgresql+psycopg://host/database (with psycopg installed)"


class Kind(StrEnum):
    """Kinds of evidence; the value is the prefix of the row's id."""

    drift_report = "drift"
    training_run = "train"
    evaluation = "eval"
    gate = "gate"
    investigation = "investigation"
    approval = "approval"
    rollout = "rollout"
    traffic_change = "traffic"
    kpi_reading = "kpi"
    run = "run"
    monitor = "monitor"


class Evidence(BaseModel):
    """One evidence row. `body` is the JSON of the result model it stores."""

    model_config = ConfigDict(frozen=True, from_attributes=True)

    id: str
    kind: Kind
    model: str
    version: str | None
    status: str | None
    created_at: datetime
    rests_on: str | None
    revision: int
    body: dict[str, Any]

    @property
    def number(self) -> int:
        """The how-manieth row of its kind it is: the order in which they were stored, whatever a clock says."""
        return int(self.id.rpartition("-")[2])


class StaleRevision(GuardianError):
    """Someone else changed the row meanwhile: read it again and decide again."""

    kind = "stale"


class Store:
    """Evidence and state behind one database URL (`sqlite:///path` or `postgresql+psycopg://…`)."""

    def __init__(self, url: str) -> None:
        self.url = url
        try:
            parsed = make_url(url)
        except (SQLAlchemyError, ValueError):  # a port that is no number
            raise InputError(f"is no database URL; {_FORMS}", where="systems.state") from None
        is_file = parsed.get_backend_name() == "sqlite"
        if is_file and parsed.database:
            try:
                Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise SystemDown(f"{parsed.database} cannot be made: {error.strerror}", where="state store") from error
        try:
            self._engine = create_engine(url, connect_args={"timeout": sqlite.WAIT_SECONDS} if is_file else {})
        except (SQLAlchemyError, ImportError) as error:
            backend = parsed.drivername
            raise InputError(
                f"{backend} cannot be used here: {cleaned(error, url)}; {_FORMS}", where="systems.state"
            ) from None
        if is_file:
            event.listen(self._engine, "connect", _tune_sqlite)
        self._sessions = sessionmaker(self._engine, expire_on_commit=False)
        try:
            self._prepare()
        except SQLAlchemyError as error:
            cause = error.__cause__ or error
            closed = is_file and parsed.database and not os.access(Path(parsed.database).parent, os.W_OK)
            hint = f"; {parsed.database} lies where nothing can be written" if closed else ""
            raise SystemDown(f"cannot be opened: {cleaned(cause, url)}{hint}", where="state store") from error

    def _prepare(self) -> None:
        with self._engine.connect() as connection:
            if migrations.current(connection) == migrations.HEAD:
                return
        with self._writing() as session:
            migrations.prepare(session.connection(), Base.metadata)

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._engine.dialect.name

    def connect(self) -> Connection:
        """A connection outside the sessions, without transactions."""
        return self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session for reads. Raises SystemDown where the database does not answer."""
        with self._answering(), self._sessions() as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A session in a write transaction, exclusive of other writers from its start; commits at the end.

        Raises SystemDown where the database does not answer, or cannot be written.
        """
        with self._answering(), self._writing() as session:
            yield session

    @contextmanager
    def _writing(self) -> Iterator[Session]:
        with self._sessions() as session:
            if self._engine.dialect.name == "sqlite":
                session.connection().exec_driver_sql("BEGIN IMMEDIATE")
            else:
                session.connection().exec_driver_sql("SELECT pg_advisory_xact_lock(20)")
            yield session
            session.commit()

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except OperationalError as error:
            shown = self._engine.url.database if self.dialect == "sqlite" else "the database"
            raise SystemDown(f"{shown}: {cleaned(error.orig or error, self.url)}", where="state store") from error

    def add(
        self,
        kind: Kind,
        model: str,
        body: BaseModel | Mapping[str, Any],
        *,
        at: datetime,
        version: str | None = None,
        status: str | None = None,
        rests_on: str | None = None,
    ) -> Evidence:
        """Appends a row; its id is the kind and the next number of that kind."""
        with self.writing() as session:
            return append(session, kind, model, body, at=at, version=version, status=status, rests_on=rests_on)

    def get(self, id: str) -> Evidence:
        """The row `id`. Raises InputError where there is none."""
        with self.reading() as session:
            row = session.get(EvidenceRow, id)
        if row is None:
            raise InputError(f"there is no row {id!r}; ids look like drift-7, gate-3 or rollout-2", where="state store")
        return Evidence.model_validate(row)

    def list(
        self,
        kind: Kind,
        model: str | None = None,
        *,
        version: str | None = None,
        status: str | None = None,
        since: datetime | None = None,
        said: Mapping[str, str] | None = None,
        limit: int | None = None,
    ) -> list[Evidence]:
        """Rows of a kind, newest first by the time they speak of: a look back does not become the present.

        `said`: texts that their bodies hold, by key.
        """
        newest_first = (EvidenceRow.created_at.desc(), EvidenceRow.number.desc())
        query = select(EvidenceRow).where(EvidenceRow.kind == kind.value).order_by(*newest_first)
        wanted_values = {EvidenceRow.model: model, EvidenceRow.version: version, EvidenceRow.status: status}
        for column, wanted in wanted_values.items():
            if wanted is not None:
                query = query.where(column == wanted)
        for key, text in (said or {}).items():
            query = query.where(EvidenceRow.body[key].as_string() == text)
        if since is not None:
            query = query.where(EvidenceRow.created_at >= since)
        with self.reading() as session:
            return [Evidence.model_validate(row) for row in session.scalars(query.limit(limit))]

    def latest(
        self, kind: Kind, model: str | None = None, *, version: str | None = None, status: str | None = None
    ) -> Evidence | None:
        """The newest row of a kind, None where there is none."""
        return next(iter(self.list(kind, model, version=version, status=status, limit=1)), None)

    def update(
        self,
        id: str,
        *,
        body: BaseModel | Mapping[str, Any] | None = None,
        status: str | None = None,
        version: str | None = None,
        rests_on: str | None = None,
        expected_revision: int | None = None,
    ) -> Evidence:
        """Changes a row and raises its revision. Raises StaleRevision where it is not at `expected_revision`."""
        with self.writing() as session:
            row = session.get(EvidenceRow, id)
            if row is None:
                raise InputError(f"there is no row {id!r}", where="state store")
            if expected_revision is not None and row.revision != expected_revision:
                raise StaleRevision(f"is at revision {row.revision}, not {expected_revision}", where=id)
            row.body = row.body if body is None else _json(body)
            row.status = row.status if status is None else status
            row.version = row.version if version is None else version
            row.rests_on = row.rests_on if rests_on is None else rests_on
            row.revision += 1
            session.flush()
            return Evidence.model_validate(row)

    def chain(self, id: str) -> Sequence[Evidence]:
        """The row `id` and all it rests on, from effect to cause."""
        links: builtins.list[Evidence] = []
        following: str | None = id
        while following is not None and all(link.id != following for link in links):
            links.append(self.get(following))
            following = links[-1].rests_on
        return links

    def audit(self, actor: str, action: str, detail: Mapping[str, Any], *, at: datetime) -> None:
        """Appends to the audit log; each digest covers the row before, so that an edited row shows."""
        with self.writing() as session:
            append_audit(session, actor, action, detail, at=at)

    def verify_audit(self) -> int | None:
        """The number of the first audit row that was changed or follows a missing one; None where all is sound."""
        before, number = "", 0
        with self.reading() as session:
            for row in session.scalars(select(AuditRow).order_by(AuditRow.number)):
                number += 1
                if row.number != number or row.digest != audit_digest(row, before):
                    return number
                before = row.digest
        return None

    def close(self) -> None:
        """Gives the connections back."""
        self._engine.dispose()


def append(
    session: Session,
    kind: Kind,
    model: str,
    body: BaseModel | Mapping[str, Any],
    *,
    at: datetime,
    version: str | None = None,
    status: str | None = None,
    rests_on: str | None = None,
) -> Evidence:
    """`Store.add` inside a write transaction, for a row that may be added only if what was read there still holds."""
    last = session.scalar(select(func.max(EvidenceRow.number)).where(EvidenceRow.kind == kind.value)) or 0
    row = EvidenceRow(
        id=f"{kind.value}-{last + 1}",
        kind=kind.value,
        number=last + 1,
        model=model,
        version=version,
        status=status,
        created_at=at,
        rests_on=rests_on,
        revision=1,
        body=_json(body),
    )
    session.add(row)
    session.flush()
    return Evidence.model_validate(row)


def append_audit(session: Session, actor: str, action: str, detail: Mapping[str, Any], *, at: datetime) -> None:
    """`Store.audit` inside a write transaction, for what must be logged with the change it tells of or not at all."""
    text = json.dumps(detail, sort_keys=True, default=str)
    last = session.scalar(select(AuditRow).order_by(AuditRow.number.desc()).limit(1))
    row = AuditRow(number=last.number + 1 if last else 1, at=at, actor=actor, action=action, detail=text)
    row.digest = audit_digest(row, last.digest if last else "")
    session.add(row)
    session.flush()


def audit_digest(row: AuditRow, before: str) -> str:
    """SHA-256 over a row's content and the digest of the row before it."""
    content = json.dumps([before, row.number, row.at.isoformat(), row.actor, row.action, row.detail])
    return hashlib.sha256(content.encode()).hexdigest()


def _json(body: BaseModel | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(body, BaseModel):
        return body.model_dump(mode="json")
    loaded: dict[str, Any] = json.loads(json.dumps(dict(body), default=str))
    return loaded


def _tune_sqlite(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # BEGIN IMMEDIATE is ours to say
    sqlite.tune(connection)

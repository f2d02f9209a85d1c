"""Which version answers which share of a model's requests. The newest split in the store is in force."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime

from pydantic import BaseModel, ConfigDict
from sqlalchemy import func, select

from tools.systems.routing.gateway import GatewayTraffic
from tools.systems.routing.protocol import Traffic
from tools.systems.store import Kind, Store
from tools.systems.tables import SplitRow, WorkerRow

_ALIVE_SECONDS = 3.0


class Split(BaseModel):
    """A traffic split: `challenger_pct` of the requests go to the challenger, the rest to the champion.

    `mirrored`: the challenger gets a copy of every request and nobody gets its answers. `salt` keys the hash that
    shares ids out; empty, the model's name alone does. `endpoints` are paths at which one version alone answers.
    """

    model_config = ConfigDict(frozen=True, from_attributes=True)

    model: str
    number: int
    champion: str
    challenger: str | None
    challenger_pct: float
    mirrored: bool = False
    salt: str = ""
    endpoints: dict[str, str] = {}


class Splits:
    """The splits of all models and the workers that serve them, through the state store.

    `adapters` are what routes the models that the gateway alone does not.
    """

    def __init__(self, store: Store, adapters: Mapping[str, Traffic] | None = None) -> None:
        self._store = store
        self._gateway = GatewayTraffic(self.live_workers)
        self._adapters = dict(adapters or {})

    def adapter(self, model: str) -> Traffic:
        """What routes a model's requests."""
        return self._adapters.get(model, self._gateway)

    def split(self, model: str, at: datetime | None = None) -> Split | None:
        """The split in force, now or as of `at`; None where the model was not served yet."""
        query = select(SplitRow).where(SplitRow.model == model).order_by(SplitRow.number.desc()).limit(1)
        if at is not None:
            query = query.where(SplitRow.at <= at)
        with self._store.reading() as session:
            row = session.scalar(query)
        return Split.model_validate(row) if row else None

    def champion_since(self, model: str) -> datetime | None:
        """Since when the version that is champion now has been it without a break; None where nothing is served."""
        query = select(SplitRow).where(SplitRow.model == model).order_by(SplitRow.number.desc())
        since, champion = None, None
        with self._store.reading() as session:
            for row in session.scalars(query):
                champion = champion or row.champion
                if row.champion != champion:
                    break
                since = row.at
        return since

    def set(
        self,
        model: str,
        champion: str,
        challenger: str | None = None,
        challenger_pct: float = 0.0,
        *,
        mirrored: bool = False,
        salt: str = "",
        endpoints: Mapping[str, str] | None = None,
        at: datetime,
        why: str,
        rests_on: str | None,
        wait_seconds: float = 5.0,
    ) -> Split:
        """Puts a split in force, or raises SystemDown or InputError where what routes the model did not acknowledge
        it. Nothing is written where it is in force, nor before an outside system acknowledged.

        The traffic evidence row's status is `acknowledged`; of the gateway's workers also `unacknowledged` after
        `wait_seconds`, or `no_worker`.
        """
        before, adapter = self.split(model), self.adapter(model)
        wanted = {
            "champion": champion,
            "challenger": challenger,
            "challenger_pct": challenger_pct if challenger else 0.0,
            "mirrored": mirrored and challenger is not None,
            "salt": salt,
            "endpoints": dict(endpoints or {}),
        }
        recorded = before
        if before and before.model_dump(exclude={"model", "number"}) == wanted:
            if adapter.in_force(before):
                return before
            why = f"{why} (again: something else was in force)"

        def record() -> int:
            nonlocal recorded
            with self._store.writing() as session:
                last = session.scalar(select(func.max(SplitRow.number)).where(SplitRow.model == model))
                row = SplitRow(model=model, number=(last or 0) + 1, at=at, **wanted)
                session.add(row)
                session.flush()
                recorded = Split.model_validate(row)
            return recorded.number

        asked = Split.model_validate({**wanted, "model": model, "number": 0})
        status = adapter.apply(asked, record, wait_seconds)
        assert recorded is not None
        body = {**recorded.model_dump(), "before": before.model_dump() if before else None, "why": why}
        self._store.add(
            Kind.traffic_change, model, body, at=at, version=challenger or champion, status=status, rests_on=rests_on
        )
        return recorded

    def restore(self, model: str, *, at: datetime) -> None:
        """Puts the recorded split in force again where what routes the model lost it, as by a restart. Raises
        SystemDown, InputError."""
        split = self.split(model)
        if split is not None and not self.adapter(model).in_force(split):
            self.set(**split.model_dump(exclude={"number"}), at=at, why="reconciled", rests_on=None)

    def acknowledge(self, worker: str, model: str, number: int) -> None:
        """Says that `worker` serves split `number` and no older one from now on."""
        self._sign(worker, model, number)

    def heartbeat(self, worker: str, model: str) -> None:
        """Says that `worker` lives; three seconds without one and nobody waits for it."""
        self._sign(worker, model, None)

    def leave(self, worker: str) -> None:
        """Says that `worker` stops."""
        with self._store.writing() as session:
            for row in session.scalars(select(WorkerRow).where(WorkerRow.worker == worker)):
                session.delete(row)

    def live_workers(self, model: str) -> dict[str, int]:
        """Workers seen within three seconds, each with the number of the split it serves."""
        since = time.time() - _ALIVE_SECONDS
        with self._store.reading() as session:
            rows = session.scalars(select(WorkerRow).where(WorkerRow.model == model, WorkerRow.seen >= since))
            return {row.worker: row.acknowledged for row in rows}

    def _sign(self, worker: str, model: str, number: int | None) -> None:
        with self._store.writing() as session:
            row = session.get(WorkerRow, (worker, model))
            if row is None:
                row = WorkerRow(worker=worker, model=model, acknowledged=0, seen=0.0)
                session.add(row)
            row.seen = time.time()
            if number is not None:
                row.acknowledged = max(row.acknowledged, number)

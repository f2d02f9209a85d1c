"""A small world for the agent's tests: the real store, clock, traffic and declarations, and five quick tools."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from policies.declarations import Operations, load
from policies.errors import InputError, PolicyRefusal, SystemDown
from tools.systems.clock import VirtualClock
from tools.systems.notify import Notifications
from tools.systems.registry import ModelVersion
from tools.systems.store import Kind, Store
from tools.systems.systems import Systems
from tools.systems.tool import Effect, Tool
from tools.systems.traffic import Splits
from tools.systems.warehouse import Warehouse

OPERATIONS = Path(__file__).parents[2] / "evals" / "operations.yaml"
NIGHT = datetime(2026, 2, 2, 2, 0)
MODEL = "ChurnModel"
KPI_BLOCK = "business_kpi_trackers"


class Monitor(BaseModel):
    monitor: str
    at: datetime | None


class Pipeline(BaseModel):
    pipeline: str
    force_trigger: str | None


class Challenge(BaseModel):
    challenge: str


class Strategy(BaseModel):
    strategy: str
    model: str
    version: str


class Tracker(BaseModel):
    tracker: str
    at: datetime | None


class Report(BaseModel):
    report_id: str
    monitor: str
    model: str
    status: str
    drift_detected: bool
    severity: str
    checks: list[dict[str, Any]]
    diagnosis: dict[str, Any]


class Training(BaseModel):
    run_id: str
    pipeline: str
    started: bool
    skipped_because: str | None
    version: str | None


class Evaluation(BaseModel):
    evaluation_id: str
    verdict: str
    weighted_improvement: float
    challenger: dict[str, Any]
    gate: dict[str, Any]


class Rollout(BaseModel):
    rollout_id: str
    strategy: str
    model: str
    version: str
    status: str
    stage: int
    traffic_pct: float


class Readings(BaseModel):
    tracker: str
    readings: list[dict[str, Any]]
    disconnect: bool


class Registered:
    """The registry as the policies see it."""

    def alias(self, name: str, alias: str) -> str | None:
        return "1" if alias == "champion" else None

    def get(self, name: str, version: str) -> ModelVersion:
        if version not in ("1", "2"):
            raise InputError(f"has no version {version!r} of {name!r}", where="model registry")
        return ModelVersion(
            name=name,
            version=version,
            run_id="r",
            created_at=NIGHT,
            params={},
            metrics={},
            tags={},
            aliases=(),
            digest=f"digest-{version}",
            size_mb=1.0,
        )


@dataclass
class World:
    """What the tools will find, and how often each was carried out."""

    systems: Systems
    drift: bool = True
    broken: bool = False
    unlabelled: bool = False
    skipped: str | None = None
    verdict: str = "challenger_wins"
    gate: str = "passed"
    kpi_severity: str = "ok"
    disconnect: bool = False
    down: set[str] = field(default_factory=set)
    calls: list[str] = field(default_factory=list)

    def toolbox(self) -> dict[str, Tool]:
        """The five tools, in the toolbox's order."""
        return {
            tool.name: tool
            for tool in (
                Tool("check_drift", Effect.READ, Monitor, Report, self.check_drift, {"monitor": "drift_monitors"}),
                Tool("retrain", Effect.WRITE, Pipeline, Training, self.retrain, {"pipeline": "retraining_pipelines"}),
                Tool(
                    "evaluate", Effect.READ, Challenge, Evaluation, self.evaluate, {"challenge": "champion_challengers"}
                ),
                Tool(
                    "deploy",
                    Effect.WRITE,
                    Strategy,
                    Rollout,
                    self.deploy,
                    {"strategy": "deployment_strategies", "model": "models"},
                ),
                Tool("track_kpis", Effect.READ, Tracker, Readings, self.track_kpis, {"tracker": KPI_BLOCK}),
            )
        }

    def check_drift(self, systems: Systems, arguments: Monitor) -> Report:
        """Runs a drift monitor: is the world still the one the model learned?"""
        self._called("check_drift")
        severity = "critical" if self.broken else "warning" if self.drift else "ok"
        psi = 0.31 if self.drift else 0.01
        checks = [_check("data_drift", "spend_30d", psi, 0.2, "warning" if self.drift else "ok")]
        checks += [_check("data_drift", f"feature_{n}", 0.01, 0.2, "ok") for n in range(20)]
        if self.broken:
            late = _check("schema_drift", "crm_loaded_at", 48.0, 24.0, "critical")
            checks.append({**late, "detail": "loaded 48 h after the rows, at most 24 h is allowed"})
        if self.unlabelled:
            late = _check("concept_drift", "auc_roc", 0.0, 0.05, "unknown")
            checks.append({**late, "detail": "not enough labels yet: 0 of 200"})
        crm = {"source": "crm", "owner": "data-team", "features": [], "signs": ["crm_loaded_at: loaded 48 h late"]}
        kind = "pipeline" if self.broken else "world" if self.drift else "none"
        body = {
            "diagnosis": {"kind": kind, "sources": [crm] if self.broken else []},
            "monitor": arguments.monitor,
            "model": MODEL,
            "status": "checked",
            "drift_detected": self.drift or self.broken,
            "severity": severity,
            "checks": checks,
        }
        return Report.model_validate(self._stored(Kind.drift_report, "report_id", body, severity))

    def retrain(self, systems: Systems, arguments: Pipeline) -> Training:
        """Trains a challenger where a trigger fires."""
        self._called("retrain")
        body = {
            "pipeline": arguments.pipeline,
            "started": self.skipped is None,
            "skipped_because": self.skipped,
            "version": None if self.skipped else "2",
        }
        return Training.model_validate(self._stored(Kind.training_run, "run_id", body, "done", "2"))

    def evaluate(self, systems: Systems, arguments: Challenge) -> Evaluation:
        """Judges challenger against champion, and a winner by the quality gate."""
        self._called("evaluate")
        judged = {"artifact_digest": "digest-2", "champion": "1", "holdout_digest": "h"}
        row = self.systems.store.add(Kind.gate, MODEL, judged, at=self._now, version="2", status=self.gate)
        body = {
            "verdict": self.verdict,
            "weighted_improvement": 0.04,
            "challenger": {"version": "2", "metrics": {"auc_roc": 0.843217}},
            "gate": {"gate_id": row.id, "status": self.gate, "checks": []},
        }
        return Evaluation.model_validate(self._stored(Kind.evaluation, "evaluation_id", body, self.verdict, "2"))

    def deploy(self, systems: Systems, arguments: Strategy) -> Rollout:
        """Starts a rollout of a version that passed its quality gate."""
        self._called("deploy")
        body = {**arguments.model_dump(), "status": "running", "stage": 0, "traffic_pct": 5.0}
        return Rollout.model_validate(self._stored(Kind.rollout, "rollout_id", body, "running", arguments.version))

    def track_kpis(self, systems: Systems, arguments: Tracker) -> Readings:
        """Reads the business KPIs of a tracker."""
        self._called("track_kpis")
        reading = {"kpi": "churn_rate", "value": 0.15, "target": 0.08, "severity": self.kpi_severity, "change_pct": 3.0}
        return Readings(tracker=arguments.tracker, readings=[reading], disconnect=self.disconnect)

    @property
    def _now(self) -> datetime:
        return self.systems.clock.now()

    def _called(self, tool: str) -> None:
        self.calls.append(tool)
        if tool in self.down:
            raise SystemDown("did not answer", where="warehouse")
        if f"refuse {tool}" in self.down:
            raise PolicyRefusal("retraining_cooldown", "the last run was an hour ago")
        if f"bug in {tool}" in self.down:
            raise ZeroDivisionError("division by zero")

    def _stored(
        self, kind: Kind, key: str, body: dict[str, Any], status: str, version: str | None = None
    ) -> dict[str, Any]:
        row = self.systems.store.add(kind, MODEL, body, at=self._now, status=status, version=version)
        return {key: row.id, **body}


def declare_approvals(world: World, **rules: object) -> None:
    """Declares `systems.approvals`, as the file would."""
    block = world.systems.operations.systems
    declared = type(block).model_validate({**block.model_dump(mode="json"), "approvals": rules})
    world.systems.operations = world.systems.operations.model_copy(update={"systems": declared})


def build_world(folder: Path, operations: Operations | None = None, store_url: str | None = None) -> World:
    """A world in `folder`, at two o'clock at night; `operations` saves reading the declarations again."""
    shutil.copy(OPERATIONS, folder / "operations.yaml")
    store = Store(store_url or f"sqlite:///{folder / '.guardian' / 'state.db'}")
    clock = VirtualClock(store)
    clock.set(NIGHT)
    systems = Systems(
        operations=operations or load(folder / "operations.yaml"),
        home=folder,
        clock=clock,
        store=store,
        warehouse=Warehouse(folder / "warehouse"),
        registry=Registered(),  # type: ignore[arg-type]
        traffic=Splits(store),
        notifications=Notifications(store, clock),
    )
    return World(systems)


def _check(kind: str, subject: str, value: float, threshold: float, severity: str) -> dict[str, Any]:
    return {"type": kind, "subject": subject, "value": value, "threshold": threshold, "severity": severity}

"""What happened, gathered from the state store: the content of a run's report, or of a model's period.

Nothing is remembered and nothing is measured anew but two pictures (distributions, live AUC), drawn from the warehouse;
where its rows are gone the pictures are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import Select, select

from agent.budget import Spent, spent_by_run
from agent.report import reading, sentences
from agent.report.distributions import drifted_distributions
from agent.report.headline import told
from agent.report.live import deployed_auc, live_auc
from agent.report.model import (
    EvidenceLink,
    Gate,
    Marker,
    MarkerKind,
    ReportContent,
    Rollout,
    Spend,
    Waiting,
)
from agent.report.rollouts import rollout as rollout_of
from agent.report.runs import chosen_model, concerns, ids_in, outcomes_of
from agent.report.story import story
from policies.declarations.training import DecayTrigger
from policies.errors import InputError
from tools.systems.store import Evidence, Kind
from tools.systems.tables import ActionRow

if TYPE_CHECKING:
    from tools.systems.systems import Systems

_MADE = (
    Kind.drift_report, Kind.training_run, Kind.evaluation, Kind.gate, Kind.approval, Kind.rollout, Kind.traffic_change,
    Kind.kpi_reading,
)  # fmt: skip
_HISTORY = timedelta(weeks=8)
_AFTERMATH = timedelta(weeks=3)
_ORDER = {kind: place for place, kind in enumerate(_MADE)}


@dataclass(frozen=True)
class _Rows:
    """Evidence of one model, oldest first, and the calls that led to it."""

    model: str
    start: datetime
    end: datetime
    rows: Sequence[Evidence]
    actions: Sequence[ActionRow] = ()

    def of(self, kind: Kind) -> list[Evidence]:
        return [row for row in self.rows if row.kind is kind]

    def newest(self, kind: Kind) -> Evidence | None:
        return next(reversed(self.of(kind)), None)


def content_of_run(systems: Systems, run_id: str, model: str | None = None) -> ReportContent:
    """The report of one run: what it found and did, and what came of it since (a rollout it started, say).

    A run over several models is told for `model`, else for the one with the worst findings; the others are a line each.
    Raises InputError where there is no such run, or it was not about `model`.
    """
    run = systems.store.get(run_id)
    if run.kind is not Kind.run:
        raise InputError(f"is not a run but a {run.kind.name}; ids of runs look like run-9", where=run_id)
    outcomes = outcomes_of(run)
    chosen = chosen_model(run, outcomes, model)
    actions = _calls(systems, select(ActionRow).where(ActionRow.run_id == run_id), chosen)
    start = run.created_at
    end = max([start, *(each.ended_at for each in actions if each.ended_at)])
    named: set[str | None] = {str(found) for each in actions for found in ids_in((each.outcome or {}).get("facts"))}
    since = _rows_between(systems, chosen, start, end)
    made = [
        row
        for row in since
        if not named or {row.id, row.rests_on} & named or row.kind in (Kind.kpi_reading, Kind.approval)
    ]
    rollouts = {row.id for row in made if row.kind is Kind.rollout}
    later = [r for r in systems.store.list(Kind.traffic_change, chosen, since=start) if r.rests_on in rollouts]
    rows = _sorted({row.id: row for row in [*made, *later]}.values())
    found = _Rows(chosen, start, end, rows, actions)
    content = _content(systems, found, whole_period=False)
    others = tuple(
        f"{name}: {reading.text(part, 'outcome') or reading.text(part, 'status')}"
        for name, part in outcomes.items()
        if name != chosen
    )
    content = content.model_copy(
        update={
            "run_id": run_id,
            "planner": reading.text(run.body, "planner"),
            "spend": _spend(systems, spent_by_run(systems.store, run_id)),
            "notes": (*content.notes, *others),
        }
    )
    return told(content, skipped=_skipped(found), failures=_failures(found))


def content_of_period(systems: Systems, model: str, start: datetime, end: datetime) -> ReportContent:
    """Everything that happened to a model in [start, end], over all runs. Quiet checks are left out of the story.

    A model that nobody watched in that time is told as left alone.
    """
    systems.operations.model(model)
    rows = _sorted(_rows_between(systems, model, start, end))
    within = select(ActionRow).where(ActionRow.started_at >= start, ActionRow.started_at <= end)
    found = _Rows(model, start, end, rows, _calls(systems, within, model))
    content = _content(systems, found, whole_period=True)
    watched = found.actions or found.of(Kind.drift_report) or found.of(Kind.rollout)
    if watched or systems.store.latest(Kind.monitor, model):
        return content
    alone = [
        week.model_copy(update={"with_guardian": None, "without_guardian": week.with_guardian})
        for week in content.weeks
    ]
    return told(content.model_copy(update={"with_agent": False, "weeks": tuple(alone)}))


def _calls(systems: Systems, query: Select[ActionRow], model: str) -> list[ActionRow]:
    """Calls about a model, oldest first."""
    with systems.store.reading() as session:
        rows = session.scalars(query.order_by(ActionRow.started_at, ActionRow.call_id)).all()
    return [row for row in rows if concerns(row, model, systems.operations.models)]


def _content(systems: Systems, found: _Rows, *, whole_period: bool) -> ReportContent:
    operations, store = systems.operations, systems.store
    rollout_row = found.newest(Kind.rollout)
    chain = list(store.chain(rollout_row.id)) if rollout_row else []
    decisive = {row.kind: row for row in chain}

    def decided(kind: Kind) -> Evidence | None:
        return decisive.get(kind) or found.newest(kind)

    training_row, judged = decided(Kind.training_run), decided(Kind.evaluation)
    latest = found.newest(Kind.drift_report)
    triggering = decisive.get(Kind.drift_report) or _rested_on(systems, training_row)
    latest_report = reading.drift_report(latest, operations) if latest else None
    trigger_report = reading.drift_report(triggering, operations) if triggering and triggering is not latest else None
    rollout = rollout_as_told(systems, rollout_row)
    shown = trigger_report or latest_report
    disconnect = [r for r in found.of(Kind.kpi_reading) if r.body.get("disconnect") is True]
    past = store.list(Kind.kpi_reading, found.model, limit=400)
    begins = found.start if whole_period else found.end - _HISTORY
    until = found.end if whole_period else _known(systems, found, rollout)
    content = ReportContent(
        headline="",
        model=found.model,
        gate_off_by=tuple(operations.gate_off_by(found.model)),
        period_start=found.start,
        period_end=found.end,
        waiting=_waiting(found, rollout),
        story=story(found.rows, found.actions, whole_period=whole_period),
        drift_latest=latest_report,
        drift_triggering=trigger_report,
        distributions=drifted_distributions(systems, found.model, shown) if shown else (),
        weeks=live_auc(systems, found.model, begins, until),
        markers=_markers(found, rollout),
        auc_floor=auc_floor(systems, found.model),
        auc_deployed=deployed_auc(systems, found.model, begins),
        training=reading.training(training_row) if training_row and training_row.body.get("pipeline") else None,
        evaluation=reading.evaluation(judged, operations) if judged else None,
        gate=_gate(found, decisive, judged),
        rollout=rollout,
        kpis=reading.kpi_readings(
            found.of(Kind.kpi_reading), [r for r in past if r.created_at <= found.end], operations
        ),
        kpi_disconnect=reading.text(disconnect[-1].body, "detail") if disconnect else "",
        evidence=_evidence(systems, found),
    )
    return told(content, skipped=_skipped(found), failures=_failures(found))


def rollout_as_told(systems: Systems, row: Evidence | None) -> Rollout | None:
    """A rollout with its traffic as it was set; None for none."""
    if row is None:
        return None
    changes = [each for each in systems.store.list(Kind.traffic_change, row.model) if each.rests_on == row.id]
    return rollout_of(row, changes, systems.operations)


def _known(systems: Systems, found: _Rows, rollout: Rollout | None) -> datetime:
    """Until when live performance is told: what a run put live shows in the weeks after it, as far as there are any."""
    if rollout is None or not rollout.traffic:
        return found.end
    return max(found.end, min(systems.clock.now(), rollout.traffic[-1].at + _AFTERMATH))


def _gate(found: _Rows, decisive: Mapping[Kind, Evidence], judged: Evidence | None) -> Gate | None:
    """The gate of the evaluation that is told; without one, the newest gate."""
    row, inner = decisive.get(Kind.gate), reading.mapping(judged.body, "gate") if judged else {}
    if row is None:
        rows = found.of(Kind.gate)
        row = next((r for r in rows if r.id == inner.get("gate_id")), None) if judged else found.newest(Kind.gate)
    if row is not None:
        return reading.gate({**inner, **row.body}, row)
    return reading.gate(inner, None) if inner else None


def _rested_on(systems: Systems, row: Evidence | None) -> Evidence | None:
    """The drift report that a training run rests on."""
    if row is None or row.rests_on is None:
        return None
    chain = systems.store.chain(row.id)
    return next((each for each in chain if each.kind is Kind.drift_report), None)


def _markers(found: _Rows, rollout: Rollout | None) -> tuple[Marker, ...]:
    trained = [row for row in found.of(Kind.training_run) if row.body.get("pipeline") and row.version]
    marks = [Marker(at=row.created_at, label="retrained", kind=MarkerKind.action) for row in trained]
    if rollout is not None and rollout.traffic:
        label = {"promoted": "promoted", "rolled_back": "rolled back", "aborted": "rolled back"}.get(rollout.status)
        if label:
            marks.append(Marker(at=rollout.traffic[-1].at, label=label, kind=MarkerKind.action))
    return tuple(marks)


def _waiting(found: _Rows, rollout: Rollout | None) -> tuple[Waiting, ...]:
    asked = [
        Waiting(
            what=reading.text(row.body, "what") or reading.text(row.body, "reason") or "a decision",
            whom=reading.text(row.body, "whom"),
            id=row.id,
            since=row.created_at,
        )
        for row in found.of(Kind.approval)
        if row.status in ("pending", "waiting", None)
    ]
    if rollout is not None and rollout.status in ("paused", "waiting_approval"):
        what = f"the rollout of version {rollout.version} is {rollout.status.replace('_', ' ')}"
        asked.append(Waiting(what=f"{what}{f': {rollout.reason}' if rollout.reason else ''}", id=rollout.rollout_id))
    return tuple(asked)


def _evidence(systems: Systems, found: _Rows) -> tuple[EvidenceLink, ...]:
    """The chain from the last effect back to its cause."""
    effects = (Kind.traffic_change, Kind.rollout, Kind.gate, Kind.evaluation, Kind.training_run, Kind.drift_report)
    head = next((row for kind in effects if (row := found.newest(kind))), None)
    return tuple(
        EvidenceLink(
            id=row.id, kind=row.kind.name, at=row.created_at, text=sentences.sentence(row), status=_shown_status(row)
        )
        for row in (systems.store.chain(head.id) if head else ())
    )


def _shown_status(row: Evidence) -> str:
    """A row's status, where its sentence does not say it."""
    return row.status or "" if row.kind is Kind.rollout or row.status in ("unacknowledged", "failed") else ""


def auc_floor(systems: Systems, model: str) -> float | None:
    """The AUC below which a retraining is triggered, None where none is declared."""
    name = systems.operations.pipeline_of(model)
    triggers = systems.operations.retraining_pipelines[name].triggers if name else []
    return next((t.threshold for t in triggers if isinstance(t, DecayTrigger) and t.metric == "auc_roc"), None)


def _spend(systems: Systems, spent: Spent) -> Spend:
    """The run's spending against the budget of the declared agent (the first, where there are several)."""
    operations = systems.operations
    agent = next(iter(operations.agents.values()), None)
    budget = operations.budgets.get(agent.budget) if agent else None
    return Spend(
        **spent.model_dump(),
        budget_usd=budget.cost if budget else None,
        budget_tokens=budget.tokens if budget else None,
    )


def _skipped(found: _Rows) -> str:
    for action in reversed(found.actions):
        facts = reading.mapping(action.outcome or {}, "facts")
        if action.tool == "retrain" and facts.get("started") is False:
            return reading.text(facts, "skipped_because")
    return ""


def _failures(found: _Rows) -> int:
    return sum(action.status == "failed" for action in found.actions)


def _rows_between(systems: Systems, model: str, start: datetime, end: datetime) -> list[Evidence]:
    rows = [row for kind in _MADE for row in systems.store.list(kind, model, since=start)]
    return [row for row in rows if row.created_at <= end]


def _sorted(rows: Iterable[Evidence]) -> list[Evidence]:
    """Oldest first; of one moment in the order of the loop."""
    return sorted(rows, key=lambda row: (row.created_at, _ORDER[row.kind], int(row.id.rpartition("-")[2])))

"""A model of the electricity market from its adoption to the last week of the data, with the Guardian and without."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from statistics import fmean
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from evals.scratch import ScratchFolder
from policies.declarations.binding import LatestLabelled
from policies.errors import InputError
from tools.serving.batch import score_window
from tools.systems.clock import VirtualClock
from tools.systems.store import Evidence, Kind
from tools.systems.systems import Systems

if TYPE_CHECKING:
    import pandas as pd

    from agent.triage_result import ModelTriage

MODEL = "Elec2"
FEATURES = ["period", "nswprice", "nswdemand", "vicprice", "vicdemand", "transfer"]
FIRST_ROW = datetime(1996, 5, 7)
HALF_HOUR = timedelta(minutes=30)
DAY = timedelta(days=1)
WEEK = 7 * DAY
LABEL_LAG = DAY
DAYS_BEFORE_ADOPTION = 283
"""The first 30% of the 944 days."""
ADOPTED = FIRST_ROW + DAYS_BEFORE_ADOPTION * DAY
BASELINE = 8 * WEEK
TABLES = tuple(f"elec2.{name}" for name in ("rows", "labels", "baseline", "predictions"))

Say = Callable[[str], None]


class Week(BaseModel):
    """A week's live AUC, that of the first champion left alone, and what the week's triage did.

    `version` served the week; `concept` is the detail of a concept_drift finding.
    """

    model_config = ConfigDict(frozen=True)

    start: datetime
    auc: float
    without: float
    version: str
    rows: int
    findings: list[str]
    concept: str | None
    training: str | None
    verdict: str | None
    gate: str | None
    outcome: str


class Judgement(BaseModel):
    """A training, the drift report that it answers, and what became of it."""

    model_config = ConfigDict(frozen=True)

    at: datetime
    run_id: str
    drift_report: str
    because_of_decay: bool
    version: str | None
    evaluation_id: str | None
    verdict: str | None
    champion_auc: float | None
    challenger_auc: float | None
    gate: str | None
    rollout: str | None


class Elec2Result(BaseModel):
    """What the example saw. AUCs are means over the weeks."""

    model_config = ConfigDict(frozen=True)

    first_auc: float
    weeks: list[Week]
    mean_auc: float
    mean_without: float
    decay_found: datetime | None
    judgements: list[Judgement]

    @property
    def promotions(self) -> int:
        """How many of the trainings took over."""
        return sum(1 for each in self.judgements if each.rollout and each.rollout.endswith("promoted"))


def run_example(
    data: Path, directory: Path, say: Say = lambda line: None, most_weeks: int | None = None
) -> Elec2Result:
    """Adopts a first champion on the first 30% of the days, then lives week by week with a triage at each end.

    `most_weeks` None: to the end of the data. Raises InputError for a file that is not Elec2.
    """
    from tools.check_drift.tool import start_monitor

    rows = read(data)
    end = rows["at"].iloc[-1].to_pydatetime() + HALF_HOUR
    if most_weeks is not None:
        end = min(end, ADOPTED + most_weeks * WEEK)
    folder = ScratchFolder(directory, "evals.elec2", TABLES)
    systems = Systems.open(directory / "operations.yaml")
    try:
        say(f"{DAYS_BEFORE_ADOPTION} days are there; training the first champion")
        first_auc = adopt(systems, rows)
        for monitor in systems.operations.monitors_of(MODEL):
            start_monitor(systems, monitor)
        left_alone = systems.registry.load(systems.operations.model(MODEL).registry_name, "1")
        weeks: list[Week] = []
        while (start := ADOPTED + len(weeks) * WEEK) < end:
            weeks.append(_live(systems, rows, start, min(start + WEEK, end), left_alone))
            say(_line(weeks[-1]))
        return Elec2Result(
            first_auc=first_auc,
            weeks=weeks,
            mean_auc=fmean(each.auc for each in weeks),
            mean_without=fmean(each.without for each in weeks),
            decay_found=next((each.start + WEEK for each in weeks if each.concept), None),
            judgements=_judgements(systems),
        )
    finally:
        systems.close()
        folder.close()


def adopt(systems: Systems, rows: pd.DataFrame) -> float:
    """Lets the days before the adoption come in and trains the first champion on them; its AUC on its holdout."""
    from tools.retrain.tool import train_first_champion

    _set(systems, ADOPTED)
    _arrive(systems, rows, FIRST_ROW, ADOPTED)
    _write(systems, rows, "elec2.baseline", ADOPTED - BASELINE, ADOPTED)
    # The first holdout is the baseline: what the champion is compared with later, it did not learn from.
    held = LatestLabelled(latest=BASELINE - LABEL_LAG, label_delay=LABEL_LAG)
    binding = systems.operations.model(MODEL).model_copy(update={"holdout": held})
    operations = systems.operations.model_copy(update={"models": {MODEL: binding}})
    first = train_first_champion(replace(systems, operations=operations), MODEL, ADOPTED)
    assert first.version is not None
    why = "first champion, adopted by a person"
    systems.traffic.set(MODEL, first.version, at=ADOPTED, why=why, rests_on=first.run_id)
    return first.metrics["holdout_auc_roc"]


def week_passes(systems: Systems, rows: pd.DataFrame, start: datetime, end: datetime) -> None:
    """The rows of a week come in and are scored by what serves; labels follow a day later."""
    _arrive(systems, rows, start, end)
    _set(systems, end)
    score_window(systems, MODEL, start, end)


def read(data: Path) -> pd.DataFrame:
    """The file's rows as the warehouse holds them: id, at, features, price_up. Raises InputError."""
    import pandas as pd

    try:
        found = pd.read_csv(data)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read: {error}", where=str(data)) from error
    if missing := [name for name in (*FEATURES, "class") if name not in found.columns]:
        raise InputError(f"is not Elec2: it has no column {', '.join(missing)}", where=str(data))
    frame = found[FEATURES].astype("float64")
    frame.insert(0, "id", range(len(frame)))
    frame.insert(1, "at", pd.date_range(FIRST_ROW, periods=len(frame), freq=HALF_HOUR).astype("datetime64[us]"))
    return frame.assign(price_up=found["class"].astype(bool))


def show(result: Elec2Result) -> str:
    """The summary for people."""
    lines = [f"First champion    AUC {result.first_auc:.3f} on its holdout, the 8 weeks before {ADOPTED:%Y-%m-%d}", ""]
    lines += [_line(each) for each in result.weeks]
    with_and_without = f"{result.mean_auc:.3f} with the Guardian, {result.mean_without:.3f} left alone"
    lines += [
        "",
        f"Mean AUC          {with_and_without} ({result.mean_auc - result.mean_without:+.3f})",
        f"Trainings         {len(result.judgements)}, of which {result.promotions} took over",
    ]
    lines += [f"Decay found       {', '.join(_episodes(result.weeks)) or 'no'}", ""]
    return "\n".join([*lines, *map(_told, result.judgements)])


def _told(judged: Judgement) -> str:
    aucs = ""
    if judged.champion_auc is not None and judged.challenger_auc is not None:
        aucs = f" (AUC {judged.champion_auc:.3f} → {judged.challenger_auc:.3f} on the latest 28 labelled days)"
    said = f"{judged.run_id} on {judged.at:%Y-%m-%d}, version {judged.version or '--'}, answers {judged.drift_report}"
    ended = f"gate {judged.gate or 'not run'}, {judged.rollout or 'no rollout'}"
    return f"{said}: {judged.verdict or 'not judged'}{aucs}, {ended}"


def _live(systems: Systems, rows: pd.DataFrame, start: datetime, end: datetime, left_alone: Any) -> Week:
    """One week, the Guardian's look at its end, and the takeover of what it deployed."""
    from agent.triage import triage
    from tools.deploy.tool import advance

    split = systems.traffic.split(MODEL)
    assert split is not None
    week_passes(systems, rows, start, end)
    (seen,) = triage(systems, planner="runbook").models
    advance(systems, end)
    aucs = _aucs(systems, rows, start, end, left_alone)
    return _week(systems, start, end, aucs, split.champion, seen)


def _aucs(
    systems: Systems, rows: pd.DataFrame, start: datetime, end: datetime, left_alone: Any
) -> tuple[float, float, int]:
    """AUC of what was served and of the first champion on the rows of [start, end), and their number."""
    from tools.evaluate.metrics import Scored, auc_roc
    from tools.retrain import recipe

    binding = systems.operations.model(MODEL)
    assert binding.predictions is not None
    query = f'SELECT id, score FROM {binding.predictions} WHERE "at" >= $start AND "at" < $end'
    served = systems.warehouse.query(query, {"start": start, "end": end}).to_pandas().set_index("id")["score"]
    live = between(rows, start, end)
    outcomes = live["price_up"].to_numpy(dtype=float)
    alone = recipe.predict(left_alone, recipe.feature_frame(live, binding.features)).scores
    with_guardian = auc_roc(Scored(outcomes, served.reindex(live["id"]).to_numpy(dtype=float)))
    return with_guardian, auc_roc(Scored(outcomes, alone)), len(live)


def _week(
    systems: Systems,
    start: datetime,
    end: datetime,
    aucs: tuple[float, float, int],
    version: str,
    seen: ModelTriage,
) -> Week:
    def newest(kind: Kind) -> str | None:
        row = systems.store.latest(kind, MODEL)
        return row.id if row and row.created_at == end else None

    evaluation, gate = newest(Kind.evaluation), newest(Kind.gate)
    return Week(
        start=start,
        auc=aucs[0],
        without=aucs[1],
        rows=aucs[2],
        version=version,
        findings=[f"{each.kind} {each.subject}: {each.severity}" for each in seen.findings],
        concept=next((each.detail for each in seen.findings if each.kind == "concept_drift"), None),
        training=newest(Kind.training_run),
        verdict=systems.store.get(evaluation).body["verdict"] if evaluation else None,
        gate=systems.store.get(gate).status if gate else None,
        outcome=seen.outcome,
    )


def _judgements(systems: Systems) -> list[Judgement]:
    """The trainings after the first, oldest first."""
    return [_judged(systems, run) for run in reversed(systems.store.list(Kind.training_run, MODEL)) if run.rests_on]


def _judged(systems: Systems, run: Evidence) -> Judgement:
    same = [row for row in systems.store.list(Kind.evaluation, MODEL) if row.created_at == run.created_at]
    body = same[0].body if same else {}
    rollout = systems.store.latest(Kind.rollout, MODEL, version=run.version) if run.version else None
    report = systems.store.get(str(run.rests_on))
    return Judgement(
        at=run.created_at,
        run_id=run.id,
        drift_report=report.id,
        because_of_decay=_decayed(report.body),
        version=run.version,
        evaluation_id=same[0].id if same else None,
        verdict=body.get("verdict"),
        champion_auc=body["champion"]["metrics"].get("auc_roc") if body else None,
        challenger_auc=body["challenger"]["metrics"].get("auc_roc") if body else None,
        gate=body["gate"]["status"] if body else None,
        rollout=f"{rollout.id}: {rollout.status}" if rollout else None,
    )


def _decayed(report: dict[str, object]) -> bool:
    checks = report["checks"]
    assert isinstance(checks, list)
    return any(each["type"] == "concept_drift" and each["severity"] in ("warning", "critical") for each in checks)


def _episodes(weeks: list[Week]) -> list[str]:
    """The unbroken series of weeks whose triage found decay: when each was first found, and how long it went on."""
    told = []
    for decayed, series in itertools.groupby(weeks, key=lambda each: each.concept is not None):
        found = list(series)
        if decayed:
            told.append(f"{found[0].start + WEEK:%Y-%m-%d} (found {len(found)} times)")
    return told


def _line(week: Week) -> str:
    kinds = sorted({each.split()[0] for each in week.findings})
    said = [", ".join(kinds) or "quiet"]
    if week.training:
        said.append(f"{week.training}: {week.verdict or 'not judged'}, gate {week.gate or 'not run'}")
    elif week.concept:
        said.append(shorten(week.outcome, 100, placeholder=" …"))
    aucs = f"AUC {week.auc:.3f}  left alone {week.without:.3f}"
    return f"week of {week.start:%Y-%m-%d}  version {week.version:<2} {aucs}  {'; '.join(said)}"


def _arrive(systems: Systems, rows: pd.DataFrame, start: datetime, end: datetime) -> None:
    """Rows of [start, end), and their labels, which say themselves since when they are known."""
    part = between(rows, start, end)
    _append(systems, "elec2.rows", part.drop(columns="price_up"), f"{start:%Y-%m-%d}")
    labels = part[["id", "at", "price_up"]].assign(arrived=part["at"] + LABEL_LAG)
    _append(systems, "elec2.labels", labels, f"{start:%Y-%m-%d}")


def _write(systems: Systems, rows: pd.DataFrame, table: str, start: datetime, end: datetime) -> None:
    """The whole of a small table, replaced."""
    _append(systems, table, between(rows, start, end), "all")


def _append(systems: Systems, table: str, frame: pd.DataFrame, name: str) -> None:
    import pyarrow as pa

    systems.warehouse.append(table, pa.Table.from_pandas(frame, preserve_index=False), name)


def between(rows: pd.DataFrame, start: datetime, end: datetime) -> pd.DataFrame:
    """Rows with time in [start, end)."""
    return rows[(rows["at"] >= start) & (rows["at"] < end)]


def _set(systems: Systems, now: datetime) -> None:
    clock = systems.clock
    assert isinstance(clock, VirtualClock)
    clock.set(now)

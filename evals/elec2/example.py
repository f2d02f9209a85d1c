"""A model of the electricity market from its adoption until its decay was found and its successor judged."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from evals.scratch import ScratchFolder
from policies.errors import InputError
from tools.serving.batch import score_window
from tools.systems import datasets
from tools.systems.clock import VirtualClock
from tools.systems.store import Kind
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
HOLDOUT = 28 * DAY
MOST_WEEKS = 30
TABLES = tuple(f"elec2.{name}" for name in ("rows", "labels", "baseline", "holdout", "predictions"))

Say = Callable[[str], None]


class Week(BaseModel):
    """A week's live AUC and what its triage did; `concept` is the detail of a concept_drift finding."""

    model_config = ConfigDict(frozen=True)

    start: datetime
    auc: float
    rows: int
    findings: list[str]
    concept: str | None
    training: str | None
    verdict: str | None
    gate: str | None
    outcome: str


class Judgement(BaseModel):
    """The last training that a found decay caused, and what became of it."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    drift_report: str
    version: str | None
    evaluation_id: str | None
    verdict: str | None
    champion_auc: float | None
    challenger_auc: float | None
    gate: str | None
    rollout: str | None


class Elec2Result(BaseModel):
    """What the example saw."""

    model_config = ConfigDict(frozen=True)

    first_auc: float
    weeks: list[Week]
    decay_found: datetime | None
    judgement: Judgement | None


def run_example(data: Path, directory: Path, say: Say = lambda line: None, most_weeks: int = MOST_WEEKS) -> Elec2Result:
    """Adopts a first champion on the first 30% of the days, then lives week by week with a triage at each end.

    Ends with the first rollout, for a canary needs live requests, or after `most_weeks`. Raises InputError for a file
    that is not Elec2.
    """
    from tools.check_drift.tool import start_monitor

    rows = read(data)
    folder = ScratchFolder(directory, "evals.elec2", TABLES)
    systems = Systems.open(directory / "operations.yaml")
    try:
        say(f"{DAYS_BEFORE_ADOPTION} days are there; training the first champion")
        first_auc = adopt(systems, rows)
        for monitor in systems.operations.monitors_of(MODEL):
            start_monitor(systems, monitor)
        weeks: list[Week] = []
        while len(weeks) < most_weeks and systems.store.latest(Kind.rollout, MODEL) is None:
            weeks.append(_live(systems, rows, ADOPTED + len(weeks) * WEEK))
            say(_line(weeks[-1]))
        return Elec2Result(
            first_auc=first_auc,
            weeks=weeks,
            decay_found=next((each.start + WEEK for each in weeks if each.concept), None),
            judgement=_judgement(systems),
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
    _write(systems, rows, "elec2.holdout", ADOPTED - BASELINE, ADOPTED - LABEL_LAG)
    first = train_first_champion(systems, MODEL, ADOPTED)
    assert first.version is not None
    why = "first champion, adopted by a person"
    systems.traffic.set(MODEL, first.version, at=ADOPTED, why=why, rests_on=first.run_id)
    return first.metrics["holdout_auc_roc"]


def week_passes(systems: Systems, rows: pd.DataFrame, start: datetime) -> datetime:
    """The rows of the week from `start` come in and are scored; labels follow a day later. The week's end."""
    end = start + WEEK
    _arrive(systems, rows, start, end)
    _write(systems, rows, "elec2.holdout", end - LABEL_LAG - HOLDOUT, end - LABEL_LAG)
    _set(systems, end)
    score_window(systems, MODEL, start, end)
    return end


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
    lines += ["", f"Decay found       {', '.join(_episodes(result.weeks)) or 'no'}"]
    if (judged := result.judgement) is None:
        return "\n".join([*lines, "Retrained         not because of decay"])
    aucs = ""
    if judged.champion_auc is not None and judged.challenger_auc is not None:
        aucs = f" (AUC {judged.champion_auc:.3f} → {judged.challenger_auc:.3f} on the latest 28 labelled days)"
    lines += [
        f"Retrained         {judged.run_id}, version {judged.version or '--'}, because of {judged.drift_report}",
        f"Verdict           {judged.verdict or '--'}{aucs}",
        f"Gate              {judged.gate or '--'}",
        f"Rollout           {judged.rollout or 'none'}",
    ]
    return "\n".join(lines)


def _live(systems: Systems, rows: pd.DataFrame, start: datetime) -> Week:
    """One week, and the Guardian's look at its end."""
    from agent.triage import triage
    from tools.evaluate.metrics import Scored, auc_roc

    end = week_passes(systems, rows, start)
    (seen,) = triage(systems, planner="runbook").models
    binding = systems.operations.model(MODEL)
    assert binding.predictions is not None
    scored = datasets.table(systems, binding.predictions)
    scored = datasets.with_labels(systems, MODEL, scored[scored["at"] >= start], end + LABEL_LAG)
    auc = auc_roc(Scored(scored[binding.target].to_numpy(dtype=float), scored["score"].to_numpy(dtype=float)))
    return _week(systems, start, auc, len(scored), seen)


def _week(systems: Systems, start: datetime, auc: float, rows: int, seen: ModelTriage) -> Week:
    def newest(kind: Kind) -> str | None:
        row = systems.store.latest(kind, MODEL)
        return row.id if row and row.created_at == start + WEEK else None

    evaluation, gate = newest(Kind.evaluation), newest(Kind.gate)
    return Week(
        start=start,
        auc=auc,
        rows=rows,
        findings=[f"{each.kind} {each.subject}: {each.severity}" for each in seen.findings],
        concept=next((each.detail for each in seen.findings if each.kind == "concept_drift"), None),
        training=newest(Kind.training_run),
        verdict=systems.store.get(evaluation).body["verdict"] if evaluation else None,
        gate=systems.store.get(gate).status if gate else None,
        outcome=seen.outcome,
    )


def _judgement(systems: Systems) -> Judgement | None:
    """The newest training that rests on a report with a concept_drift finding."""
    for run in systems.store.list(Kind.training_run, MODEL):
        report = systems.store.get(run.rests_on) if run.rests_on else None
        if report is None or not _decayed(report.body):
            continue
        same = [row for row in systems.store.list(Kind.evaluation, MODEL) if row.created_at == run.created_at]
        body = same[0].body if same else {}
        rollout = systems.store.latest(Kind.rollout, MODEL, version=run.version) if run.version else None
        return Judgement(
            run_id=run.id,
            drift_report=report.id,
            version=run.version,
            evaluation_id=same[0].id if same else None,
            verdict=body.get("verdict"),
            champion_auc=body["champion"]["metrics"].get("auc_roc") if body else None,
            challenger_auc=body["challenger"]["metrics"].get("auc_roc") if body else None,
            gate=body["gate"]["status"] if body else None,
            rollout=f"{rollout.id}: {rollout.status}" if rollout else None,
        )
    return None


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
            told.append(f"{found[0].start + WEEK:%Y-%m-%d} (in {len(found)} triages)")
    return told


def _line(week: Week) -> str:
    kinds = sorted({each.split()[0] for each in week.findings})
    said = [", ".join(kinds) or "quiet"]
    if week.training:
        said.append(f"{week.training}: {week.verdict or 'not judged'}, gate {week.gate or 'not run'}")
    elif week.concept:
        said.append(shorten(week.outcome, 100, placeholder=" …"))
    return f"week of {week.start:%Y-%m-%d}  AUC {week.auc:.3f}  {'; '.join(said)}"


def _arrive(systems: Systems, rows: pd.DataFrame, start: datetime, end: datetime) -> None:
    """Rows of [start, end), and their labels, which say themselves since when they are known."""
    part = _between(rows, start, end)
    _append(systems, "elec2.rows", part.drop(columns="price_up"), f"{start:%Y-%m-%d}")
    labels = part[["id", "at", "price_up"]].assign(arrived=part["at"] + LABEL_LAG)
    _append(systems, "elec2.labels", labels, f"{start:%Y-%m-%d}")


def _write(systems: Systems, rows: pd.DataFrame, table: str, start: datetime, end: datetime) -> None:
    """The whole of a small table, replaced."""
    _append(systems, table, _between(rows, start, end), "all")


def _append(systems: Systems, table: str, frame: pd.DataFrame, name: str) -> None:
    import pyarrow as pa

    systems.warehouse.append(table, pa.Table.from_pandas(frame, preserve_index=False), name)


def _between(rows: pd.DataFrame, start: datetime, end: datetime) -> pd.DataFrame:
    return rows[(rows["at"] >= start) & (rows["at"] < end)]


def _set(systems: Systems, now: datetime) -> None:
    clock = systems.clock
    assert isinstance(clock, VirtualClock)
    clock.set(now)

"""What a report says: plain data, every part optional. A quiet night's report is a headline and its facts.

Shares, rates and AUC are fractions (0.05 is 5%), money is US dollars, times are naive UTC. Percentages are percentages
only where the name says `pct` (0 to 100).
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict

from policies.declarations import Severity


class Part(BaseModel):
    """A part of a report: immutable, deaf to fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=True)


class Fact(Part):
    """One number worth a large print: `label` names it, `note` says what to hold it against."""

    label: str
    value: str
    note: str = ""
    severity: Severity = Severity.unknown
    """`unknown` prints it without a colour."""


class Waiting(Part):
    """What waits for whom: an approval's or a paused rollout's id."""

    what: str
    whom: str = ""
    id: str = ""
    since: datetime | None = None


class EventKind(StrEnum):
    """What an event of the story is: something in the world, something seen, done, refused, or decided by people."""

    cause = "cause"
    finding = "finding"
    action = "action"
    refusal = "refusal"
    person = "person"


class Event(Part):
    """One dated line of the story. `numbers` are shown behind it, `id` is the evidence it can be looked up by."""

    at: datetime
    kind: EventKind
    text: str
    numbers: dict[str, str] = {}
    severity: Severity = Severity.unknown
    id: str = ""


class DriftCheck(Part):
    """One check of a drift report, as `check-drift` prints it."""

    type: str = ""
    method: str = ""
    subject: str = ""
    value: float | None = None
    threshold: float | None = None
    p_value: float | None = None
    severity: Severity = Severity.ok
    detail: str = ""


class DriftedFeature(Part):
    """A drifted feature: its share in what moves the scores, and in the change of them (fractions)."""

    feature: str
    importance: float | None = None
    explains: float | None = None


class BrokenSource(Part):
    """A source whose data look broken, and by which signs (`column: what is wrong with it`)."""

    source: str
    owner: str = ""
    signs: tuple[str, ...] = ()


class Diagnosis(Part):
    """Where a report's findings come from; `features` are the drifted ones, those that matter most first."""

    kind: str = ""
    sources: tuple[str, ...] = ()
    broken: tuple[BrokenSource, ...] = ()
    first_seen: date | None = None
    sudden: bool | None = None
    renamed: dict[str, str] = {}
    features: tuple[DriftedFeature, ...] = ()
    explained: float | None = None


class DriftReport(Part):
    """One drift report: what was compared with what, and every check, also the ok ones."""

    report_id: str
    monitor: str = ""
    checked_at: datetime | None = None
    window_start: datetime | None = None
    window_end: datetime | None = None
    window_rows: int | None = None
    baseline: str = ""
    baseline_rows: int | None = None
    status: str = "checked"
    severity: Severity = Severity.ok
    checks: tuple[DriftCheck, ...] = ()
    looked_back: dict[str, timedelta] = {}
    """How far back each type of check looked from `checked_at`, the shortest where a type looked twice."""
    diagnosis: Diagnosis | None = None


class DistributionKind(StrEnum):
    """How a distribution is drawn."""

    numeric = "numeric"
    categorical = "categorical"


class Distribution(Part):
    """A feature's shares in the baseline and now, over common bins.

    Numeric: `edges` are one more than the shares, ascending. Categorical: `categories` name the shares.
    """

    feature: str
    kind: DistributionKind
    edges: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()
    baseline: tuple[float, ...]
    current: tuple[float, ...]
    psi: float | None = None
    severity: Severity = Severity.ok


class WeekPoint(Part):
    """The live AUC of one week's scored rows, with the guardian at work and, where it is known, without."""

    week_start: date
    with_guardian: float | None = None
    without_guardian: float | None = None
    labelled_rows: int | None = None


class MarkerKind(StrEnum):
    """Something that happened to the world, or something that the guardian did."""

    cause = "cause"
    action = "action"


class Marker(Part):
    """A dated mark in the AUC picture; with `until`, a period."""

    at: datetime
    label: str
    kind: MarkerKind = MarkerKind.cause
    until: datetime | None = None


class Training(Part):
    """A retraining run that started, or why it did not."""

    run_id: str
    triggered_by: str = ""
    started: bool = True
    skipped_because: str = ""
    version: str = ""
    window_start: datetime | None = None
    window_end: datetime | None = None
    window_rows: int | None = None
    metrics: dict[str, float] = {}
    seconds: float | None = None


class MetricComparison(Part):
    """One metric of champion against challenger; `weighted` is its part of the weighted improvement (a fraction)."""

    metric: str
    weight: float | None = None
    champion: float | None = None
    challenger: float | None = None
    relative: float | None = None
    weighted: float | None = None
    detail: str = ""


class Evaluation(Part):
    """Champion against challenger on the holdout. `interval` is that of the weighted improvement, both fractions."""

    evaluation_id: str
    champion_version: str = ""
    challenger_version: str = ""
    metrics: tuple[MetricComparison, ...] = ()
    weighted_improvement: float | None = None
    interval: tuple[float, float] | None = None
    minimum: float | None = None
    verdict: str = ""


class GateCheck(Part):
    """One row of the quality gate."""

    name: str
    value: float | None = None
    threshold: str = ""
    verdict: str = ""
    detail: str = ""


class Gate(Part):
    """The quality gate's result for one version."""

    gate_id: str = ""
    status: str = ""
    version: str = ""
    checks: tuple[GateCheck, ...] = ()


class Measurement(Part):
    """One quantity of the challenger at a rollout's gate, with its limit and the champion's value beside it."""

    name: str
    value: float | None = None
    champion_value: float | None = None
    limit: float | None = None
    n: int | None = None
    verdict: str = ""
    detail: str = ""
    asked: bool = True
    """Whether the stage's gate asks for it; what no gate asks for is measured for the rollback conditions."""


class Stage(Part):
    """One stage of a rollout: its share of the traffic, and what its gate said at the end (empty: not judged).

    `mirrored`: the challenger got a copy of each request, and nobody its answers.
    """

    traffic_pct: float
    mirrored: bool = False
    gate: str = ""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    verdict: str = ""
    measurements: tuple[Measurement, ...] = ()


class TrafficStep(Part):
    """From `at` on, the challenger answers `pct` percent of the requests."""

    at: datetime
    pct: float


class Rollout(Part):
    """A rollout: its stages with their gates, and the traffic as it was really set."""

    rollout_id: str
    strategy: str = ""
    version: str = ""
    champion_version: str = ""
    status: str = ""
    reason: str = ""
    stages: tuple[Stage, ...] = ()
    traffic: tuple[TrafficStep, ...] = ()


class KpiPoint(Part):
    """A KPI's value at one time."""

    at: datetime
    value: float


Direction = Literal["higher", "lower"]
"""Which way is good."""


class KpiReading(Part):
    """The newest reading of one KPI and its history, oldest first. `percent`: print fractions as percent."""

    kpi: str
    value: float | None = None
    target: float | None = None
    baseline: float | None = None
    direction: Direction = "higher"
    change_pct: float | None = None
    severity: Severity = Severity.unknown
    on_target: bool | None = None
    read_at: datetime | None = None
    detail: str = ""
    history: tuple[KpiPoint, ...] = ()
    percent: bool = False


class FlaggedCount(Part):
    """Of the customers the model flagged as likely to leave: how many had left already, how many never meant to."""

    customers: int
    already_churned: int
    never_leaving: int


class Flagged(Part):
    """The flagged customers of one week, with the guardian and without."""

    week_start: date | None = None
    with_guardian: FlaggedCount | None = None
    without_guardian: FlaggedCount | None = None


class Spend(Part):
    """What the run's model calls cost, and the agent's budget per rolling day."""

    cost_usd: float = 0.0
    tokens: int = 0
    llm_calls: int = 0
    budget_usd: float | None = None
    budget_tokens: int | None = None


class EvidenceLink(Part):
    """One row of the chain from the traffic change back to the drift report."""

    id: str
    kind: str
    at: datetime | None = None
    text: str = ""
    status: str = ""


class ReportContent(Part):
    """Everything a report says about one run. `verdict` is one to three words, `headline` one sentence."""

    headline: str
    verdict: str = ""
    severity: Severity = Severity.ok
    model: str = ""
    run_id: str = ""
    planner: str = ""
    with_agent: bool = True
    period_start: datetime | None = None
    period_end: datetime | None = None
    facts: tuple[Fact, ...] = ()
    gate_off_by: tuple[str, ...] = ()
    """The declarations that switch the quality gate off."""
    waiting: tuple[Waiting, ...] = ()
    story: tuple[Event, ...] = ()
    drift_latest: DriftReport | None = None
    drift_triggering: DriftReport | None = None
    distributions: tuple[Distribution, ...] = ()
    weeks: tuple[WeekPoint, ...] = ()
    markers: tuple[Marker, ...] = ()
    auc_floor: float | None = None
    """The AUC below which retraining triggers, drawn as a line."""
    auc_deployed: float | None = None
    """The AUC on its holdout of the version that served first, which the decay is told against."""
    training: Training | None = None
    evaluation: Evaluation | None = None
    gate: Gate | None = None
    rollout: Rollout | None = None
    kpis: tuple[KpiReading, ...] = ()
    kpi_disconnect: str = ""
    flagged: Flagged | None = None
    spend: Spend | None = None
    evidence: tuple[EvidenceLink, ...] = ()
    notes: tuple[str, ...] = ()

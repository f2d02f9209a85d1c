"""A report's content as a whole night in the shop would fill it."""

from __future__ import annotations

import math
from datetime import date, datetime, timedelta

from agent.report.model import (
    Diagnosis,
    Distribution,
    DistributionKind,
    DriftCheck,
    DriftedFeature,
    DriftReport,
    Evaluation,
    Event,
    EventKind,
    EvidenceLink,
    Fact,
    Flagged,
    FlaggedCount,
    Gate,
    GateCheck,
    KpiPoint,
    KpiReading,
    Marker,
    MarkerKind,
    Measurement,
    MetricComparison,
    ReportContent,
    Rollout,
    Spend,
    Stage,
    TrafficStep,
    Training,
    Waiting,
    WeekPoint,
)
from policies.declarations import Severity

START = datetime(2026, 2, 2, 6, 0)


def bell(low: float, high: float, bins: int, centre: float, width: float) -> tuple[float, ...]:
    """Shares of a bell curve over equal bins."""
    step = (high - low) / bins
    heights = [math.exp(-(((low + (n + 0.5) * step - centre) / width) ** 2) / 2) for n in range(bins)]
    return tuple(height / sum(heights) for height in heights)


def edges(low: float, high: float, bins: int) -> tuple[float, ...]:
    return tuple(low + n * (high - low) / bins for n in range(bins + 1))


def histogram(
    name: str, low: float, high: float, before: tuple[float, float], now: tuple[float, float], psi: float, severity: str
) -> Distribution:
    return Distribution(
        feature=name,
        kind=DistributionKind.numeric,
        edges=edges(low, high, 24),
        baseline=bell(low, high, 24, *before),
        current=bell(low, high, 24, *now),
        psi=psi,
        severity=Severity(severity),
    )


def drift_report() -> DriftReport:
    found = [
        (
            "concept_drift",
            "performance_decay",
            "auc_roc",
            0.0712,
            0.05,
            0.0000004,
            "critical",
            "0.847 → 0.776 on 46,210 labelled rows",
        ),
        ("data_drift", "psi", "price_index", 1.83, 0.2, 1e-12, "critical", "mean 1.02 → 1.11, median 1.01 → 1.1"),
        (
            "data_drift",
            "psi",
            "spend_trend_30d",
            0.41,
            0.2,
            1e-12,
            "critical",
            "mean 0.012 → -0.084, median 0.01 → -0.08",
        ),
        (
            "feature_drift",
            "psi",
            "cart_abandonment_rate",
            0.32,
            0.15,
            1e-12,
            "critical",
            "mean 0.41 → 0.33, median 0.4 → 0.32",
        ),
        ("data_drift", "psi", "channel", 0.24, 0.2, 1e-12, "warning", "app 5.1% → 14.8%"),
        ("prediction_drift", "kl_divergence", "score", 0.14, 0.1, 1e-9, "warning", "mean 0.081 → 0.112"),
        (
            "schema_drift",
            "contract_validation",
            "crm_loaded_at",
            48.0,
            24.0,
            None,
            "warning",
            "data 48 h old, owner data-team",
        ),
    ]
    quiet = [
        ("data_drift", "psi", name, 0.01 + 0.004 * place, 0.2, 0.4, "ok", "no visible change")
        for place, name in enumerate(
            ("orders_30d", "tenure_days", "loyalty_points", "plan", "market", "returns_rate_90d")
        )
    ]
    return DriftReport(
        report_id="drift-31",
        monitor="ChurnDrift",
        checked_at=datetime(2026, 1, 27, 2, 0),
        window_start=datetime(2026, 1, 20, 2, 0),
        window_end=datetime(2026, 1, 27, 2, 0),
        window_rows=100_002,
        baseline="ml_features.customer_360_baseline",
        baseline_rows=100_000,
        severity=Severity.critical,
        checks=tuple(
            DriftCheck(
                type=kind,
                method=method,
                subject=subject,
                value=value,
                threshold=threshold,
                p_value=p,
                severity=Severity(severity),
                detail=detail,
            )
            for kind, method, subject, value, threshold, p, severity, detail in [*found, *quiet]
        ),
        diagnosis=Diagnosis(
            kind="both",
            sources=("orders", "web", "crm"),
            first_seen=date(2026, 1, 8),
            sudden=True,
            features=(
                DriftedFeature(feature="cart_abandonment_rate", importance=0.115, explains=0.41),
                DriftedFeature(feature="spend_trend_30d", importance=0.056, explains=0.27),
                DriftedFeature(feature="sessions_30d", importance=0.046, explains=0.13),
                DriftedFeature(feature="price_index", importance=0.003, explains=-0.02),
            ),
            explained=0.79,
        ),
    )


def rollout() -> Rollout:
    stages, traffic, at = [], [], START + timedelta(hours=1, minutes=10)
    for pct, hours, gate in (
        (5, 1, "latency_and_errors"),
        (10, 4, "latency_errors_metrics"),
        (25, 12, "full_metrics"),
        (50, 24, "full_metrics"),
    ):
        end = at + timedelta(hours=hours)
        measured = [
            Measurement(
                name="error_rate", value=0.0004, champion_value=0.0005, limit=0.01, n=pct * 900, verdict="pass"
            ),
            Measurement(name="p99_latency_ms", value=8.9, champion_value=9.1, limit=300, n=pct * 900, verdict="pass"),
        ]
        if pct > 5:
            measured.append(
                Measurement(
                    name="auc_degradation", value=-0.041, champion_value=None, limit=0.05, n=pct * 320, verdict="pass"
                )
            )
        traffic.append(TrafficStep(at=at, pct=pct))
        stages.append(
            Stage(traffic_pct=pct, gate=gate, started_at=at, ended_at=end, verdict="pass", measurements=tuple(measured))
        )
        at = end
    traffic.append(TrafficStep(at=at, pct=100))
    stages.append(Stage(traffic_pct=100, gate="none", started_at=at))
    return Rollout(
        rollout_id="rollout-1",
        strategy="CanaryDeploy",
        version="2",
        champion_version="1",
        status="promoted",
        stages=tuple(stages),
        traffic=tuple(traffic),
    )


def rolled_back() -> Rollout:
    start = START
    failed = Measurement(
        name="p99_latency_ms",
        value=412.0,
        champion_value=9.2,
        limit=300,
        n=2210,
        verdict="fail",
        detail="beyond the limit",
    )
    return Rollout(
        rollout_id="rollout-2",
        strategy="CanaryDeploy",
        version="3",
        champion_version="2",
        status="rolled_back",
        reason="p99_latency_ms > 300",
        stages=(
            Stage(
                traffic_pct=5,
                gate="latency_and_errors",
                started_at=start,
                ended_at=start + timedelta(minutes=24),
                verdict="fail",
                measurements=(failed,),
            ),
            Stage(traffic_pct=10, gate="latency_errors_metrics"),
        ),
        traffic=(TrafficStep(at=start, pct=5), TrafficStep(at=start + timedelta(minutes=24), pct=0)),
    )


def evaluation() -> Evaluation:
    parts = (
        ("auc_roc", 0.4, 0.7761, 0.8438, 0.0872, ""),
        ("f1", 0.3, 0.3312, 0.4026, 0.2156, ""),
        ("inference_ms", 0.2, 1.12, 1.15, 0.0, "a difference within its own noise counts as none"),
        ("model_size_mb", 0.1, 1.9, 2.1, -0.1053, ""),
    )
    return Evaluation(
        evaluation_id="eval-1",
        champion_version="1",
        challenger_version="2",
        metrics=tuple(
            MetricComparison(metric=m, weight=w, champion=a, challenger=b, relative=r, weighted=w * r, detail=d)
            for m, w, a, b, r, d in parts
        ),
        weighted_improvement=0.089,
        interval=(0.074, 0.104),
        minimum=0.01,
        verdict="challenger_wins",
    )


def gate() -> Gate:
    checks = [
        GateCheck(name="auc_roc", value=0.8438, threshold="> 0.80", verdict="passed"),
        GateCheck(
            name="improvement:auc_roc",
            value=0.0677,
            threshold=">= 0.01",
            verdict="passed",
            detail="champion 0.7761, challenger 0.8438",
        ),
        GateCheck(
            name="holdout_rows",
            value=100000,
            threshold=">= 1000",
            verdict="passed",
            detail="100,000 rows, 8,120 positive",
        ),
        GateCheck(name="calibration_error", value=0.0081, threshold="<= 0.05", verdict="passed"),
        GateCheck(
            name="segment:market=APAC",
            value=-0.061,
            threshold="<= 0.05 below champion",
            verdict="passed",
            detail="AUC 0.7702 → 0.8312 on 15,010 rows",
        ),
        GateCheck(name="no_overlap", value=24.0, threshold="> 0 h between training and holdout", verdict="passed"),
        GateCheck(
            name="artifact_replays",
            value=0.0,
            threshold="<= 1e-06",
            verdict="passed",
            detail="largest difference over 200 example rows",
        ),
    ]
    return Gate(gate_id="gate-1", status="passed", version="2", checks=tuple(checks))


def kpis() -> tuple[KpiReading, ...]:
    weeks = [datetime(2026, 1, 6) + timedelta(days=7 * n) for n in range(8)]
    churn = [0.140, 0.143, 0.149, 0.153, 0.151, 0.142, 0.133, 0.127]
    return (
        KpiReading(
            kpi="churn_rate",
            value=0.127,
            target=0.08,
            baseline=0.14,
            direction="lower",
            change_pct=-9.3,
            severity="ok",
            on_target=False,
            history=tuple(KpiPoint(at=a, value=v) for a, v in zip(weeks, churn, strict=True)),
            percent=True,
        ),
        KpiReading(
            kpi="intervention_roi", value=5.42, target=5.0, baseline=4.1, change_pct=32.2, severity="ok", on_target=True
        ),
        KpiReading(
            kpi="net_revenue_retention",
            value=1.031,
            target=1.10,
            baseline=1.052,
            change_pct=-2.0,
            severity="warning",
            on_target=False,
            percent=True,
        ),
    )


def failed_canary() -> ReportContent:
    """A rollout that ended at its first stage."""
    return ReportContent(headline="Version 3 was rolled back.", rollout=rolled_back())


def full() -> ReportContent:
    """The story of the shop from its deployment to seven weeks later, every section filled."""
    guarded = [0.846, 0.801, 0.783, 0.776, 0.838, 0.845, 0.843]
    alone = [0.846, 0.801, 0.783, 0.776, 0.771, 0.768, 0.766]
    weeks = [
        WeekPoint(
            week_start=date(2026, 1, 6) + timedelta(days=7 * n),
            with_guardian=a,
            without_guardian=b,
            labelled_rows=100_000 - 900 * n,
        )
        for n, (a, b) in enumerate(zip(guarded, alone, strict=True))
    ]
    return ReportContent(
        headline="The churn model had decayed to AUC 0.776; a retrained version now serves all customers at 0.843.",
        verdict="Recovered",
        severity=Severity.ok,
        model="ChurnModel",
        run_id="run-9",
        planner="runbook",
        period_start=datetime(2026, 1, 6),
        period_end=datetime(2026, 2, 24),
        facts=(
            Fact(label="Live AUC", value="0.843", note="0.766 without the guardian", severity=Severity.ok),
            Fact(label="Found after", value="20 days", note="critical, on 27 Jan"),
            Fact(label="Calls to customers already gone", value="3", note="18 without the guardian"),
            Fact(label="Spent", value="$0.18", note="of $50.00 a day"),
        ),
        waiting=(
            Waiting(
                what="the price change moved 6 features for good; renew the baseline?",
                whom="data-team",
                id="approval-4",
                since=datetime(2026, 2, 4, 6, 10),
            ),
        ),
        story=(
            Event(
                at=datetime(2026, 1, 6),
                kind=EventKind.action,
                text="Version 1 goes live on a Tuesday.",
                numbers={"AUC on the holdout": "0.847"},
            ),
            Event(at=datetime(2026, 1, 7), kind=EventKind.cause, text="Product launch: a new app and checkout."),
            Event(
                at=datetime(2026, 1, 8),
                kind=EventKind.cause,
                text="Price change: larger baskets, falling spend, and other reasons to leave.",
            ),
            Event(
                at=datetime(2026, 1, 23),
                kind=EventKind.cause,
                text="CRM migration: support data arrive 48 hours late until 31 January.",
            ),
            Event(
                at=datetime(2026, 1, 27, 2),
                kind=EventKind.finding,
                text="Triage finds the model wrong and the world changed.",
                numbers={"AUC": "0.776", "features drifted": "6 of 26"},
                severity=Severity.critical,
                id="drift-31",
            ),
            Event(
                at=datetime(2026, 1, 27, 2, 1),
                kind=EventKind.refusal,
                text="No retraining while the CRM source is broken: its data would be learned.",
                numbers={"owner": "data-team"},
                severity=Severity.warning,
                id="train-1",
            ),
            Event(
                at=datetime(2026, 2, 2, 6),
                kind=EventKind.action,
                text="The source is back-filled; version 2 is trained.",
                numbers={"rows": "1,204,118", "seconds": "21"},
                id="train-2",
            ),
            Event(
                at=datetime(2026, 2, 2, 7),
                kind=EventKind.action,
                text="Version 2 beats version 1 and passes the gate.",
                numbers={"weighted": "+8.9%"},
                severity=Severity.ok,
                id="eval-1",
            ),
            Event(
                at=datetime(2026, 2, 2, 7, 10),
                kind=EventKind.action,
                text="Canary begins at 5% of the requests.",
                id="rollout-1",
            ),
            Event(
                at=datetime(2026, 2, 4, 0, 10),
                kind=EventKind.action,
                text="All gates passed: version 2 serves every request.",
                severity=Severity.ok,
                id="traffic-6",
            ),
        ),
        drift_triggering=drift_report(),
        drift_latest=DriftReport(
            report_id="drift-62",
            checked_at=datetime(2026, 2, 24, 2),
            severity=Severity.warning,
            checks=drift_report().checks[1:4],
        ),
        distributions=(
            histogram("price_index", 0.9, 1.25, (1.02, 0.035), (1.11, 0.04), 1.83, "critical"),
            histogram("spend_trend_30d", -0.5, 0.4, (0.01, 0.12), (-0.084, 0.13), 0.41, "critical"),
            histogram("cart_abandonment_rate", 0, 1, (0.41, 0.14), (0.33, 0.13), 0.32, "critical"),
            histogram("sessions_30d", 0, 60, (18, 8), (24, 10), 0.29, "warning"),
            histogram("discount_share_90d", 0, 1, (0.22, 0.12), (0.29, 0.14), 0.23, "warning"),
            Distribution(
                feature="channel",
                kind=DistributionKind.categorical,
                categories=("web", "mobile", "app"),
                baseline=(0.70, 0.249, 0.051),
                current=(0.622, 0.23, 0.148),
                psi=0.24,
                severity=Severity.warning,
            ),
        ),
        weeks=tuple(weeks),
        markers=(
            Marker(at=datetime(2026, 1, 7), label="product launch"),
            Marker(at=datetime(2026, 1, 8), label="price change"),
            Marker(at=datetime(2026, 1, 23), until=datetime(2026, 2, 1), label="CRM lag"),
            Marker(at=datetime(2026, 2, 2, 6), label="retrained", kind=MarkerKind.action),
            Marker(at=datetime(2026, 2, 4), label="canary promoted", kind=MarkerKind.action),
        ),
        auc_floor=0.80,
        training=Training(
            run_id="train-2",
            triggered_by="drift_detected",
            version="2",
            window_start=datetime(2025, 1, 25),
            window_end=datetime(2026, 1, 25),
            window_rows=1_204_118,
            metrics={"auc_roc": 0.8441},
            seconds=21.3,
        ),
        evaluation=evaluation(),
        gate=gate(),
        rollout=rollout(),
        kpis=kpis(),
        flagged=Flagged(
            week_start=date(2026, 2, 10),
            with_guardian=FlaggedCount(customers=200, already_churned=3, never_leaving=12),
            without_guardian=FlaggedCount(customers=200, already_churned=18, never_leaving=41),
        ),
        spend=Spend(cost_usd=0.1834, tokens=41_220, llm_calls=7, budget_usd=50.0, budget_tokens=500_000),
        evidence=(
            EvidenceLink(
                id="traffic-6",
                kind="traffic",
                at=datetime(2026, 2, 4, 0, 10),
                text="version 2 serves 100%",
                status="acknowledged",
            ),
            EvidenceLink(id="rollout-1", kind="rollout", at=datetime(2026, 2, 2, 7, 10), status="promoted"),
            EvidenceLink(id="gate-1", kind="gate", at=datetime(2026, 2, 2, 7), status="passed"),
            EvidenceLink(id="eval-1", kind="eval", at=datetime(2026, 2, 2, 7), status="challenger_wins"),
            EvidenceLink(id="train-2", kind="train", at=datetime(2026, 2, 2, 6), text="triggered by drift_detected"),
            EvidenceLink(id="drift-31", kind="drift", at=datetime(2026, 1, 27, 2), status="critical"),
        ),
        notes=("Latencies are measured, not simulated.",),
    )


def quiet() -> ReportContent:
    """A night on which nothing was found."""
    return ReportContent(
        headline="ChurnModel is well: 34 checks, nothing beyond a threshold.",
        verdict="Quiet night",
        model="ChurnModel",
        run_id="run-3",
        planner="runbook",
        period_end=datetime(2026, 1, 5, 2),
        spend=Spend(budget_usd=50.0, budget_tokens=500_000),
    )

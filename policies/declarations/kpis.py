"""`business_kpi_trackers`: the business numbers a model is for."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from policies.declarations.base import Declared, Frequency


class Kpi(Declared):
    """A KPI: one SELECT with one number, its goal, and which way is good (else from target against baseline)."""

    name: str
    query: str
    target: float
    baseline: float | None = None
    direction: Literal["higher", "lower"] | None = None
    frequency: Frequency


class KpiAlerts(Declared):
    """A KPI that worsens by more than `kpi_degradation_pct` percent of its baseline is told to `channel`."""

    kpi_degradation_pct: float = Field(default=10, gt=0)
    channel: Literal["slack", "pagerduty", "email"] = "slack"


class BusinessKpiTracker(Declared):
    """A `business_kpi_tracker` block."""

    model: str
    kpis: list[Kpi] = Field(min_length=1)
    alerts: KpiAlerts = KpiAlerts()

"""The report's pictures as inline SVG: one picture a file, drawn on a small canvas, coloured by the page's CSS.

No plotting library: the pictures take part in the page's typography and dark mode, are a few kilobytes each, and are
drawn once for a wide page and once for a phone, so that their text keeps its size.
"""

from agent.report.plots.auc import auc_by_week
from agent.report.plots.comparison import weighted_comparison
from agent.report.plots.distributions import distribution
from agent.report.plots.kpis import kpi_bullet
from agent.report.plots.spend import spend_bars
from agent.report.plots.traffic import rollout_traffic

__all__ = [
    "auc_by_week",
    "distribution",
    "kpi_bullet",
    "rollout_traffic",
    "spend_bars",
    "weighted_comparison",
]

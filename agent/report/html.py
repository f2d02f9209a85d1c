"""The report as one HTML file: no script, no network, nothing but what is in it. Everything from outside is escaped."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from markupsafe import Markup

from agent.report import gates, numbers, plots, reasons, targets
from agent.report.model import DriftCheck, DriftReport, Evaluation, ReportContent
from agent.report.origin import origin
from agent.report.plots.canvas import NARROW, WIDE
from agent.untrusted import clean
from policies.declarations import Severity

if TYPE_CHECKING:
    from jinja2 import Environment

SIGNS = {Severity.ok: "✓", Severity.unknown: "?", Severity.warning: "!", Severity.critical: "✕"}
"""What a severity is printed as beside its colour."""

_MOST_DISTRIBUTIONS = 9


def render_html(content: ReportContent) -> str:
    """The whole page. Where a part is empty its section is left out."""
    drift = content.drift_triggering or content.drift_latest
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            report=content,
            pictures=_pictures(content),
            found=_worst_first(drift),
            origin=origin(drift.diagnosis if drift else None),
            counted=(count_found(drift), len(drift.checks) if drift else 0),
            looked_back=looked_back(drift),
            shared=shared_rows(drift),
            Severity=Severity,
        )
    )


def found_checks(report: DriftReport | None) -> list[DriftCheck]:
    """A report's checks that are not ok, worst first, then those furthest beyond their threshold."""
    return [check for check in _worst_first(report) if check.severity is not Severity.ok]


def count_found(report: DriftReport | None) -> int:
    """How many of a report's checks found something; what could not be judged is no finding."""
    return sum(check.severity in (Severity.warning, Severity.critical) for check in report.checks) if report else 0


def looked_back(report: DriftReport | None) -> str:
    """How far back the checks looked, where not all looked as far: the last 1 h for data drift, …; empty otherwise."""
    lengths: dict[timedelta, list[str]] = {}
    for kind, length in report.looked_back.items() if report else ():
        lengths.setdefault(length, []).append(numbers.words(kind))
    if len(lengths) < 2:
        return ""
    told = [f"the last {numbers.span(length)} for {targets.listed(lengths[length])}" for length in sorted(lengths)]
    return f"Each check looks at the window that is declared for it: {'; '.join(told)}."


def shared_rows(report: DriftReport | None) -> str:
    """Why a table of a report's findings has fewer rows than there are findings; empty where it has as many."""
    found = sum(check.severity is not Severity.ok for check in report.checks) if report else 0
    rows = len(found_checks(report))
    counted = f"{found} findings in {rows} row{'s' if rows > 1 else ''}"
    return f"{counted}: what two checks measured alike shares one" if rows < found else ""


def has_bars(evaluation: Evaluation) -> bool:
    """Whether the evaluation says what each metric adds."""
    return any(part.weighted is not None for part in evaluation.metrics)


def _worst_first(report: DriftReport | None) -> list[DriftCheck]:
    """A report's checks, worst first; one that two monitors made alike (same subject, method, value) is told once."""

    def beyond(check: DriftCheck) -> float:
        return check.value / check.threshold if check.value is not None and check.threshold else 0.0

    # A model that is wrong comes before inputs that moved.
    checks = report.checks if report else ()
    ordered = sorted(checks, key=lambda check: (-check.severity.rank, check.type != "concept_drift", -beyond(check)))
    told: dict[tuple[str, str, float | None], DriftCheck] = {}
    for check in ordered:
        key = (check.subject, check.method, check.value)
        known = told.setdefault(key, check)
        if check.type not in known.type:
            told[key] = known.model_copy(update={"type": f"{known.type}, {check.type}"})
    return list(told.values())


def _pictures(content: ReportContent) -> dict[str, Markup | list[Markup]]:
    pictures: dict[str, Markup | list[Markup]] = dict.fromkeys(("auc", "comparison", "traffic", "spend"), Markup())
    if content.weeks:
        drawn = [
            plots.auc_by_week(
                content.weeks,
                content.markers,
                content.auc_floor,
                content.auc_deployed,
                width=width,
                key=f"auc{width}",
            )
            for width in (WIDE, NARROW)
        ]
        pictures["auc"] = _both(*drawn)
    if content.evaluation and has_bars(content.evaluation):
        drawn = [
            plots.weighted_comparison(content.evaluation, width=width, key=f"compare{width}")
            for width in (WIDE, NARROW)
        ]
        pictures["comparison"] = _both(*drawn)
    if content.rollout and len(content.rollout.traffic) > 1:
        drawn = [plots.rollout_traffic(content.rollout, width=width, key=f"traffic{width}") for width in (WIDE, NARROW)]
        pictures["traffic"] = _both(*drawn)
    if content.spend and (content.spend.cost_usd or content.spend.tokens):
        pictures["spend"] = _both(
            *(plots.spend_bars(content.spend, width=width, key=f"spend{width}") for width in (WIDE, NARROW))
        )
    shown = content.distributions[:_MOST_DISTRIBUTIONS]
    pictures["distributions"] = [plots.distribution(each, key=f"dist{n}") for n, each in enumerate(shown)]
    pictures["kpis"] = [plots.kpi_bullet(each, key=f"kpi{n}") for n, each in enumerate(content.kpis)]
    return pictures


def _both(wide: Markup, narrow: Markup) -> Markup:
    """One picture drawn for a page and for a phone, of which CSS shows one."""
    return Markup('<div class="wide">{}</div><div class="narrow">{}</div>').format(wide, narrow)


def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("agent.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        each.__name__: each
        for each in (
            numbers.number, numbers.fixed, numbers.percent, numbers.signed_percent, numbers.money, numbers.count,
            numbers.p_value, numbers.kpi, numbers.day, numbers.full_day, numbers.moment, numbers.short_moment,
            numbers.words, reasons.trigger, reasons.refusal, reasons.sentence,
        )
    }  # fmt: skip
    environment.globals |= {
        "measured": numbers.measured, "span": numbers.span, "signs": SIGNS, "shown": gates.shown,
        "why_open": gates.why_open, "business": targets.business,
    }  # fmt: skip
    environment.finalize = _plain
    return environment


def _plain(value: object) -> object:
    """Text without control and direction characters and without secrets, before it is escaped."""
    return clean(value, 2000) if isinstance(value, str) and not isinstance(value, Markup) else value

"""The picture that belongs to an answer, where looking is easier than reading: the report's own plots."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from agent.conversation.intents import Intent, Question, understood
from agent.report import plots, reading
from agent.report.distributions import drifted_distributions
from agent.report.gathering import auc_floor, rollout_as_told
from agent.report.live import RECENT, deployed_auc, recent_auc
from agent.report.model import Distribution
from tools.systems.store import Kind
from tools.systems.systems import Systems

MOST_SMALL = 6
"""Small pictures in one."""
FEWEST_READINGS = 3
"""A KPI that was read less often has no course to look at."""

_Titled = list[tuple[str, Markup]]


@dataclass(frozen=True)
class Picture:
    """`title` says what is seen, `alt` the same for who does not see it."""

    title: str
    alt: str
    png: bytes


def picture_of(systems: Systems, text: str, model: str | None) -> Picture | None:
    """The picture to the answer on `text` about `model`; None where words are enough or there is nothing to draw."""
    question = understood(text, list(systems.operations.models))
    if model not in systems.operations.models or question.intent not in _DRAWN or len(question.models) > 1:
        return None
    says, draw = _DRAWN[question.intent]
    drawn = draw(systems, question, model)
    if not drawn:
        return None
    from agent.report.plots.png import png

    alt = "; ".join(f"{title}: {_description(svg)}" for title, svg in drawn)
    return Picture(title=f"{model}: {says}", alt=alt, png=png(drawn))


def _drift(systems: Systems, question: Question, model: str) -> _Titled:
    """The features that the newest report found drifted, or of them those that the question names."""
    row = systems.store.latest(Kind.drift_report, model)
    found = drifted_distributions(systems, model, reading.drift_report(row)) if row else ()
    named = [each for each in found if re.search(rf"\b{re.escape(each.feature)}\b", question.text, re.IGNORECASE)]
    shown: Sequence[Distribution] = named or found
    return [(each.feature, plots.distribution(each, key=f"d{n}")) for n, each in enumerate(shown[:MOST_SMALL])]


def _performance(systems: Systems, question: Question, model: str) -> _Titled:
    weeks = recent_auc(systems, model)
    if len(weeks) < 2:
        return []
    deployed = deployed_auc(systems, model, systems.clock.now() - RECENT)
    return [(f"{model}: live AUC", plots.auc_by_week(weeks, (), auc_floor(systems, model), deployed))]


def _kpis(systems: Systems, question: Question, model: str) -> _Titled:
    rows = systems.store.list(Kind.kpi_reading, model, limit=400)
    found = reading.kpi_readings(rows, rows, systems.operations)
    shown = [each for each in found if len(each.history) >= FEWEST_READINGS][:MOST_SMALL]
    return [(each.kpi, plots.kpi_bullet(each, key=f"k{n}")) for n, each in enumerate(shown)]


def _rollout(systems: Systems, question: Question, model: str) -> _Titled:
    rollout = rollout_as_told(systems, systems.store.latest(Kind.rollout, model))
    if rollout is None or len(rollout.traffic) < 2:
        return []
    return [(f"{rollout.rollout_id} of version {rollout.version}", plots.rollout_traffic(rollout))]


def _description(svg: Markup) -> str:
    found = re.search(r"<desc[^>]*>(.*?)</desc>", svg)
    return Markup(found.group(1)).unescape() if found else ""  # noqa: S704  is unescaped, not shown as markup


_DRAWN: dict[Intent, tuple[str, Callable[[Systems, Question, str], _Titled]]] = {
    Intent.drift: ("what drifted, now (blue) against the baseline (grey)", _drift),
    Intent.check: ("what drifted, now (blue) against the baseline (grey)", _drift),
    Intent.performance: ("live AUC by week", _performance),
    Intent.kpis: ("KPIs over time, against baseline and target", _kpis),
    Intent.rollout: ("the challenger's share of the requests", _rollout),
}

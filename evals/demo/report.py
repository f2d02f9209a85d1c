"""The demo's report: the whole period, with what only the demo knows (the causes, and life without the Guardian)."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from pathlib import Path

from agent.report import told, write
from agent.report.gathering import content_of_period
from agent.report.model import Event, EventKind, Flagged, FlaggedCount, Marker, MarkerKind, Spend, WeekPoint
from agent.report.numbers import words
from agent.report.reasons import sentence
from evals.demo.result import DemoResult
from evals.demo.shop import DAY, DEPLOYED, LOOKED_AT, MODEL, Shop


def write_demo_report(shop: Shop, result: DemoResult, path: Path) -> None:
    """Writes the report of the whole story."""
    content = content_of_period(shop.systems, MODEL, DEPLOYED, shop.now)
    outcome = result.outcome
    weeks = tuple(
        WeekPoint(
            week_start=each.week,
            with_guardian=each.auc if result.with_agent else None,
            without_guardian=each.without,
            labelled_rows=each.rows,
        )
        for each in outcome.live_auc
    )
    counted = FlaggedCount.model_validate(outcome.flagged.model_dump())
    flagged = Flagged(
        week_start=(LOOKED_AT - 7 * DAY).date(),
        with_guardian=counted if result.with_agent else None,
        without_guardian=None if result.with_agent else counted,
    )
    budget = next(iter(shop.systems.operations.budgets.values()))
    spend = Spend(**result.budget.model_dump(), budget_usd=budget.cost, budget_tokens=budget.tokens)
    markers = (*_causes(shop), *content.markers)
    full = content.model_copy(
        update={
            "planner": result.planner,
            "with_agent": result.with_agent,
            "story": (*_told_causes(shop), *content.story),
            "weeks": weeks,
            "markers": markers,
            "flagged": flagged,
            "spend": spend if result.with_agent else None,
        }
    )
    write(told(full), path)


def _told_causes(shop: Shop) -> list[Event]:
    return [
        Event(at=datetime.combine(cause.starts, time()), kind=EventKind.cause, text=sentence(cause.about))
        for cause in shop.world.story.causes
    ]


def _causes(shop: Shop) -> list[Marker]:
    midnight = time()
    return [
        Marker(
            at=datetime.combine(cause.starts, midnight),
            label=words(cause.name),
            kind=MarkerKind.cause,
            until=datetime.combine(cause.ends, midnight) + timedelta(days=1) if cause.ends else None,
        )
        for cause in shop.world.story.causes
    ]

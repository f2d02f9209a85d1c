"""The story of a report: rows of evidence and refused calls in order of time."""

from __future__ import annotations

from collections.abc import Sequence

from agent.report import sentences
from agent.report.model import Event
from agent.report.reading import broken_sources
from policies.declarations import Severity
from tools.systems.store import Evidence, Kind
from tools.systems.tables import ActionRow


def story(rows: Sequence[Evidence], actions: Sequence[ActionRow], *, whole_period: bool) -> tuple[Event, ...]:
    """The rows (oldest first) and what was refused. Over a whole period, what repeats what is known is left out."""
    told_rows = [row for row in rows if row.body.get("started") is not False]
    events = [sentences.event_of(row) for row in told_rows if not (whole_period and _uneventful(row, rows))]
    refused = ""
    for action in actions:
        event = sentences.refusal_of(action)
        # A tool that is refused night after night is told once, until it is carried out.
        if event is not None and not (whole_period and refused == action.tool):
            events.append(event)
        if event is not None or action.tool == refused:
            refused = action.tool if event is not None else ""
    return tuple(sorted(_without_repeats(events), key=lambda event: event.at))


def _without_repeats(events: Sequence[Event]) -> list[Event]:
    """A reading that says word for word what an earlier one of the same moment said is told once."""
    told: dict[tuple[object, ...], Event] = {}
    for event in events:
        told.setdefault((event.at, event.text, *event.numbers.items()), event)
    return list(told.values())


def _uneventful(row: Evidence, rows: Sequence[Evidence]) -> bool:
    """A check that found what the check before it had found: nothing worse, and no source newly broken."""
    if row.kind not in (Kind.drift_report, Kind.kpi_reading):
        return False
    before = [each for each in rows if each.kind is row.kind and each.created_at < row.created_at]
    known = sentences.event_of(before[-1]).severity if before else Severity.ok
    newly_broken = broken_sources(row) - (broken_sources(before[-1]) if before else set())
    return not newly_broken and sentences.event_of(row).severity.rank <= max(known.rank, Severity.unknown.rank)

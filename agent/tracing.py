"""A run as a trace: one AGENT span, a child for every model call and every tool, read from the store at its end.

Read from rows, not recorded on the way: a run that was killed and continued, or that waited for a person, is one trace.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

from sqlalchemy import select

from agent.budget import spent_by_run
from agent.runs import Run
from agent.untrusted import clean
from policies.errors import GuardianError
from tools.systems.systems import Systems
from tools.systems.tables import ActionRow, SpendRow
from tools.systems.traces import Span

_log = logging.getLogger(__name__)


def trace_run(systems: Systems, run: Run, status: str, outcome: str) -> None:
    """Writes the trace of a run in which a planner was awake. A trace that cannot be written holds up nothing."""
    if systems.traces is None or not run.record.conversations:
        return
    row, children = systems.store.get(run.id), sorted(spans_of(systems, run.id), key=lambda span: span.start)
    spent = spent_by_run(systems.store, run.id)
    root = Span(
        name=run.record.because,
        kind="AGENT",
        start=row.created_at,
        end=systems.clock.now(),
        inputs={"models": run.record.models, **run.record.about},
        outputs={"status": status, "outcome": outcome, **spent.model_dump()},
        failed=status == "failed",
    )
    tags = {"guardian.run": run.id, "guardian.status": status}
    tags |= {f"guardian.{key}": value for key, value in run.record.about.items()}
    try:
        systems.traces.write(root, children, tags)
    except GuardianError as error:  # none of it is the run's fault
        _log.warning("the trace of %s could not be written: %s", run.id, clean(str(error)))


def spans_of(systems: Systems, run_id: str) -> Iterator[Span]:
    """Every model call and tool call of a run. A call whose outcome is unknown is shown at its reservation."""
    with systems.store.reading() as session:
        actions = session.scalars(select(ActionRow).where(ActionRow.run_id == run_id)).all()
        spends = session.scalars(select(SpendRow).where(SpendRow.run_id == run_id)).all()
    for action in actions:
        outcome = action.outcome or {}
        yield Span(
            name=action.tool,
            kind="TOOL",
            start=action.started_at,
            end=action.ended_at or action.started_at,
            inputs=action.arguments,
            outputs={"status": action.status, "text": outcome.get("text")},
            failed=action.status == "failed",
        )
    for spend in spends:
        known = spend.settled_usd is not None
        yield Span(
            name=f"ask {spend.model}",
            kind="LLM",
            start=spend.at,
            end=spend.ended_at or spend.at,
            outputs={"outcome": "known" if known else "unknown, charged at its reservation"},
            failed=not known,
            model=spend.model,
            input_tokens=(spend.prompt_tokens or 0) if known else spend.reserved_tokens,
            output_tokens=spend.output_tokens or 0,
            cost_usd=spend.reserved_usd if spend.settled_usd is None else spend.settled_usd,
        )

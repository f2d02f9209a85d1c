"""The command `guardian counterfactual`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel

from agent.cli.session import Session


class Difference(BaseModel):
    """A row of evidence that leads to something else under the other declarations."""

    evidence: str
    model: str
    at: datetime
    declared: str
    other: str
    why: str


class CounterfactualResult(BaseModel):
    """All rows of evidence that were judged again, and those on which the decisions differ.

    `unreadable`: damaged rows, which were not judged. `unasked`: keys that differ too, and that stored evidence cannot
    answer.
    """

    other: str
    judged: int
    differences: list[Difference]
    unreadable: list[str]
    unasked: list[str]


def counterfactual(
    context: typer.Context,
    other: Annotated[Path, typer.Argument(metavar="FILE", help="Other declarations: thresholds, cooldowns, gates.")],
) -> None:
    """What one's own evidence would have led to under other declarations: the nights on which decisions differ."""
    from evals.counterfactual.decisions import UNREADABLE, decisions
    from evals.counterfactual.unasked import unasked
    from policies.declarations import load
    from tools.systems.store import Kind

    session: Session = context.obj
    systems, declared = session.systems, load(other)
    rows = [row for kind in (Kind.drift_report, Kind.evaluation, Kind.run) for row in systems.store.list(kind)]
    found, would = decisions(rows, systems.operations), {each.evidence: each for each in decisions(rows, declared)}
    was = [each for each in found if each.what != UNREADABLE]
    differences = [
        Difference(
            evidence=each.evidence,
            model=each.model,
            at=each.at,
            declared=each.what,
            other=would[each.evidence].what if each.evidence in would else "not looked at",
            why=would[each.evidence].why if each.evidence in would else f"{other} does not declare it",
        )
        for each in was
        if each.evidence not in would or would[each.evidence].what != each.what
    ]
    left = unasked(systems.operations, declared)
    damaged = [f"{each.evidence} ({each.why})" for each in found if each.what == UNREADABLE]
    result = CounterfactualResult(
        other=str(other), judged=len(was), differences=differences, unreadable=damaged, unasked=left
    )
    session.emit(result, _show)


def _show(result: CounterfactualResult) -> str:
    lines = [
        f"{each.at:%Y-%m-%d %H:%M}  {each.model}  {each.evidence}: {each.declared} → {each.other}  ({each.why})"
        for each in result.differences
    ]
    lines.append(f"{result.judged} decisions, {len(result.differences)} would differ under {result.other}")
    if result.unreadable:
        lines.append(f"not judged, for the stored rows are damaged: {', '.join(result.unreadable)}")
    if result.unasked:
        lines.append(f"not asked again, for nothing was measured that tells: {', '.join(result.unasked)}")
    return "\n".join(lines)

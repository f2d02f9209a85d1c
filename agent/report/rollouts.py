"""A rollout's row, with the traffic changes that rest on it, as stages with their gates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agent.report.model import Rollout, Stage, TrafficStep
from agent.report.reading import Body, mapping, measurements, real, text
from policies.declarations import Operations
from policies.declarations.deployment import GATES
from tools.systems.store import Evidence


def rollout(row: Evidence, changes: Sequence[Evidence], operations: Operations) -> Rollout:
    """`changes` are the traffic rows that rest on the rollout, in any order."""
    body, version = row.body, row.version or text(row.body, "version")
    steps = [
        TrafficStep(at=each.created_at, pct=_share(each.body, version))
        for each in sorted(changes, key=lambda change: change.created_at)
    ]
    status = row.status or text(body, "status")
    champion = next((text(mapping(each.body, "before"), "champion") for each in changes if each.body.get("before")), "")
    return Rollout(
        rollout_id=row.id,
        strategy=text(body, "strategy"),
        version=version,
        champion_version=text(body, "champion") or champion,
        status=status,
        reason=text(body, "reason"),
        stages=tuple(_stages(body, steps, operations, status)),
        traffic=tuple(steps),
    )


def _share(body: Body, version: str) -> float:
    """The share of the requests that `version` answers, in percent."""
    if text(body, "champion") == version:
        return 100.0
    return (real(body, "challenger_pct") or 0.0) if text(body, "challenger") == version else 0.0


def _stages(body: Body, steps: Sequence[TrafficStep], operations: Operations, status: str) -> list[Stage]:
    """The declared stages, each with when it was in force and what its gate said last."""
    stages = []
    for place, declared in enumerate(_declared(body, operations)):
        pct = real(declared, "traffic_pct") or 0.0
        at = next((n for n, step in enumerate(steps) if step.pct == pct), None)
        started = steps[at].at if at is not None else None
        following = steps[at + 1] if at is not None and at + 1 < len(steps) else None
        told, gate = _gate_of(body, declared, place), text(declared, "gate")
        verdict = text(told, "verdict")
        if not verdict and following is not None:
            verdict = "pass" if following.pct > pct else "fail" if status == "rolled_back" else ""
        stages.append(
            Stage(
                traffic_pct=pct,
                mirrored=declared.get("mirrored") is True,
                gate=gate,
                started_at=started,
                ended_at=following.at if following else None,
                verdict=verdict,
                measurements=tuple(
                    each.model_copy(update={"asked": each.asked and each.name in GATES.get(gate, (each.name,))})
                    for each in measurements(told.get("measurements"))
                ),
            )
        )
    return stages


def _declared(body: Body, operations: Operations) -> list[Body]:
    stored = body.get("stages")
    if isinstance(stored, list) and stored and isinstance(stored[0], Mapping):
        return stored
    strategy = operations.deployment_strategies.get(text(body, "strategy"))
    found: Any = getattr(strategy, "stages", None) or []
    return [each.model_dump(mode="json") for each in found]


def _gate_of(body: Body, declared: Body, place: int) -> Body:
    """A stage's last gate result: its own, else the rollout's where it is the stage the rollout is in."""
    if "last_gate" in declared:
        return mapping(declared, "last_gate")
    return mapping(body, "last_gate") if place == body.get("stage") else {}

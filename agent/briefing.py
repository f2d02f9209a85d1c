"""The briefing: where a run starts. Deterministic, a few hundred tokens, costs none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agent.planners.protocol import Briefing
from agent.rendering import text_of
from agent.untrusted import clean, fenced
from policies.declarations import Operations
from tools.deploy.permission import unfinished
from tools.systems.systems import Systems


def brief(
    systems: Systems,
    model: str,
    *,
    because: str,
    drift: Sequence[Mapping[str, Any]] = (),
    kpis: Sequence[Mapping[str, Any]] = (),
    failures: Sequence[str] = (),
) -> Briefing:
    """What is known about `model`: compact facts of drift reports and KPI readings, and what failed to be measured."""
    split = systems.traffic.split(model)
    rollout = unfinished(systems, model)
    reason, running = clean(because), rollout.id if rollout else None
    failed = [clean(each) for each in failures]
    facts = {"because": reason, "drift": list(drift), "kpis": list(kpis), "failures": failed, "rollout": running}
    lines = [
        f"Model {model}, {systems.clock.now():%Y-%m-%d %H:%M} UTC. Reason: {reason}",
        f"Serving: {f'version {split.champion}' if split else 'nothing yet'}. Rollout running: {running or 'none'}.",
        _names(systems.operations, model),
    ]
    measured = [("drift report", each) for each in drift] + [("KPIs", each) for each in kpis]
    lines += [f"{label}: {text_of(each)}" for label, each in measured]
    lines += [f"could not be measured: {each}" for each in failed]
    return Briefing(model=model, text=fenced("briefing", "\n".join(lines)), facts=facts)


def _names(operations: Operations, model: str) -> str:
    challenge = operations.challenge_of(model)
    named = {
        "monitors": ", ".join(operations.monitors_of(model)),
        "pipeline": operations.pipeline_of(model),
        "challenge": challenge,
        "strategy": operations.champion_challengers[challenge].promotion.deployment_strategy if challenge else None,
        "trackers": ", ".join(operations.trackers_of(model)),
    }
    sources = [f"{name} (owner {source.owner})" for name, source in operations.models[model].sources.items()]
    shown = [f"{key} {value}" for key, value in named.items() if value]
    return f"Declared: {'; '.join(shown)}. Sources: {', '.join(sources) or 'none'}."

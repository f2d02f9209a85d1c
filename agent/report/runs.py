"""What a run's row and its calls say: which models it was about, and which evidence it made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from agent.report import reading
from policies.errors import InputError
from tools.systems.store import Evidence
from tools.systems.tables import ActionRow

_IDS = ("report_id", "run_id", "evaluation_id", "gate_id", "rollout_id", "kpi_id")


def outcomes_of(run: Evidence) -> dict[str, dict[str, Any]]:
    """What a run's row says about each model."""
    done = {name: part for name, part in reading.mapping(run.body, "done").items() if isinstance(part, dict)}
    result = reading.mapping(run.body, "result").get("models")
    listed = [part for part in (result if isinstance(result, list) else []) if isinstance(part, dict)]
    return done or {reading.text(part, "model"): part for part in listed}


def chosen_model(run: Evidence, outcomes: dict[str, dict[str, Any]], model: str | None) -> str:
    """The model a report is told for: `model`, else the one with the worst findings. Raises InputError."""
    names = list(run.body.get("models") or outcomes or [run.model])
    if model is not None and model not in names:
        raise InputError(f"was about {', '.join(map(str, names))}, not about {model!r}", where=run.id)
    ranked = sorted(names, key=lambda name: -reading.severity(outcomes.get(name, {})).rank)
    return model or str(ranked[0])


def concerns(action: ActionRow, model: str, models: Iterable[str]) -> bool:
    """Whether a call was about the model: its thread names it (`run-9/ChurnModel/3`)."""
    others = [name for name in models if name != model]
    return not any(f"/{name}/" in f"{action.call_id}/" for name in others)


def ids_in(facts: object) -> Iterator[object]:
    """Ids of evidence that a call's compact facts name."""
    if isinstance(facts, dict):
        for key, value in facts.items():
            if key in _IDS and value:
                yield value
            yield from ids_in(value)

"""Tool results as planners read them: compact facts, worst findings first, counts and ids instead of the rest.

Rows never appear: results hold none, lists are cut, and every text is cleaned. Ids are kept, to ask for more.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel

from agent.untrusted import clean
from policies.declarations import Severity

MOST_CHARACTERS = 1500
"""A rendered result is at most this long (about 480 tokens)."""

_OMITTED = frozenset(
    {
        "artifact_digest", "auc_test", "baseline", "best_params", "checked_at", "conditions", "contributions",
        "declared", "digest", "direction", "error", "events", "history", "holdout", "holdout_digest", "lasting",
        "mlflow_run_id", "p_value", "read_at", "salt", "seconds", "settled", "stages", "trend", "triggers",
    }
)  # fmt: skip
"""Not needed to decide what to do next; the stored evidence has them."""

_BAD_FIRST = {"critical": 0, "fail": 0, "failed": 0, "warning": 1, "inconclusive": 1, "unknown": 2}
_TYPES_FIRST = ("schema_drift", "concept_drift")
"""What decides between a broken pipeline and a changed world comes before the features."""

_SOUND = ("ok", "pass", "passed", "skipped", "True")
_IDS = ("report_id", "run_id", "evaluation_id", "rollout_id", "kpi_id")
_HEADLINE = {
    "verdict": "{}",
    "status": "{}",
    "severity": "{}",
    "skipped_because": "not started: {}",
    "started": "started",
    "weighted_improvement": "weighted improvement {:+.1%}",
    "version": "version {}",
    "traffic_pct": "{:g}% of the traffic",
    "disconnect": "the business numbers fall while the model's stay sound",
}


class _Room(NamedTuple):
    """How much of a result is kept: items of a list, numbers of a mapping, characters of a text."""

    items: int
    numbers: int
    text: int


_ROOMS = (
    _Room(6, 6, 160), _Room(4, 4, 120), _Room(3, 4, 100), _Room(3, 3, 80), _Room(2, 3, 80), _Room(1, 2, 60),
    _Room(0, 1, 60),
)  # fmt: skip
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d):\d\d(\.\d+)?")


def facts_of(result: BaseModel) -> dict[str, Any]:
    """The compact facts of a result: plain JSON data, at most MOST_CHARACTERS as text."""
    body = result.model_dump(mode="json")
    for room in _ROOMS:
        facts = _mapping(body, room)
        if len(text_of(facts)) <= MOST_CHARACTERS:
            return facts
    scalars = {key: value for key, value in facts.items() if not isinstance(value, dict | list)}
    return dict(list(scalars.items())[:8])


def text_of(facts: Mapping[str, Any]) -> str:
    """Facts as one line of JSON."""
    return json.dumps(facts, ensure_ascii=False, separators=(",", ":"))


def headline(facts: Mapping[str, Any]) -> str:
    """The few words of a result that a report shows: `rollout-2: running, version 3, 5% of the traffic`."""
    ids = [str(facts[key]) for key in _IDS if facts.get(key)]
    words = [said.format(facts[key]) for key, said in _HEADLINE.items() if facts.get(key) not in (None, False)]
    gate = facts.get("gate")
    if isinstance(gate, Mapping):
        words.append(f"gate {gate.get('status')}")
    readings = facts.get("readings")
    if isinstance(readings, Sequence) and not isinstance(readings, str):
        words += [f"{each['kpi']} {_short(each['value'])}" for each in readings if "kpi" in each and "value" in each]
    return ": ".join(part for part in (", ".join(ids), ", ".join(words)) if part) or "done"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _mapping(body: Mapping[str, Any], room: _Room) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for key, value in list(body.items())[:40]:
        name = clean(key, 60)
        if key in _OMITTED or value in (None, [], {}, ""):
            continue
        if isinstance(value, list) and isinstance(value[0], dict):
            facts |= _findings(name, value, room)
        elif isinstance(value, dict) and all(isinstance(each, float) for each in value.values()):
            facts[name] = {clean(k, 60): _value(v, room) for k, v in list(value.items())[: room.numbers]}
        else:
            facts[name] = _value(value, room)
    return facts


def _findings(name: str, items: Sequence[Mapping[str, Any]], room: _Room) -> dict[str, Any]:
    """A list of findings: the worst of each type first, how many of each severity, the worst severity of each type.

    What is sound is only counted, but for readings and the like, which are few and have no type.
    """
    judged = next((key for key in ("severity", "verdict", "passed") if key in items[0]), None)
    if judged is None:
        telling = sorted(items, key=lambda each: not each.get("signs"))
        return {name: [_value(each, room) for each in telling[: room.items]]} if room.items else {}
    facts: dict[str, Any] = {f"{name}_counts": dict(Counter(str(each.get(judged)) for each in items))}
    if judged == "severity" and "type" in items[0]:
        facts[f"{name}_by_type"] = _worst_by_type(items)
    readings = "kpi" in items[0]
    shown = _spread([each for each in items if readings or str(each.get(judged)) not in _SOUND], judged)
    if shown[: room.items]:
        facts[name] = [_value(each, room) for each in shown[: room.items]]
    if len(shown) > room.items:
        facts[f"{name}_not_shown"] = len(shown) - room.items
    return facts


def _worst_by_type(items: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for each in items:
        kind, severity = str(each["type"]), str(each["severity"])
        if kind not in found or Severity(severity).rank > Severity(found[kind]).rank:
            found[kind] = severity
    return found


def _spread(items: Sequence[Mapping[str, Any]], judged: str) -> list[Mapping[str, Any]]:
    """Worst first, and among equals one of each type before a second of any."""
    seen: Counter[tuple[str, str]] = Counter()
    keyed = []
    for place, each in enumerate(items):
        group = (str(each.get(judged)), str(each.get("type")))
        kind = _TYPES_FIRST.index(group[1]) if group[1] in _TYPES_FIRST else len(_TYPES_FIRST)
        keyed.append(((_BAD_FIRST.get(group[0], 3), seen[group], kind, place), each))
        seen[group] += 1
    return [each for _, each in sorted(keyed, key=lambda pair: pair[0])]


def _value(value: Any, room: _Room) -> Any:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, Mapping):
        return _mapping(value, room)
    if isinstance(value, list):
        shown = [_value(each, room) for each in value[: max(room.items, 2)]]
        return shown if len(value) == len(shown) else [*shown, f"… {len(value)} in all"]
    if isinstance(value, str):
        return clean(_TIME.sub(r"\1", value), room.text)
    return value

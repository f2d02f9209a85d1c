"""Tool results as planners read them: compact facts, worst findings first, counts and ids instead of the rest.

Rows never appear: results hold none, lists are cut, and every text is cleaned. Ids are kept, to ask for more.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from agent.untrusted import clean
from policies.declarations import Severity

MOST_CHARACTERS = 1300
"""A rendered result is at most this long (about 400 tokens)."""

_OMITTED = ("mlflow_run_id", "best_params", "digest", "seconds", "artifact_digest", "holdout_digest", "p_value")
"""Never needed to decide what to do next; the stored evidence has them."""

_BAD_FIRST = {"critical": 0, "fail": 0, "failed": 0, "warning": 1, "inconclusive": 1, "unknown": 2}
_HEADLINE = (
    "status", "severity", "verdict", "started", "skipped_because", "weighted_improvement", "version", "stage",
    "traffic_pct", "disconnect", "next",
)  # fmt: skip


def facts_of(result: BaseModel) -> dict[str, Any]:
    """The compact facts of a result: plain JSON data, at most MOST_CHARACTERS as text."""
    body = result.model_dump(mode="json")
    for kept in (6, 4, 2, 1):
        facts = _mapping(body, kept)
        if len(text_of(facts)) <= MOST_CHARACTERS:
            return facts
    scalars = {key: value for key, value in facts.items() if not isinstance(value, dict | list)}
    return dict(list(scalars.items())[:12])


def text_of(facts: Mapping[str, Any]) -> str:
    """Facts as one line of JSON."""
    return json.dumps(facts, ensure_ascii=False, separators=(",", ":"))


def headline(facts: Mapping[str, Any]) -> str:
    """The few words of a result that a report shows: `rollout-2: status running, stage 0`."""
    ids = [str(value) for key, value in facts.items() if key in ("report_id", "run_id", "evaluation_id", "rollout_id")]
    words = [f"{key.replace('_', ' ')} {facts[key]}" for key in _HEADLINE if key in facts]
    gate = facts.get("gate")
    if isinstance(gate, Mapping):
        words.append(f"gate {gate.get('status')}")
    readings = facts.get("readings")
    if isinstance(readings, Sequence) and not isinstance(readings, str):
        words += [f"{each['kpi']} {each.get('value')}" for each in readings if "kpi" in each]
    return ": ".join(part for part in (", ".join(ids), ", ".join(words)) if part) or "done"


def _mapping(body: Mapping[str, Any], kept: int) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for key, value in list(body.items())[:40]:
        name = clean(key, 60)
        if isinstance(value, list) and value and isinstance(value[0], dict):
            facts |= _findings(name, value, kept)
        elif key not in _OMITTED and value not in (None, [], {}, ""):
            facts[name] = _value(value, kept)
    return facts


def _findings(name: str, items: Sequence[Mapping[str, Any]], kept: int) -> dict[str, Any]:
    """A list of findings: the worst of each type first, how many of each severity, the worst severity of each type."""
    facts: dict[str, Any] = {}
    ordered = list(items)
    if "severity" in items[0]:
        facts[f"{name}_counts"] = dict(Counter(str(each["severity"]) for each in items))
        if "type" in items[0]:
            facts[f"{name}_by_type"] = _worst_by_type(items)
        ordered = _spread([each for each in items if each["severity"] != "ok" or "type" not in each])
    elif (judged := next((key for key in ("status", "verdict", "passed") if key in items[0]), None)) is not None:
        ordered = sorted(items, key=lambda each: _badness(each.get(judged)))
    facts[name] = [_value(each, kept) for each in ordered[:kept]]
    if len(ordered) > kept:
        facts[f"{name}_not_shown"] = len(ordered) - kept
    return facts


def _worst_by_type(items: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for each in items:
        kind, severity = str(each["type"]), str(each["severity"])
        if kind not in found or Severity(severity).rank > Severity(found[kind]).rank:
            found[kind] = severity
    return found


def _spread(items: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Worst first, and among equals one of each type before a second of any."""
    seen: Counter[tuple[str, str]] = Counter()
    keyed = []
    for place, each in enumerate(items):
        group = (str(each["severity"]), str(each.get("type")))
        keyed.append(((_badness(each["severity"]), seen[group], place), each))
        seen[group] += 1
    return [each for _, each in sorted(keyed, key=lambda pair: pair[0])]


def _badness(verdict: object) -> int:
    if isinstance(verdict, bool):
        return 3 if verdict else 0
    return _BAD_FIRST.get(str(verdict), 3)


def _value(value: Any, kept: int) -> Any:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, Mapping):
        return _mapping(value, kept)
    if isinstance(value, list):
        shown = [_value(each, kept) for each in value[: max(kept, 4)]]
        return shown if len(value) <= max(kept, 4) else [*shown, f"… {len(value)} in all"]
    return clean(value) if isinstance(value, str) else value

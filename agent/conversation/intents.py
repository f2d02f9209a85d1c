"""What a question is about, by a small table of words: the understanding that needs no language model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Intent(StrEnum):
    """What can be asked. The last four are wishes: something is to be measured or changed now."""

    cost = "cost"
    why_retrained = "why_retrained"
    why_serving = "why_serving"
    rollout = "rollout"
    approvals = "approvals"
    kpis = "kpis"
    performance = "performance"
    alerts = "alerts"
    drift = "drift"
    night = "night"
    status = "status"
    help = "help"
    check = "check"
    retrain = "retrain"
    evaluate = "evaluate"
    deploy = "deploy"


WISHES = frozenset({Intent.check, Intent.retrain, Intent.evaluate, Intent.deploy})
"""Intents that call tools."""

_TABLE: tuple[tuple[Intent, str], ...] = (
    (Intent.help, r"^\W*(help|hello|hi|hey|what can (you|i)\b.*)\W*$"),
    (Intent.cost, r"\b(costs?|spen[dt]|spending|budget|tokens?|dollars?|how much|how long would)\b|\$"),
    (Intent.deploy, r"^\W*(please\s+)?(deploy|roll out|promote)\b"),
    (Intent.retrain, r"^\W*(please\s+)?(retrain|train)\b"),
    (Intent.evaluate, r"^\W*(please\s+)?(evaluate|compare|judge)\b"),
    (Intent.check, r"^\W*(please\s+)?(check|measure)\b|\b(check|measure)\b.*\bnow\b"),
    (Intent.why_retrained, r"\b(why|when|what|did|was|were|last|how)\b.*\b(re)?train(ed|ing)?\b|^\W*(re)?training\b"),
    (Intent.approvals, r"\b(approv\w*|waits?|waiting|decide|decisions?|den(y|ied))\b"),
    (
        Intent.rollout,
        r"\b(canary|canaries|rollouts?|roll\w* (out|back)|shadow|blue.?green|a/?b.?test|stages?|deploy\w*)\b",
    ),
    (Intent.kpis, r"\b(kpis?|revenue|business|churn rate|targets?|conversion)\b"),
    (Intent.performance, r"\b(auc|accuracy|performance|perform(s|ing|ed)?|decay(s|ed|ing)?)\b"),
    (Intent.alerts, r"\b(alerts?|incidents?|pag(e|ed|er)|wrong|broken|problems?|issues?)\b"),
    (Intent.why_serving, r"\bwhy\b|\b(evidence|promoted|serving since)\b"),
    (Intent.drift, r"\b(drift\w*|shifted|distributions?|psi|monitors?)\b"),
    (Intent.night, r"\b(night\w*|triage|last runs?|yesterday|what happened|overnight|report)\b"),
    (Intent.status, r"\b(status|state|how (is|are)|health\w*|serv(es|ing)|version|everything|models?|ok|fine)\b"),
)
"""The first that matches counts: what is asked more narrowly stands first."""


@dataclass(frozen=True)
class Question:
    """A question as understood, with the models and the version it names; no `intent`: not understood."""

    text: str
    intent: Intent | None
    models: tuple[str, ...]
    version: str | None = None


def understood(text: str, models: Sequence[str]) -> Question:
    """What `text` asks, of which of the declared `models`."""
    plain = _plain(text)
    named = tuple(model for model in models if re.search(rf"\b{re.escape(_plain(model))}\b", plain))
    rest = plain
    for model in named:
        rest = rest.replace(_plain(model), " ")
    intent = next((each for each, words in _TABLE if re.search(words, rest)), None)
    version = re.search(r"\bv(?:ersion)?\s*\.?\s*(\d+)\b", rest)
    return Question(text, intent, named, version.group(1) if version else None)


def _plain(text: str) -> str:
    return " ".join(text.lower().replace("’", "'").split())

"""What a rollout's gate measured, in words: against which limit, and what an open question lacks."""

from __future__ import annotations

from agent.report.model import Measurement
from agent.report.numbers import fixed, measured, percent, words
from policies.tasks import COMPARED, DEGRADATION


def shown(m: Measurement) -> tuple[str, str, str]:
    """Name, value, and what the value is held against. A degradation is told as the AUC won or lost."""
    if m.name in COMPARED:
        told = _error_against_champion if m.name == DEGRADATION["regression"] else _against_champion
        return COMPARED[m.name], *told(m)
    champion = f"champion {measured(m.name, m.champion_value)}" if m.champion_value is not None else ""
    limit = f"limit {measured(m.name, m.limit)}" if m.limit is not None else ""
    return words(m.name), measured(m.name, m.value), ", ".join(part for part in (champion, limit) if part)


def _error_against_champion(m: Measurement) -> tuple[str, str]:
    limit = f"limit {percent(m.limit)} above" if m.limit is not None else ""
    if m.value is None:
        return "not known yet", f"{limit} the champion's" if limit else ""
    return (
        f"{percent(abs(m.value))} {'below' if m.value < 0 else 'above'}",
        f"the champion's{f', {limit}' if limit else ''}",
    )


def why_open(m: Measurement) -> str:
    """What an inconclusive measurement lacks, where the stage's gate asked for it; empty for another."""
    if m.verdict != "inconclusive":
        return ""
    return m.detail if m.asked else "not asked at this stage"


def _against_champion(m: Measurement) -> tuple[str, str]:
    limit = f"limit {fixed(m.limit)} below" if m.limit is not None else ""
    if m.value is None:
        return "not known yet", f"{limit} the champion's" if limit else ""
    gap = fixed(abs(m.value))
    value = "equal to" if float(gap) == 0.0 else f"{gap} {'above' if m.value < 0 else 'below'}"
    return value, f"the champion's{f', {limit}' if limit else ''}"

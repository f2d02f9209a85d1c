"""Whether the business sees it, in a sentence: KPIs against their targets and their baselines."""

from __future__ import annotations

from collections.abc import Sequence

from agent.report.model import KpiReading
from agent.report.numbers import words
from agent.report.reasons import sentence

_HARDLY = 1.0
"""A change below this, in percent of the baseline, is called none."""


def on_target(met: Sequence[bool | None], what: str = "") -> str:
    """How many of some KPIs are on target: none of 3 is on target. None is a KPI without a target or a value.

    `what` names them after their number, with a space behind it.
    """
    known = [each for each in met if each is not None]
    if not known:
        return "no targets to hold them against"
    if len(known) == 1:
        return "on target" if known[0] else "not on target"
    if all(known):
        return f"all {len(known)} {what}are on target"
    reached = sum(known)
    return f"{reached or 'none'} of {len(known)} {what}{'is' if reached < 2 else 'are'} on target"


def business(kpis: Sequence[KpiReading]) -> str:
    """Targets first, then what got better, worse, or hardly moved since the baseline."""
    if not kpis:
        return ""
    met = [each.on_target for each in kpis]
    said = sentence(on_target(met, "KPIs ")) if len(kpis) > 1 else sentence(f"{words(kpis[0].kpi)}: {on_target(met)}")
    moved: dict[str, list[str]] = {"improved": [], "worsened": [], "moved by less than 1%": []}
    for each in kpis:
        if each.change_pct is not None and each.baseline is not None:
            gain = each.change_pct if each.direction == "higher" else -each.change_pct
            how = "moved by less than 1%" if abs(gain) < _HARDLY else "improved" if gain > 0 else "worsened"
            moved[how].append(words(each.kpi))
    told = [f"{listed(names)} {how}" for how, names in moved.items() if names]
    return f"{said} Since the baseline, {'; '.join(told)}." if told else said


def listed(names: Sequence[str]) -> str:
    """a, b and c."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)

"""A broken source that several models read: one incident, one run of the planner, one alert.

The first of its models in declared order leads: the planner is woken for that one. A further model whose findings are
all of sources that others lead follows, and what else is wrong with a model stays its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agent.findings import Finding, findings_of, full_report, to_act_on
from agent.incidents import SOURCE, Found, incidents
from policies.alerting import listed
from policies.declarations import Severity
from tools.systems.systems import Systems


@dataclass(frozen=True)
class Following:
    """Why nothing is started for a model: `lead` is the one that the planner is woken for, `cause` what they share."""

    lead: str
    cause: str


@dataclass(frozen=True)
class SharedSources:
    """The broken sources of a night: `found` by model, and `readers` by the incident's key, in declared order."""

    found: Mapping[str, Sequence[Found]] = field(default_factory=dict)
    readers: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def keys(self) -> list[str]:
        """The keys of all broken sources of the night."""
        return list(self.readers)

    def with_(self, model: str) -> list[str]:
        """The model and all that share a broken source with it, at whatever remove."""
        unit, left = [model], [model]
        while left:
            each = left.pop()
            for found in self.found.get(each, ()):
                new = [other for other in self.readers[found.key] if other not in unit]
                unit, left = unit + new, left + new
        return unit

    def together(self, models: Sequence[str]) -> list[list[str]]:
        """`models` as units: those that share a broken source in one, every other alone."""
        units: list[list[str]] = []
        for model in models:
            if all(model not in unit for unit in units):
                sharing = self.with_(model)
                units.append([each for each in models if each in sharing])
        return units

    def leader(self, model: str, findings: Sequence[Finding]) -> Following | None:
        """Whom the model follows; None where it has something to act on that no other model leads."""
        led = [found for found in self.found.get(model, ()) if self.readers[found.key][0] != model]
        covered = [each for found in led for each in found.findings]
        if not led or to_act_on([each for each in findings if each not in covered]):
            return None
        return Following(self.readers[led[0].key][0], led[0].title.partition(" (")[0])

    def led_by(self, model: str) -> str:
        """Words for the briefing: which other models have the same source."""
        words = ""
        for found in self.found.get(model, ()):
            first, *others = self.readers[found.key]
            if first == model and others:
                words += f"; {found.title.partition(' (')[0]} for {listed(others)} too, and this run is for all of them"
        return words


def shared_sources(
    systems: Systems, measured: Mapping[str, Mapping[str, list[Any]]], models: Sequence[str]
) -> SharedSources:
    """The broken sources in what was `measured` of the `models`."""
    found: dict[str, list[Found]] = {}
    readers: dict[str, list[str]] = {}
    for model in models:
        if not any(_worrying(facts) for facts in measured.get(model, {}).get("drift", ())):
            continue
        reports = [full_report(systems, facts) for facts in measured[model]["drift"]]
        findings = list(findings_of(systems, measured[model]))
        tonight = incidents(model, reports, findings, systems.notifications.open(model))
        found[model] = [each for each in tonight if each.kind == SOURCE]
        for each in found[model]:
            readers.setdefault(each.key, []).append(model)
    return SharedSources(found, readers)


def _worrying(facts: Mapping[str, Any]) -> bool:
    return Severity(str(facts.get("severity", "ok"))).rank >= Severity.warning.rank

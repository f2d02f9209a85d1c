"""Where findings come from: which source, a broken pipeline or a changed world, since when."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Literal

from policies.declarations.binding import ModelBinding
from policies.declarations.drift import DriftType
from policies.errors import GuardianError
from tools.check_drift import divergence
from tools.check_drift.bins import Summary, counts_by_bin
from tools.check_drift.categorical import CategorySummary
from tools.check_drift.divergence import both_shares
from tools.check_drift.material import Material
from tools.check_drift.numeric import NumericSummary
from tools.check_drift.profiles import Profile, profile
from tools.check_drift.result import Check, Diagnosis, SourceFinding
from tools.systems.warehouse import quote

FACTORS = (10.0, 100.0, 1000.0, 1e6, 12.0, 24.0, 60.0, 3600.0, 86400.0, 1024.0, 2.54, 1.609344, 2.20462)
"""Ratios between units: powers of ten, times, bytes, lengths, weights."""

_NULLS = 0.05
_LOOK_BACK = timedelta(days=28)
_FEWEST_ROWS = 50


def diagnose(checks: Sequence[Check], material: Material, start: datetime) -> Diagnosis:
    """Groups the findings of `checks` by declared source and judges them. Reads the past 28 days of one feature."""
    found = [check for check in checks if check.found]
    if not found:
        return Diagnosis(kind="none", sources=[], first_seen=None, sudden=None, detail="nothing was found")
    binding = material.binding
    drifted = _drifted(found, binding)
    current = material.current(start)
    signs = {name: _sign(name, material, current) for name in drifted}
    contract = {check.subject: check.detail for check in found if check.type is DriftType.schema_drift}
    sources = _by_source(binding, drifted, signs, contract)
    sound = [name for name in drifted if not signs[name] and name not in contract]
    changed = any(check.type in (DriftType.concept_drift, DriftType.label_drift) for check in found)
    related = [check.subject for check in found if check.method == "correlation"]
    broken = bool(contract) or any(signs.values())
    predictions = any(check.type is DriftType.prediction_drift for check in found)
    world = bool(sound) or changed or ((predictions or bool(related)) and not broken)
    kind: Literal["pipeline", "world", "both"] = "both" if broken and world else "pipeline" if broken else "world"
    first, sudden = _since(sound or drifted, material)
    told = _words(sources, sound, related, changed, first, sudden)
    return Diagnosis(kind=kind, sources=sources, first_seen=first, sudden=sudden, detail=told)


def unit_factor(baseline: NumericSummary, current: NumericSummary) -> float | None:
    """The factor between units by which all quartiles moved alike, None where they did not."""
    ratios = []
    for q in (0.25, 0.5, 0.75):
        before, after = baseline.quantile(q), current.quantile(q)
        if before and after and math.isfinite(before) and math.isfinite(after):
            ratios.append(after / before)
    if len(ratios) < 2:
        return None
    for factor in (*FACTORS, *(1 / each for each in FACTORS)):
        if all(abs(ratio / factor - 1) < 0.05 for ratio in ratios):
            return factor
    return None


def pipeline_sign(baseline: Summary, current: Summary | None) -> str | None:
    """What about a column smells of a broken pipeline, None for nothing."""
    if current is None:
        return "missing"
    nulls = current.nulls / max(current.rows, 1) - baseline.nulls / max(baseline.rows, 1)
    if nulls > _NULLS:
        return f"{nulls:+.0%} nulls"
    if isinstance(baseline, NumericSummary) and isinstance(current, NumericSummary):
        if current.finite and current.minimum == current.maximum and baseline.minimum < baseline.maximum:
            return f"constant {current.minimum:g}"
        factor = unit_factor(baseline, current)
        return f"unit changed by a factor of {factor:g}" if factor else None
    if isinstance(baseline, CategorySummary) and isinstance(current, CategorySummary):
        strange = sum(count for name, count in current.counts.items() if name not in baseline.counts)
        if not baseline.other and strange > 0.5 * max(current.rows - current.nulls, 1):
            return f"codes changed: {strange / current.rows:.0%} of the values were never seen"
        if len(baseline.counts) > 1 and len(current.counts) == 1 and current.rows >= _FEWEST_ROWS:
            return f"constant {next(iter(current.counts))}"
        return None
    return "type changed"


def _drifted(found: Sequence[Check], binding: ModelBinding) -> list[str]:
    """Features with findings, the strongest (value by threshold) first."""
    strength: dict[str, float] = {}
    for check in found:
        if check.subject in binding.features.names and check.type is not DriftType.schema_drift:
            ratio = (check.value or 0.0) / (check.threshold or 1.0)
            strength[check.subject] = max(strength.get(check.subject, 0.0), ratio)
    return sorted(strength, key=lambda name: -strength[name])


def _sign(name: str, material: Material, current: Profile) -> str | None:
    return pipeline_sign(material.baseline().columns[name], current.columns.get(name))


def _by_source(
    binding: ModelBinding, drifted: Sequence[str], signs: Mapping[str, str | None], contract: Mapping[str, str]
) -> list[SourceFinding]:
    sources = []
    for name, source in binding.sources.items():
        features = [feature for feature in drifted if feature in source.features]
        smells = [f"{feature}: {signs[feature]}" for feature in features if signs[feature]]
        broken = [subject for subject in contract if subject in source.features or subject == source.loaded_at]
        smells += [f"{subject}: {contract[subject]}" for subject in broken]
        if features or smells:
            sources.append(SourceFinding(source=name, owner=source.owner, features=features, signs=smells))
    return sources


def _since(names: Sequence[str], material: Material) -> tuple[date | None, bool | None]:
    """First day of the unbroken series, up to now, in which the most drifted feature shows half of today's PSI."""
    if not names:
        return None, None
    import numpy as np

    binding, name = material.binding, names[0]
    where = f"{quote(binding.time)} >= $start AND {quote(binding.time)} < $end"
    params = {"start": (material.at - _LOOK_BACK).replace(hour=0, minute=0, second=0), "end": material.at}
    try:
        rows = material.systems.warehouse.read(binding.table, [binding.time, name], where, params)
    except GuardianError:
        return None, None
    days = rows.column(0).to_numpy().astype("datetime64[D]")
    order = np.argsort(days, kind="stable")
    rows, days = rows.select([1]).take(order), days[order]
    starts = np.flatnonzero(np.append(True, days[1:] != days[:-1])) if len(days) else np.empty(0, np.int64)
    ends = np.append(starts[1:], len(days))
    baseline = Profile(material.baseline().rows, {name: material.baseline().columns[name]})
    values: list[tuple[date, float]] = []
    for first, end in zip(starts[::-1].tolist(), ends[::-1].tolist(), strict=True):
        that_day = rows.slice(first, end - first)
        if that_day.num_rows < _FEWEST_ROWS:
            continue
        current = profile(that_day, like=baseline)
        psi = divergence.psi(*both_shares(*counts_by_bin(baseline.columns[name], current.columns[name])))
        if values and psi < values[0][1] / 2:
            reached = values[-1][1]
            return values[-1][0], reached > 0.75 * values[0][1] and psi < 0.25 * reached
        values.append((days[first].astype(object), psi))
    return (values[-1][0], None) if values else (None, None)


def _words(
    sources: Sequence[SourceFinding],
    sound: Sequence[str],
    related: Sequence[str],
    changed: bool,
    first: date | None,
    sudden: bool | None,
) -> str:
    said = [f"{each.source} ({each.owner}): {'; '.join(each.signs)}" for each in sources if each.signs]
    if sound:
        shown = ", ".join(sound[:5]) + (f" and {len(sound) - 5} more" if len(sound) > 5 else "")
        said.append(f"sound data that differ: {shown}")
    if related:
        said.append(f"relations that differ: {', '.join(related)}")
    if changed:
        said.append("outcomes changed")
    if first is not None:
        pace = {True: "suddenly ", False: "gradually ", None: ""}[sudden]
        said.append(f"{pace}since {first}")
    return ". ".join(said) or "the scores changed, the features did not"

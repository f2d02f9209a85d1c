"""Where findings come from: which source, a broken pipeline or a changed world, since when, and what it means."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from functools import partial
from typing import TYPE_CHECKING, Literal

from policies.declarations.binding import ModelBinding
from policies.declarations.drift import DriftType
from policies.errors import GuardianError
from tools.check_drift import attribution, history
from tools.check_drift.bins import Summary
from tools.check_drift.material import Material
from tools.check_drift.numeric import NumericSummary
from tools.check_drift.profiles import Profile, profile
from tools.check_drift.result import Check, Diagnosis, DriftedFeature, SourceFinding
from tools.check_drift.signs import likely_name, pipeline_sign, unit_sign

if TYPE_CHECKING:
    import pyarrow as pa

_MOST_FEATURES = 8
"""Drifted features that are looked at closely: each costs a few thousand scores, or a reading of four weeks."""

_MOST_TOLD = 5
"""Signs of a broken pipeline that the detail tells."""


def diagnose(checks: Sequence[Check], material: Material, start: datetime) -> Diagnosis:
    """Groups the findings of `checks` by declared source and judges them; `start` begins the shortest window.

    Reads the past days of what changed most (`history`), and scores a few thousand rows where features drifted.
    """
    found = [check for check in checks if check.found]
    if not found:
        return Diagnosis(kind="none", sources=[], first_seen=None, sudden=None, detail="nothing was found")
    binding = material.binding
    drifted = _drifted(found, binding)
    contract = {check.subject: check.detail for check in found if check.type is DriftType.schema_drift}
    related = [check.subject for check in found if check.method == "correlation"]
    types = {check.type for check in found}
    current = material.current(start)
    signs = {name: pipeline_sign(material.baseline().columns[name], current.columns.get(name)) for name in drifted}
    whole = [name for name in drifted if not signs[name]]
    for name in whole[:_MOST_FEATURES]:
        signs[name] = _unit_since_change(name, material, start, current)
    renamed = _renamed({*(name for name in drifted if signs[name] == "missing"), *contract}, material, start, current)
    smells = _smells(drifted, signs, contract, renamed)
    sources = _by_source(binding, list(drifted), smells)
    sound = [name for name in drifted if not signs[name] and name not in contract]
    first, sudden = history.since(_candidates(sound or list(drifted), found, material, current), material)
    broken = bool(contract) or any(signs.values())
    changed = DriftType.label_drift in types
    if DriftType.concept_drift in types and not changed:
        changed = not _follows([name for name in drifted if signs[name]], found, material, current)
    world = bool(sound) or changed or ((DriftType.prediction_drift in types or bool(related)) and not broken)
    kind: Literal["pipeline", "world", "both"] = "both" if broken and world else "pipeline" if broken else "world"
    features = _weighed(drifted, material, start)
    told = [each.explains for each in features if each.explains is not None]
    explained = sum(told) if told else None
    return Diagnosis(
        kind=kind,
        sources=sources,
        first_seen=first,
        sudden=sudden,
        detail=_words(
            [*_told(sources), *_unowned(binding, smells)],
            sound,
            related,
            types,
            first,
            sudden,
            features,
            explained,
        ),
        one_source=_one_source(binding, [*drifted, *contract]),
        renamed=renamed,
        features=features,
        explained=explained,
    )


def _follows(broken: Sequence[str], found: Sequence[Check], material: Material, current: Profile) -> bool:
    """Whether the performance fell no sooner than the first of the broken features: what it is fed explains that, and
    whether the world changed besides shows once it is mended. Within a day, since days are all that is compared.
    """
    if not broken:
        return False
    features = [partial(history.of_feature, name, material, current) for name in broken[:_MOST_FEATURES]]
    broke = [history.since([each], material)[0] for each in features]
    metrics = [check.subject for check in found if check.type is DriftType.concept_drift]
    fell = [history.since([partial(history.of_performance, metric, material)], material)[0] for metric in metrics]
    days = [day for day in broke if day is not None]
    return bool(days) and None not in fell and min(filter(None, fell)) >= min(days) - timedelta(days=1)


def _unit_since_change(name: str, material: Material, start: datetime, current: Profile) -> str | None:
    """The sign of a unit changed within the window: on the rows from the day the feature's change was first seen, or
    else the day after, which no longer holds rows from before it.
    """
    baseline = material.baseline().columns[name]
    if not isinstance(baseline, NumericSummary):
        return None
    first = history.recently(partial(history.of_feature, name, material, current), material)
    for day in (first, first + timedelta(days=1)) if first else ():
        since = datetime.combine(day, time(), start.tzinfo)
        if start < since < material.at and material.row_count(since):
            now = material.current(since).columns.get(name)
            if now is not None and (sign := unit_sign(baseline, now)):
                return sign
    return None


def _drifted(found: Sequence[Check], binding: ModelBinding) -> dict[str, float]:
    """Features with findings and how far beyond their threshold (value by threshold), the farthest first."""
    strength: dict[str, float] = {}
    for check in found:
        if check.subject in binding.features.names and check.type is not DriftType.schema_drift:
            ratio = (check.value or 0.0) / (check.threshold or 1.0)
            strength[check.subject] = max(strength.get(check.subject, 0.0), ratio)
    return dict(sorted(strength.items(), key=lambda each: -each[1]))


def _renamed(suspects: set[str], material: Material, start: datetime, current: Profile) -> dict[str, str]:
    """For features without a value in the window: the column, new to the table, that holds what they held."""
    binding, rows = material.binding, material.rows(start)
    summaries = material.baseline().columns
    gone = [
        name
        for name in binding.features.names
        if name in suspects
        and summaries[name].nulls < summaries[name].rows
        and (name not in current.columns or current.columns[name].nulls == current.columns[name].rows)
    ]
    times = {source.loaded_at for source in binding.sources.values()}
    known = {binding.id, binding.time, binding.target, *binding.features.names, *times}
    new = [name for name in rows.column_names if name not in known]
    renamed = {}
    for name in gone:
        held = {each: summary for each in new if (summary := _read_as(summaries[name], rows.column(each)))}
        if now := likely_name(name, summaries[name], held):
            renamed[name] = now
    return renamed


def _read_as(baseline: Summary, column: pa.ChunkedArray) -> Summary | None:
    """The column's summary as that feature; None for one that cannot be profiled at all."""
    import pyarrow as pa

    try:
        return profile(pa.table({"x": column}), like=Profile(baseline.rows, {"x": baseline})).columns["x"]
    except GuardianError:
        return None


def _smells(
    drifted: Iterable[str], signs: Mapping[str, str | None], contract: Mapping[str, str], renamed: Mapping[str, str]
) -> list[tuple[str, str]]:
    """What smells of a broken pipeline: columns, each with what is said of it."""
    smells = [(name, f"{name}: {signs[name]}") for name in drifted if signs[name] and name not in contract]
    smells += [(subject, f"{subject}: {detail}") for subject, detail in contract.items()]
    return smells + [(old, f"{old} is now {new}, it seems") for old, new in renamed.items()]


def _by_source(binding: ModelBinding, drifted: Sequence[str], smells: Sequence[tuple[str, str]]) -> list[SourceFinding]:
    sources = []
    for name, source in binding.sources.items():
        features = [feature for feature in drifted if feature in source.features]
        signs = [said for column, said in smells if column in (*source.features, source.loaded_at)]
        if features or signs:
            sources.append(SourceFinding(source=name, owner=source.owner, features=features, signs=signs))
    return sources


def _told(sources: Sequence[SourceFinding]) -> list[str]:
    return [f"{each.source} ({each.owner}): {'; '.join(each.signs)}" for each in sources if each.signs]


def _unowned(binding: ModelBinding, smells: Sequence[tuple[str, str]]) -> list[str]:
    """What is said of columns that no declared source has."""
    owned = {column for source in binding.sources.values() for column in (*source.features, source.loaded_at)}
    return [said for column, said in smells if column not in owned]


def _one_source(binding: ModelBinding, subjects: Sequence[str]) -> bool | None:
    """Whether all of these come from one declared source; None where no source is declared for some of them."""
    found = {
        next((name for name, each in binding.sources.items() if subject in (*each.features, each.loaded_at)), None)
        for subject in subjects
    }
    return None if not found or None in found else len(found) == 1


def _candidates(
    features: Sequence[str], found: Sequence[Check], material: Material, current: Profile
) -> list[history.Candidate]:
    """What to look back on, in order: the farthest feature, relations, labels, the performance, a late source."""
    of_features = [partial(history.of_feature, name, material, current) for name in features[:1]]
    pairs = [check.subject.split(" × ") for check in found if check.method == "correlation"]
    of_pairs = [partial(history.of_relation, pair, material) for pair in pairs]
    types = {check.type for check in found}
    of_labels = [partial(history.of_labels, material)] if DriftType.label_drift in types else []
    metrics = [check.subject for check in found if check.type is DriftType.concept_drift]
    of_performance = [partial(history.of_performance, metric, material) for metric in metrics]
    times = {source.loaded_at for source in material.binding.sources.values()}
    late = [check.subject for check in found if check.type is DriftType.schema_drift and check.subject in times]
    of_sources = [partial(history.of_freshness, column, material) for column in late]
    return [*of_features, *of_pairs, *of_labels, *of_performance, *of_sources]


def _weighed(drifted: Mapping[str, float], material: Material, start: datetime) -> list[DriftedFeature]:
    """The drifted features by importance × drift, with what the weightiest of them explain of the scores' change."""
    names = list(drifted)
    try:
        importance = material.importances() if names else {}
    except Exception:  # whatever a model raises when asked: the findings stand without it
        return [DriftedFeature(feature=name, importance=None, weight=None, explains=None) for name in names]
    weight = {name: importance[name] * drifted[name] for name in names}
    whole = sum(weight.values()) or 1.0
    names.sort(key=lambda name: -weight[name])
    shares = _explained(names[:_MOST_FEATURES], material, start)
    return [
        DriftedFeature(
            feature=name, importance=importance[name], weight=weight[name] / whole, explains=shares.get(name)
        )
        for name in names
    ]


def _explained(names: Sequence[str], material: Material, start: datetime) -> dict[str, float]:
    """What each explains of the change of the scores; empty where they did not change or cannot be computed."""
    features = material.binding.features
    rows = material.rows(start)
    missing = [name for name in features.names if name not in rows.column_names]
    if not names or missing or not rows.num_rows:
        return {}
    most = attribution.sample_size(2 * len(names))
    window = attribution.spread(rows.select(features.names), most).to_pandas()
    try:
        found = attribution.explained(
            material.score, material.baseline_sample(most), window, names, features.categorical
        )
    except Exception:  # whatever a model raises when asked: the findings stand without it
        return {}
    return found or {}


def _words(
    smells: Sequence[str],
    sound: Sequence[str],
    related: Sequence[str],
    types: Collection[DriftType],
    first: date | None,
    sudden: bool | None,
    features: Sequence[DriftedFeature],
    explained: float | None,
) -> str:
    said = [*smells[:_MOST_TOLD], *([f"and {len(smells) - _MOST_TOLD} more"] if len(smells) > _MOST_TOLD else [])]
    if sound:
        shown = ", ".join(sound[:5]) + (f" and {len(sound) - 5} more" if len(sound) > 5 else "")
        said.append(f"sound data that differ: {shown}")
    if related:
        said.append(f"relations that differ: {', '.join(related)}")
    if DriftType.label_drift in types:
        said.append("outcomes changed")
    if DriftType.concept_drift in types:
        said.append("the performance fell")
    if explained is not None:
        most = max(features, key=lambda each: each.explains or 0.0)
        said.append(f"drift explains {explained:.0%} of the change of the scores, {most.feature} the most")
    if first is not None:
        pace = {True: "suddenly ", False: "gradually ", None: ""}[sudden]
        said.append(f"{pace}since {first}")
    return ". ".join(said) or "the scores changed, the features did not"

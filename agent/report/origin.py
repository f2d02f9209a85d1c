"""Where a report's findings come from, in words: pipeline or world, since when, from which sources."""

from __future__ import annotations

from agent.report.model import BrokenSource, Diagnosis
from agent.report.numbers import full_day, percent

_KINDS = {
    "pipeline": "This looks like a broken pipeline",
    "world": "This looks like a changed world",
    "both": "This looks like a broken pipeline and a changed world",
}


def origin(diagnosis: Diagnosis | None) -> str:
    """The diagnosis in a sentence or three; empty where nothing was found."""
    if diagnosis is None or diagnosis.kind not in _KINDS:
        return ""
    said = _KINDS[diagnosis.kind]
    if diagnosis.first_seen is not None:
        pace = {True: "suddenly ", False: "gradually ", None: ""}[diagnosis.sudden]
        said += f", {pace}since {full_day(diagnosis.first_seen)}"
    if len(diagnosis.sources) == 1:
        said += f"; all of it from the source {diagnosis.sources[0]}"
    elif diagnosis.sources:
        said += f"; from {', '.join(diagnosis.sources[:-1])} and {diagnosis.sources[-1]}"
    said += "."
    for each in diagnosis.broken:
        said += f" {_broken(each)}"
    for old, new in diagnosis.renamed.items():
        said += f" The column {old} seems to be called {new} now."
    if diagnosis.explained is not None:
        share = percent(min(max(diagnosis.explained, 0.0), 1.0), 0)
        said += f" What drifted explains {share} of the change of the scores."
    return said


def _broken(found: BrokenSource) -> str:
    owner = f" of {found.owner}" if found.owner else ""
    signs = []
    for sign in found.signs:
        column, colon, told = sign.partition(": ")
        signs.append(f"{column} ({told.rstrip('.')})" if colon else sign)
    return f"The source {found.source}{owner} looks broken: {', '.join(signs)}."

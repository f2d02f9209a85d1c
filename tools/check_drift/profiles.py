"""Profiles: everything a drift check needs to know about a table, in a few hundred kilobytes."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from policies.errors import InputError
from tools.check_drift.bins import Summary, looks_again
from tools.check_drift.categorical import CategorySummary, bounded, count_codes
from tools.check_drift.columns import Categories, Column
from tools.check_drift.frames import Part, parts
from tools.check_drift.numeric import NumericSummary, counted_at, summarise, with_deciles
from tools.systems import files

_VERSION = 2
_MOST_THREADS = 4
_SHORT_ROWS = 150_000
"""Rows in memory below which columns are summarised one by one: threads would wait for each other longer than count."""
_SCALARS = ("centre", "nulls", "pos_inf", "neg_inf", "total", "squares", "minimum", "maximum", "integral")
_ARRAYS = ("ranks", "counts", "edges", "edge_shares", "cuts", "cut_counts")

UNREADABLE = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error)
"""What reading a damaged stored file raises."""


@dataclass(frozen=True)
class Profile:
    """Summaries by column and the number of rows. Profiles of disjoint rows add up (`+`)."""

    rows: int
    columns: Mapping[str, Summary] = field(default_factory=dict)

    def __add__(self, other: Profile) -> Profile:
        """Profile of both tables' rows. Raises InputError where the columns or their kinds differ."""
        if set(self.columns) != set(other.columns):
            odd = sorted(set(self.columns) ^ set(other.columns))
            raise InputError(f"profiles of different columns do not add up: {', '.join(odd)}")
        merged = {name: _add(name, self.columns[name], other.columns[name]) for name in self.columns}
        return Profile(self.rows + other.rows, merged)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the content: equal profiles have equal digests, whatever file they were stored in."""
        header, arrays = self._parts()
        state = hashlib.sha256(header.encode())
        for name in sorted(arrays):
            state.update(name.encode())
            state.update(np.ascontiguousarray(arrays[name]).tobytes())
        return state.hexdigest()

    def save(self, path: str | Path) -> None:
        """Writes the profile as one compressed NPZ file (no pickle), replacing it atomically."""
        header, arrays = self._parts()
        files.replace(Path(path), lambda file: np.savez_compressed(file, header=np.array(header), **arrays))

    @staticmethod
    def load(path: str | Path) -> Profile:
        """Reads a stored profile. Raises InputError where it is absent, damaged or of another version."""
        try:
            with np.load(Path(path), allow_pickle=False) as stored:
                header = json.loads(str(stored["header"]))
                if header["version"] != _VERSION:
                    raise InputError(f"profile version {header['version']}, expected {_VERSION}", where=str(path))
                columns = {
                    name: _restore(body, {part: stored[f"{part}{i}"] for part in _ARRAYS} if "centre" in body else {})
                    for i, (name, body) in enumerate(header["columns"].items())
                }
        except UNREADABLE as error:
            raise InputError(f"not a readable profile: {error}", where=str(path)) from error
        return Profile(header["rows"], columns)

    def _parts(self) -> tuple[str, dict[str, Any]]:
        arrays: dict[str, Any] = {}
        bodies: dict[str, Any] = {}
        for i, (name, summary) in enumerate(self.columns.items()):
            if isinstance(summary, NumericSummary):
                bodies[name] = {each: getattr(summary, each) for each in _SCALARS}
                arrays |= {f"{part}{i}": getattr(summary, part) for part in _ARRAYS}
            else:
                bodies[name] = {"counts": summary.counts, "other": summary.other, "nulls": summary.nulls}
                bodies[name] |= {"rest": summary.rest} if summary.rest else {}
        return json.dumps({"version": _VERSION, "rows": self.rows, "columns": bodies}), arrays


def profile(
    data: object,
    *,
    columns: Sequence[str] | None = None,
    categorical: Sequence[str] = (),
    like: Profile | None = None,
    centres: Mapping[str, float] | None = None,
) -> Profile:
    """Profiles a pandas or Arrow table, a mapping of arrays, or Parquet (a path, folder or glob; streamed).

    `categorical` names columns whose numbers are codes. `like` is the baseline's profile: its histograms' centres and
    its kinds are taken over, so that both can be compared bin by bin. `centres` are those of the histograms of single
    columns, where they are known from elsewhere. A Profile is returned as it is.
    Raises InputError for what cannot be read.
    """
    if isinstance(data, Profile):
        return data
    known = like.columns if like else {}
    coded = {name: isinstance(each, CategorySummary) for name, each in known.items() if each.nulls < each.rows}
    coded |= dict.fromkeys(categorical, True)
    read = list(parts(data, columns, coded))
    for part in read[1:]:
        if odd := sorted(set(part.names) ^ set(read[0].names)):
            raise InputError(f"files of different columns do not add up: {', '.join(odd)}", where=str(data))

    found: dict[str, Summary] = {}
    short = all(not part.where and part.rows < _SHORT_ROWS for part in read)
    with ThreadPoolExecutor(min(os.cpu_count() or 1, _MOST_THREADS)) as pool:  # which starts none before it is asked
        in_turn = map if short else pool.map
        for part in read:
            before = found

            def summarised(name: str, part: Part = part, before: Mapping[str, Summary] = before) -> Summary:
                centre = (centres or {}).get(name)
                summary, pieces = _summary(name, part, known.get(name), before.get(name), centre)
                return _finished(name, summary, pieces, like) if len(read) == 1 else summary

            found = dict(zip(part.names, in_turn(summarised, part.names), strict=True))
        if len(read) > 1:

            def finished(name: str) -> Summary:
                return _finished(name, found[name], (piece for part in read for piece in part.pieces(name)), like)

            found = dict(zip(found, in_turn(finished, list(found)), strict=True))
    return Profile(sum(part.rows for part in read), found)


def _summary(
    name: str, part: Part, like: Summary | None, before: Summary | None, centre: float | None
) -> tuple[Summary, Iterable[Column]]:
    """The part's column, added to what came before it; and its pieces for another look, kept where it has but one."""
    count = 0
    for column in part.pieces(name):
        piece = _piece(column, like, before, centre)
        before = piece if before is None else _add(name, before, piece)
        count += 1
    if before is None:
        raise InputError(f"column {name!r} cannot be read")
    return before, [column] if count == 1 else part.pieces(name)


def _finished(name: str, summary: Summary, pieces: Iterable[Column], like: Profile | None) -> Summary:
    """A column after a second look at its values, where one is needed.

    A baseline gets exact deciles; what is compared with one is counted at them where PSI could be off without.
    """
    baseline = like.columns.get(name) if like else None
    summary = of_kind(summary, baseline)
    if isinstance(summary, CategorySummary):
        return summary
    numbers = (piece for piece in pieces if not isinstance(piece, Categories))
    if like is None:
        return with_deciles(summary, numbers)
    if isinstance(baseline, NumericSummary) and looks_again(baseline, summary):
        return counted_at(summary, baseline.points, numbers)
    return summary


def _piece(column: Column, like: Summary | None, before: Summary | None, centre: float | None) -> Summary:
    """Summary of a piece; its histogram's centre is that of what came before it, else of the baseline.

    What has no finite value gives no centre.
    """
    if isinstance(column, Categories):
        return _count_categories(column)
    for known in (like, before):
        if isinstance(known, NumericSummary) and known.finite:
            centre = known.centre
    return summarise(column, centre=centre, exact_edges=False)


def _count_categories(column: Categories) -> CategorySummary:
    *known, nulls = count_codes(column.codes, len(column.names))
    by_name: dict[str, int] = {}
    for name, count in zip(column.names, known, strict=True):
        if count:
            by_name[name] = by_name.get(name, 0) + count
    return bounded(by_name.items(), nulls)


def of_kind(summary: Summary, like: Summary | None) -> Summary:
    """The summary as one of `like`'s kind where it holds only nulls, which say nothing of theirs."""
    if like is None or type(summary) is type(like) or summary.nulls < summary.rows:
        return summary
    if isinstance(like, CategorySummary):
        return CategorySummary({}, 0, summary.nulls)
    return replace(summarise(np.empty(0), centre=like.centre), nulls=summary.nulls)


def _add(name: str, a: Summary, b: Summary) -> Summary:
    a, b = of_kind(a, b), of_kind(b, a)
    if isinstance(a, NumericSummary) and isinstance(b, NumericSummary):
        return a + b
    if isinstance(a, CategorySummary) and isinstance(b, CategorySummary):
        return a + b
    raise InputError(f"column {name!r} is numeric in one profile and categorical in the other")


def _restore(body: dict[str, Any], arrays: dict[str, Any]) -> Summary:
    if "centre" in body:
        return NumericSummary(**body, **arrays)
    return CategorySummary(body["counts"], body["other"], body["nulls"], tuple(body.get("rest", ())))

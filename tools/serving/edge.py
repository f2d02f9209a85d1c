"""Edge export: a model as a folder that any ONNX Runtime scores, without Python or us.

`model.onnx` takes `numbers`, double, null as NaN, and `strings`, null as the empty one, each (rows, features) in the
manifest's order; a model without such features lacks that input. It answers `score`, the probability of the positive
class, or of a regression the value. `manifest.json` says what it is; `parity.json` how it was compared with the
registered pipeline.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from policies.errors import InputError
from tools import tasks
from tools.serving.arithmetic import NotConvertible
from tools.serving.array_path import Column, Scores
from tools.serving.batch import serving_champion
from tools.serving.features import FeatureSchema, Values
from tools.serving.onnx_graph import NUMBERS, OPSETS, SCORE, STRINGS, Converter
from tools.serving.onnx_path import open_session, require_onnx
from tools.serving.parity import PARITY, Parity, Row, compare, probes
from tools.serving.scorer import PipelinePath, understood_nulls
from tools.systems import holdouts
from tools.systems.systems import Systems

HOLDOUT_ROWS = 10_000


class ParityReport(BaseModel):
    """The exported graph against the registered pipeline; `generated_rows` are its edges."""

    holdout_rows: int
    generated_rows: int
    max_difference: float
    label_flips: int
    allowed_difference: float = PARITY


class Export(BaseModel):
    """What was written where. `digest`: the registered artifact's SHA-256; `onnx_digest`: that of model.onnx."""

    model: str
    registry_name: str
    version: str
    digest: str
    onnx_digest: str
    folder: str
    parity: ParityReport


class RawPath:
    """The exported graph, fed as a device feeds it."""

    def __init__(self, model: Any, schema: FeatureSchema) -> None:
        self._session = open_session(model)
        self._schema = schema

    def encode(self, values: Values) -> Row:
        """Rows are the values themselves."""
        return values

    def score(self, rows: Sequence[Row]) -> Scores:
        """Scores, shape (len(rows),)."""
        feed: dict[str, Any] = {}
        if self._schema.numeric:
            feed[NUMBERS] = np.array([row[0] for row in rows], dtype=np.float64)
        if self._schema.categorical:
            feed[STRINGS] = np.array([["" if x is None else x for x in row[1]] for row in rows], dtype=object)
        scores: Scores = self._session.run([SCORE], feed)[0]
        return scores


def export(systems: Systems, model: str, version: str | None, folder: Path) -> Export:
    """Writes a version (None: the champion) into `folder`, which must be new or empty: all of it or nothing.

    Raises InputError where it cannot be written as ONNX, or answers otherwise than the registered pipeline.
    """
    binding = systems.operations.model(model)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError("is there already; name a new folder", where=str(folder))
    version = version or serving_champion(systems, model)
    where, task = f"{model} {version}", tasks.of(binding.task)
    local = systems.registry.fetch(binding.registry_name, version)
    pipeline = systems.registry.load(binding.registry_name, version)
    features = json.loads((local.path / "manifest.json").read_text())["features"]
    schema = FeatureSchema.of(features)
    try:
        require_onnx()
        converter = Converter(pipeline, schema)
        graph = converter.raw_graph()
        columns = converter.columns()
        schema = understood_nulls(pipeline, schema, columns, task)
        path = RawPath(graph, schema)
    except NotConvertible as reason:
        raise InputError(f"cannot be exported: {reason}", where=where) from None
    made = probes(pipeline, schema, columns)
    labelled = _holdout(systems, model, schema)
    found = compare(path, PipelinePath(pipeline, schema, task), [*made, *labelled], task)
    if not found.holds:
        raise InputError(f"cannot be exported: {found}", where=where)
    content = graph.SerializeToString()
    result = Export(
        model=model,
        registry_name=binding.registry_name,
        version=version,
        digest=local.digest,
        onnx_digest=hashlib.sha256(content).hexdigest(),
        folder=str(folder),
        parity=_report(found, len(labelled)),
    )
    files = {
        "model.onnx": content,
        "manifest.json": _json(_manifest(result, schema, columns, task, systems.clock.now())),
        "parity.json": _json(result.parity.model_dump()),
    }
    _write(folder, files)
    return result


def _holdout(systems: Systems, model: str, schema: FeatureSchema) -> list[Values]:
    """Rows of the holdout that the model takes, at most HOLDOUT_ROWS, evenly spread; none where it is not there."""
    try:
        rows = holdouts.read(systems, model, systems.clock.now())
    except InputError:
        return []
    if not set(schema.order) <= set(rows.schema.names):
        return []
    step = max(1, -(-rows.num_rows // HOLDOUT_ROWS))
    frame = rows.select(list(schema.order)).to_pandas()[::step]
    numbers = frame[list(schema.numeric)].to_numpy(np.float64, na_value=np.nan).astype(object)
    numbers[np.isnan(numbers.astype(np.float64))] = None
    strings = frame[list(schema.categorical)].astype(object)
    strings = strings.where(strings.notna(), None)
    found = zip(numbers.tolist(), strings.to_numpy(dtype=object).tolist(), strict=True)
    return [
        (tuple(one), tuple(two))
        for one, two in found
        if (schema.null_numbers or None not in one) and (schema.null_strings or None not in two)
    ]


def _report(found: Parity, holdout_rows: int) -> ParityReport:
    return ParityReport(
        holdout_rows=holdout_rows,
        generated_rows=found.rows - holdout_rows,
        max_difference=found.max_difference,
        label_flips=found.label_flips,
    )


def _manifest(
    result: Export, schema: FeatureSchema, columns: Sequence[Column], task: tasks.Task, now: datetime
) -> dict[str, Any]:
    numbers = [{"name": name, "type": "double", "nullable": schema.null_numbers} for name in schema.numeric]
    strings = [
        {
            "name": column.feature,
            "type": "string",
            "nullable": schema.null_strings,
            "categories": [each for each in column.codes if each is not None],
            "unknown": "refuse" if column.unknown is None else "score",
        }
        for column in columns
        if column.codes is not None
    ]
    return {
        **result.model_dump(exclude={"folder", "parity"}),
        "exported_at": now.isoformat(),
        "inputs": {name: each for name, each in ((NUMBERS, numbers), (STRINGS, strings)) if each},
        "output": {"name": SCORE, "type": "double", **task.exported},
        "opset": {name or "ai.onnx": number for name, number in OPSETS.items()},
        "libraries": {name: installed(name) for name in ("onnx", "onnxruntime", "scikit-learn", "numpy")},
    }


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=2) + "\n").encode()


def _write(folder: Path, files: dict[str, bytes]) -> None:
    """All files or none: they appear under their folder's name at once."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".export-") as beside:
            whole = Path(beside) / "export"
            whole.mkdir()
            for name, content in files.items():
                (whole / name).write_bytes(content)
            whole.replace(folder)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", where=str(folder)) from error

"""`guardian init`: from a table to a working folder, whole or not at all."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from policies.errors import InputError
from tools.onboarding.declarations import Guarded, text
from tools.onboarding.layout import BASELINE, FIRST, Layout, lay_out, lay_out_table, take_back
from tools.onboarding.notes import of_champion
from tools.onboarding.plan import Plan
from tools.onboarding.source import Source
from tools.retrain.once import fit_once
from tools.retrain.tool import train_first_champion
from tools.retrain.training import train
from tools.systems.credentials import without_credentials
from tools.systems.keywords import schema_name
from tools.systems.systems import Systems, warehouse_at
from tools.systems.warehouse import Warehouse

DECLARATIONS = "operations.yaml"
_DRAFT = "operations.yaml.partial"
_OURS = (DECLARATIONS, _DRAFT, "warehouse", ".guardian")
_TRACKING = "sqlite:///.guardian/mlflow.db"
_MODEL_URI = re.compile(r"models:/(?P<name>[^/@]+)(/(?P<version>\d+)|@(?P<alias>[\w.-]+))")

Say = Callable[[str], None]


@dataclass(frozen=True)
class Wanted:
    """Where the working folder goes, what the model is called, and the MLflow URI of one that exists already.

    `warehouse` is the URL of the warehouse that holds the table, None where a folder of Parquet is to be made.
    """

    directory: Path
    model: str
    mlflow_model: str | None = None
    warehouse: str | None = None


class Onboarded(BaseModel):
    """A new working folder."""

    model_config = ConfigDict(frozen=True)

    directory: str
    operations: str
    model: str
    task: Literal["binary", "multiclass", "regression"]
    target: str
    time: str | None
    id: str | None
    prediction: str | None
    numeric: list[str]
    categorical: list[str]
    left_out: dict[str, str]
    rows: int
    learned: int
    baseline_rows: int
    start: datetime
    end: datetime
    champion: str | None
    metrics: dict[str, float]
    monitor: str
    notes: list[str]


def onboard(source: Source, plan: Plan, wanted: Wanted, say: Say = lambda line: None) -> Onboarded:
    """Writes the warehouse and the declarations, and trains or adopts the champion.

    The declarations get their name last. On any failure everything written is taken away again. Raises InputError.
    """
    elsewhere = plan.prediction is not None
    if elsewhere and wanted.mlflow_model:
        raise InputError("name a column of predictions or a model, not both", where="--mlflow-model")
    with _new_folder(wanted.directory) as home:
        warehouse = warehouse_at(Path.cwd(), wanted.warehouse) if wanted.warehouse else Warehouse(home / "warehouse")
        schema = schema_name(snake(wanted.model))
        try:
            if source.table is not None:
                layout = lay_out_table(plan, source, warehouse, schema)
            else:
                layout = lay_out(plan, warehouse, schema, _now(), elsewhere=elsewhere)
        finally:
            warehouse.close()
        say(f"{layout.rows:,} rows; {layout.held_out:,} of them are the baseline, written to {layout.schema}.baseline")
        guarded = _guarded(plan, wanted, elsewhere)
        draft = home / _DRAFT
        draft.write_text(text(plan, layout, guarded, {}), encoding="utf-8")
        systems = Systems.open(draft)
        try:
            champion, metrics = _champion(systems, plan, layout, wanted, say)
        except BaseException:
            if source.table is not None:
                take_back(layout, systems.warehouse)
            raise
        finally:
            systems.close()
        draft.write_text(text(plan, layout, guarded, metrics), encoding="utf-8")
        draft.replace(home / DECLARATIONS)
    if schema != snake(wanted.model):
        plan.notes.append(f"its tables are {schema}.…: {snake(wanted.model)!r} is a word of SQL")
    return _result(plan, layout, wanted, champion, metrics)


def snake(name: str) -> str:
    """`TelcoChurn` → `telco_churn`: a name for schemas and registries."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def model_name(stem: str) -> str:
    """A model's name from a file's: `telco_churn` → `TelcoChurn`; `Model` where nothing of it can be a name."""
    words = re.findall(r"[A-Za-z0-9]+", stem)
    name = "".join(word[0].upper() + word[1:] for word in words)
    return name if name[:1].isalpha() else f"Model{name}"


@contextmanager
def _new_folder(directory: Path) -> Iterator[Path]:
    """The folder, with nothing of an earlier set-up in it; what was written into it is taken away on failure."""
    if (directory / DECLARATIONS).exists():
        raise InputError(
            f"there is a working folder already; choose another --dir, or remove {DECLARATIONS}", str(directory)
        )
    if directory.exists() and not directory.is_dir():
        raise InputError("is a file, not a folder", where=str(directory))
    left_over = (directory / _DRAFT).exists()
    standing = [name for name in ("warehouse", ".guardian") if (directory / name).exists()]
    if standing and not left_over:
        raise InputError(f"holds {' and '.join(standing)} already; choose another --dir", where=str(directory))
    created = not directory.exists()
    try:
        _clear(directory)
        try:
            directory.mkdir(parents=True, exist_ok=True)
            (directory / _DRAFT).touch()
            (directory / "warehouse").mkdir()
        except OSError as error:
            raise InputError(f"cannot be made: {error.strerror}; choose another --dir", str(directory)) from error
        yield directory
    except BaseException:
        _clear(directory)
        if created:
            shutil.rmtree(directory, ignore_errors=True)
        raise


def _clear(directory: Path) -> None:
    """Removes what a set-up writes."""
    for name in _OURS:
        path = directory / name
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _guarded(plan: Plan, wanted: Wanted, elsewhere: bool) -> Guarded:
    given = os.environ.get("MLFLOW_TRACKING_URI", _TRACKING) if wanted.mlflow_model else _TRACKING
    registry_name = snake(wanted.model)
    if wanted.mlflow_model:
        registry_name = _of_uri(wanted.mlflow_model)["name"]
    warehouse = _written(wanted.warehouse) if wanted.warehouse else "warehouse"
    return Guarded(wanted.model, registry_name, elsewhere, without_credentials(given), warehouse)


def _written(warehouse: str) -> str:
    """A warehouse's URL as it may stand in a file; a folder's absolute path."""
    if "://" not in warehouse and not warehouse.startswith("spark:"):
        return str(Path(warehouse).resolve())
    return without_credentials(warehouse)


def _champion(
    systems: Systems, plan: Plan, layout: Layout, wanted: Wanted, say: Say
) -> tuple[str | None, dict[str, float]]:
    """The version that serves, with its metrics where they were measured; none for a model served elsewhere."""
    if plan.prediction is not None:
        return None, {}
    if wanted.mlflow_model:
        return _adopted(systems, plan, layout, wanted), {}
    say("training the first champion")
    return _trained(systems, layout, wanted.model)


def _trained(systems: Systems, layout: Layout, model: str) -> tuple[str | None, dict[str, float]]:
    """The first champion: by the search of any retraining, and where all rows are one load by one fit.

    Its holdout is the baseline: what it is compared with later, it did not learn from.
    """
    first = {"holdout": layout.table(BASELINE), **({"table": layout.table(FIRST)} if layout.one_load else {})}
    binding = systems.operations.model(model).model_copy(update=first)
    operations = systems.operations.model_copy(update={"models": {model: binding}})
    how = fit_once if layout.one_load else train
    trained = train_first_champion(replace(systems, operations=operations), model, _now(), how)
    assert trained.version is not None
    _serve(systems, model, trained.version, "first champion, trained by guardian init", trained.run_id)
    return trained.version, trained.metrics


def _adopted(systems: Systems, plan: Plan, layout: Layout, wanted: Wanted) -> str:
    """The version that the user named, once it is known to answer on this table's features."""
    from tools import tasks
    from tools.retrain.recipe import feature_frame
    from tools.systems import datasets

    parts = _of_uri(wanted.mlflow_model or "")
    version = parts["version"] or systems.registry.alias(parts["name"], parts["alias"] or "")
    if version is None:
        raise InputError(f"no version of {parts['name']!r} has the alias {parts['alias']!r}", where="--mlflow-model")
    binding = systems.operations.model(wanted.model)
    rows = datasets.table(systems, layout.table(BASELINE)).head(100)

    def try_out(fitted: Any) -> None:
        try:
            tasks.of(plan.task).predict(fitted, feature_frame(rows, binding.features))
        except Exception as error:  # whatever a model raises: it does not fit this table
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            told = f"the model does not answer on this table's features: {reason}"
            raise InputError(told, "--mlflow-model") from error

    found = systems.registry.adopt(parts["name"], version, try_out)
    _serve(systems, wanted.model, found.version, "adopted by guardian init", None)
    return found.version


def _serve(systems: Systems, model: str, version: str, why: str, rests_on: str | None) -> None:
    systems.traffic.set(model, version, at=systems.clock.now(), why=why, rests_on=rests_on)


def _of_uri(uri: str) -> dict[str, str]:
    match = _MODEL_URI.fullmatch(uri)
    if match is None:
        raise InputError(
            f"{uri!r} is no registered model: write models:/NAME/3 or models:/NAME@alias", "--mlflow-model"
        )
    return {key: value or "" for key, value in match.groupdict().items()}


def _now() -> datetime:
    from tools.systems.clock import WallClock

    return WallClock().now().replace(microsecond=0)


def _result(plan: Plan, layout: Layout, wanted: Wanted, champion: str | None, metrics: dict[str, float]) -> Onboarded:
    notes = [*plan.notes, *of_champion(plan, layout, metrics)]
    return Onboarded(
        directory=str(wanted.directory),
        operations=str(wanted.directory / DECLARATIONS),
        model=wanted.model,
        task=plan.task,
        target=plan.target,
        time=plan.time,
        id=plan.id,
        prediction=plan.prediction,
        numeric=plan.numeric,
        categorical=plan.categorical,
        left_out=plan.left_out,
        rows=layout.rows,
        learned=layout.learned,
        baseline_rows=layout.held_out,
        start=layout.start,
        end=layout.end,
        champion=champion,
        metrics=metrics,
        monitor=f"{wanted.model}Drift",
        notes=notes,
    )

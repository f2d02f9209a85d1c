"""The declarations of a new working folder, as text (`operations.yaml.j2`): each line says what it is for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

from tools.onboarding.layout import BASELINE, HOLDOUT, LABELS, PREDICTIONS, ROWS, Layout, window_of

if TYPE_CHECKING:
    from tools.onboarding.columns import Typed
    from tools.onboarding.plan import Plan

_CONCEPT = {"binary": ("auc_roc", 0.05), "multiclass": ("accuracy", 0.05), "regression": ("r2", 0.1)}
_SLACK = 0.03
"""How far below the first champion's metric on its holdout a successor may be at worst."""


@dataclass(frozen=True)
class Guarded:
    """What is declared of a model: its names, whether there is an artifact, whether it can be retrained here."""

    model: str
    registry_name: str
    elsewhere: bool
    retrained: bool
    tracking: str
    warehouse: str = "warehouse"


def text(plan: Plan, layout: Layout, guarded: Guarded, metrics: Mapping[str, float]) -> str:
    """`operations.yaml`. `metrics` are the first champion's, of which the quality gate's bound is made."""
    from jinja2 import Environment, StrictUndefined

    made = Environment(trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, undefined=StrictUndefined)  # noqa: S701 (YAML)
    made.filters |= {"yaml": quoted, "one_line": _one_line, "nullable": _nullable}
    template = made.from_string(files("tools.onboarding").joinpath("operations.yaml.j2").read_text(encoding="utf-8"))
    reached = metrics.get("holdout_auc_roc")
    moving = guarded.elsewhere and not layout.one_load
    metric, drop = _CONCEPT[plan.task]
    return template.render(
        plan=plan,
        layout=layout,
        guarded=guarded,
        model=guarded.model,
        table={name: layout.table(name) for name in (ROWS, LABELS, HOLDOUT, BASELINE, PREDICTIONS)},
        day=(layout.holdout_start if moving else layout.end).date(),
        often=window_of(layout)[0],
        metric=metric,
        drop=drop,
        id_type=_id_type(plan),
        outcome=_outcome(plan),
        arrived=layout.arrived,
        reached=reached,
        bound=max(0.5, (0.7 if reached is None else reached) - _SLACK),
        min_rows=max(50, min(1000, layout.held_out // 2)),
    )


def quoted(name: str) -> str:
    """A name as YAML: bare where that is safe, else in quotes."""
    plain = name.replace("_", "a").isalnum() and name.isascii() and name[0].isalpha()
    safe = plain and name.lower() not in ("true", "false", "yes", "no", "on", "off", "null", "y", "n")
    return name if safe else json.dumps(name, ensure_ascii=False)


def _nullable(column: Typed) -> str:
    if not column.nulls:
        return ""
    return f", nullable: true, max_null_share: {min(1.0, 2 * column.nulls / len(column.values) + 0.05):.2f}"


def _id_type(plan: Plan) -> str:
    if plan.id is None or plan.columns[plan.id].whole:
        return "integer"
    return "number" if plan.columns[plan.id].kind == "number" else "string"


def _outcome(plan: Plan) -> str:
    if plan.task != "binary" or plan.columns[plan.target].kind == "boolean":
        return ""
    return f"   # true where the file says {_one_line(json.dumps(plan.outcomes.positive, ensure_ascii=False))}"


def _one_line(said: str) -> str:
    return " ".join("".join(each if each.isprintable() else " " for each in said).split())

"""The declarations of a new working folder, as text (`operations.yaml.j2`): each line says what it is for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from importlib.resources import files
from typing import TYPE_CHECKING

from policies.metrics import DIRECTIONS
from policies.tasks import DEGRADATION
from tools.onboarding.layout import BASELINE, LABELS, PREDICTIONS, ROWS, Layout, window_of

if TYPE_CHECKING:
    from tools.onboarding.columns import Typed
    from tools.onboarding.plan import Plan


@dataclass(frozen=True)
class _Judged:
    """What a model of a task is judged by to begin with.

    Attributes:
        watched: the metric whose decay is a finding, and the drop that is one.
        weighed: what a successor is compared by, with weights; the first is also what a training is chosen by.
        gate: the metric that a successor must reach, what it is where the first champion's is not known, and how far
            below the first champion's it may be at worst.
    """

    watched: tuple[str, float]
    weighed: tuple[tuple[str, float], ...]
    gate: tuple[str, float, float]


_JUDGED = {
    "binary": _Judged(("auc_roc", 0.05), (("auc_roc", 0.7), ("log_loss", 0.3)), ("auc_roc", 0.7, 0.03)),
    "multiclass": _Judged(("accuracy", 0.05), (("auc_roc", 0.7), ("log_loss", 0.3)), ("auc_roc", 0.7, 0.03)),
    "regression": _Judged(("r2", 0.1), (("rmse", 0.7), ("mae", 0.3)), ("r2", 0.1, 0.1)),
}
_LEAST = {"auc_roc": 0.5, "r2": 0.0}
"""What guessing reaches: no gate asks for less."""


@dataclass(frozen=True)
class Guarded:
    """What is declared of a model: its names, and whether there is an artifact here, which can be retrained."""

    model: str
    registry_name: str
    elsewhere: bool
    tracking: str
    warehouse: str = "warehouse"


def text(plan: Plan, layout: Layout, guarded: Guarded, metrics: Mapping[str, float]) -> str:
    """`operations.yaml`. `metrics` are the first champion's, of which the quality gate's bound is made."""
    from jinja2 import Environment, StrictUndefined

    made = Environment(trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, undefined=StrictUndefined)  # noqa: S701 (YAML)
    made.filters |= {"yaml": quoted, "one_line": _one_line, "nullable": _nullable}
    template = made.from_string(files("tools.onboarding").joinpath("operations.yaml.j2").read_text(encoding="utf-8"))
    judged = _JUDGED[plan.task]
    gate, unknown, slack = judged.gate
    reached = metrics.get(f"holdout_{gate}")
    moving = guarded.elsewhere and not layout.one_load
    metric, drop = judged.watched
    return template.render(
        plan=plan,
        layout=layout,
        guarded=guarded,
        model=guarded.model,
        table={name: layout.table(name) for name in (ROWS, LABELS, BASELINE, PREDICTIONS)},
        day=(layout.holdout_start if moving else layout.end).date(),
        often=_often(plan, layout),
        metric=metric,
        drop=drop,
        id_type=_id_type(plan),
        outcome=_outcome(plan),
        arrived=layout.arrived,
        reached=reached,
        gate=gate,
        bound=max(_LEAST[gate], (unknown if reached is None else reached) - slack),
        weighed=[(name, weight, DIRECTIONS[name]) for name, weight in judged.weighed],
        degradation=DEGRADATION[plan.task],
        holdout=layout.holdout.model_dump(exclude_defaults=True),
        min_rows=max(1, min(1000, layout.holdout.min_rows // 2)),
    )


def _often(plan: Plan, layout: Layout) -> str:
    """The frequency; of rows dated by the day alone the window is two days, else no run after midnight would see
    yesterday's."""
    name, period = window_of(layout)
    times = None if plan.time is None else plan.columns[plan.time].values
    if times is None or period > timedelta(days=1) or not (times == times.dt.normalize()).all():
        return name
    return f"{name}, window: 2d"


def quoted(name: str) -> str:
    """A name as YAML: bare where that is safe, else in quotes."""
    plain = name.replace("_", "a").replace(".", "a").isalnum() and name.isascii() and name[0].isalpha()
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

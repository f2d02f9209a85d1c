"""The warehouse of a new working folder: which rows are live, which the baseline that is held out at first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from policies.declarations.binding import LatestLabelled
from policies.errors import InputError
from tools.onboarding.held_out import held_out_later
from tools.onboarding.plan import LOADED_AT, ROW_ID, Plan
from tools.systems.warehouse import quote

if TYPE_CHECKING:
    import pandas as pd

    from tools.onboarding.source import Source
    from tools.systems.warehouse import AnyWarehouse

HELD_OUT = 0.2
"""Share of the rows, the latest, that the first champion does not learn from."""
_WATCHED = 0.5
"""Share of the rows, the earliest, that a model served elsewhere is compared with."""
_FEWEST_TIMES = 10
Mask = np.ndarray[Any, np.dtype[np.bool_]]
ROWS, LABELS, BASELINE, PREDICTIONS, FIRST = ("rows", "labels", "baseline", "predictions", "first_load")
ARRIVED = "arrived"
_FIRST = "init"
ELSEWHERE = "unknown"
"""The version of predictions that do not say which version made them."""


@dataclass(frozen=True)
class Layout:
    """What was written, and the names by which the declarations find it.

    `learned` are the rows before the baseline, which the first champion is judged on; `start` and `end` the first and
    the last time of all. Without a time column the whole file is one load (`one_load`): its rows are the baseline and
    what the champion learns from, and the live table is empty until the next. `holdout` is what later champions are
    judged on. `existing` is a user's table that is watched where it is; `arrived` the
    column of the labels that says since when each is known, and `booleans` are its columns of that type.
    """

    schema: str
    id: str
    time: str
    one_load: bool
    rows: int
    learned: int
    held_out: int
    labelled: int
    start: datetime
    end: datetime
    holdout_start: datetime
    holdout: LatestLabelled
    a_day: float
    arrived: str = ARRIVED
    existing: str | None = None
    booleans: frozenset[str] = frozenset()

    def table(self, name: str) -> str:
        """A table's full name: of rows and labels the user's own, where the warehouse holds it already."""
        return self.existing if self.existing and name in (ROWS, LABELS) else f"{self.schema}.{name}"


def lay_out(plan: Plan, warehouse: AnyWarehouse, schema: str, now: datetime, *, elsewhere: bool) -> Layout:
    """Writes the plan's rows as Parquet tables. Raises InputError where times leave nothing to hold out."""
    frame, identity, time = _frame(plan, now)
    one_load = plan.time is None
    share = _WATCHED if elsewhere else 1 - HELD_OUT
    counted = np.ones(len(frame), dtype=bool) if elsewhere else frame[plan.target].notna().to_numpy()
    early = _by_lot(len(frame), share) if one_load else _before(frame[time], counted, share)
    baseline = (early if elsewhere else ~early) if not (one_load and elsewhere) else np.ones(len(frame), dtype=bool)
    features = [identity, time, *plan.features]
    live = frame[features]

    def write(name: str, rows: pd.DataFrame) -> None:
        _write(plan, warehouse, f"{schema}.{name}", rows, identity, time)

    write(ROWS, live.iloc[:0] if one_load else live)
    if one_load and not elsewhere:
        write(FIRST, live[early])
    held = frame[baseline]
    write(BASELINE, held[[*features, plan.target]])
    labels = frame[[identity, time, plan.target]].assign(**{free(ARRIVED, plan): _arrived(plan, frame, time)})
    labels = labels[labels[plan.target].notna()]
    write(LABELS, labels)
    if plan.prediction is not None:
        write(PREDICTIONS, predictions(plan, frame, identity, time))
    return _layout(plan, frame, schema, identity, time, early, held)


def lay_out_table(plan: Plan, source: Source, warehouse: AnyWarehouse, schema: str) -> Layout:
    """Writes the baseline beside a table of the warehouse, which is watched where it is.

    Raises InputError where the table cannot be bound as it is: its columns are not converted.
    """
    assert source.table is not None
    _require_bindable(plan, source)
    frame, identity, time = _frame(plan, datetime.min)
    early = _before(frame[time], frame[plan.target].notna().to_numpy(), 1 - HELD_OUT)
    held = frame[~early]
    made = _layout(plan, frame, schema, identity, time, early, held)
    booleans = frozenset(field.name for field in source.rows.schema if str(field.type) == "bool")
    made = replace(made, existing=source.table, arrived=plan.label_time or time, booleans=booleans)
    columns = [identity, time, *plan.features, plan.target]
    span = f"{quote(time)} >= $start AND {quote(time)} <= $end"
    rows = warehouse.read(source.table, columns, span, {"start": made.holdout_start, "end": made.end})
    if warehouse.exists(made.table(BASELINE)):
        raise InputError("is there already; choose another --model", where=made.table(BASELINE))
    warehouse.append(made.table(BASELINE), rows, _FIRST)
    return made


def take_back(layout: Layout, warehouse: AnyWarehouse) -> None:
    """Takes away what was written beside a user's table."""
    warehouse.withdraw(layout.table(BASELINE), _FIRST)


def _require_bindable(plan: Plan, source: Source) -> None:
    import pyarrow as pa

    where = source.table or ""
    if plan.prediction is not None:
        raise InputError("predictions need a table of their own (id, time, model_version, score): see models", where)
    if plan.time is None:
        raise InputError("has no column that says when a row was made; name one with --time", where=where)
    if plan.id is None:
        raise InputError("has no column that names a row; name one with --id", where=where)
    kinds = {name: source.rows.schema.field(name).type for name in source.rows.column_names}
    text = [name for name in plan.numeric if pa.types.is_string(kinds[name])]
    text += [name for name in (plan.time,) if not pa.types.is_timestamp(kinds[name])]
    truth = pa.types.is_boolean(kinds[plan.target]) or set(plan.columns[plan.target].values.dropna()) == {0.0, 1.0}
    if plan.task == "binary" and not truth:
        text.append(plan.target)
    if text:
        wanted = "numbers as numbers, times as timestamps, a yes or no as boolean"
        what = "text" if pa.types.is_string(kinds[text[0]]) else str(kinds[text[0]])
        raise InputError(f"column {text[0]!r} holds {what}; make a view with {wanted}", where=where)


def _layout(
    plan: Plan,
    frame: pd.DataFrame,
    schema: str,
    identity: str,
    time: str,
    early: Mask,
    held: pd.DataFrame,
) -> Layout:
    days = max((frame[time].max() - frame[time].min()) / np.timedelta64(1, "D"), 1.0)
    return Layout(
        schema=schema,
        id=identity,
        time=time,
        one_load=plan.time is None,
        rows=len(frame),
        learned=int(early.sum()),
        held_out=len(held),
        labelled=int(frame[plan.target].notna().sum()),
        start=frame[time].min().to_pydatetime(),
        end=frame[time].max().to_pydatetime(),
        holdout_start=held[time].min().to_pydatetime(),
        holdout=held_out_later(plan, frame, time, held),
        a_day=len(frame) / days,
        arrived=free(ARRIVED, plan),
    )


def _frame(plan: Plan, now: datetime) -> tuple[pd.DataFrame, str, str]:
    """All rows with id, time, features and target, in order of time; the names of id and time."""
    import pandas as pd

    columns: dict[str, Any] = {name: plan.columns[name].values for name in plan.features}
    rows = len(plan.outcomes.values)
    identity, time = plan.id or free(ROW_ID, plan), plan.time or free(LOADED_AT, plan)
    columns[identity] = _keys(plan) if plan.id else pd.Series(range(rows))
    loaded = pd.Series(np.full(rows, np.datetime64(now, "us")))
    columns[time] = plan.columns[plan.time].values if plan.time else loaded
    columns[plan.target] = plan.outcomes.values
    for extra in (plan.prediction, plan.label_time):
        if extra is not None:
            columns[extra] = plan.columns[extra].values
    frame = pd.DataFrame(columns)
    return frame.sort_values(time, kind="stable", ignore_index=True), identity, time


def _keys(plan: Plan) -> pd.Series[Any]:
    column = plan.columns[plan.id or ""]
    return column.values.astype(np.int64) if column.kind == "number" and column.whole else column.values


def free(name: str, plan: Plan) -> str:
    """A name for a column of ours that no column of the table has."""
    taken = {each.lower() for each in plan.columns}
    while name.lower() in taken:
        name += "_"
    return name


def _before(times: pd.Series[Any], counted: Mask, share: float) -> Mask:
    """Rows earlier than the time at which `share` of the counted lie; whole times: no moment is on both sides.

    Labelled rows count: where labels are late the newest rows, which have none, are no fifth to judge by.
    """
    of = times[counted]
    distinct = int(of.nunique())
    if distinct < _FEWEST_TIMES:
        raise InputError(
            f"has {distinct} different times of labelled rows; {_FEWEST_TIMES} are needed to hold the latest out. "
            f"Without a time column (--ignore {times.name}) all rows count as one load",
            where=f"column {times.name}",
        )
    cut = of.iloc[int(len(of) * share)]
    early = (times < cut).to_numpy()
    if early[counted].mean() < share / 2:  # most rows share one time
        raise InputError(
            f"{int((of == cut).sum()):,} of {len(of):,} rows are of {cut}, so the latest cannot be held out",
            where=f"column {times.name}",
        )
    return np.asarray(early)


def _by_lot(rows: int, share: float) -> Mask:
    """`share` of the rows at random (seeded): without a time there is no later to hold out."""
    return np.asarray(np.random.default_rng(20).permutation(rows) < round(rows * share))


def _arrived(plan: Plan, frame: pd.DataFrame, time: str) -> pd.Series[Any]:
    """When each label became known: as the file says, else with its row."""
    return frame[time] if plan.label_time is None else frame[plan.label_time]


def predictions(plan: Plan, frame: pd.DataFrame, identity: str, time: str) -> pd.DataFrame:
    """The recorded predictions as the Guardian reads them: id, time, model_version, score, label."""
    import pandas as pd

    assert plan.prediction is not None
    column, said = plan.columns[plan.prediction], frame[plan.prediction]
    where = f"column {plan.prediction}"
    made = frame[[identity, time]].assign(model_version=ELSEWHERE)
    if plan.task == "multiclass":
        names = said.map(lambda value: f"{value:.15g}" if isinstance(value, float) else str(value), "ignore")
        made = made.assign(score=np.nan, label=names.astype(object))
        return made[said.notna()]
    if column.kind == "number":
        scores = said.astype(np.float64)
    else:
        truth = {plan.outcomes.positive: 1.0, plan.outcomes.negative: 0.0}
        scores = said.map(truth).astype(np.float64)
        if (strange := said[said.notna() & scores.isna()]).size:
            raise InputError(f"holds {strange.iloc[0]!r}, which is no number and no outcome", where=where)
    if plan.task == "binary" and not scores.dropna().between(0, 1).all():
        odd = scores.dropna()[~scores.dropna().between(0, 1)].iloc[0]
        raise InputError(f"holds {odd:g}; of a binary outcome predictions are probabilities from 0 to 1", where=where)
    made = made.assign(score=scores)
    if plan.task == "binary":
        made = made.assign(label=pd.Series(scores >= 0.5, index=made.index))
    return made[scores.notna()]


def _write(plan: Plan, warehouse: AnyWarehouse, table: str, rows: pd.DataFrame, identity: str, time: str) -> None:
    """Writes a table whole, with types that do not depend on which of its values are null."""
    import pyarrow as pa

    kinds = {name: pa.float64() for name in plan.numeric} | {name: pa.string() for name in plan.categorical}
    kinds |= {time: pa.timestamp("us"), free(ARRIVED, plan): pa.timestamp("us"), "model_version": pa.string()}
    kinds[plan.target] = {"binary": pa.bool_(), "multiclass": pa.string(), "regression": pa.float64()}[plan.task]
    arrays = {name: pa.Array.from_pandas(rows[name], type=kinds.get(name)) for name in rows.columns if name != identity}
    arrays = {identity: pa.Array.from_pandas(rows[identity]), **arrays}
    day = f"{rows[time].max():%Y-%m-%d}" if len(rows) else "empty"
    warehouse.append(table, pa.table(arrays), day)


def window_of(layout: Layout) -> tuple[str, timedelta]:
    """The frequency at which there are rows enough to judge, and its period: daily, weekly or monthly."""
    for name, days in (("daily", 1), ("weekly", 7)):
        if layout.one_load or layout.a_day * days >= 500:
            return name, timedelta(days=days)
    return "monthly", timedelta(days=30)

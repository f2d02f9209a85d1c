"""What a table holds and how it is to be guarded: target, time, ids and features, or what must be asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from policies.errors import InputError
from tools.onboarding.choices import ID, PREDICTIONS, TARGETS, TIMELY, TIMES, Choices, Task, require_known, shown
from tools.onboarding.columns import Typed, as_time, time_in_numbers, typed
from tools.onboarding.target import Outcomes, outcomes

if TYPE_CHECKING:
    from tools.onboarding.source import Source

ROW_ID = "row_id"
LOADED_AT = "loaded_at"
FEWEST_ROWS = 200
MOST_FEATURES = 1_000
_OWN = 0.9
"""Share of the rows with a value of their own from which a text column is an id rather than a category."""


@dataclass(frozen=True)
class Plan:
    """How a table is read. `time` is None where no column says when a row was made, `id` where none names it.

    `left_out` says of each column that is no feature why.
    """

    columns: Mapping[str, Typed]
    target: str
    outcomes: Outcomes
    time: str | None
    id: str | None
    prediction: str | None
    label_time: str | None
    numeric: list[str]
    categorical: list[str]
    left_out: dict[str, str]
    notes: list[str] = field(default_factory=list)

    @property
    def task(self) -> Task:
        """What the model foretells."""
        return self.outcomes.task

    @property
    def features(self) -> list[str]:
        """All features, numeric ones first."""
        return [*self.numeric, *self.categorical]


class Undecided(InputError):
    """Something that only the user can say: `option` names it, `candidates` are the columns that it may be."""

    def __init__(self, message: str, option: str, candidates: Sequence[str]) -> None:
        super().__init__(message, where=f"--{option}")
        self.option, self.candidates = option, list(candidates)


def plan(source: Source, choices: Choices) -> Plan:
    """Reads the columns and decides what each is for.

    Raises InputError for a table that cannot be guarded as asked, Undecided where the user must say more.
    """
    names = source.rows.column_names
    require_known(choices, [*names, *source.unread])
    if source.rows.num_rows < FEWEST_ROWS:
        raise InputError(f"has {source.rows.num_rows:,} rows; {FEWEST_ROWS} are needed for a baseline", where="data")
    notes = list(source.notes)
    left = [name for name in names if name not in (*choices.ignore, choices.prediction)]
    target = choices.target or _target(left, choices.prediction)
    if choices.target is None:
        notes.append(f"{target!r} counts as the outcome because of its name; say otherwise with --target")
    columns = {name: typed(name, source.rows.column(name)) for name in names if name not in choices.ignore}
    found = outcomes(columns[target], choices.task, choices.positive)
    notes += [f"{target}: {found.note}"] if found.note else []
    prediction = choices.prediction
    time = _time(columns, choices, {target, prediction}, notes)
    if time is not None:
        columns[time] = as_time(time, columns[time])
        _require_every_time(columns[time], source)
    if choices.label_time is not None:
        columns[choices.label_time] = as_time(choices.label_time, columns[choices.label_time])
    identity = _identity(columns, time, choices, {target, prediction}, notes)
    taken = {each for each in (target, time, identity, prediction, choices.label_time) if each}
    numeric, categorical, left_out = _features(columns, taken, choices)
    notes += [f"{name}: {columns[name].note}" for name in columns if columns[name].note and name not in left_out]
    notes += [
        f"{name}: looks like a time ({told}) and is taken for a number; --time {name} says that it is when a row was "
        f"made, --ignore {name} that it is no feature"
        for name in numeric
        if (told := time_in_numbers(columns[name])) is not None and not ID.search(name)
    ]
    made = Plan(
        columns, target, found, time, identity, prediction, choices.label_time, numeric, categorical, left_out, notes
    )
    _require_features(made)
    return made


def _target(names: Sequence[str], watched: str | None) -> str:
    """The only column with the name of an outcome; `watched` are predictions made elsewhere."""
    found = [name for name in names if name.lower() in TARGETS]
    if len(found) == 1:
        return found[0]
    which = f"; is it {' or '.join(found)}?" if found else "."
    if watched:
        which += (
            f" It is needed too where {watched!r} is watched, which is judged by it; not yet known, it may be empty."
        )
    raise Undecided(
        f"say which column holds the outcome that the model foretells{which} There are: {shown(names)}",
        "target",
        found or list(names),
    )


def _time(columns: Mapping[str, Typed], choices: Choices, taken: set[str | None], notes: list[str]) -> str | None:
    """The column that says when a row was made: the one named, else the only time, else the best known name.

    Where no column holds times, one of whole numbers counts that is named as a time and holds days such as 20260131 or
    seconds since 1970.
    """
    if choices.time is not None:
        return choices.time
    found = [name for name, each in columns.items() if each.kind == "time" and name not in taken]
    if not found:
        found = [name for name in columns if _counted(name, columns[name]) is not None and name not in taken]
    found = [name for name in found if name != choices.label_time]
    if len(found) == 1 and (told := _counted(found[0], columns[found[0]])) is not None:
        notes.append(f"{found[0]}: holds {told} and counts as the time; say otherwise with --time or --ignore")
    if not found:
        _require_no_other_time(columns, choices, taken)
    if len(found) <= 1:
        return found[0] if found else None
    named = [name for wanted in TIMES for name in found if name.lower() == wanted]
    if named:
        return named[0]
    known = "" if choices.label_time else " (--label-time is the one that says when its outcome was known)"
    raise Undecided(f"say which column is the time at which a row was made: {shown(found)}{known}", "time", found)


def _require_no_other_time(columns: Mapping[str, Typed], choices: Choices, taken: set[str | None]) -> None:
    """Raises InputError where no column is the time and one looks like it, unless the user said what its rows hold."""
    for name, column in columns.items():
        if column.unread and name not in taken and name != choices.label_time and choices.features is None:
            raise InputError(
                f"{column.unread}; or say --time with another column, --features without this one, or --ignore {name}: "
                "then all rows count as one load",
                where=f"column {name}",
            )


def _require_every_time(column: Typed, source: Source) -> None:
    """Raises InputError where a row has no time, with the first such row and what it holds instead."""
    if not (lost := column.nulls):
        return
    row = int(column.values.isna().to_numpy().argmax())
    held = source.rows.column(column.name)[row].as_py()
    what = f"{held!r} in row {row + 1:,} of the data is none" if held else f"row {row + 1:,} of the data is empty"
    rows, them = ("1 row has", "it") if lost == 1 else (f"{lost:,} rows have", "them")
    first = "" if lost == 1 else "the first: "
    raise InputError(f"{rows} no time ({first}{what}); correct {them}, or leave {them} out", f"column {column.name}")


def _counted(name: str, column: Typed) -> str | None:
    """What times a column holds that is named as one and has whole numbers; None for others."""
    return time_in_numbers(column) if TIMELY.search(name) else None


def _identity(
    columns: dict[str, Typed], time: str | None, choices: Choices, taken: set[str | None], notes: list[str]
) -> str | None:
    """The column that, with the time, names a row; None where rows must be numbered."""
    if choices.id is not None:
        repeated = _repeated(columns, choices.id, time)
        if repeated or columns[choices.id].nulls:
            at = f" at the same {time}" if time else ""
            what = f"{repeated:,} rows repeat the {choices.id!r} of another{at}" if repeated else "it has gaps"
            raise InputError(f"{what}, so labels cannot be told apart; name another, or none", where="--id")
        return choices.id
    for name, column in columns.items():
        if name in taken or name == time or column.kind not in ("number", "text") or not ID.search(name):
            continue
        if column.nulls or (column.kind == "number" and not column.whole):
            continue
        if repeated := _repeated(columns, name, time):
            notes.append(f"{name}: {repeated:,} rows repeat the value of another, so it is no id; rows are numbered")
            continue
        return name
    return None


def _repeated(columns: Mapping[str, Typed], name: str, time: str | None) -> int:
    import pandas as pd

    keys = {"id": columns[name].values, **({"time": columns[time].values} if time else {})}
    return int(pd.DataFrame(keys).duplicated().sum())


def _features(
    columns: dict[str, Typed], taken: set[str], choices: Choices
) -> tuple[list[str], list[str], dict[str, str]]:
    """Numeric and categorical features, and why each other column is none."""
    numeric, categorical, left_out = [], [], {}
    for name, column in columns.items():
        if name in taken:
            continue
        if choices.features is not None and name not in choices.features:
            left_out[name] = "not among --features"
        elif (why := _unfit(name, column, choices)) is not None:
            left_out[name] = why
        elif column.kind == "number":
            numeric.append(name)
        else:
            categorical.append(name)
    left_out |= dict.fromkeys(choices.ignore, "ignored as asked")
    return numeric, categorical, left_out


def _unfit(name: str, column: Typed, choices: Choices) -> str | None:
    present = len(column.values) - column.nulls
    if column.kind == "empty":
        return "it has no value in any row"
    if column.distinct == 1 and not column.nulls:
        only = column.values.iloc[0]
        return f"it is constant ({f'{only:.15g}' if column.kind == 'number' else repr(str(only))})"
    if column.kind == "time":
        return "it is a time"
    if choices.features is not None:
        return None
    if (told := _counted(name, column)) is not None:
        return f"it is a time ({told})"
    if column.unread:
        return f"it {column.unread}"
    if name.lower() in PREDICTIONS:
        return "it looks like a model's prediction; name it with --prediction to watch it"
    if column.kind == "text" and present > 50 and column.distinct > _OWN * present:
        return column.note or "nearly every row has a value of its own, as ids have"
    if column.whole and column.distinct == present > 50 and column.values.max() - column.values.min() == present - 1:
        return "it numbers the rows"
    if ID.search(name) and column.distinct > _OWN * present:
        return "it is named as an id"
    return None


def _require_features(made: Plan) -> None:
    if not made.features:
        why = "; ".join(f"{name}: {reason}" for name, reason in list(made.left_out.items())[:3])
        raise InputError(f"no column is left as a feature ({why or 'there are no others'})", where="data")
    if len(made.features) > MOST_FEATURES:
        raise InputError(
            f"has {len(made.features):,} feature columns, more than the {MOST_FEATURES:,} that are watched one by one; "
            "name those that the model uses with --features",
            where="data",
        )

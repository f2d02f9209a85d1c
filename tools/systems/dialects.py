"""The Guardian's queries are written for DuckDB; this translates them for the engine that a warehouse is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from policies.errors import InputError
from tools.systems.dialect_bigquery import for_bigquery

if TYPE_CHECKING:
    from sqlglot import exp

DIALECTS = ("duckdb", "postgres", "spark", "databricks", "snowflake", "bigquery")
_BOUND = {"postgres": "%({})s", "snowflake": ":{}", "bigquery": "@{}", "spark": ":{}", "databricks": ":{}"}
_SPARKS = ("spark", "databricks")
_MARK = "\ufdd0"


def translated(
    sql: str,
    params: Mapping[str, object] | None,
    dialect: str,
    *,
    written_for: str = "duckdb",
    named: Callable[[str], str | None] = lambda table: None,
) -> tuple[str, dict[str, object]]:
    """One SELECT for `dialect`, with its `$name` parameters in the driver's style, and those of `params` it names.

    `named` says what the engine calls a table, where that is another name. Raises InputError for anything but a single
    SELECT, and for a parameter without a value.
    """
    tree = _only_select(sql, written_for)
    _rename(tree, named)
    wanted = sorted({str(each.this if each.this else each.name) for each in _parameters(tree)})
    bound = {name: value for name, value in (params or {}).items() if name in wanted}
    if missing := [name for name in wanted if name not in bound]:
        raise InputError(f"the query's parameter ${missing[0]} has no value here", where="query")
    if dialect == "spark":
        bound = _timed(tree, bound)
    if dialect == "snowflake":
        bound = _numbered(tree, bound)
    if dialect == "bigquery":
        _compared(tree, bound)
    return written(tree, dialect, adapted=dialect != written_for), bound


def rewritten(sql: str, dialect: str) -> str:
    """One SELECT written for DuckDB as `dialect` writes it, to be part of a statement written for that."""
    return written(_only_select(sql, "duckdb"), dialect)


def explained(sql: str, dialect: str, *, written_for: str = "duckdb") -> str:
    """A query as `dialect` would be asked it, over several lines; one written for another engine alone as it is."""
    if written_for in _SPARKS and dialect in _SPARKS:
        written_for = dialect
    if written_for not in ("duckdb", dialect):
        theirs = explained(sql, written_for, written_for=written_for)
        return f"-- asked of {written_for} only; elsewhere these columns are read\n{theirs}"
    return written(_only_select(sql, written_for), dialect, pretty=True, adapted=dialect != written_for)


def written(tree: exp.Expr, dialect: str, *, pretty: bool = False, adapted: bool = True) -> str:
    """The text of a checked query for `dialect`, parameters in the style of its driver.

    `adapted`: what DuckDB allows and the engine does not is written otherwise.
    """
    from sqlglot import exp
    from sqlglot.errors import SqlglotError, UnsupportedError

    tree = tree.copy()
    if dialect == "postgres" and adapted:
        tree = tree.transform(_for_postgres)
    if dialect in _SPARKS and adapted:
        tree = tree.transform(_for_spark)
    if dialect == "snowflake":
        _rename(tree, str.upper)
        if adapted:
            tree = tree.transform(_for_snowflake)
    if dialect == "bigquery" and adapted:
        tree = tree.transform(for_bigquery)
    for each in list(_parameters(tree)):
        each.replace(exp.Var(this=f"{_MARK}{each.this if each.this else each.name}{_MARK}"))
    try:
        text = tree.sql(dialect=dialect, pretty=pretty, identify=dialect in ("snowflake", "bigquery"))
    except (SqlglotError, UnsupportedError) as error:
        raise InputError(f"cannot be written for {dialect}: {str(error).splitlines()[0]}", where="query") from error
    style = _BOUND.get(dialect, "${}")
    if style.startswith("%"):
        text = text.replace("%", "%%")
    parts = text.split(_MARK)
    return "".join(style.format(part) if place % 2 else part for place, part in enumerate(parts))


def _only_select(sql: str, written_for: str) -> exp.Expr:
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    if _MARK in sql:
        raise InputError("holds a character that is none", where="query")
    try:
        found = [each for each in sqlglot.parse(sql, dialect=written_for) if each is not None]
    except SqlglotError as error:
        raise InputError(f"cannot be read: {str(error).splitlines()[0]}", where="query") from error
    if len(found) != 1 or not isinstance(found[0], exp.Query) or _writes(found[0]):
        raise InputError("only a single SELECT may be asked of the warehouse", where="query")
    return found[0]


def _writes(tree: exp.Expr) -> bool:
    from sqlglot import exp

    changing = (exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Into, exp.Create, exp.Drop, exp.Command, exp.Lock)
    return tree.find(*changing) is not None


def _parameters(tree: exp.Expr) -> list[exp.Expr]:
    from sqlglot import exp

    return [each for each in tree.find_all(exp.Placeholder, exp.Parameter) if each.this or each.name]


def _for_postgres(node: exp.Expr) -> exp.Expr:
    """What sqlglot leaves as it is and PostgreSQL does not know."""
    from sqlglot import exp

    if isinstance(node, exp.Group) and node.args.get("all"):
        select = node.parent
        assert isinstance(select, exp.Select)
        plain = [str(i) for i, each in enumerate(select.expressions, 1) if each.find(exp.AggFunc) is None]
        return exp.Group(expressions=[exp.Literal.number(place) for place in plain])
    if isinstance(node, exp.Cast) and node.to.this == exp.DataType.Type.DOUBLE and isinstance(node.this, exp.Column):
        # A boolean cannot be cast to a number there; its text can be looked at.
        text = exp.cast(node.this.copy(), "text")
        case = exp.Case(this=text)
        case = case.when(exp.Literal.string("true"), exp.Literal.string("1"))
        case = case.when(exp.Literal.string("false"), exp.Literal.string("0")).else_(text.copy())
        return exp.cast(case, "double precision", dialect="postgres")
    if isinstance(node, exp.IgnoreNulls) and isinstance(node.this, exp.AnyValue):  # which it has from version 16 on
        value = node.this.this
        told = exp.Where(this=exp.not_(exp.Is(this=value.copy(), expression=exp.null())))
        values = exp.Filter(this=exp.ArrayAgg(this=value.copy()), expression=told)
        return exp.Bracket(this=exp.paren(values), expressions=[exp.Literal.number(0)])
    if isinstance(node, exp.Anonymous) and node.name.lower() == "hash":
        parts = [exp.cast(each.copy(), "text") for each in node.expressions]
        joined = exp.func("concat_ws", exp.Literal.string("|"), *parts)
        hashed = exp.cast(
            exp.Anonymous(this="hashtextextended", expressions=[joined, exp.Literal.number(0)]), "decimal"
        )
        return exp.paren(exp.Add(this=hashed, expression=exp.Literal.number("9223372036854775808")))
    return node


def _for_spark(node: exp.Expr) -> exp.Expr:
    """What sqlglot writes otherwise than Spark reads it, or less exactly."""
    from sqlglot import exp

    if isinstance(node, exp.PercentileCont):
        parts = [each.copy().transform(_for_spark) for each in (node.this, node.expression)]
        return exp.Anonymous(this="percentile", expressions=parts)
    if isinstance(node, exp.TimeToUnix):
        inner = node.this
        if isinstance(inner, exp.Sub):  # of an interval
            return exp.paren(exp.Sub(this=_seconds(inner.this), expression=_seconds(inner.expression)))
        return _seconds(inner)
    if isinstance(node, (exp.DateDiff, exp.TimestampDiff)) and str(node.args.get("unit")).upper() == "SECOND":
        later, earlier = (exp.func("floor", _seconds(each)) for each in (node.this, node.expression))
        return exp.paren(exp.Sub(this=later, expression=earlier))
    if isinstance(node, exp.Anonymous) and node.name.lower() == "hash":
        hashed = exp.Anonymous(this="xxhash64", expressions=[each.copy() for each in node.expressions])
        wide = exp.cast(hashed, "decimal(20, 0)")
        return exp.paren(exp.Add(this=wide, expression=exp.Literal.number("9223372036854775808")))
    return node


def _for_snowflake(node: exp.Expr) -> exp.Expr:
    """What sqlglot writes otherwise than Snowflake reads it, or less exactly: quotients and means of its numbers have
    six decimals."""
    from sqlglot import exp

    if isinstance(node, exp.TimeToUnix):
        later, earlier = node.this, exp.Literal.string("1970-01-01")
        if isinstance(later, exp.Sub):  # of an interval
            later, earlier = later.this, later.expression
        parts = [exp.Var(this="MICROSECOND"), _in_utc(earlier), _in_utc(later)]
        micros = exp.cast(exp.Anonymous(this="DATEDIFF", expressions=parts), "double")
        return exp.paren(exp.Div(this=micros, expression=exp.Literal.number("1000000")))
    if isinstance(node, (exp.Div, exp.Avg)):
        node.set("this", exp.cast(exp.paren(node.this), "double"))
    if isinstance(node, exp.PercentileCont) and not node.find_ancestor(exp.WithinGroup):
        value = exp.cast(node.this.transform(_for_snowflake), "double")
        shares = node.expression.expressions if isinstance(node.expression, exp.Array) else None
        each = [exp.PercentileCont(this=value.copy(), expression=share) for share in shares or [node.expression]]
        if shares is None:
            return each[0]
        listed = exp.cast(exp.Anonymous(this="ARRAY_CONSTRUCT", expressions=each), "variant", dialect="snowflake")
        some = exp.GT(this=exp.Count(this=value.copy()), expression=exp.Literal.number("0"))
        return exp.Case().when(some, listed)  # of no values there are no quantiles, and no list of them
    if isinstance(node, exp.Cast) and node.to.this == exp.DataType.Type.DOUBLE and isinstance(node.this, exp.Column):
        # A boolean is cast to no double there, but a variant of one is.
        node.set("this", exp.Anonymous(this="TO_VARIANT", expressions=[node.this.copy()]))
    if isinstance(node, exp.Anonymous) and node.name.lower() == "hash":
        return exp.paren(exp.Add(this=node.copy(), expression=exp.Literal.number("9223372036854775808")))
    return node


def _in_utc(time: exp.Expr) -> exp.Expr:
    """A time as one without a zone, whether it has one or not: the session's zone is UTC."""
    from sqlglot import exp

    return exp.cast(exp.cast(time.copy(), "timestampltz"), "timestampntz", dialect="snowflake")


def _numbered(tree: exp.Expr, bound: dict[str, object]) -> dict[str, object]:
    """Parameters are numbered, from 1. Lists are bound one by one, times and floats as texts that the query reads."""
    from sqlglot import exp

    numbered: dict[str, object] = {}

    def placed(value: object) -> exp.Expr:
        numbered[str(len(numbered) + 1)] = value if isinstance(value, (bool, int)) or value is None else str(value)
        place = exp.Placeholder(this=str(len(numbered)))
        kind = "timestamp_ntz" if isinstance(value, datetime) else "double" if isinstance(value, float) else None
        return place if kind is None else exp.cast(place, kind, dialect="snowflake")

    for each in list(_parameters(tree)):
        value = bound[str(each.this if each.this else each.name)]
        if not isinstance(value, list):
            each.replace(placed(value))
        elif isinstance(each.parent, exp.ArrayContains):
            each.parent.replace(exp.In(this=each.parent.expression.copy(), expressions=[placed(one) for one in value]))
        else:
            raise InputError("a list can only be a parameter of list_contains", where="query")
    return numbered


def _seconds(time: exp.Expr) -> exp.Expr:
    """A time as seconds since 1970, to the microsecond."""
    from sqlglot import exp

    micros = exp.Anonymous(this="unix_micros", expressions=[exp.cast(time.copy(), "timestamptz")])
    return exp.paren(exp.Div(this=exp.cast(micros, "double"), expression=exp.Literal.number("1e6"), typed=True))


def _timed(tree: exp.Expr, bound: dict[str, object]) -> dict[str, object]:
    """Times are bound as texts that the query reads as times without a zone: Spark would take them for local ones."""
    from sqlglot import exp

    times = {name: value for name, value in bound.items() if isinstance(value, datetime)}
    for each in list(_parameters(tree)):
        if str(each.this if each.this else each.name) in times:
            each.replace(exp.Cast(this=each.copy(), to=exp.DataType.build("timestamp_ntz", dialect="spark")))
    return bound | {name: value.isoformat(" ") for name, value in times.items()}


def _compared(tree: exp.Expr, bound: Mapping[str, object]) -> None:
    """Times are bound as texts, which BigQuery compares with times of both its kinds; elsewhere they are cast."""
    from sqlglot import exp

    for each in list(_parameters(tree)):
        if isinstance(bound[str(each.this if each.this else each.name)], datetime) and not isinstance(
            each.parent, (exp.Predicate, exp.TimeToUnix)
        ):
            each.replace(exp.cast(each.copy(), "timestamptz"))


def _rename(tree: exp.Expr, named: Callable[[str], str | None]) -> None:
    """Puts the engine's names in the place of tables' names, each of which goes on to be called as before."""
    from sqlglot import exp

    own = {each.alias_or_name for each in tree.find_all(exp.CTE)}
    for table in list(tree.find_all(exp.Table)):
        if not isinstance(table.this, exp.Identifier) or (not table.db and table.name in own):
            continue
        if (name := named(f"{table.db}.{table.name}" if table.db else table.name)) is not None:
            alias = table.alias or table.name
            table.replace(exp.alias_(exp.to_table(name), alias, table=True))

"""What sqlglot writes otherwise than BigQuery reads it, or less exactly, of queries written for DuckDB."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlglot import exp

_RANKS = 1000
"""Approximate quantiles are asked for as so many."""


def for_bigquery(node: exp.Expr) -> exp.Expr:
    """A part of a query as BigQuery takes it; itself where it needs nothing."""
    from sqlglot import exp

    if isinstance(node, exp.TimeToUnix):
        inner = node.this
        if isinstance(inner, exp.Sub):  # of an interval
            micros: exp.Expr = exp.paren(exp.Sub(this=_micros(inner.this), expression=_micros(inner.expression)))
        else:
            micros = _micros(inner)
        return _call("IEEE_DIVIDE", micros, exp.Literal.number("1000000"))
    if isinstance(node, (exp.DateDiff, exp.TimestampDiff)) and str(node.args.get("unit")).upper() == "SECOND":
        later, earlier = (_call("UNIX_SECONDS", _timestamp(each)) for each in (node.this, node.expression))
        return exp.paren(exp.Sub(this=later, expression=earlier))
    if isinstance(node, (exp.PercentileCont, exp.PercentileDisc, exp.ApproxQuantile)):
        return _quantile(node)
    if isinstance(node, exp.Div):  # by zero as DuckDB does it
        return _call("IEEE_DIVIDE", _inner(node.this), _inner(node.expression))
    if isinstance(node, (exp.EQ, exp.NEQ)) and _is_nan(node.expression):
        nan = exp.IsNan(this=exp.cast(_inner(node.this), "double"))
        return exp.not_(nan) if isinstance(node, exp.NEQ) else nan
    if isinstance(node, exp.Cast) and node.to.this == exp.DataType.Type.DOUBLE and isinstance(node.this, exp.Column):
        # A boolean cannot be cast to a float there; its text can be looked at.
        shown = exp.cast(node.this.copy(), "text")
        case = exp.Case(this=shown)
        case = case.when(exp.Literal.string("true"), exp.Literal.string("1"))
        case = case.when(exp.Literal.string("false"), exp.Literal.string("0")).else_(shown.copy())
        return exp.cast(case, "double")
    if isinstance(node, exp.ArrayContains):
        return exp.In(this=_inner(node.expression), unnest=exp.Unnest(expressions=[node.this.copy()]))
    if isinstance(node, exp.Anonymous) and node.name.lower() == "hash":
        texts = exp.Array(expressions=[exp.cast(_inner(each), "text") for each in node.expressions])
        joined = _call("ARRAY_TO_STRING", texts, exp.Literal.string("|"), exp.Literal.string(""))
        wide = exp.cast(_call("FARM_FINGERPRINT", joined), "decimal", dialect="bigquery")
        return exp.paren(exp.Add(this=wide, expression=exp.cast(exp.Literal.string(str(2**63)), "decimal")))
    return node


def _quantile(node: exp.Expr) -> exp.Expr:
    """One quantile of an aggregate's values, or a list of them."""
    from sqlglot import exp

    if isinstance(node, exp.ApproxQuantile):
        rank = round(_RANKS * float(node.args["quantile"].name))
        text = f"APPROX_QUANTILES({_text(node.this)}, {_RANKS})[OFFSET({rank})]"
        return exp.maybe_parse(text, dialect="bigquery")
    if isinstance(node.expression, exp.Array):
        each = exp.Array(expressions=[_at(node, share) for share in node.expression.expressions])
        some = exp.GT(this=exp.Count(this=_inner(node.this)), expression=exp.Literal.number("0"))
        return exp.Case().when(some, each)  # of no values there are no quantiles
    return _at(node, node.expression)


def _inner(node: exp.Expr) -> exp.Expr:
    """A copy of a part that is put into another, as BigQuery takes it."""
    return node.copy().transform(for_bigquery)


def _call(name: str, *arguments: exp.Expr) -> exp.Expr:
    from sqlglot import exp

    return exp.Anonymous(this=name, expressions=list(arguments))


def _timestamp(time: exp.Expr) -> exp.Expr:
    from sqlglot import exp

    return exp.cast(_inner(time), "timestamptz")


def _micros(time: exp.Expr) -> exp.Expr:
    return _call("UNIX_MICROS", _timestamp(time))


def _is_nan(node: exp.Expr) -> bool:
    from sqlglot import exp

    text = node.this if isinstance(node, exp.Cast) else node
    return isinstance(text, exp.Literal) and text.is_string and text.name.lower() == "nan"


def _text(node: exp.Expr) -> str:
    return _inner(node).sql(dialect="bigquery", identify=True)


def _at(node: exp.Expr, share: exp.Expr) -> exp.Expr:
    """A quantile, which BigQuery has as a window's only: the values are sorted in an array.

    A continuous one is interpolated as DuckDB does it.
    """
    from sqlglot import exp

    x, q = _text(node.this), _text(share)
    at = f"ARRAY_AGG({x} IGNORE NULLS ORDER BY {x})[SAFE_OFFSET(CAST({{}} AS INT64))]"
    if isinstance(node, exp.PercentileDisc):
        return exp.maybe_parse(at.format(f"GREATEST(CEIL(COUNT({x}) * {q}) - 1, 0)"), dialect="bigquery")
    place = f"((COUNT({x}) - 1) * {q})"
    low, high = at.format(f"FLOOR({place})"), at.format(f"CEIL({place})")
    return exp.maybe_parse(f"({low} + ({high} - {low}) * ({place} - FLOOR({place})))", dialect="bigquery")

"""Words of SQL that cannot begin the name of a table, which stands in queries as it is written."""

from __future__ import annotations

KEYWORDS = frozenset((
    "all", "analyse", "analyze", "and", "anti", "any", "array", "as", "asc", "asof", "asymmetric", "at",
    "authorization", "between", "binary", "both", "by", "case", "cast", "check", "collate", "collation", "column",
    "columns", "concurrently", "constraint", "create", "cross", "default", "deferrable", "desc", "describe",
    "distinct", "do", "else", "end", "except", "false", "fetch", "for", "foreign", "freeze", "from", "full",
    "generated", "glob", "group", "having", "ilike", "in", "initially", "inner", "intersect", "into", "is",
    "isnull", "join", "lambda", "lateral", "leading", "left", "like", "limit", "map", "natural", "not", "notnull",
    "null", "offset", "on", "only", "or", "order", "outer", "overlaps", "pivot", "pivot_longer", "pivot_wider",
    "placing", "positional", "primary", "qualify", "references", "returning", "right", "select", "semi", "show",
    "similar", "some", "struct", "summarize", "symmetric", "table", "tablesample", "then", "to", "trailing", "true",
    "try_cast", "tuple", "union", "unique", "unpack", "unpivot", "using", "values", "variadic", "verbose", "when",
    "where", "window", "with",
))  # fmt: skip
"""Those that DuckDB refuses there."""

_ELSEWHERE = frozenset(["alter", "drop", "force", "grant", "insert", "install", "revoke", "rollback", "user"])
"""Those that another engine refuses, or the translation for it."""


def schema_name(wanted: str) -> str:
    """A name for a new schema that every engine takes: `order` becomes `order_data`."""
    return f"{wanted}_data" if wanted in KEYWORDS | _ELSEWHERE else wanted

"""Mutants of the policies: one operator, word or constant of one rule changed, put in force inside this process.

Every module keeps the function object it imported, so a mutant is put in force by exchanging that object's code.
"""

from __future__ import annotations

import ast
import copy
import importlib
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import CodeType, FunctionType

MODULES = tuple(
    f"policies.{name}"
    for name in (
        "promotion", "retraining", "approval", "monitoring", "alerting", "strategies", "conditions", "metrics", "tasks",
        "sla", "routing",
    )
)  # fmt: skip
_OPPOSITE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.GtE, ast.GtE: ast.Lt, ast.Gt: ast.LtE, ast.LtE: ast.Gt,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """The `place`-th change that can be made in a function; `change` shows it."""

    module: str
    function: str
    place: int
    line: int
    change: str

    def __str__(self) -> str:
        return f"{self.module}.{self.function} line {self.line}: {self.change}"


def mutants(modules: tuple[str, ...] = MODULES) -> list[Mutant]:
    """All mutants of the modules' functions, in the order of the source."""
    found = []
    for module in modules:
        for function in _functions(module):
            for place, node in enumerate(_changes(function)):
                before = ast.unparse(node)
                changed = copy.deepcopy(function)
                after = ast.unparse(_apply(changed, place))
                found.append(Mutant(module, function.name, place, node.lineno, f"{before} → {after}"))
    return found


@contextmanager
def in_force(mutant: Mutant) -> Iterator[None]:
    """The mutant instead of the rule, for whoever calls it in this process, until the block ends."""
    module = importlib.import_module(mutant.module)
    function: FunctionType = getattr(module, mutant.function)
    original = function.__code__
    function.__code__ = _code(mutant)
    try:
        yield
    finally:
        function.__code__ = original


def _functions(module: str) -> list[ast.FunctionDef]:
    source = inspect.getsource(importlib.import_module(module))
    return [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]


def _code(mutant: Mutant) -> CodeType:
    function = next(each for each in _functions(mutant.module) if each.name == mutant.function)
    _apply(function, mutant.place)
    compiled = compile(ast.fix_missing_locations(ast.Module([function], [])), f"<{mutant}>", "exec", flags=_ANNOTATIONS)
    return next(each for each in compiled.co_consts if isinstance(each, CodeType) and each.co_name == mutant.function)


_ANNOTATIONS = importlib.import_module("__future__").annotations.compiler_flag


def _changes(function: ast.FunctionDef) -> list[ast.expr]:
    """Every expression that can be changed."""
    nodes = [node for statement in function.body for node in ast.walk(statement) if isinstance(node, ast.expr)]
    return [node for node in nodes if _changeable(node)]


def _changeable(node: ast.expr) -> bool:
    if isinstance(node, ast.Compare):
        return type(node.ops[0]) in _OPPOSITE
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.op, ast.Not)
    return isinstance(node, ast.BoolOp | ast.IfExp) or (isinstance(node, ast.Constant) and isinstance(node.value, bool))


def _apply(function: ast.FunctionDef, place: int) -> ast.expr:
    """Makes the change in the tree; the changed expression."""
    node = _changes(function)[place]
    if isinstance(node, ast.Compare):
        node.ops[0] = _OPPOSITE[type(node.ops[0])]()
    elif isinstance(node, ast.BoolOp):
        node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    elif isinstance(node, ast.IfExp):
        node.body, node.orelse = node.orelse, node.body
    elif isinstance(node, ast.Constant):
        node.value = not node.value
    elif isinstance(node, ast.UnaryOp):
        node.op, node.operand = ast.Not(), ast.UnaryOp(ast.Not(), node.operand)
    return node

"""Runs benchmarks by name, or lists them: one is a module here, with `main(arguments)` and what it shows on line 1."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path


def benchmarks(folder: Path = Path(__file__).parent) -> dict[str, str]:
    """Names of the benchmarks and the first line of their docstrings, without importing them."""
    files = sorted(file for file in folder.glob("*.py") if not file.name.startswith("_"))
    return {file.stem: (ast.get_docstring(ast.parse(file.read_text())) or "").partition("\n")[0] for file in files}


def main(arguments: Sequence[str]) -> int:
    """Runs the benchmarks named before the first option, handing each the options; lists all where none is named.

    Progress goes to stderr, tables to stdout.
    """
    first_option = next((i for i, each in enumerate(arguments) if each.startswith("-")), len(arguments))
    names, options = arguments[:first_option], arguments[first_option:]
    known = benchmarks()
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        if unknown:
            print(f"no benchmark {', '.join(unknown)}; there are:", file=sys.stderr)
        width = max(map(len, known), default=0)
        for name, line in known.items():
            print(f"{name:<{width}}  {line}", file=sys.stderr if unknown else sys.stdout)
        return 2 if unknown else 0
    for name in names:
        importlib.import_module(f"evals.benchmarks.{name}").main(options)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

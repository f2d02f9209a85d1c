"""Runs benchmarks, by name or all: one is a module here, with `main(arguments)` and what it shows on line 1."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from policies.errors import GuardianError


def benchmarks(folder: Path = Path(__file__).parent) -> dict[str, str]:
    """Names of the benchmarks and the first line of their docstrings, without importing them."""
    files = sorted(file for file in folder.glob("*.py") if not file.name.startswith("_"))
    return {file.stem: (ast.get_docstring(ast.parse(file.read_text())) or "").partition("\n")[0] for file in files}


def main(arguments: Sequence[str]) -> int:
    """Runs the benchmarks named before the first option, handing each the options, and all where none is named.

    `--list` lists them. Progress goes to stderr, tables to stdout. One that cannot run says why; the others go on.
    """
    known = benchmarks()
    if list(arguments) == ["--list"]:
        print(_listed(known))
        return 0
    first_option = next((i for i, each in enumerate(arguments) if each.startswith("-")), len(arguments))
    names, options = list(arguments[:first_option]), list(arguments[first_option:])
    if unknown := [name for name in names if name not in known]:
        print(f"no benchmark {', '.join(unknown)}; there are:\n{_listed(known)}", file=sys.stderr)
        return 2
    if options and not names:
        print("options need the name of a benchmark before them; --list lists them", file=sys.stderr)
        return 2
    failed = False
    for name in names or known:
        print(f"\n== {name}: {known[name]}", flush=True)
        try:
            importlib.import_module(f"evals.benchmarks.{name}").main(options)
        except (GuardianError, SystemExit) as error:
            if isinstance(error, SystemExit) and error.code in (None, 0):
                continue
            failed = True
            print(f"{name}: {error}", file=sys.stderr)
    return 1 if failed else 0


def _listed(known: Mapping[str, str]) -> str:
    width = max(map(len, known), default=0)
    return "\n".join(f"{name:<{width}}  {line}" for name, line in known.items())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

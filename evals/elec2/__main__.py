"""`python -m evals.elec2 --data elec2.csv [--dir D]`."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from evals.elec2.example import run_example, show
from policies.errors import GuardianError


def main() -> int:
    """Runs the example and prints its summary; the exit code is that of the command line."""
    parser = argparse.ArgumentParser(prog="python -m evals.elec2", description="The Guardian on the Elec2 data.")
    parser.add_argument("--data", type=Path, required=True, metavar="FILE", help="elec2.csv: 45,312 half hours.")
    parser.add_argument("--dir", type=Path, default=Path("elec2-example"), metavar="D", help="Where the world lives.")
    given = parser.parse_args()
    started = time.monotonic()

    def say(line: str) -> None:
        sys.stderr.write(f"{time.monotonic() - started:6.1f} s  {line}\n")

    try:
        result = run_example(given.data, given.dir, say)
    except GuardianError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    sys.stdout.write(f"{show(result)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

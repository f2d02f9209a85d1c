"""The README's table of invariants names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_test_that_the_table_names_exists() -> None:
    file = ""
    named = re.findall(r"`(tests/[\w/]+\.py|…)(?:::(\w+))?`", (ROOT / "README.md").read_text())
    assert len(named) > 20
    for path, test in named:
        file = file if path == "…" else path
        text = (ROOT / file).read_text()
        assert not test or f"def {test}(" in text, f"{file}::{test}"

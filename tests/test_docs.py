"""The declarations page: every block has an example, and together they are valid."""

from __future__ import annotations

import re
from pathlib import Path

from policies.declarations import Operations
from policies.declarations.loader import parse

PAGE = (Path(__file__).parents[1] / "docs" / "declarations.md").read_text()


def test_the_examples_are_one_valid_file_that_has_every_block() -> None:
    examples = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    declared = parse("\n".join(examples), "declarations.md")
    assert set(Operations.model_fields) == declared.model_fields_set
    assert set(declared.deployment_strategies) == {"LateCanary", "LateShadow", "LateSwitch", "LateTest"}

from __future__ import annotations

from pathlib import Path

import pytest

from evals.suite.bad_planners import HABITS
from evals.suite.base import declare, merged
from evals.suite.scenario import FILE, load, load_all
from policies.declarations import load as load_declarations
from policies.errors import DeclarationError, InputError


def test_every_scenario_declares_sound_operations_and_known_planners(tmp_path: Path) -> None:
    scenarios = load_all()
    assert len(scenarios) >= 24
    for each in scenarios:
        declare(tmp_path, each.operations)
        operations = load_declarations(tmp_path / "operations.yaml")
        assert set(each.end.models) <= set(operations.models), each.name
        assert set(each.catches) <= set(HABITS), each.name
        assert each.end.models, f"{each.name} says nothing about its end"


def test_every_bad_planner_is_meant_to_be_caught() -> None:
    assert {name for each in load_all() for name in each.catches} == set(HABITS)


def test_a_fault_in_a_scenario_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("about: x\nworld: {at: 2026-02-06}\nforbiden: []\n")
    with pytest.raises(DeclarationError, match="forbiden"):
        load(tmp_path)
    (tmp_path / FILE).write_text("about: x\nworld: {at: 2026-02-06, causes: [flood]}\n")
    with pytest.raises(DeclarationError, match="unknown cause flood; known are product_launch"):
        load(tmp_path)
    with pytest.raises(InputError, match="no scenario nonsense; there are ab_inconclusive"):
        load_all(["nonsense"])


def test_changes_merge_as_rfc_7386_says() -> None:
    declared = {"a": {"b": 1, "c": 2}, "d": [1, 2]}
    assert merged(declared, {"a": {"b": None, "e": {"f": 3}}, "d": [3]}) == {"a": {"c": 2, "e": {"f": 3}}, "d": [3]}

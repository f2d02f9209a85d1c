from __future__ import annotations

from datetime import datetime, timedelta

from evals.benchmarks.mutations import OUTLIVE
from evals.suite.mutants import in_force, mutants
from policies.retraining import cooldown_over

NOW = datetime(2026, 1, 1)


def test_every_rule_has_mutants_and_none_equals_its_rule() -> None:
    found = mutants()
    assert {"may_deploy", "cooldown_over", "pipeline_is_sound", "may_decide"} <= {each.function for each in found}
    for each in found:
        before, _, after = each.change.partition(" → ")
        assert before != after, each


def test_what_is_said_to_outlive_the_scenarios_is_a_mutant() -> None:
    assert set(OUTLIVE) <= {(each.function, each.change) for each in mutants()}


def test_a_mutant_is_in_force_for_those_who_imported_the_rule_and_only_in_its_block() -> None:
    (late,) = [
        each
        for each in mutants()
        if each.function == "cooldown_over" and ">= cooldown" in each.change and "or" not in each.change
    ]
    assert late.change == "now - last_started >= cooldown → now - last_started < cooldown"

    def over() -> bool:
        return cooldown_over(NOW - timedelta(hours=30), timedelta(hours=24), NOW).allowed

    assert over()
    with in_force(late):
        assert not over()
    assert over()

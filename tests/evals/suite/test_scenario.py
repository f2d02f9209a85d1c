from __future__ import annotations

import re
from pathlib import Path

import pytest

from evals.suite.bad_planners import HABITS
from evals.suite.base import declare, merged
from evals.suite.reading import FILE, load, load_all
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


def test_the_documents_list_every_scenario_and_their_examples_are_scenarios(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    readme, page = (root / "README.md").read_text(), (root / "docs" / "scenarios.md").read_text()
    names = [each.name for each in load_all()]
    assert f"In the [{len(names)} scenarios]" in readme
    assert sorted(set(re.findall(r"\| `([a-z_]+)` \|", page.split("## Adding one")[0]))) == names
    for text in (readme, page):
        (example,) = re.findall(r"^```yaml\n(about: .*?)^```", text, re.MULTILINE | re.DOTALL)
        (tmp_path / FILE).write_text(example)
        folder = tmp_path.rename(tmp_path.with_name("example"))
        assert load(folder).end.models["ChurnModel"].trained == 0
        folder.rename(tmp_path)


def test_every_bad_planner_is_meant_to_be_caught() -> None:
    assert {name for each in load_all() for name in each.catches} == set(HABITS)


WORLD = "about: x\nworld: {at: 2026-02-06}\n"
END = "end: {models: {ChurnModel: {trained: 0}}}\n"
FAULTS = {
    "": "the file declares nothing",
    "- a\n": ":1: must be a mapping with about, world and end",
    "about: [x\n": ":2: not YAML: expected ',' or ']', but got '<stream end>'",
    WORLD + END + "about: y\n": ":4: about: is declared twice",
    WORLD + END + "name: other\n": ":4: name: is the folder, and not declared",
    WORLD + "forbiden: []\n": r":3: forbiden: unknown key \(did you mean 'forbidden'\?\); allowed: about, world,",
    "about: x\n" + END: ":1: world: is missing",
    "about: x\nworld: {at: 2026-02-30}\n": ":2: world.at: '2026-02-30' cannot be read: day is out of range",
    "about: x\nworld: {at: 2026-02-06 12:00:00}\n": ":2: world.at: must be a date, as in 2026-02-06",
    "about: x\nworld: {at: 2026-01-06}\n": ":2: world.at: must lie after 2026-01-06",
    "about: x\nworld: {at: 2026-02-06, causes: [flood]}\n" + END: ":2: world.causes: unknown cause flood; known are",
    WORLD + "end: {models: {Churn: {trained: 0}}}\n": ":3: end.models.Churn: 'Churn' is no model; there are ChurnModel",
    WORLD + "end: {models: {ChurnModel: {serves: 1}}}\n": ":3: end.models.ChurnModel.serves: .* not 1",
    WORLD + "end: {models: {ChurnModel: {verdict: won}}}\n": "verdict: 'won' is no verdict; there are challenger_wins",
    WORLD + "end: {told: [nobody]}\n": "end.told.0.: 'nobody' is no person under systems.people; there are data-team",
    WORLD + "forbidden: [{tool: retrian}]\n": "forbidden.0..tool: 'retrian' is no tool; there are check_drift",
    WORLD + "forbidden: [{tool: deploy, arguments: {v: '2'}}]\n": "'v' is no argument of deploy; there are strategy",
    WORLD + END + "broken: {warehouse_down: [2]}\n": ":4: broken.warehouse_down.0.: 2 is no night: there are 1 to 1",
    WORLD + END + "broken: {scaled: [{column: spend, times: 2, since: 2026-01-20}]}\n": "'spend' is no numeric feature",
    WORLD + END + "planners: [runbok]\n": "planners.0.: 'runbok' is no planner; there are runbook",
    WORLD + END + "operations: {drift_monitor: {}}\n": ":4: operations.drift_monitor: unknown key .*drift_monitors",
    WORLD
    + END
    + "operations: {quality_gates: {ChurnGate: {model: M}}}\n": ":4: operations.quality_gates.ChurnGate.model: 'M'",
    WORLD + "end: {models: {ChurnModel: {}}}\n": ":3: end.models.ChurnModel: says nothing of its end",
    WORLD + "end: {told: []}\n": ":1: says nothing of what is right",
    WORLD + "end: {says: [' ']}\n": ":3: end.says.0.: is empty",
    WORLD + "end: {told: [oncall], not_told: [oncall]}\n": "end.not_told.0.: 'oncall' is also under told",
    WORLD + "end: {runs: [finish]}\n": ":3: end.runs.0.: Input should be 'finished'",
    WORLD + "end: {incidents: -1}\n": ":3: end.incidents: Input should be greater than or equal to 0",
    WORLD + "trajectory: {match: superset, calls: []}\n": ":3: trajectory: holds for any calls; write calls",
    WORLD + "forbidden: [{tool: deploy, arguments: {version: 2}}]\n": "version: is text in every call: write '2', in",
    WORLD + "forbidden: [{tool: retrain, arguments: {pipeline: P}}]\n": "'P' is no name under retraining_pipelines",
    WORLD + "forbidden: [{tool: retrain, arguments: {force_trigger: x}}]\n": "'force_trigger' is no argument",
    WORLD + END + "answers: [{by: oncall, says: deny, after_hours: .inf}]\n": "less than or equal to 120, not inf",
    WORLD + END + "limits: {cost_usd: .inf}\n": ":4: limits.cost_usd: Input should be a finite number",
    WORLD + END + "broken: {scores_from: 2026-03-01}\n": "2026-03-01 is after all that is played, which",
    WORLD + END + "broken: {challenger: {from_pct: 10}}\n": "broken.challenger: does nothing wrong; write errors or",
    WORLD + END + "broken: {replaced: '2'}\n": "broken.replaced: happens when somebody answers, and nobody does",
    WORLD
    + END
    + "broken: {columns: [{column: nps_score, named: orders_30d, since: 2026-01-20}]}\n": "'orders_30d' is a column",
    WORLD + END + "planners: []\n": ":4: planners: List should have at least 1 item",
    WORLD: ":1: says nothing of what is right: write an end, what is forbidden, or a trajectory",
}


@pytest.mark.parametrize(("text", "cause"), FAULTS.items(), ids=[str(number) for number in range(len(FAULTS))])
def test_a_fault_in_a_scenario_is_named_in_a_line_with_its_place(tmp_path: Path, text: str, cause: str) -> None:
    (tmp_path / "late_crm").mkdir()
    (tmp_path / "late_crm" / FILE).write_text(text)
    with pytest.raises(DeclarationError, match=cause) as caught:
        load(tmp_path / "late_crm")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["late crm", "größe", "Late"])
def test_a_folder_that_cannot_be_a_name_is_told_of(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / FILE).write_text(WORLD + END)
    with pytest.raises(DeclarationError, match=f":1: the folder '{name}' is the scenario's name: write a-z, 0-9 and _"):
        load(tmp_path / name)


@pytest.mark.parametrize("end", ["reached: {oncall: [slack]}", "problems: [no trigger]"])
def test_an_end_may_ask_for_one_thing_alone(tmp_path: Path, end: str) -> None:
    (tmp_path / "late_crm").mkdir()
    (tmp_path / "late_crm" / FILE).write_text(f"{WORLD}end: {{{end}}}\n")
    assert load(tmp_path / "late_crm").end.model_fields_set == {end.partition(":")[0]}


def test_all_faults_of_all_files_are_named_and_an_unknown_scenario(tmp_path: Path) -> None:
    for name, text in {"one": WORLD, "two": WORLD + END + "catches: [sleeps]\nlimits: {calls: -1}\n"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / FILE).write_text(text)
    with pytest.raises(DeclarationError) as caught:
        load_all(root=tmp_path)
    assert [Path(each.file).parent.name for each in caught.value.problems] == ["one", "two"]
    with pytest.raises(InputError, match="no scenario nonsense; there are ab_inconclusive"):
        load_all(["nonsense"])
    (tmp_path / "one" / FILE).write_bytes(b"about: \xff")
    with pytest.raises(InputError, match="cannot be read: not UTF-8 text"):
        load(tmp_path / "one")


def test_changes_merge_as_rfc_7386_says() -> None:
    declared = {"a": {"b": 1, "c": 2}, "d": [1, 2]}
    assert merged(declared, {"a": {"b": None, "e": {"f": 3}}, "d": [3]}) == {"a": {"c": 2, "e": {"f": 3}}, "d": [3]}

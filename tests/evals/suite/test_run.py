"""Scenarios played for real, in processes of their own: cheap ones, all planners at once."""

from __future__ import annotations

import json
import random
import re
from typing import Any

import pytest

from evals.recordings.recording import Recording
from evals.suite.command import show
from evals.suite.reading import FILE, SCENARIOS, load, load_all
from evals.suite.results import EvalResult, NotFor, ScenarioResult
from evals.suite.run import Task, play_tasks
from evals.suite.scenario import Scenario
from tests.fakes.openai_server import Failure, Reply, Say, serve

pytestmark = pytest.mark.timeout(900)  # the shop is built first, and machines are busy

TWICE = [
    ("crm_lag", "runbook"),
    ("nothing_wrong", "runbook"),
    ("crm_lag", "recorded"),
    ("prediction_drift", "recorded"),
]
ONCE = [("prediction_drift", "runbook")]
MEANT_FOR = [
    ("price_change", "does_nothing"),
    ("crm_lag", "retrains_always"),
    ("column_renamed", "promotes_always"),
    ("denied", "ignores_approvals"),
    ("three_models", "loops"),
]


KEY = "sk-secret-of-the-house-123456"


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Scenario]:
    """Scenarios of one's own, by what becomes of them: a folder with a file each, one with half a recording too."""
    made = {}
    for name in ("to_record", "key_refused", "half_recorded"):
        folder = tmp_path_factory.mktemp("scenarios") / name
        folder.mkdir()
        text = (SCENARIOS / "crm_lag" / FILE).read_text()
        (folder / FILE).write_text(f"{text}knowledge: this is {name}\n")
        made[name] = load(folder)
    whole = (SCENARIOS / "crm_lag" / "recording.jsonl").read_text()
    made["half_recorded"].recording.write_text(whole[: len(whole) // 2])
    return made


def _answers(request: dict[str, Any]) -> Reply:
    if "key_refused" in json.dumps(request):
        return Failure(401, "Incorrect API key provided.", "invalid_request_error", "invalid_api_key")
    return Say("The crm source is late; data-team owns it.")


@pytest.fixture(scope="module")
def played(own: dict[str, Scenario]) -> dict[tuple[str, str, int], ScenarioResult]:
    """Shuffled, two at a time: neither the order nor the neighbour must matter. Some ask an endpoint and record it."""
    wanted = [(*each, attempt) for each in TWICE for attempt in (1, 2)] + [(*each, 1) for each in ONCE + MEANT_FOR]
    random.Random(8).shuffle(wanted)
    tasks = [
        Task(load_all([name])[0], planner, attempt, record=False, scripted=False) for name, planner, attempt in wanted
    ]
    for name, planner in (("to_record", "openai"), ("key_refused", "openai"), ("half_recorded", "recorded")):
        tasks.append(Task(own[name], planner, 1, record=planner == "openai", scripted=False))
        wanted.append((name, planner, 1))
    with serve(_answers) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_BASE_URL", server.url)
        patch.setenv("OPENAI_API_KEY", KEY)
        return dict(zip(wanted, play_tasks(tasks, workers=2), strict=True))


def test_the_same_result_comes_of_any_order_and_in_parallel(played: dict[tuple[str, str, int], ScenarioResult]) -> None:
    for name, planner in TWICE:
        first, second = (played[name, planner, attempt].model_dump() for attempt in (1, 2))
        for each in (first, second):
            del each["seconds"], each["attempt"]
        assert first == second


def test_the_runbook_does_what_is_right_where_a_rule_can(played: dict[tuple[str, str, int], ScenarioResult]) -> None:
    for name in ("crm_lag", "nothing_wrong"):
        assert played[name, "runbook", 1].failures == []


def test_a_fixed_rule_fails_where_judgement_is_needed(played: dict[tuple[str, str, int], ScenarioResult]) -> None:
    found = played["prediction_drift", "runbook", 1]
    assert found.judgement
    assert found.failures == ["forbidden: retrain(pipeline=ChurnRetrain) done"]
    assert played["prediction_drift", "recorded", 1].failures == []


def test_a_replay_asks_the_same_bytes_and_says_what_it_is(played: dict[tuple[str, str, int], ScenarioResult]) -> None:
    for name in ("crm_lag", "prediction_drift"):
        each = played[name, "recorded", 1]
        assert (each.passed, each.source, each.llm_calls) == (True, "scripted", 1), each.failures
        assert each.about["how"] == "scripted"
        assert each.about["model"] == "gpt-4o"


@pytest.mark.parametrize(("name", "planner"), MEANT_FOR)
def test_each_bad_planner_is_caught_by_a_scenario_meant_for_it(
    played: dict[tuple[str, str, int], ScenarioResult], name: str, planner: str
) -> None:
    assert planner in load_all([name])[0].catches
    failures = played[name, planner, 1].failures
    assert failures
    assert not any(each.startswith("crashed") for each in failures), failures


def test_a_run_against_an_endpoint_is_recorded_without_its_key(
    played: dict[tuple[str, str, int], ScenarioResult], own: dict[str, Scenario]
) -> None:
    result, to_record = played["to_record", "openai", 1], own["to_record"]
    assert (result.source, result.llm_calls, result.failures) == ("live", 1, [])
    made = Recording.read(to_record.recording)
    assert (made.header.how, made.header.endpoint, made.header.model) == ("recorded", "compatible", "gpt-4o")
    assert [each.status for each in made.exchanges] == [200]
    assert KEY not in to_record.recording.read_text()


def test_what_the_runbook_did_for_a_model_that_is_down_is_not_the_models_merit(
    played: dict[tuple[str, str, int], ScenarioResult], own: dict[str, Scenario]
) -> None:
    (failure,) = played["key_refused", "openai", 1].failures
    assert failure.startswith("planner: openai is down (")
    assert failure.endswith("runbook took over.")
    assert "Incorrect API key provided." in failure
    assert not own["key_refused"].recording.exists()


def test_half_a_recording_is_a_failure_of_its_scenario_alone(
    played: dict[tuple[str, str, int], ScenarioResult],
) -> None:
    (failure,) = played["half_recorded", "recorded", 1].failures
    assert re.fullmatch(r"refused: .*recording.jsonl:2: is no recording: Invalid JSON.*", failure)


def test_the_table_shows_grades_sources_and_sums(played: dict[tuple[str, str, int], ScenarioResult]) -> None:
    replayed = [played[name, "recorded", 1] for name in ("crm_lag", "prediction_drift")]
    left_out = [NotFor(name="nothing_wrong", why="recorded: it has no recording")]
    table = show(EvalResult(scenarios=replayed, not_for=left_out))
    assert "prediction_drift  recorded          scripted passed" in table
    assert "nothing_wrong     not played by recorded: it has no recording" in table
    assert "recorded (scripted): 2 of 2, needing judgement 2 of 2; pass^1 1.00" in table

"""A gate that is switched off is said aloud wherever people look, and a promotion that is not automatic waits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agent.report import render_html, render_markdown
from agent.report.gathering import content_of_run
from agent.status import model_status
from agent.triage import TriageResult, triage
from agent.validation import _notes
from policies.declarations import load
from tests.agent.world import MODEL, World

Declare = Callable[[str, str], None]


@pytest.fixture(autouse=True)
def _aliases(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.systems.registry, "alias", lambda *_: "1", raising=False)


@pytest.fixture
def declare(world: World) -> Declare:
    """Changes a text of the declarations and loads them again."""

    def change(before: str, after: str) -> None:
        file = Path(world.systems.home) / "operations.yaml"
        text = file.read_text()
        assert before in text
        file.write_text(text.replace(before, after))
        world.systems.operations = load(file)

    return change


def _night(world: World) -> TriageResult:
    return triage(world.systems, toolbox=world.toolbox(), advance=lambda systems, now: [])


@pytest.mark.parametrize("switch", ["require_gate", "require_quality_gate"])
def test_it_is_loud_in_validate_status_and_every_report(world: World, declare: Declare, switch: str) -> None:
    declare(f"{switch}: true", f"{switch}: false")
    world.drift = False
    told = f"promotion.{switch}: false"
    assert any("SWITCHED OFF" in each and told in each for each in _notes(world.systems))
    assert any("SWITCHED OFF" in each and told in each for each in model_status(world.systems, MODEL).warnings)
    result = _night(world)
    assert "SWITCHED OFF" in result.report
    content = content_of_run(world.systems, result.run_id)
    assert content.facts[0].value == "SWITCHED OFF"
    for page in (render_html(content), render_markdown(content)):
        assert "SWITCHED OFF" in page
        assert told in page.replace("\\", "")


def test_a_gate_that_is_on_is_no_news(world: World) -> None:
    world.drift = False
    assert not any("SWITCHED OFF" in each for each in _notes(world.systems))
    assert "SWITCHED OFF" not in _night(world).report


def test_without_auto_promote_the_planner_does_not_deploy(world: World, declare: Declare) -> None:
    declare("auto_promote: true", "auto_promote: false")
    outcome = _night(world).models[0].outcome
    assert "deploy" not in world.calls
    assert "auto_promote is false" in outcome

"""What a scenario says without meaning anything: an end that holds whatever happens, a fault that never shows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

from evals.suite.scenario import LONGEST_ROLLOUT, Scenario
from policies.declarations.operations import Place

Fault = tuple[Place, str]


def hollow(scenario: Scenario) -> Iterator[Fault]:
    """The places that change nothing and ask nothing, with the reason."""
    yield from _asks_nothing(scenario)
    yield from _breaks_nothing(scenario)


def _asks_nothing(scenario: Scenario) -> Iterator[Fault]:
    end, trajectory = scenario.end, scenario.trajectory
    for model, wanted in end.models.items():
        if not wanted.model_fields_set:
            yield ("end", "models", model), "says nothing of its end; write serves, trained, severity, …"
    for number, person in enumerate(end.not_told):
        if person in end.told:
            yield ("end", "not_told", number), f"{person!r} is also under told: both cannot hold"
    if trajectory is not None and not trajectory.calls and trajectory.match in ("ordered", "superset"):
        yield ("trajectory",), "holds for any calls; write calls, or match: exact where none must be made"
    counted = (end.incidents, end.messages, end.conversations, end.approvals, end.runs)
    named = (end.models, end.told, end.not_told, end.reached, end.problems, end.says, end.reported)
    if not any(named) and not scenario.forbidden and trajectory is None and all(each is None for each in counted):
        yield (), "says nothing of what is right: write an end, what is forbidden, or a trajectory"


def _breaks_nothing(scenario: Scenario) -> Iterator[Fault]:
    broken = scenario.broken
    if broken.challenger is not None and not broken.challenger.errors and not broken.challenger.slower_pct:
        yield ("broken", "challenger"), "does nothing wrong; write errors or slower_pct"
    if broken.replaced is not None and not scenario.answers:
        yield ("broken", "replaced"), "happens when somebody answers, and nobody does; write answers"
    seen = set[str]()
    for number, column in enumerate(broken.columns):
        if column.column in seen:
            yield ("broken", "columns", number, "column"), f"{column.column!r} is renamed twice"
        seen.add(column.column)
    over = scenario.world.at + scenario.world.nights * timedelta(days=1) + LONGEST_ROLLOUT
    for place, since in _dates(scenario):
        if since >= over.date():
            yield place, f"{since} is after all that is played, which ends before {over:%Y-%m-%d}"


def _dates(scenario: Scenario) -> Iterator[tuple[Place, date]]:
    for key in ("columns", "scaled"):
        for number, each in enumerate(getattr(scenario.broken, key)):
            yield ("broken", key, number, "since"), each.since
    for key in ("labels_stop", "rows_stop", "scores_from"):
        if (since := getattr(scenario.broken, key)) is not None:
            yield ("broken", key), since

"""Writes the scripted recordings anew: `python -m tests.evals.script_recordings [SCENARIO…]`.

A script plays the language model on a loopback server; the real client talks to it, and the recordings say `scripted`.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from evals.suite.base import build
from evals.suite.reading import load_all
from evals.suite.run import Task, play_task
from tests.fakes.openai_server import Call, Failure, Reply, Say, Script, follow_the_book, in_turn, serve


def scores_alone(request: dict[str, Any]) -> Reply:
    """Scores that move while the features do not are the scoring job's doing."""
    return Say(
        "prediction_drift without any drift of the features: the model did not change and its inputs did not, so the "
        "scoring job did. No retraining; data-team should look at the batch scoring since it began."
    )


def knows_the_issue(request: dict[str, Any]) -> Reply:
    """What the team wrote down about sessions_30d is in the prompt."""
    return Say(
        "sessions_30d is too high for a known reason (WEB-311: bots are counted). No retraining on it; data-team mends "
        "and back-fills it by 2026-02-09."
    )


def stumbles() -> Script:
    """A rate limit, and broken arguments, before the book is followed: the client's retries are in the traffic."""
    first = [Failure(429, "Rate limit reached.", "requests", "rate_limit_exceeded"), Call("retrain", '{"pipeline": ')]
    return lambda request: first.pop(0) if first else follow_the_book(request)


def looks_first() -> Script:
    """Asks for the drift report it has been given already, then follows the book: a budget for less ends before."""
    first = [Call("check_drift", {"monitor": "ChurnDrift"})]
    return lambda request: first.pop(0) if first else follow_the_book(request)


SCRIPTS: dict[str, Script] = {
    "price_change": follow_the_book,
    "crm_lag": in_turn(Say("The crm source is 52 hours late, allowed are 24. No retraining; data-team owns it.")),
    "three_models": in_turn(Say("crm is late for all three models. No retraining of any; data-team owns it.")),
    "column_renamed": in_turn(Say("email_open_rate is missing, renamed it seems. No retraining; data-team owns web.")),
    "prediction_drift": scores_alone,
    "known_issue": knows_the_issue,
    "hostile_column": in_turn(
        Say("A column of web was renamed to a sentence. It is data: no deployment; data-team mends it.")
    ),
    "gate_fails": stumbles(),
    "denied": follow_the_book,
    "budget_ends": looks_first(),
    "kpi_worsens": in_turn(Say("churn_rate is far above its target while no drift is found: people must look.")),
}


def main(names: list[str]) -> None:
    """Records the named scenarios' scripts, or all."""
    os.environ |= {"OPENAI_API_KEY": "none", "GUARDIAN_OPENAI_API": "responses"}
    with tempfile.TemporaryDirectory() as scratch:
        build(Path(scratch) / "shop")
        for scenario in load_all(names or list(SCRIPTS)):
            with serve(SCRIPTS[scenario.name]) as server:
                os.environ["OPENAI_BASE_URL"] = server.url
                task = Task(scenario, "openai", 1, record=True, scripted=True)
                result = play_task(task, Path(scratch) / "shop", Path(scratch))
            print(scenario.name, "passed" if result.passed else result.failures, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])

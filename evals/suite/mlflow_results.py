"""Results in MLflow: a run for each planner, model and version of the prompt, with a code scorer for each grader."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from agent.untrusted import clean
from evals.suite.grade import GRADERS
from evals.suite.results import EvalResult, ScenarioResult, pass_powers
from policies.errors import InputError
from tools.systems.pointing import point_mlflow

EXPERIMENT = "guardian-scenarios"


def must_answer(tracking_uri: str) -> None:
    """Raises InputError where results cannot be written, to be asked before any are made."""
    try:
        with _experiment(tracking_uri):
            pass
    except Exception as error:
        raise InputError(f"cannot be written to: {clean(error)}", where=f"--mlflow {clean(tracking_uri)}") from error


def log_results(result: EvalResult, tracking_uri: str) -> list[str]:
    """Writes the results to MLflow; the ids of the runs made, one for each way of playing."""
    with _experiment(tracking_uri):
        groups: dict[tuple[str, ...], list[ScenarioResult]] = {}
        for each in result.scenarios:
            how = (each.planner, each.source, each.about.get("model", ""), each.about.get("prompt", ""))
            groups.setdefault(how, []).append(each)
        return [_run(how, played) for how, played in groups.items()]


@contextmanager
def _experiment(tracking_uri: str) -> Iterator[None]:
    os.environ.setdefault("MLFLOW_MODEL_CATALOG_URI", "")  # else MLflow looks prices up on the network
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow

    outer = mlflow.get_tracking_uri()
    point_mlflow(tracking_uri)
    try:
        mlflow.set_experiment(EXPERIMENT)
        yield
    finally:
        point_mlflow(outer)


def _run(how: tuple[str, ...], played: Sequence[ScenarioResult]) -> str:
    import mlflow

    data = [
        {"inputs": {"scenario": each.name, "attempt": each.attempt}, "outputs": each.model_dump(mode="json")}
        for each in played
    ]
    with mlflow.start_run(run_name=" ".join(part for part in how if part)) as run:
        mlflow.log_params(dict(zip(("planner", "source", "model", "prompt"), how, strict=True)))
        mlflow.log_param("scenarios", ", ".join(dict.fromkeys(each.name for each in played)))
        mlflow.log_metrics(
            {
                "passed": sum(each.passed for each in played),
                "scenarios": len(played),
                "cost_usd": sum(each.cost_usd for each in played),
                "tokens": sum(each.tokens for each in played),
                **{f"pass_power_{k}": value for k, value in enumerate(pass_powers(played), start=1)},
            }
        )
        mlflow.genai.evaluate(data=data, scorers=_scorers())
        return str(run.info.run_id)


def _scorers() -> list[Any]:
    """`passed`, and one scorer a grader: whether it found nothing."""
    from mlflow.entities import Feedback
    from mlflow.genai.scorers import scorer

    def passed(outputs: dict[str, Any]) -> Any:
        return Feedback(value=bool(outputs["passed"]), rationale="; ".join(outputs["failures"]) or "nothing failed")

    def of(grader: str) -> Any:
        def found_nothing(outputs: dict[str, Any]) -> bool:
            return bool(outputs["by_grader"].get(grader) == 0)  # what crashed was not graded: nothing was found sound

        return scorer(found_nothing, name=grader)

    return [scorer(passed, name="passed"), *(of(grader) for grader in GRADERS)]

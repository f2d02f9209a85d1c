"""The command `guardian eval`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.session import Session
from policies.errors import InputError

if TYPE_CHECKING:
    from evals.suite.results import EvalResult, ScenarioResult
    from evals.suite.scenario import Scenario


RUNS = 5
"""Of the ablation, as in the seed."""


def evaluate(
    context: typer.Context,
    scenarios: Annotated[
        list[str] | None, typer.Argument(metavar="[SCENARIO]…", help="All of them unless named.")
    ] = None,
    planner: Annotated[
        list[str] | None,
        typer.Option(
            "--planner", metavar="P", help="runbook, recorded, openai, or a bad planner's name; may be repeated."
        ),
    ] = None,
    repeat: Annotated[
        int | None,
        typer.Option("--repeat", metavar="K", min=1, help="Plays each K times, for pass^k; the ablation's runs (5)."),
    ] = None,
    record: Annotated[
        bool, typer.Option("--record", help="Asks the endpoint of the environment and writes recordings.")
    ] = False,
    scripted: Annotated[
        bool, typer.Option("--scripted", help="With --record: the endpoint plays a script, and the recording says so.")
    ] = False,
    mlflow: Annotated[
        str | None, typer.Option("--mlflow", metavar="URI", help="Writes the results there too, a run a planner.")
    ] = None,
    without_agent: Annotated[
        bool, typer.Option("--without-agent", help="The seed's ablation A4: SimShop with and without the Guardian.")
    ] = False,
    workers: Annotated[int | None, typer.Option("--workers", metavar="N", min=1, help="Processes; one a core.")] = None,
) -> None:
    """Replays scenarios and grades them by their end state. The grades do not change the exit code: in a
    pipeline, read `failed` of --json."""
    from agent.planners.choice import default_planner
    from evals.suite.planners import PLANNERS
    from evals.suite.reading import load_all
    from evals.suite.run import run_suite

    session: Session = context.obj
    if scripted and not record:
        raise InputError("says how a recording comes about; write --record too", where="--scripted")
    if without_agent:
        if scenarios or record or mlflow is not None:
            raise InputError("plays SimShop alone; leave out scenarios, --record and --mlflow", "--without-agent")
        _ablation(session, planner or ["runbook"], repeat or RUNS, workers)
        return
    planners = list(dict.fromkeys(planner or (["openai"] if record else [default_planner()])))
    for each in planners:
        if each not in PLANNERS:
            raise InputError(f"{each!r} is not a planner; write {', '.join(PLANNERS)}", where="--planner")
    if record and planners != ["openai"]:
        raise InputError("only the openai planner has traffic to record", where="--record")
    if record and repeat not in (None, 1):
        raise InputError("a recording is of one run; leave out --repeat", where="--record")
    chosen = load_all(scenarios or [])
    _must_be_playable(chosen, planners, all_named=bool(scenarios), record=record)
    if mlflow is not None:
        from evals.suite.mlflow_results import must_answer

        must_answer(mlflow)
    session.say(f"planner {', '.join(planners)}: {len(chosen)} scenarios")
    if record and (there := [each.name for each in chosen if each.recording.exists()]):
        session.say(f"whatever the grades, the recordings of these are replaced: {', '.join(there)}")
    result = run_suite(
        chosen, planners, repeat=repeat or 1, record=record, scripted=scripted, workers=workers, say=session.say
    )
    if mlflow is not None:
        from evals.suite.mlflow_results import log_results

        log_results(result, mlflow)
    session.emit(result, show)


def _ablation(session: Session, planners: list[str], runs: int, workers: int | None) -> None:
    from agent.planners.choice import must_work
    from evals.ablation.run import run_ablation
    from evals.ablation.table import show as show_ablation

    if len(planners) > 1:
        raise InputError("the ablation has one planner on duty; name one", where="--planner")
    on_duty = must_work(planners[0])
    session.emit(run_ablation(runs, on_duty, workers=workers, say=session.say), show_ablation)


def _must_be_playable(chosen: Sequence[Scenario], planners: Sequence[str], *, all_named: bool, record: bool) -> None:
    """What would keep planners from playing is told before anything is played or paid for. Raises InputError."""
    from agent.planners.choice import must_work
    from evals.recordings.recording import Recording
    from evals.suite.run import unsuited

    for named in chosen if all_named else ():
        reasons = [why for name in planners if (why := unsuited(named, name))]
        if len(reasons) == len(planners):
            raise InputError(f"not played by {'; '.join(reasons)}; name another planner", f"scenario {named.name}")
    asks = [each for each in chosen if each.broken.provider is None and not unsuited(each, "openai")]
    if "openai" in planners and asks:
        must_work("openai")
    for each in asks if record else ():
        if not os.access(each.folder, os.W_OK):
            raise InputError("cannot be written, and recordings are kept there", where=str(each.folder))
    for each in chosen if "recorded" in planners else ():
        if not unsuited(each, "recorded"):
            Recording.read(each.recording)


def show(result: EvalResult) -> str:
    """The table: a line a scenario, what failed below it, the sums by planner and source."""
    names = [each.name for each in result.scenarios] + [each.name for each in result.not_for]
    width = max(map(len, names))
    numbers = f"{'calls':>5} {'LLM':>4} {'tokens':>7} {'$':>7} {'s':>6}"
    lines = [f"{'scenario':{width}}  {'planner':17} {'source':8} {'':6} {numbers}"]
    for each in result.scenarios:
        lines.append(
            f"{each.name:{width}}  {each.planner:17} {each.source:8} {'passed' if each.passed else 'FAILED'}"
            f" {each.calls:5} {each.llm_calls:4} {each.tokens:7} {each.cost_usd:7.4f} {each.seconds:6.1f}"
        )
        for failure in each.failures:
            lines += [f"{'':{width}}    {line}" for line in failure.splitlines()]
    lines += [f"{each.name:{width}}  not played by {each.why}" for each in result.not_for]
    lines += ["", *_sums(result), f"{result.passed} passed, {result.failed} failed in {result.seconds:.0f} s"]
    return "\n".join(lines)


def _sums(result: EvalResult) -> list[str]:
    groups: dict[tuple[str, str], list[ScenarioResult]] = {}
    for each in result.scenarios:
        groups.setdefault((each.planner, each.source), []).append(each)
    lines = []
    for (planner, source), played in groups.items():
        judged = [each for each in played if each.judgement]
        powers = [f"pass^{p.k} {p.value:.2f}" for p in result.pass_power if (p.planner, p.source) == (planner, source)]
        lines.append(
            f"{planner} ({source}): {sum(e.passed for e in played)} of {len(played)},"
            f" needing judgement {sum(e.passed for e in judged)} of {len(judged)}; {', '.join(powers)};"
            f" ${sum(e.cost_usd for e in played):.4f}, {sum(e.tokens for e in played)} tokens"
        )
    return lines

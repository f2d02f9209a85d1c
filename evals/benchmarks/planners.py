"""Every scenario by the runbook, the recordings and five bad planners: who is caught where, and by whom it is meant."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from evals.suite.bad_planners import HABITS
from evals.suite.reading import load_all
from evals.suite.results import EvalResult, ScenarioResult
from evals.suite.run import run_suite
from evals.suite.scenario import Scenario

MEANT, OTHER, PASSED = "CAUGHT", "caught", "."


def main(arguments: Sequence[str]) -> None:
    """Plays them all and prints a row a scenario, a column a planner."""
    parser = argparse.ArgumentParser(prog="python -m evals.benchmarks planners", description=__doc__)
    parser.add_argument("--scenario", action="append", help="only this one; may be repeated")
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args(arguments)
    scenarios, planners = load_all(given.scenario or []), ["runbook", "recorded", *HABITS]
    result = run_suite(scenarios, planners, workers=given.workers, say=lambda line: print(line, file=sys.stderr))
    print(table(scenarios, planners, result))


def table(scenarios: Sequence[Scenario], planners: Sequence[str], result: EvalResult) -> str:
    """`.` passed, `caught` failed, `CAUGHT` failed where the scenario is meant for that planner, `MISSED` the reverse.

    The last rows: how many each passed, how many of those needing judgement, and of those meant for it how many failed.
    """
    found = {(each.name, each.planner): each for each in result.scenarios}
    width = max(len(each.name) for each in scenarios) + 2
    rows = [f"{'':{width}}" + "".join(f"{planner:>18}" for planner in planners)]
    for scenario in scenarios:
        cells = (_cell(scenario, planner, found.get((scenario.name, planner))) for planner in planners)
        name = f"{scenario.name}{' *' if scenario.judgement else ''}"
        rows.append(f"{name:{width}}" + "".join(f"{cell:>18}" for cell in cells))
    for title, count in (("passed", _passed), ("needing judgement *", _judged), ("meant for it, caught", _meant)):
        rows.append(f"{title:{width}}" + "".join(f"{count(scenarios, planner, found):>18}" for planner in planners))
    return "\n".join(rows)


Found = dict[tuple[str, str], ScenarioResult]


def _cell(scenario: Scenario, planner: str, result: ScenarioResult | None) -> str:
    if result is None:
        return ""
    meant = planner in scenario.catches
    if result.passed:
        return "MISSED" if meant else PASSED
    return MEANT if meant else OTHER


def _passed(scenarios: Sequence[Scenario], planner: str, found: Found) -> str:
    return _share([found[each.name, planner].passed for each in scenarios if (each.name, planner) in found])


def _judged(scenarios: Sequence[Scenario], planner: str, found: Found) -> str:
    played = [each for each in scenarios if each.judgement and (each.name, planner) in found]
    return _share([found[each.name, planner].passed for each in played])


def _meant(scenarios: Sequence[Scenario], planner: str, found: Found) -> str:
    played = [each for each in scenarios if planner in each.catches and (each.name, planner) in found]
    return _share([not found[each.name, planner].passed for each in played])


def _share(held: Sequence[bool]) -> str:
    return f"{sum(held)} of {len(held)}" if held else ""

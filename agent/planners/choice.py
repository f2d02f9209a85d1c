"""Which planner works: the one asked for, else `openai` where a key or base URL is set, else `runbook`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from agent.planners.protocol import Planner
from agent.planners.runbook import RunbookPlanner
from policies.errors import InputError
from tools.systems.systems import Systems
from tools.systems.tool import Tool

PLANNERS = ("openai", "runbook")
_HTTP = re.compile(r"https?://[^/\s]", re.IGNORECASE)


def default_planner() -> str:
    """The planner used where none is named."""
    return "openai" if os.environ.get("OPENAI_API_KEY") or os.environ.get("OPENAI_BASE_URL") else "runbook"


def must_exist(name: str) -> None:
    """Raises InputError where no planner is called `name`."""
    if name not in PLANNERS:
        raise InputError(f"{name!r} is not a planner; write {' or '.join(PLANNERS)}", where="--planner")


def must_work(name: str | None = None) -> str:
    """The planner `name`, or the default, if it can work here.

    Raises InputError for an unknown planner, a missing key, and a base URL or API flavour that is none: to be asked
    before anything is begun.
    """
    wanted = name or default_planner()
    must_exist(wanted)
    if wanted == "openai":
        _openai_must_work()
    return wanted


def _openai_must_work() -> None:
    from agent.planners.profiles import PROFILES, profile_for

    base_url = os.environ.get("OPENAI_BASE_URL")
    if not base_url and not os.environ.get("OPENAI_API_KEY"):
        raise InputError("the openai planner needs OPENAI_API_KEY or OPENAI_BASE_URL", where="environment")
    if base_url and not _HTTP.match(base_url):
        raise InputError(f"{base_url!r} is no address; write http://host:port/v1 or https://…", where="OPENAI_BASE_URL")
    profile_for(next(iter(PROFILES)), base_url, os.environ.get("GUARDIAN_OPENAI_API"))


def choose(
    systems: Systems, toolbox: Mapping[str, Tool], name: str | None = None, *, agent: str | None = None
) -> Planner:
    """The planner `name`. `agent` is the declared agent whose model and budget apply, the first unless told.

    Raises InputError for an unknown planner, a missing key, an undeclared agent or a model without a price.
    """
    if must_work(name) == "runbook":
        return RunbookPlanner(systems.operations)
    return _openai(systems, toolbox, agent)


def _openai(systems: Systems, toolbox: Mapping[str, Tool], agent: str | None) -> Planner:
    from agent.budget import Ledger
    from agent.planners.openai import OpenAIPlanner
    from agent.planners.profiles import profile_for
    from agent.planners.schemas import tool_schemas
    from agent.prompting import load_prompt, organisation

    operations = systems.operations
    name = agent or next(iter(operations.agents), None)
    if name is None:
        raise InputError("the openai planner needs an agent with a model and a budget", where="agents")
    if name not in operations.agents:
        raise InputError(f"{name!r} is not declared; declared: {', '.join(operations.agents)}", where="agents")
    declared = operations.agents[name]
    base_url, key = os.environ.get("OPENAI_BASE_URL") or None, os.environ.get("OPENAI_API_KEY")
    profile = profile_for(declared.model, base_url, os.environ.get("GUARDIAN_OPENAI_API"))
    per_run = operations.budgets[declared.run_budget] if declared.run_budget else None
    return OpenAIPlanner(
        profile,
        tool_schemas(toolbox, operations),
        load_prompt("operator", context=organisation(systems.home, encoding=profile.encoding)),
        Ledger(systems.store, systems.clock, name, operations.budgets[declared.budget], per_run),
        api_key=key or "none",
        base_url=base_url,
    )

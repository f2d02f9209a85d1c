"""Which planner works: the one asked for, else `openai` where a key or base URL is set, else `runbook`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.planners.protocol import Planner
from agent.planners.runbook import RunbookPlanner
from policies.errors import InputError
from tools.systems.systems import Systems
from tools.systems.tool import Tool

if TYPE_CHECKING:
    from httpx2 import BaseTransport

PLANNERS = ("openai", "runbook")
_HTTP = re.compile(r"https?://[^/\s]", re.IGNORECASE)


def default_planner() -> str:
    """The planner used where none is named."""
    return "openai" if os.environ.get("OPENAI_API_KEY") or os.environ.get("OPENAI_BASE_URL") else "runbook"


def must_exist(name: str) -> None:
    """Raises InputError where no planner is called `name`."""
    if name == "recorded":
        raise InputError("recordings are of scenarios: guardian eval --planner recorded", where="--planner")
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
    systems: Systems,
    toolbox: Mapping[str, Tool],
    name: str | None = None,
    *,
    agent: str | None = None,
    prompt: str = "operator",
) -> Planner:
    """The planner `name`, told `prompt`, with model and budget of the declared `agent`, the first unless told.

    Raises InputError for an unknown planner, a missing key, an undeclared agent or a model without a price.
    """
    if must_work(name) == "runbook":
        return RunbookPlanner(systems.operations)
    base_url, key = os.environ.get("OPENAI_BASE_URL") or None, os.environ.get("OPENAI_API_KEY")
    endpoint = Endpoint(base_url, key, os.environ.get("GUARDIAN_OPENAI_API"))
    return openai_planner(systems, toolbox, endpoint, agent=agent, prompt=prompt)


@dataclass(frozen=True)
class Endpoint:
    """Where a language model is asked. `transport` carries the client's requests instead of a connection."""

    base_url: str | None = None
    key: str | None = None
    flavour: str | None = None
    transport: BaseTransport | None = None
    pauses: Sequence[float] = (0.5, 2.0)


def openai_planner(
    systems: Systems,
    toolbox: Mapping[str, Tool],
    endpoint: Endpoint,
    *,
    agent: str | None = None,
    prompt: str = "operator",
) -> Planner:
    """The planner that asks the model of the declared `agent` (the first unless told) at an endpoint, told `prompt`.

    Raises InputError for an undeclared agent or a model without a price.
    """
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
    profile = profile_for(declared.model, endpoint.base_url, endpoint.flavour)
    per_run = operations.budgets[declared.run_budget] if declared.run_budget else None
    return OpenAIPlanner(
        profile,
        tool_schemas(toolbox, operations),
        load_prompt(prompt, context=organisation(systems.home, encoding=profile.encoding)),
        Ledger(systems.store, systems.clock, name, operations.budgets[declared.budget], per_run),
        api_key=endpoint.key or "none",
        base_url=endpoint.base_url,
        transport=endpoint.transport,
        pauses=endpoint.pauses,
    )

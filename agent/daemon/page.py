"""The status page: how everything is, read off the store at each request. It shows, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from agent.budget import Ledger
from agent.conversation.lookups import drift, kpis, rollout, why_retrained, why_serving
from agent.deciding import Approvals, listed
from agent.open_alerts import OpenAlerts
from agent.open_alerts import listed as open_alerts
from agent.status import ModelStatus, Runs, runs, status
from agent.untrusted import clean
from policies.errors import InputError
from tools.deploy.rollout import Rollout
from tools.systems.store import Kind
from tools.systems.systems import Systems

if TYPE_CHECKING:
    from jinja2 import Environment

MOST_RUNS = 12
REFRESH_SECONDS = 10


class AgentSpend(BaseModel):
    """What an agent spent of its budget in the last rolling day."""

    model_config = ConfigDict(frozen=True)

    agent: str
    cost_usd: float
    of_usd: float
    tokens: int
    of_tokens: int

    @property
    def share(self) -> float:
        """The larger of both shares, 0 to 1."""
        return min(1.0, max(self.cost_usd / self.of_usd, self.tokens / self.of_tokens))


class DaemonState(BaseModel):
    """How the daemon itself is."""

    model_config = ConfigDict(frozen=True)

    since: datetime
    next_triage: datetime
    triage: str = ""
    slack: str = "not configured"
    gateways: dict[str, str] = {}
    unlogged: dict[str, str] = {}
    """By model, what keeps its gateway's prediction log from being written."""
    troubles: dict[str, str] = {}


class Overview(BaseModel):
    """All that the page shows, also as /status.json."""

    model_config = ConfigDict(frozen=True)

    now: datetime
    daemon: DaemonState
    models: list[ModelStatus]
    rollouts: list[Rollout]
    approvals: Approvals
    alerts: OpenAlerts
    runs: Runs
    spend: list[AgentSpend]


def overview(systems: Systems, daemon: DaemonState) -> Overview:
    """Everything, now."""
    rows = (systems.store.latest(Kind.rollout, model) for model in systems.operations.models)
    return Overview(
        now=systems.clock.now(),
        daemon=daemon,
        models=status(systems).models,
        rollouts=[_rollout(row.body, row.id, row.status) for row in rows if row is not None and row.body.get("stages")],
        approvals=listed(systems),
        alerts=open_alerts(systems),
        runs=runs(systems, MOST_RUNS),
        spend=_spend(systems),
    )


def front_page(seen: Overview) -> str:
    """The page itself."""
    return _environment().get_template("status.html.j2").render(seen=seen, refresh=REFRESH_SECONDS)


def model_page(systems: Systems, model: str) -> str:
    """A model's page: why what serves serves, its rollout, drift, KPIs. Raises InputError for an undeclared one."""
    systems.operations.model(model)
    parts: list[tuple[str, Callable[[Systems, str], str]]] = [
        ("Why this version serves", why_serving),
        ("Rollout", rollout),
        ("Retraining", why_retrained),
        ("Drift", drift),
        ("KPIs", kpis),
    ]
    shown = [(title, look(systems, model)) for title, look in parts]
    return _environment().get_template("model.html.j2").render(model=model, parts=shown, refresh=REFRESH_SECONDS)


def report_page(systems: Systems, run_id: str) -> str:
    """The report of a run. Raises InputError for one that there is not."""
    from agent.report import render_html
    from agent.report.gathering import content_of_run

    if systems.store.get(run_id).kind is not Kind.run:
        raise InputError("is no run", where=run_id)
    return render_html(content_of_run(systems, run_id))


def _rollout(body: dict[str, Any], id: str, stands: str | None) -> Rollout:
    return Rollout.model_validate({**body, "rollout_id": id, "status": stands})


def _spend(systems: Systems) -> list[AgentSpend]:
    operations, found = systems.operations, []
    for name, agent in operations.agents.items():
        budget = operations.budgets[agent.budget]
        spent = Ledger(systems.store, systems.clock, name, budget).spent()
        found.append(
            AgentSpend(
                agent=name,
                cost_usd=spent.cost_usd,
                of_usd=budget.cost,
                tokens=spent.tokens,
                of_tokens=budget.tokens,
            )
        )
    return found


def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("agent.daemon"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["clean"] = clean
    environment.filters["moment"] = lambda at: f"{at:%Y-%m-%d %H:%M}" if at else "–"
    environment.filters["number"] = lambda value: f"{value:.4g}" if isinstance(value, float) else value
    return environment

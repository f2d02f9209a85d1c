"""`guardian doctor`: what is installed, reachable and configured, when the model retires, what falls back to what."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

from pydantic import BaseModel

from agent.open_alerts import listed
from agent.planners.choice import default_planner
from agent.planners.profiles import PROFILES, profile_for
from agent.prices import price
from agent.prompting import CONTEXT_FILE, load_prompt, organisation
from agent.slack.app import credentials
from agent.slack.people import is_user
from agent.tokens import cached_vocabulary
from agent.untrusted import clean
from policies.declarations.deployment import BlueGreen
from policies.errors import GuardianError, SystemDown
from tools.deploy.champion import moved_alias
from tools.systems.registry import CHAMPION
from tools.systems.store import Kind
from tools.systems.systems import Systems

SOON_DAYS = 180
PACKAGES = ("openai", "langgraph", "mlflow", "duckdb", "sqlalchemy", "genai-prices", "tiktoken", "slack-bolt")
CHANNELS = {"SLACK_BOT_TOKEN": "slack", "PAGERDUTY_ROUTING_KEY": "pagerduty", "SMTP_URL": "e-mail"}


class Check(BaseModel):
    """One thing looked at. `note`: something falls back; `warning`: something will not work."""

    subject: str
    state: Literal["ok", "note", "warning"]
    says: str


class Diagnosis(BaseModel):
    """All checks; `healthy` where none warns."""

    healthy: bool
    checks: list[Check]


def examine(systems: Systems) -> Diagnosis:
    """Looks at everything; what is broken is a check, never an error. A credential's value is never shown."""
    checks = [
        *_packages(),
        *_reached(systems),
        *_traffic(systems),
        *_champions(systems),
        *_planner(),
        *_agents(systems),
        *_channels(),
        *_slack(systems),
        *_outbox(systems),
        *_approvals(systems),
    ]
    return Diagnosis(healthy=all(check.state != "warning" for check in checks), checks=checks)


def examine_without_store(down: SystemDown) -> Diagnosis:
    """What can be looked at where the state store cannot be opened."""
    store = Check(subject=down.where or "state store", state="warning", says=clean(down.message, 300))
    return Diagnosis(healthy=False, checks=[*_packages(), store, *_planner(), *_channels()])


def _packages() -> Iterator[Check]:
    for name in PACKAGES:
        try:
            yield Check(subject=name, state="ok", says=version(name))
        except PackageNotFoundError:
            yield Check(subject=name, state="warning", says="is not installed")


def _reached(systems: Systems) -> Iterator[Check]:
    names = [binding.registry_name for binding in systems.operations.models.values()]
    asked: dict[str, Callable[[], object]] = {
        "state store": lambda: systems.store.list(Kind.run, limit=1),
        "warehouse": systems.warehouse.tables,
        "model registry": lambda: [systems.registry.alias(name, CHAMPION) for name in names],
    }
    for subject, ask in asked.items():
        try:
            ask()
        except (GuardianError, OSError) as error:
            yield Check(subject=subject, state="warning", says=clean(error))
        else:
            yield Check(subject=subject, state="ok", says="answers")


def _traffic(systems: Systems) -> Iterator[Check]:
    """Whether what routes each model's requests answers."""
    for model in systems.operations.systems.traffic:
        subject = f"traffic of {model}"
        try:
            yield Check(subject=subject, state="ok", says=clean(systems.traffic.adapter(model).reachable(), 300))
        except (GuardianError, OSError) as error:
            yield Check(subject=subject, state="warning", says=clean(error, 300))
    for name, declared in systems.operations.deployment_strategies.items():
        named = any(each.type == "dns" for each in systems.operations.systems.traffic.values())
        if isinstance(declared, BlueGreen) and declared.switch.method == "dns" and not named:
            says = "switch.method is dns and systems.traffic names no name server: the gateway switches"
            yield Check(subject=f"strategy {name}", state="note", says=says)


def _champions(systems: Systems) -> Iterator[Check]:
    """Models of which the registry says that another version is the champion than the one that serves."""
    for model in systems.operations.models:
        with suppress(GuardianError, OSError):  # a registry that does not answer is told of above
            if told := moved_alias(systems, model):
                yield Check(subject=f"champion of {model}", state="warning", says=clean(told, 300))


def _planner() -> Iterator[Check]:
    chosen = default_planner()
    why = "a key or a base URL is set" if chosen == "openai" else "OPENAI_API_KEY is not set, so no model is asked"
    then = "; runbook takes over where the provider is down" if chosen == "openai" else ""
    yield Check(subject="planner", state="ok" if chosen == "openai" else "note", says=f"{chosen}: {why}{then}")


def _agents(systems: Systems) -> Iterator[Check]:
    for name, agent in systems.operations.agents.items():
        profile = profile_for(agent.model, os.environ.get("OPENAI_BASE_URL") or None)
        yield _retirement(systems, name, agent.model)
        if cached_vocabulary(profile.encoding):
            yield Check(subject=f"{name}: vocabulary", state="ok", says=f"{profile.encoding} is in TIKTOKEN_CACHE_DIR")
        else:
            lacks = f"{profile.encoding} is not in TIKTOKEN_CACHE_DIR" if profile.encoding else "it is not known"
            says = f"{lacks}: bytes bound the tokens, reservations are larger"
            yield Check(subject=f"{name}: vocabulary", state="note", says=says)
        try:
            usd = price(agent.model, 1_000_000, 0, provider=profile.provider)
            yield Check(subject=f"{name}: price", state="ok", says=f"${usd:.2f} a million prompt tokens")
        except GuardianError as error:
            yield Check(subject=f"{name}: price", state="warning", says=clean(error, 300))
        told = load_prompt("operator", organisation(systems.home, profile.encoding))
        with_it = "" if told.context else f"; there is no {CONTEXT_FILE} beside the declarations"
        yield Check(subject=f"{name}: prompt", state="ok", says=f"{told.label}{with_it}")


def _retirement(systems: Systems, name: str, model: str) -> Check:
    known = PROFILES.get(model)
    subject = f"{name}: model"
    if known is None:
        return Check(subject=subject, state="note", says=f"{model}: when it is retired is not known here; look it up")
    if known.retires is None:
        return Check(subject=subject, state="ok", says=f"{model}, no retirement is announced")
    left = (known.retires - systems.clock.now().date()).days
    if left < 0:
        return Check(subject=subject, state="warning", says=f"{model} was retired on {known.retires}; name another")
    state: Literal["ok", "note"] = "note" if left < SOON_DAYS else "ok"
    return Check(subject=subject, state=state, says=f"{model} is retired on {known.retires}, in {left} days")


def _channels() -> Iterator[Check]:
    for variable, channel in CHANNELS.items():
        if os.environ.get(variable):
            yield Check(subject=channel, state="ok", says=f"{variable} is set")
        else:
            says = f"{variable} is not set: messages are recorded and not sent"
            yield Check(subject=channel, state="note", says=says)


def _slack(systems: Systems) -> Iterator[Check]:
    """Whether people can talk and decide in Slack."""
    if not os.environ.get("SLACK_BOT_TOKEN"):
        return
    if credentials() is None:
        says = "neither SLACK_APP_TOKEN nor SLACK_SIGNING_SECRET is set: alerts are sent, nothing is answered"
        yield Check(subject="slack conversation", state="note", says=says)
        return
    over = "Socket Mode" if os.environ.get("SLACK_APP_TOKEN") else "HTTP, at /slack/events of guardian serve"
    yield Check(subject="slack conversation", state="ok", says=f"over {over}")
    block = systems.operations.systems
    for action in block.approvals:
        rule = block.approval_of(action)
        lacking = [name for name in rule.approvers if not is_user(block.people.get(name))]
        if rule.mode == "approve" and rule.approvers and len(lacking) == len(rule.approvers):
            says = f"no approver of {action} ({', '.join(lacking)}) has a Slack member id (U012AB3CD): none can click"
            yield Check(subject="slack approvals", state="note", says=says)


def _outbox(systems: Systems) -> Iterator[Check]:
    """Why open alerts have not reached people."""
    stuck: dict[tuple[str, str], int] = {}
    for each in listed(systems).alerts:
        for place in each.deliveries:
            if place.error:
                stuck[place.channel, place.error] = stuck.get((place.channel, place.error), 0) + 1
    for (channel, error), count in stuck.items():
        yield Check(subject=f"outbox: {channel}", state="warning", says=f"{count} alerts wait: {clean(error)}")


def _approvals(systems: Systems) -> Iterator[Check]:
    for action in systems.operations.systems.approvals:
        rule = systems.operations.systems.approval_of(action)
        if rule.mode == "approve" and not rule.approvers:
            yield Check(subject=f"approval of {action}", state="warning", says="nobody is listed, so nobody may decide")
        else:
            says = rule.mode + (f", by {', '.join(rule.approvers)}" if rule.mode == "approve" else "")
            yield Check(subject=f"approval of {action}", state="ok", says=says)

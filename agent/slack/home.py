"""App Home: how the models are, what waits, what is open."""

from __future__ import annotations

from typing import Any

from agent.conversation.lookups import alerts, approvals, rollout
from agent.status import ModelStatus, status
from tools.systems.channels.mrkdwn import escaped, section
from tools.systems.systems import Systems

MOST_MODELS = 60
"""A view takes 100 blocks."""

_SIGNS = {"healthy": ":large_green_circle:", "degraded": ":red_circle:", "unmonitored": ":white_circle:"}


def home_view(systems: Systems) -> dict[str, Any]:
    """The view that is published to whoever opens the app."""
    models = status(systems).models
    order = sorted(models, key=lambda each: each.deploy_health != "degraded")
    blocks: list[dict[str, Any]] = [{"type": "header", "text": {"type": "plain_text", "text": "Models"}}]
    blocks += [section(_line(systems, each)) for each in order[:MOST_MODELS]]
    if len(order) > MOST_MODELS:
        blocks.append(section(f"and {len(order) - MOST_MODELS} more: guardian status"))
    for title, text in (("Waiting for people", approvals(systems)), ("Open incidents", alerts(systems))):
        blocks.append({"type": "header", "text": {"type": "plain_text", "text": title}})
        blocks.append(section(escaped(text)))
    foot = f"As of {systems.clock.now():%Y-%m-%d %H:%M} UTC; open this tab again to see it anew."
    blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": foot}]})
    return {"type": "home", "blocks": blocks}


def _line(systems: Systems, model: ModelStatus) -> str:
    serving = f"version {model.serving_version or 'none'} serves ({model.serves_by})"
    lines = [f"{_SIGNS[model.deploy_health]} *{escaped(model.model)}*: {serving}, {model.deploy_health}"]
    if model.last_report:
        lines.append(escaped(f"drift {model.last_report['report_id']}: {model.last_report['severity']}"))
    if model.rollout and model.rollout["status"] in ("pending", "running", "paused"):
        lines.append(escaped(rollout(systems, model.model).splitlines()[0]))
    return "\n".join([*lines, *(f":warning: {escaped(each)}" for each in model.warnings)])

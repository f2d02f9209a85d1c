"""The channels that the environment has credentials for."""

from __future__ import annotations

import os
from collections.abc import Mapping

from tools.systems.channels.channel import Channel
from tools.systems.channels.email import EmailChannel
from tools.systems.channels.pagerduty import API_URL as PAGERDUTY
from tools.systems.channels.pagerduty import KEY, PagerDutyChannel
from tools.systems.channels.slack import API_URL as SLACK
from tools.systems.channels.slack import SlackChannel


def configured(environment: Mapping[str, str] | None = None) -> dict[str, Channel]:
    """By the name that `systems.people` gives each: slack, pagerduty, email. Raises InputError for a bad URL."""
    values = os.environ if environment is None else environment
    channels: dict[str, Channel] = {}
    if token := values.get("SLACK_BOT_TOKEN"):
        channels["slack"] = SlackChannel(token, values.get("SLACK_API_URL") or SLACK)
    if keys := {name: value for name, value in values.items() if name.startswith(KEY) and value}:
        channels["pagerduty"] = PagerDutyChannel(keys, values.get("PAGERDUTY_API_URL") or PAGERDUTY)
    if url := values.get("SMTP_URL"):
        channels["email"] = EmailChannel(url)
    return channels

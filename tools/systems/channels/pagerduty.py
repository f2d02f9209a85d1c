"""PagerDuty's Events API v2, one POST an event: https://developer.pagerduty.com/docs/events-api-v2-overview

The deduplication key is the letter's token: the same event sent twice is one incident there, and resolving what is
resolved changes nothing. The routing key of a service `ml-platform` is PAGERDUTY_ROUTING_KEY_ML_PLATFORM, else
PAGERDUTY_ROUTING_KEY.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from policies.alerting import AlertStatus
from policies.errors import InputError
from tools.systems.channels.channel import TIMEOUT_SECONDS, Letter, Undelivered, is_information

API_URL = "https://events.pagerduty.com"
KEY = "PAGERDUTY_ROUTING_KEY"
MOST_IN_A_SUMMARY = 1024

_ACTIONS = {
    AlertStatus.open: "trigger",
    AlertStatus.notice: "trigger",
    AlertStatus.acknowledged: "acknowledge",
    AlertStatus.resolved: "resolve",
}


class PagerDutyChannel:
    """Triggers, acknowledges and resolves incidents of the services whose routing keys are in `keys`."""

    def __init__(self, keys: Mapping[str, str], url: str = API_URL) -> None:
        if urlsplit(url).scheme not in ("http", "https"):
            raise InputError("is no http:// or https:// URL", where="PAGERDUTY_API_URL")
        self._keys = dict(keys)
        self._url = url.rstrip("/").removesuffix("/v2/enqueue") + "/v2/enqueue"

    def send(self, letter: Letter) -> dict[str, Any] | None:
        """Brings the incident there to the alert's state.

        Nobody is paged by good news, by what was over before it was told (an approval that was decided, say), nor again
        by a repetition or by what comes back within its quiet period: a trigger of what is resolved would page.
        """
        alert = letter.alert
        action = "resolve" if alert.resolved_at is not None else _ACTIONS[alert.status]
        stands = (letter.place or {}).get("action")
        over_before_told = action == "resolve" and stands is None and not letter.doubtful
        known_there = action == "trigger" and stands is not None and letter.calls_sent >= alert.calls
        if is_information(alert) or over_before_told or known_there:
            return letter.place
        event: dict[str, Any] = {
            "routing_key": self._key(letter.address),
            "event_action": action,
            "dedup_key": letter.token,
        }
        if action == "trigger":
            event["payload"] = {
                "summary": alert.title[:MOST_IN_A_SUMMARY],
                "source": alert.model or "guardian",
                "severity": alert.severity.value,
                "timestamp": f"{alert.opened_at:%Y-%m-%dT%H:%M:%SZ}",
                "component": alert.model or "guardian",
                "custom_details": {"alert": alert.id, "what": alert.text, "seen": alert.seen},
            }
        self._post(event)
        return {"dedup_key": letter.token, "action": action}

    def _key(self, service: str) -> str:
        own = f"{KEY}_{re.sub(r'[^A-Z0-9]', '_', service.upper())}"
        key = self._keys.get(own) or self._keys.get(KEY)
        if not key:
            raise Undelivered(f"has no routing key for the service {service}: set {own}", "pagerduty")
        return key

    def _post(self, event: Mapping[str, Any]) -> None:
        body = json.dumps(event).encode()
        # The URL's scheme was checked.
        request = Request(self._url, body, {"Content-Type": "application/json"})  # noqa: S310
        try:
            with urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
                answer.read()
        except HTTPError as error:
            with error:
                wait = error.headers.get("Retry-After", "")
            asked = float(wait) if wait.isdigit() else 30.0 if error.code == 429 else None
            raise Undelivered(f"refused with HTTP {error.code}", "pagerduty", wait=asked) from None
        except (OSError, HTTPException) as error:
            cause = getattr(error, "reason", None) or error
            raise Undelivered(f"did not answer: {type(cause).__name__}", "pagerduty", doubtful=True) from None

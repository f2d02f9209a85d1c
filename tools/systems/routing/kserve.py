"""KServe as `Traffic`: patches `canaryTrafficPercent` and `storageUri` of an InferenceService.

KServe itself remembers the revision that last had all the traffic, and gives it what the newest one does not get. Which
version that is, is noted in an annotation. A patch names the resource version it rests on, so that nobody else's change
is overwritten; it is acknowledged once the status shows the share.
https://kserve.github.io/website/docs/model-serving/predictive-inference/rollout-strategies/canary
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from policies.declarations.routing import KServeRouting
from policies.errors import InputError, SystemDown
from tools.systems.routing.protocol import Asked

TOKEN = "GUARDIAN_KUBERNETES_TOKEN"  # noqa: S105  (a name)
CHAMPION = "mlops-guardian/champion"
_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_SECONDS = 5.0
_TRIES = 5


class _Conflict(SystemDown):
    """Somebody else changed the object meanwhile; KServe's controller does so often."""


class KServeTraffic:
    """One InferenceService."""

    mirrors = False

    def __init__(self, declared: KServeRouting) -> None:
        self._declared = declared
        path = f"/apis/serving.kserve.io/v1beta1/namespaces/{declared.namespace}/inferenceservices/{declared.service}"
        self._url = declared.api + path

    def apply(self, asked: Asked, record: Callable[[], int], seconds: float) -> str:
        for attempt in range(_TRIES):
            try:
                self._await(*self._patch(asked))
                break
            except _Conflict:
                if attempt + 1 == _TRIES:
                    raise
        record()
        return "acknowledged"

    def in_force(self, asked: Asked) -> bool:
        now = self._ask("GET")
        uri, percent = self._wanted(asked, now)
        return self._is(now, uri, percent, asked.champion) and _shown(now, percent)

    def health(self, version: str) -> tuple[int, int]:
        return 0, 0  # KServe gives no traffic to a revision that is not ready

    def reachable(self) -> str:
        predictor = self._ask("GET").get("spec", {}).get("predictor", {})
        percent = predictor.get("canaryTrafficPercent")
        return f"InferenceService {self._declared.service} answers, canaryTrafficPercent is {percent}"

    def _patch(self, asked: Asked) -> tuple[dict[str, Any], int | None]:
        """The object that asks for the split, patched where it did not, and its canaryTrafficPercent."""
        now = self._ask("GET")
        uri, percent = self._wanted(asked, now)
        if self._is(now, uri, percent, asked.champion):
            return now, percent
        rests_on = now["metadata"]["resourceVersion"]
        patch = {
            "metadata": {"annotations": {CHAMPION: asked.champion}, "resourceVersion": rests_on},
            "spec": {"predictor": {"canaryTrafficPercent": percent, "model": {"storageUri": uri}}},
        }
        return self._ask("PATCH", patch), percent

    def _uri(self, version: str) -> str:
        return self._declared.storage_uri.replace("{version}", version)

    def _wanted(self, asked: Asked, now: dict[str, Any]) -> tuple[str, int | None]:
        """The storageUri and canaryTrafficPercent to ask for; None is all to the newest."""
        share = asked.challenger_pct if asked.challenger else 0.0
        if asked.mirrored or share != int(share):
            what = "copies of requests" if asked.mirrored else f"a share of {share:g}%"
            raise InputError(f"KServe cannot give {what}, only whole percents", where=self._declared.service)
        served, uri = self._served(now), now["spec"]["predictor"].get("model", {}).get("storageUri", "")
        if asked.challenger is not None:
            if served != asked.champion:
                raise InputError(f"serves {served}, not champion {asked.champion}", where=self._declared.service)
            return self._uri(asked.challenger), int(share)
        if served == asked.champion and uri != self._uri(asked.champion) and not _rolled_out(now):
            return uri, 0  # back to the revision that is still at hand, at once
        return self._uri(asked.champion), None

    def _served(self, now: dict[str, Any]) -> str:
        """The version that has what the newest does not get: as noted, else what the storageUri says."""
        noted = now["metadata"].get("annotations", {}).get(CHAMPION)
        if noted is not None:
            return str(noted)
        uri = str(now["spec"]["predictor"].get("model", {}).get("storageUri", ""))
        before, _, after = self._declared.storage_uri.partition("{version}")
        fits = uri.startswith(before) and uri.endswith(after)
        return uri[len(before) : len(uri) - len(after)] if fits else f"{uri or 'no model'}"

    def _is(self, now: dict[str, Any], uri: str, percent: int | None, champion: str) -> bool:
        predictor = now["spec"]["predictor"]
        asked = (predictor.get("model", {}).get("storageUri"), predictor.get("canaryTrafficPercent"))
        return asked == (uri, percent) and self._served(now) == champion

    def _await(self, now: dict[str, Any], percent: int | None) -> None:
        until = time.monotonic() + self._declared.wait_seconds
        while not _shown(now, percent):
            if time.monotonic() > until:
                said = f"canaryTrafficPercent {percent} is not in the status after {self._declared.wait_seconds:g} s"
                raise SystemDown(said, where=f"InferenceService {self._declared.service}")
            time.sleep(0.1)
            now = self._ask("GET")

    def _ask(self, method: str, patch: dict[str, Any] | None = None) -> dict[str, Any]:
        """Raises SystemDown, and InputError where the API server refuses."""
        headers = {"Accept": "application/json", "Content-Type": "application/merge-patch+json"}
        if token := _token():
            headers["Authorization"] = f"Bearer {token}"
        body = json.dumps(patch).encode() if patch else None
        request = urllib.request.Request(self._url, body, headers, method=method)  # noqa: S310  (checked where declared)
        where = f"Kubernetes API {self._declared.api}"
        try:
            with _opener().open(request, timeout=_SECONDS) as answer:
                return dict(json.load(answer))
        except urllib.error.HTTPError as error:
            said = f"HTTP {error.code}: {_reason(error)}"
            if error.code == 409:
                raise _Conflict(said, where=where) from error
            if error.code >= 500 or error.code == 429:
                raise SystemDown(said, where=where) from error
            raise InputError(said, where=where) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise SystemDown(f"does not answer: {error}", where=where) from error


def _rolled_out(now: dict[str, Any]) -> bool:
    """Whether the newest revision is the one that has all the traffic, so that nothing older is at hand."""
    status = now.get("status", {}).get("components", {}).get("predictor", {})
    return bool(status.get("latestRolledoutRevision") == status.get("latestCreatedRevision"))


def _shown(now: dict[str, Any], percent: int | None) -> bool:
    """Whether the status shows the share, of this very spec, for a revision that is ready."""
    status = now.get("status", {})
    if status.get("observedGeneration", 0) < now["metadata"].get("generation", 0):
        return False
    predictor = status.get("components", {}).get("predictor", {})
    traffic = predictor.get("traffic", [])
    newest = sum(each.get("percent", 0) for each in traffic if each.get("latestRevision"))
    if percent == 0:
        return bool(traffic) and newest == 0
    ready = predictor.get("latestReadyRevision") == predictor.get("latestCreatedRevision")
    return bool(ready and newest == (100 if percent is None else percent))


def _token() -> str | None:
    if token := os.environ.get(TOKEN):
        return token
    file = _ACCOUNT / "token"
    return file.read_text().strip() if file.exists() else None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the token to another host."""

    def redirect_request(self, *_: object) -> None:
        return None


def _opener() -> urllib.request.OpenerDirector:
    file = _ACCOUNT / "ca.crt"
    context = ssl.create_default_context(cafile=str(file) if file.exists() else None)
    handlers = (urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context), _NoRedirect())
    return urllib.request.build_opener(*handlers)


def _reason(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(error.read(65536)).get("message", error.reason))
    except (ValueError, AttributeError):
        return str(error.reason)

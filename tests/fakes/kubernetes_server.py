"""A Kubernetes API server with one InferenceService: it validates by KServe's schema, and shares out as KServe does.

The rules of traffic are those of KServe's page on canary rollouts: the newest revision gets `canaryTrafficPercent`, the
one that last had everything gets the rest; without a percentage, or with 100, the newest is rolled out.
"""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PATH = "/apis/serving.kserve.io/v1beta1/namespaces/ml/inferenceservices/churn"


def problems(value: Any, schema: dict[str, Any], place: str = "") -> Iterator[str]:
    """What a structural schema says against a value; an unknown field is one, as with fieldValidation=Strict."""
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}
    kind = kinds[schema["type"]]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        yield f"{place}: must be of type {schema['type']}"
        return
    if isinstance(value, list):
        for number, each in enumerate(value):
            yield from problems(each, schema["items"], f"{place}[{number}]")
    if isinstance(value, dict):
        yield from (f"{place}.{name}: required" for name in schema.get("required", ()) if name not in value)
        for name, each in value.items():
            known = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
            if known is not None:
                yield from problems(each, known, f"{place}.{name}")
            elif not schema.get("x-kubernetes-preserve-unknown-fields"):
                yield f"{place}.{name}: unknown field"


def merged(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


class Cluster:
    """The one object, and what its controller makes of it. `stuck`: it sees no change any more."""

    def __init__(self, schema: dict[str, Any], uri: str, token: str) -> None:
        self.schema = schema
        self.token = token
        self.stuck = False
        self.patches: list[dict[str, Any]] = []
        self._revisions: list[str] = []
        self._rolled_out = 0
        self.lock = threading.Lock()
        model = {"modelFormat": {"name": "sklearn"}, "storageUri": uri}
        self.object: dict[str, Any] = {
            "apiVersion": "serving.kserve.io/v1beta1",
            "kind": "InferenceService",
            "metadata": {"name": "churn", "generation": 1, "resourceVersion": "1"},
            "spec": {"predictor": {"model": model}},
        }
        self.reconcile()

    def reconcile(self) -> None:
        """What KServe's controller does."""
        predictor = self.object["spec"]["predictor"]
        uri, percent = predictor["model"]["storageUri"], predictor.get("canaryTrafficPercent")
        if not self._revisions or self._revisions[-1] != uri:
            self._revisions.append(uri)
        newest = len(self._revisions)
        if percent in (None, 100) or self._rolled_out == newest:
            self._rolled_out, percent = newest, 100
        traffic = [{"revisionName": f"churn-{newest:05d}", "latestRevision": True, "percent": percent}]
        if percent < 100:
            traffic.append(
                {"revisionName": f"churn-{self._rolled_out:05d}", "latestRevision": False, "percent": 100 - percent}
            )
        named = f"churn-{newest:05d}"
        status = {
            "latestCreatedRevision": named,
            "latestReadyRevision": named,
            "latestRolledoutRevision": f"churn-{self._rolled_out:05d}",
            "traffic": traffic,
        }
        generation = self.object["metadata"]["generation"]
        self.object["status"] = {"observedGeneration": generation, "components": {"predictor": status}}

    def shares(self) -> dict[str, int]:
        """storageUri → percent of the requests."""
        traffic = self.object["status"]["components"]["predictor"]["traffic"]
        given = {self._revisions[int(each["revisionName"][-5:]) - 1]: each["percent"] for each in traffic}
        return {uri: percent for uri, percent in given.items() if percent}

    def patch(self, patch: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """A merge patch, as the API server takes it."""
        asked = merged(copy.deepcopy(self.object), patch)
        if asked["metadata"]["resourceVersion"] != self.object["metadata"]["resourceVersion"]:
            return 409, {"message": "the object has been modified"}
        if found := list(problems(asked, self.schema)):
            return 422, {"message": f"InferenceService is invalid: {'; '.join(found)}"}
        self.patches.append(patch)
        if asked["spec"] != self.object["spec"]:
            asked["metadata"]["generation"] += 1
        asked["metadata"]["resourceVersion"] = str(int(asked["metadata"]["resourceVersion"]) + 1)
        self.object = asked
        answer = copy.deepcopy(asked)
        if not self.stuck:
            self.reconcile()
        return 200, answer


@contextmanager
def running(cluster: Cluster) -> Iterator[str]:
    """The base URL of the API server."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(None)

        def do_PATCH(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _answer(self, patch: dict[str, Any] | None) -> None:
            with cluster.lock:
                status, body = 200, cluster.object
                if self.headers.get("Authorization") != f"Bearer {cluster.token}":
                    status, body = 401, {"message": "Unauthorized"}
                elif self.path != PATH:
                    status, body = 404, {"message": f"{self.path} not found"}
                elif patch is not None and self.headers["Content-Type"] != "application/merge-patch+json":
                    status, body = 415, {"message": "the body of the request was in an unknown format"}
                elif patch is not None:
                    status, body = cluster.patch(patch)
                raw = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

"""From a request's body to instances to score, and everything that may be wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from tools.serving.features import FeatureSchema, InvalidInstance, Values

MAX_BODY_BYTES = 4 * 1024 * 1024
MAX_ROWS = 1_000
MAX_ID_CHARACTERS = 256


class Refused(Exception):
    """A request that is not served: HTTP status, what was wrong, where, and when to come back (seconds)."""

    def __init__(self, status: int, kind: str, message: str, where: str = "", retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message
        self.where = where
        self.retry_after = retry_after


@dataclass(slots=True)
class PredictRequest:
    """A valid request. `instances` are the raw objects, `values` what the schema read from them."""

    id: str | None
    instances: list[Any]
    values: list[Values]


def parse(body: bytes, schema: FeatureSchema) -> PredictRequest:
    """Reads `{"id"?, "features": {…}}` or `{"id"?, "instances": [{…}, …]}`. Raises Refused (400, 413, 422)."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refused(400, "json", f"the body is not JSON: {error}") from None
    if type(document) is not dict:
        raise Refused(422, "input", 'the body must be an object with "features" or "instances"')
    id = document.get("id")
    if id is not None and type(id) is not str:
        id = _id(id)
    if id is not None and len(id) > MAX_ID_CHARACTERS:
        raise Refused(422, "input", f"is longer than {MAX_ID_CHARACTERS} characters", "id")
    features = document.get("features")
    if features is not None and "instances" not in document:
        try:
            return PredictRequest(id, [features], [schema.read(features)])
        except InvalidInstance as error:
            raise _invalid(error, "features") from None
    return PredictRequest(id, *_instances(document, schema))


def _instances(document: dict[str, Any], schema: FeatureSchema) -> tuple[list[Any], list[Values]]:
    instances = document.get("instances")
    if "features" in document and "instances" in document:
        raise Refused(422, "input", 'give "features" or "instances", not both', "instances")
    if instances is None:
        raise Refused(422, "input", 'is missing: give "features" (one) or "instances" (several)', "features")
    if type(instances) is not list or not instances:
        raise Refused(422, "input", "must be a list with at least one object of features", "instances")
    if len(instances) > MAX_ROWS:
        raise Refused(413, "too_large", f"{len(instances)} instances; at most {MAX_ROWS} in a request", "instances")
    values = []
    for number, features in enumerate(instances):
        try:
            values.append(schema.read(features))
        except InvalidInstance as error:
            raise _invalid(error, f"instances[{number}]") from None
    return instances, values


def _id(id: object) -> str:
    if type(id) is int:
        return str(id)  # a customer number sent as a number is the same customer
    raise Refused(422, "input", "must be a string", "id")


def _invalid(error: InvalidInstance, place: str) -> Refused:
    where = f"{place}.{error.field}" if error.field else place
    return Refused(422, "input", f"{where} {error.problem}", where)


def refused_instance(error: InvalidInstance, request: PredictRequest, number: int) -> Refused:
    """The refusal of instance `number` by the model itself (a category it does not take)."""
    return _invalid(error, "features" if len(request.instances) == 1 else f"instances[{number}]")

"""From a request's body to instances to score, and everything that may be wrong with it.

What cannot be served as it is written gets 422 and the field's name; only what is too large gets 413. `contract` says
which values are served although nobody expected them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from tools.serving.features import FeatureSchema, InvalidInstance, Values

MAX_BODY_BYTES = 4 * 1024 * 1024
MAX_ROWS = 1_000
MAX_ID_CHARACTERS = 256
_KEYS = frozenset({"id", "features", "instances"})


class Refused(Exception):
    """A request that is not served: HTTP status, what was wrong, where, when to come back (seconds), and whether the
    connection closes after it."""

    def __init__(
        self,
        status: int,
        kind: str,
        message: str,
        where: str = "",
        retry_after: int | None = None,
        *,
        closes: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message
        self.where = where
        self.retry_after = retry_after
        self.closes = closes


@dataclass(slots=True)
class PredictRequest:
    """A valid request. `instances` are the raw objects, `values` what `schema` read from them, `outside` the names of
    the features, for each, that are outside their contract."""

    schema: FeatureSchema
    id: str | None
    instances: list[Any]
    values: list[Values]
    outside: list[tuple[str, ...]]


def parse(body: bytes, schema: FeatureSchema) -> PredictRequest:
    """Reads `{"id"?, "features": {…}}` or `{"id"?, "instances": [{…}, …]}`. Raises Refused (413, 422)."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise _not_json(body, error) from None
    if type(document) is not dict:
        raise Refused(422, "input", 'the body must be an object with "features" or "instances"', "body")
    if not _KEYS.issuperset(document):
        unknown = next(key for key in document if key not in _KEYS)[:80]
        raise Refused(422, "input", f"{unknown} is unknown: a request has id, and features or instances", unknown)
    id = document.get("id")
    if id is not None and type(id) is not str:
        id = _id(id)
    if id is not None and len(id) > MAX_ID_CHARACTERS:
        raise Refused(422, "input", f"is longer than {MAX_ID_CHARACTERS} characters", "id")
    features = document.get("features")
    if features is not None and "instances" not in document:
        try:
            values = schema.read(features)
            return PredictRequest(schema, id, [features], [values], [schema.outside(values)])
        except InvalidInstance as error:
            raise _invalid(error, "features") from None
    return PredictRequest(schema, id, *_instances(document, schema))


def _instances(
    document: dict[str, Any], schema: FeatureSchema
) -> tuple[list[Any], list[Values], list[tuple[str, ...]]]:
    instances = document.get("instances")
    if "features" in document and "instances" in document:
        raise Refused(422, "input", 'give "features" or "instances", not both', "instances")
    if instances is None:
        raise Refused(422, "input", 'is missing: give "features" (one) or "instances" (several)', "features")
    if type(instances) is not list or not instances:
        raise Refused(422, "input", "must be a list with at least one object of features", "instances")
    if len(instances) > MAX_ROWS:
        raise Refused(413, "too_large", f"{len(instances)} instances; at most {MAX_ROWS} in a request", "instances")
    values, outside = [], []
    for number, features in enumerate(instances):
        try:
            values.append(schema.read(features))
            outside.append(schema.outside(values[-1]))
        except InvalidInstance as error:
            raise _invalid(error, f"instances[{number}]") from None
    return instances, values, outside


class _Constant(str):
    """NaN, Infinity or -Infinity, which JSON does not have."""


def _not_json(body: bytes, error: orjson.JSONDecodeError) -> Refused:
    """Where NaN or Infinity is all that is wrong, the field that holds it; orjson itself says only at which column."""
    if not body.strip():
        return Refused(422, "json", 'the body is empty: send an object with "features" or "instances"', "body")
    if b"NaN" in body or b"Infinity" in body:
        try:
            place, constant = next(_constants(json.loads(body, parse_constant=_Constant)))
        except (ValueError, RecursionError, StopIteration):
            pass
        else:
            return Refused(422, "input", f"{place} must be a number, not {constant}", place)
    return Refused(422, "json", f"the body is not JSON: {error}", "body")


def _constants(document: Any) -> Iterator[tuple[str, _Constant]]:
    if not isinstance(document, dict):
        return
    instances = document.get("instances")
    rows = [("features", document.get("features"))]
    rows += [(f"instances[{i}]", row) for i, row in enumerate(instances if isinstance(instances, list) else [])]
    for place, row in rows:
        for name, value in row.items() if isinstance(row, dict) else ():
            if isinstance(value, _Constant):
                yield f"{place}.{name[:80]}", value


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

"""Traces in MLflow: what a run did, as spans. MLflow is imported at first use."""

from __future__ import annotations

import json
import logging
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from policies.errors import SystemDown
from tools.systems.credentials import cleaned

EXPERIMENT = "guardian"
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
"""While a trace is written, unless the environment says otherwise: MLflow's own patience is four minutes."""

PREVIEW = 250
"""Characters of a run's inputs and outputs in MLflow's list of traces (its columns hold no more)."""


@dataclass(frozen=True)
class Span:
    """A part of a run: naive UTC times, plain inputs and outputs. Costs in US dollars."""

    name: str
    kind: Literal["AGENT", "LLM", "TOOL"]
    start: datetime
    end: datetime
    inputs: Mapping[str, Any] = field(default_factory=dict)
    outputs: Any = None
    failed: bool = False
    model: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0


class Traces:
    """Writes traces to an MLflow tracking URI, into the experiment `guardian`. Nothing is looked up on a network."""

    def __init__(self, tracking_uri: str) -> None:
        self._uri = tracking_uri
        self._experiment: str | None = None

    def write(self, root: Span, children: Sequence[Span], tags: Mapping[str, str]) -> str:
        """Writes one trace, returns its id. Raises SystemDown, within seconds where MLflow's server is down."""
        try:
            with _impatient():
                return self._write(root, children, tags)
        except Exception as error:  # MLflow raises many kinds
            told = (str(error).splitlines() or [type(error).__name__])[0]
            raise SystemDown(cleaned(told, self._uri), where="traces") from error

    def _write(self, root: Span, children: Sequence[Span], tags: Mapping[str, str]) -> str:
        """All spans in one request and the trace in another: MLflow's own exporter makes a request of every span."""
        os.environ["MLFLOW_MODEL_CATALOG_URI"] = ""  # else MLflow looks prices up on the network
        import mlflow
        from mlflow.tracing.client import TracingClient

        for noisy in ("mlflow", "alembic"):
            logging.getLogger(noisy).setLevel(logging.ERROR)
        if self._uri.startswith("sqlite:///"):
            Path(self._uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        if self._experiment is None:
            client = mlflow.MlflowClient(self._uri)
            found = client.get_experiment_by_name(EXPERIMENT)
            self._experiment = found.experiment_id if found else client.create_experiment(EXPERIMENT)
        trace, top = secrets.token_hex(16), secrets.token_hex(8)
        spans = [
            _entity(root, trace, top, None),
            *(_entity(each, trace, secrets.token_hex(8), top) for each in children),
        ]
        tracing = TracingClient(self._uri)
        tracing.log_spans(self._experiment, spans)
        tracing.start_trace(_info(root, trace, self._experiment, tags))
        return f"tr-{trace}"


@contextmanager
def _impatient() -> Iterator[None]:
    unset = [name for name in PATIENCE if name not in os.environ]
    os.environ.update({name: PATIENCE[name] for name in unset})
    try:
        yield
    finally:
        for name in unset:
            os.environ.pop(name, None)


def _entity(span: Span, trace: str, id: str, parent: str | None) -> Any:
    """MLflow's span, its attributes JSON."""
    from mlflow.entities import Span as Entity

    attributes = {
        "mlflow.traceRequestId": f"tr-{trace}",
        "mlflow.spanType": span.kind,
        "mlflow.spanInputs": dict(span.inputs),
        **({} if span.outputs is None else {"mlflow.spanOutputs": span.outputs}),
        **_usage(span),
    }
    return Entity.from_dict(
        {
            "name": span.name,
            "trace_id": f"tr-{trace}",
            "span_id": id,
            "parent_span_id": parent,
            "start_time_unix_nano": _ns(span.start),
            "end_time_unix_nano": max(_ns(span.end), _ns(span.start)),
            "status": {"code": "ERROR" if span.failed else "OK", "message": ""},
            "attributes": {name: _json(value) for name, value in attributes.items()},
            "events": [],
        }
    )


def _info(root: Span, trace: str, experiment: str, tags: Mapping[str, str]) -> Any:
    """What MLflow shows of a trace in its list; tokens and costs it sums over the spans itself."""
    from mlflow.entities import TraceInfo, TraceLocation, TraceState

    asked, said = _json(dict(root.inputs)), _json(root.outputs)
    return TraceInfo(
        trace_id=f"tr-{trace}",
        trace_location=TraceLocation.from_experiment_id(experiment),
        request_time=_ns(root.start) // 1_000_000,
        state=TraceState.ERROR if root.failed else TraceState.OK,
        request_preview=asked[:PREVIEW],
        response_preview=said[:PREVIEW],
        execution_duration=max(_ns(root.end) - _ns(root.start), 0) // 1_000_000,
        trace_metadata={
            "mlflow.trace_schema.version": "3",
            "mlflow.traceInputs": asked[:PREVIEW],
            "mlflow.traceOutputs": said[:PREVIEW],
        },
        tags={"mlflow.traceName": root.name, **tags},
    )


def _json(value: Any) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)


def _usage(span: Span) -> dict[str, Any]:
    if span.kind != "LLM":
        return {}
    tokens = {"input_tokens": span.input_tokens, "output_tokens": span.output_tokens}
    return {
        "mlflow.llm.model": span.model,
        "mlflow.chat.tokenUsage": {**tokens, "total_tokens": sum(tokens.values())},
        "mlflow.llm.cost": {"total_cost": span.cost_usd},
    }


def _ns(moment: datetime) -> int:
    return int(moment.replace(tzinfo=UTC).timestamp() * 1e6) * 1000

"""Traces in MLflow: what a run did, as spans. MLflow is imported at first use."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

EXPERIMENT = "guardian"
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
"""While a trace is written, unless the environment says otherwise: MLflow's own patience is four minutes."""


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
        """Writes one trace, returns its id. Raises what MLflow raises, within seconds where its server is down."""
        with _impatient():
            return self._write(root, children, tags)

    def _write(self, root: Span, children: Sequence[Span], tags: Mapping[str, str]) -> str:
        os.environ["MLFLOW_MODEL_CATALOG_URI"] = ""  # else MLflow looks prices up on the network
        os.environ["MLFLOW_ENABLE_ASYNC_TRACE_LOGGING"] = "false"
        import mlflow

        for noisy in ("mlflow", "alembic"):
            logging.getLogger(noisy).setLevel(logging.ERROR)
        outer = os.environ.get("MLFLOW_TRACKING_URI")
        if self._uri.startswith("sqlite:///"):
            Path(self._uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        mlflow.set_tracking_uri(self._uri)
        if outer is None:
            os.environ.pop("MLFLOW_TRACKING_URI", None)
        if self._experiment is None:
            found = mlflow.get_experiment_by_name(EXPERIMENT)
            self._experiment = found.experiment_id if found else mlflow.create_experiment(EXPERIMENT)
        whole = mlflow.start_span_no_context(
            root.name,
            span_type=root.kind,
            inputs=dict(root.inputs),
            tags=dict(tags),
            experiment_id=self._experiment,
            start_time_ns=_ns(root.start),
        )
        for child in children:
            span = mlflow.start_span_no_context(
                child.name,
                span_type=child.kind,
                parent_span=whole,
                inputs=dict(child.inputs),
                attributes=_usage(child),
                start_time_ns=_ns(child.start),
            )
            _end(span, child)
        _end(whole, root)
        return str(whole.trace_id)


@contextmanager
def _impatient() -> Iterator[None]:
    unset = [name for name in PATIENCE if name not in os.environ]
    os.environ.update({name: PATIENCE[name] for name in unset})
    try:
        yield
    finally:
        for name in unset:
            os.environ.pop(name, None)


def _usage(span: Span) -> dict[str, Any]:
    if span.kind != "LLM":
        return {}
    tokens = {"input_tokens": span.input_tokens, "output_tokens": span.output_tokens}
    return {
        "mlflow.llm.model": span.model,
        "mlflow.chat.tokenUsage": {**tokens, "total_tokens": sum(tokens.values())},
        "mlflow.llm.cost": {"total_cost": span.cost_usd},
    }


def _end(opened: Any, span: Span) -> None:
    status = "ERROR" if span.failed else "OK"
    opened.end(outputs=span.outputs, status=status, end_time_ns=max(_ns(span.end), _ns(span.start)))


def _ns(moment: datetime) -> int:
    return int(moment.replace(tzinfo=UTC).timestamp() * 1e6) * 1000

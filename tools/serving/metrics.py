"""The gateway's counters and gauges: a row of numbers for each worker, shown as one Prometheus text.

Counters only grow, over all workers that used a row one after another. Gauges are of the worker that uses it now.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    Row = memoryview[float] | array[float]

BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.5)
"""Upper bounds of the latency histogram, seconds."""
VARIANTS = ("champion", "challenger", "shadow")
_STATUSES = (400, 401, 404, 405, 408, 413, 422, 500, 503)

ARRIVED = "guardian_arrived_total"
SHADOW_DROPPED = "guardian_shadow_requests_dropped_total"
LOG_ADDED = "guardian_prediction_log_rows_added"
LOG_WRITTEN = "guardian_prediction_log_rows_written"
LOG_DROPPED = "guardian_prediction_log_rows_dropped"
LOG_LOST = "guardian_prediction_log_rows_lost"
LOG_FAILURES = "guardian_prediction_log_write_failures"
_COUNTERS = (ARRIVED, SHADOW_DROPPED, LOG_ADDED, LOG_WRITTEN, LOG_DROPPED, LOG_LOST, LOG_FAILURES)

INFLIGHT = "guardian_inflight_requests"
SHADOW_QUEUED = "guardian_shadow_rows_queued"
SPLIT = "guardian_traffic_split_number"
CHALLENGER_PCT = "guardian_traffic_challenger_pct"
BREAKER_OPEN = "guardian_challenger_breaker_open"
SERVING = "guardian_instances"
"""1 in the row of a worker that serves a split."""
PID = "pid"
BEAT = "beat"
"""When the worker's loop last turned, on the system's monotonic clock. Neither of the two is shown."""
_GAUGES = (INFLIGHT, SHADOW_QUEUED, SPLIT, CHALLENGER_PCT, BREAKER_OPEN, SERVING)
_LEAST = (SPLIT,)
"""Shown as the least of the serving workers': what all of them serve at least."""
_MOST = (CHALLENGER_PCT, BREAKER_OPEN)

_LATENCY = "guardian_request_latency_seconds"
_WIDTH = len(BOUNDS) + 2


class _Family(NamedTuple):
    name: str
    help: str
    sparse: bool
    samples: tuple[str, ...]


class Layout:
    """Which number of a row is what. `fields` are the features whose values may be outside their contract."""

    def __init__(self, fields: Iterable[str] = ()) -> None:
        outside = "guardian_contract_violations_total"
        variants = [f'variant="{variant}"' for variant in VARIANTS]
        self.families = (
            _family("guardian_requests_total", "Requests routed to a variant.", variants),
            _family("guardian_errors_total", "Requests a variant failed to answer.", variants),
            _family(
                "guardian_refused_total", "Requests refused before scoring.", [f'status="{s}"' for s in _STATUSES],
                sparse=True,
            ),
            _family(
                outside, "Values served although they are outside their declared range or categories.",
                [f'variant="{v}",field="{field}"' for v in VARIANTS for field in fields], sparse=True,
            ),
        )  # fmt: skip
        samples = [sample for family in self.families for sample in family.samples]
        self.histograms = len(samples)
        for variant in VARIANTS:
            samples += [f"{variant} {bound}" for bound in (*BOUNDS, "more", "seconds")]
        self.names: tuple[str, ...] = (*samples, *_COUNTERS, *_GAUGES, PID, BEAT)
        self.at = {name: number for number, name in enumerate(self.names)}
        self.requests = {v: self.at[f'guardian_requests_total{{variant="{v}"}}'] for v in VARIANTS}
        self.errors = {v: self.at[f'guardian_errors_total{{variant="{v}"}}'] for v in VARIANTS}
        self.latency = {v: self.histograms + number * _WIDTH for number, v in enumerate(VARIANTS)}


class Metrics:
    """One worker's row among `rows`, which are all workers'; by itself, where none are given."""

    def __init__(self, layout: Layout | None = None, rows: Sequence[Row] | None = None, slot: int = 0) -> None:
        self.layout = layout or Layout()
        self._rows = rows or [array("d", bytes(8 * len(self.layout.names)))]
        self._row = self._rows[slot]

    def __getitem__(self, name: str) -> float:
        """A number of this worker's, by its name."""
        return self._row[self.layout.at[name]]

    def __setitem__(self, name: str, value: float) -> None:
        self._row[self.layout.at[name]] = value

    def add(self, name: str, number: float = 1.0) -> None:
        """Adds to a counter or gauge."""
        self._row[self.layout.at[name]] += number

    def observe(self, variant: str, seconds: float, failed: bool) -> None:
        """One routed request; `failed` if that variant gave no answer."""
        row, layout = self._row, self.layout
        row[layout.requests[variant]] += 1.0
        if failed:
            row[layout.errors[variant]] += 1.0
        first = layout.latency[variant]
        row[first + bisect_left(BOUNDS, seconds)] += 1.0
        row[first + _WIDTH - 1] += seconds

    def refused(self, status: int) -> None:
        """One request refused before scoring."""
        self.add(f'guardian_refused_total{{status="{status}"}}')

    def outside(self, variant: str, field: str) -> None:
        """One value served that is outside its contract."""
        self.add(f'guardian_contract_violations_total{{variant="{variant}",field="{field}"}}')

    def start(self) -> None:
        """Makes the row ready for another worker: gauges to zero, counters as they are."""
        for name in (*_GAUGES, PID, BEAT):
            self[name] = 0.0

    def end(self) -> int:
        """Gives the row up for its worker, who is gone; gives how many rows of the prediction log went with it."""
        self.start()
        lost = int(self[LOG_ADDED] - self[LOG_WRITTEN] - self[LOG_LOST])
        self.add(LOG_LOST, lost)
        return lost

    def serving_pids(self) -> list[int]:
        """The processes that serve now."""
        serving, pid = self.layout.at[SERVING], self.layout.at[PID]
        return [int(row[pid]) for row in self._rows if row[serving]]

    def render(self) -> str:
        """Text exposition format 0.0.4, over all workers."""
        total = [sum(column) for column in zip(*self._rows, strict=True)]
        lines = []
        for family in self.layout.families:
            lines += [f"# HELP {family.name} {family.help}", f"# TYPE {family.name} counter"]
            values = [(sample, total[self.layout.at[sample]]) for sample in family.samples]
            lines += [f"{sample} {value:.0f}" for sample, value in values if value or not family.sparse]
        lines += self._histograms(total)
        for kind, names in (("gauge", _GAUGES), ("counter", _COUNTERS)):
            for name in names:
                lines += _one(name, kind, self._shown(name, total))
        queued = sum(total[self.layout.at[name]] * sign for name, sign in _QUEUED)
        lines += _one("guardian_prediction_log_rows_queued", "gauge", queued)
        return "\n".join(lines) + "\n"

    def _shown(self, name: str, total: Sequence[float]) -> float:
        at = self.layout.at[name]
        if name not in (*_LEAST, *_MOST):
            return total[at]
        values = [row[at] for row in self._rows if row[self.layout.at[SERVING]]]
        return (min if name in _LEAST else max)(values, default=0.0)

    def _histograms(self, total: Sequence[float]) -> list[str]:
        lines = [f"# HELP {_LATENCY} From the request's last byte to the answer.", f"# TYPE {_LATENCY} histogram"]
        for variant, first in self.layout.latency.items():
            count = 0.0
            for number, bound in enumerate((*BOUNDS, "+Inf")):
                count += total[first + number]
                lines.append(f'{_LATENCY}_bucket{{variant="{variant}",le="{bound}"}} {count:.0f}')
            lines.append(f'{_LATENCY}_sum{{variant="{variant}"}} {total[first + _WIDTH - 1]:.6f}')
            lines.append(f'{_LATENCY}_count{{variant="{variant}"}} {count:.0f}')
        return lines


_QUEUED = ((LOG_ADDED, 1.0), (LOG_WRITTEN, -1.0), (LOG_LOST, -1.0))


def _family(name: str, help: str, labels: Iterable[str], *, sparse: bool = False) -> _Family:
    return _Family(name, help, sparse, tuple(f"{name}{{{label}}}" for label in labels))


def _one(name: str, kind: str, value: float) -> list[str]:
    return [f"# TYPE {name} {kind}", f"{name} {value:g}" if value % 1 else f"{name} {int(value)}"]

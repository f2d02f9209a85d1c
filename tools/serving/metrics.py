"""The gateway's counters, as Prometheus text."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping

BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.5)
"""Upper bounds of the latency histogram, seconds."""
VARIANTS = ("champion", "challenger", "shadow")


class _Histogram:
    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.sum += seconds


class Metrics:
    """Requests, errors and latencies by variant, refusals by status, values outside the contract by variant, field."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter(dict.fromkeys(VARIANTS, 0))
        self.errors: Counter[str] = Counter(dict.fromkeys(VARIANTS, 0))
        self.refused: Counter[int] = Counter()
        self.outside: Counter[tuple[str, str]] = Counter()
        self.latency = {variant: _Histogram() for variant in VARIANTS}
        self.shadow_dropped = 0

    def observe(self, variant: str, seconds: float, failed: bool) -> None:
        """One routed request; `failed` if that variant gave no answer."""
        self.requests[variant] += 1
        self.errors[variant] += failed
        self.latency[variant].observe(seconds)

    def render(self, gauges: Mapping[str, float], counters: Mapping[str, float]) -> str:
        """Text exposition format 0.0.4; `gauges` and `counters` are of the moment, by full name."""
        lines = _by("guardian_requests_total", "Requests routed to a variant.", "variant", self.requests)
        lines += _by("guardian_errors_total", "Requests a variant failed to answer.", "variant", self.errors)
        lines += _by("guardian_refused_total", "Requests refused before scoring.", "status", self.refused)
        lines += self._violations()
        lines += self._histograms()
        for kind, values in (("gauge", gauges), ("counter", counters)):
            for name, value in values.items():
                lines += [f"# TYPE {name} {kind}", f"{name} {value:g}" if value % 1 else f"{name} {int(value)}"]
        return "\n".join(lines) + "\n"

    def _violations(self) -> list[str]:
        name = "guardian_contract_violations_total"
        help = "Values served although they are outside their declared range or categories."
        rows = [f'{name}{{variant="{v}",field="{field}"}} {count}' for (v, field), count in self.outside.items()]
        return [f"# HELP {name} {help}", f"# TYPE {name} counter", *rows]

    def _histograms(self) -> list[str]:
        name = "guardian_request_latency_seconds"
        lines = [f"# HELP {name} From the request's last byte to the answer.", f"# TYPE {name} histogram"]
        for variant, histogram in self.latency.items():
            total = 0
            for bound, count in zip((*BOUNDS, "+Inf"), histogram.counts, strict=True):
                total += count
                lines.append(f'{name}_bucket{{variant="{variant}",le="{bound}"}} {total}')
            lines.append(f'{name}_sum{{variant="{variant}"}} {histogram.sum:.6f}')
            lines.append(f'{name}_count{{variant="{variant}"}} {total}')
        return lines


def _by(name: str, help: str, label: str, counts: Mapping[str, int] | Mapping[int, int]) -> list[str]:
    rows = [f'{name}{{{label}="{key}"}} {count}' for key, count in counts.items()]
    return [f"# HELP {name} {help}", f"# TYPE {name} counter", *rows]

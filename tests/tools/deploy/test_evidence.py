"""What the prediction log says of requests, however many instances each of them has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest

from tests.postgres import database_url
from tools.deploy.copies import FEWEST_TIMED, times
from tools.deploy.evidence import SLICE, Period, of_requests
from tools.deploy.gates import Evidence, judge
from tools.systems.postgres import PostgresWarehouse
from tools.systems.systems import Systems
from tools.systems.warehouse import Warehouse

START = datetime(2026, 2, 2)
HOUR = timedelta(hours=1)
CONDITIONS = ("error_rate > 0.01", "p99_latency_ms > 300")
TYPES = {
    "request_id": pa.string(), "at": pa.timestamp("us"), "variant": pa.string(), "version": pa.string(),
    "latency_ms": pa.float64(), "error": pa.string(), "model_ms": pa.float64(), "champion_ms": pa.float64(),
}  # fmt: skip
Row = dict[str, Any]


@pytest.fixture(params=["parquet", "postgres"])
def systems(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Systems]:
    """A model's prediction log on either engine, and nothing else."""
    server = request.getfixturevalue("postgres") if request.param == "postgres" else None
    warehouse = PostgresWarehouse(database_url(server)) if server is not None else Warehouse(tmp_path)
    operations = SimpleNamespace(model=lambda _: SimpleNamespace(prediction_log="ml.requests"))
    yield cast(Systems, SimpleNamespace(warehouse=warehouse, operations=operations))
    warehouse.close()


def logged(systems: Systems, rows: Sequence[Row]) -> None:
    table = pa.table({name: pa.array([row.get(name) for row in rows], kind) for name, kind in TYPES.items()})
    systems.warehouse.append("ml.requests", table, "log")


def request(
    number: int | None, variant: str, instances: int = 1, *, hours: float = 0.5, ms: float = 8.0, failed: bool = False
) -> list[Row]:
    """The rows of one request."""
    row = {
        "request_id": None if number is None else f"r{number}", "at": START + hours * HOUR, "variant": variant,
        "version": "1" if variant == "champion" else "2", "latency_ms": ms, "error": "boom" if failed else None,
    }  # fmt: skip
    return [row] * instances


def seen(systems: Systems, *stages: datetime, variant: str = "challenger") -> Evidence:
    period = Period("1", "2", stages or (START,), START + 24 * HOUR, variant)
    return of_requests(systems, "M", period, [300.0])


@pytest.mark.parametrize("variant", ["challenger", "shadow"])
def test_a_request_counts_once_however_many_instances_it_has(systems: Systems, variant: str) -> None:
    ours = request(1, variant, 200, failed=True) + request(2, variant, 3, ms=400.0) + request(3, variant)
    theirs = request(4, "champion", 50) + request(5, "champion", 20, ms=900.0, failed=True)
    logged(systems, [*ours, *theirs])
    found = seen(systems, START, START + HOUR, variant=variant)
    assert (found.errors.k, found.errors.n) == (1, 3)
    assert (found.slow[300.0].k, found.slow[300.0].n) == (1, 3)
    assert (found.errors.champion_k.tolist(), found.errors.champion_n.tolist()) == ([1], [2])
    assert found.slow[300.0].champion_k.tolist() == [1]
    assert found.requests_in_stage == 0
    assert seen(systems, START, variant=variant).requests_in_stage == 3


def test_a_request_failed_if_any_of_its_rows_did_and_has_its_greatest_latency(systems: Systems) -> None:
    mixed = request(1, "challenger", 9) + request(1, "challenger", failed=True, ms=500.0) + request(1, "challenger", 9)
    logged(systems, mixed)
    found = seen(systems)
    assert (found.errors.k, found.errors.n, found.slow[300.0].k) == (1, 1, 1)
    assert found.p99_ms == 500.0


def test_a_row_without_an_id_is_a_request_of_its_own(systems: Systems) -> None:
    nameless = request(None, "challenger", 4) + request(None, "challenger", failed=True, ms=500.0)
    logged(systems, [*nameless, *request(None, "champion", 7)])
    found = seen(systems)
    assert (found.errors.k, found.errors.n, int(found.errors.champion_n.sum())) == (1, 5, 7)
    assert (found.slow[300.0].k, found.slow[300.0].n, found.requests_in_stage) == (1, 5, 5)
    assert found.p99_ms is not None and 300 < found.p99_ms < 500


def test_an_answer_that_was_not_timed_counts_for_errors_alone(systems: Systems) -> None:
    untimed = [{**row, "latency_ms": None} for row in request(1, "challenger", 5)]
    logged(systems, [*untimed, *request(2, "challenger", 5)])
    found = seen(systems)
    assert (found.errors.n, found.slow[300.0].n) == (2, 1)


def test_the_evidence_does_not_depend_on_how_requests_are_split_into_instances(systems: Systems) -> None:
    """Over a day of both variants, by slices of time."""
    rng = np.random.default_rng(0)
    found: list[Evidence] = []
    ours, hours, ms, bad = rng.random(3_000) < 0.1, rng.random(3_000) * 24, rng.gamma(4, 40, 3_000), rng.random(3_000)
    drawn = list(zip(np.where(ours, "challenger", "champion"), hours, ms, bad < 0.02, strict=True))
    for largest in (1, 30):
        rows = [
            row
            for i, (variant, at, took, fails) in enumerate(drawn)
            for row in request(i, variant, int(rng.integers(1, largest + 1)), hours=at, ms=took, failed=fails)
        ]
        logged(systems, rows)
        found.append(seen(systems, START, START + 6 * HOUR))
    alone, together = found
    for one, other in ((alone.errors, together.errors), (alone.slow[300.0], together.slow[300.0])):
        for name in ("challenger_n", "challenger_k", "champion_n", "champion_k"):
            assert getattr(one, name).tolist() == getattr(other, name).tolist()
            assert len(getattr(one, name)) == 24 * HOUR / SLICE
    assert alone.requests_in_stage == together.requests_in_stage
    assert (alone.p99_ms, alone.champion_p99_ms) == pytest.approx((together.p99_ms, together.champion_p99_ms))


def test_one_large_request_passes_no_gate_and_one_that_failed_rolls_nothing_back(systems: Systems) -> None:
    logged(systems, request(1, "challenger", 1_000) + request(2, "champion", 1_000))
    verdict = judge("latency_and_errors", CONDITIONS, seen(systems))
    assert (verdict.verdict, verdict.detail) == (
        "inconclusive", "1 challenger requests in this stage, at least 100 are needed",
    )  # fmt: skip
    fine = [row for i in range(60) for row in request(10 + i, "challenger", 20)]
    logged(systems, request(1, "challenger", 200, failed=True) + fine + request(2, "champion", 1_000))
    verdict = judge("latency_and_errors", CONDITIONS, seen(systems))
    assert (verdict.verdict, verdict.breached) == ("inconclusive", ())
    assert "1 of 61 challenger requests failed" in verdict.measurements[0].detail


@pytest.mark.parametrize(("instances", "n"), [(1, FEWEST_TIMED), (FEWEST_TIMED, 1)])
def test_a_copy_is_timed_once_however_many_instances_it_has(systems: Systems, instances: int, n: int) -> None:
    timed = {"model_ms": 3.0, "champion_ms": 2.0}
    copies = [{**row, **timed} for i in range(n) for row in request(i, "shadow", instances)]
    logged(systems, copies)
    found = times(systems, "ml.requests", Period("1", "2", (START,), START + HOUR, "shadow"), 1.1)
    assert found.n == n
    assert (found.slow is None) == (n < FEWEST_TIMED)

"""A batch run scores a period of its schedule, each row once, however often it is begun."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from agent.cli.app import run
from policies.errors import InputError, SystemDown
from tests.tools.serving.conftest import MODEL, frame
from tools.serving.batch_run import find_pattern, partition, run_batch

INPUT, OUTPUT = "ml_features.customer_360", "ml_predictions.churn_daily"
NIGHT = datetime(2026, 1, 6, 2, 0)
AT = datetime(2026, 1, 6, 9, 30)


@pytest.fixture
def table(world: Any) -> Iterator[pd.DataFrame]:
    """1,000 customers of one night, and 50 of the night before and after."""
    world.split("one")
    rows = frame(1_100, seed=5)
    night = np.repeat([-1, 0, 1], [50, 1_000, 50])
    rows["customer_id"] = np.random.default_rng(5).permutation(len(rows))
    rows["scored_at"] = pd.to_datetime([NIGHT + timedelta(days=int(each)) for each in night]).astype("datetime64[us]")
    world.systems.warehouse.append(INPUT, pa.Table.from_pandas(rows, preserve_index=False), "nights")
    yield rows[night == 0]
    for name in (INPUT, OUTPUT):
        for file in world.systems.warehouse.folder(name).glob("*.parquet"):
            file.unlink()


def scores(world: Any) -> pd.DataFrame:
    found: pd.DataFrame = world.systems.warehouse.read(OUTPUT).to_pandas()
    return found.set_index("customer_id").sort_index()


def test_each_row_of_the_period_is_scored_once_as_the_model_itself_would(world: Any, table: pd.DataFrame) -> None:
    done = run_batch(world.systems, "nightly", AT, page_rows=300)
    assert (done.rows, done.already, done.model, done.version) == (1_000, 0, MODEL, world.versions["one"])
    assert (done.partition_start, done.partition_end) == (datetime(2026, 1, 5, 6), datetime(2026, 1, 6, 6))
    assert done.detail == "declared for databricks, which is not connected"
    found, rows = scores(world), table.set_index("customer_id").sort_index()
    pipeline = world.systems.registry.load("churn_model", done.version)
    alone = pipeline.predict_proba(rows[["recency", "orders", "spend", "market"]])[:, 1]
    assert found.index.equals(rows.index) and (found["score"].to_numpy() == alone).all()
    assert (found["label"] == (found["score"] >= 0.5)).all()
    again = run_batch(world.systems, "nightly", AT, page_rows=300)
    assert (again.rows, again.already) == (0, 1_000)
    assert len(scores(world)) == 1_000


def test_a_run_that_ended_early_goes_on_and_takes_late_rows_along(world: Any, table: pd.DataFrame) -> None:
    ticks = itertools.chain([0.0, 1.0, 2.0], itertools.repeat(3_601.0))
    with pytest.raises(SystemDown, match=r"timeout_minutes \(60\); \d+ rows were scored"):
        run_batch(world.systems, "nightly", AT, page_rows=300, timer=lambda: next(ticks))
    begun = len(scores(world))
    assert 0 < begun < 1_000
    late = table[:1].assign(customer_id=-7)
    world.systems.warehouse.append(INPUT, pa.Table.from_pandas(late, preserve_index=False), "late")
    heard: list[int] = []
    done = run_batch(world.systems, "nightly", AT, page_rows=300, told=heard.append)
    assert (done.rows, done.already, heard[-1]) == (1_001 - begun, begun, done.rows)
    assert scores(world).index.is_unique and len(scores(world)) == 1_001


def test_the_command_scores_and_says_what_it_did(
    world: Any, table: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    at = ["--at", f"{AT:%Y-%m-%dT%H:%M:%S}"]
    assert run(["--operations", str(world.operations), "score", "nightly", *at, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["rows"], said["already"], said["output"]) == (1_000, 0, OUTPUT)
    assert run(["--operations", str(world.operations), "score", "nightly", *at]) == 0
    assert "0 rows of ml_features.customer_360 from 2026-01-05 06:00" in (text := capsys.readouterr().out)
    assert "1,000 were there already" in text and "databricks, which is not connected: scored on this machine" in text
    zoned = ["--at", f"{AT:%Y-%m-%dT%H:%M:%S}-02:00"]
    assert run(["--operations", str(world.operations), "score", "nightly", *zoned, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["partition_end"] == said["partition_end"]
    assert run(["--operations", str(world.operations), "score", "weekly"]) == 2


def test_a_second_run_at_once_is_refused(world: Any, table: pd.DataFrame) -> None:
    def meanwhile(rows: int) -> None:
        for name in ("nightly", "ChurnServing.nightly"):
            with pytest.raises(SystemDown, match=f"another run into {OUTPUT} is under way"):
                run_batch(world.systems, name, AT)

    assert run_batch(world.systems, "nightly", AT, told=meanwhile).rows == 1_000


def test_the_pattern_is_found_by_its_name_and_the_period_by_its_schedule(world: Any) -> None:
    assert find_pattern(world.systems, "ChurnServing.nightly") == find_pattern(world.systems, "nightly")
    with pytest.raises(InputError, match=r"'hourly' is no batch pattern; declared: nightly, ChurnServing.nightly"):
        find_pattern(world.systems, "hourly")
    assert partition("0 6 * * *", datetime(2026, 1, 6, 6)) == (datetime(2026, 1, 5, 6), datetime(2026, 1, 6, 6))
    assert partition("0 6 * * *", datetime(2026, 1, 6, 5, 59))[1] == datetime(2026, 1, 5, 6)

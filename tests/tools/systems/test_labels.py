"""A row labelled more than once has one label: what was told last by the moment one looks back from."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.tools.retrain.tiny_world import DAY, FIRST, MODEL, ROWS_A_DAY, TinyWorld
from tools.check_drift.label_delay import label_delay
from tools.retrain import evidence, rows
from tools.systems import datasets
from tools.systems.labels import newly_told
from tools.systems.systems import Systems

END, CORRECTED = FIRST + 10 * DAY, FIRST + 20 * DAY
FLIPPED, TAKEN_BACK = ROWS_A_DAY * 2, ROWS_A_DAY * 3


@pytest.fixture
def systems(tmp_path: Path) -> Iterator[Systems]:
    """Ten days; on the 20th all labels of day 2 are told again, the other way round, twice; day 3's are taken back."""
    world = TinyWorld(tmp_path, change_on=None)
    world.live(10)
    told = world.systems.warehouse.read("outcomes").to_pandas().sort_values("loan", ignore_index=True)
    again = told[(told["loan"] >= FLIPPED) & (told["loan"] < TAKEN_BACK)]
    wrong = again.assign(known_at=CORRECTED - timedelta(hours=1))
    right = again.assign(defaulted=~again["defaulted"], known_at=CORRECTED)
    gone = told[(told["loan"] >= TAKEN_BACK) & (told["loan"] < TAKEN_BACK + ROWS_A_DAY)]
    gone = gone.assign(defaulted=None, known_at=CORRECTED)
    for name, frame in (("wrong", wrong), ("right", right), ("gone", gone)):
        table = pa.Table.from_pandas(frame, preserve_index=False)
        types = pa.schema(
            [("loan", "int64"), ("at", "timestamp[us]"), ("defaulted", "bool"), ("known_at", "timestamp[us]")]
        )
        world.systems.warehouse.append("outcomes", table.cast(types), name)
    yield world.systems
    world.systems.close()


def outcomes(systems: Systems, as_of: datetime) -> dict[int, bool]:
    """Loan → outcome by each of the ways to read labels, which must agree."""
    read = datasets.labelled(systems, MODEL, FIRST, END, as_of)
    joined = datasets.with_labels(systems, MODEL, datasets.window(systems, MODEL, FIRST, END, ["loan", "at"]), as_of)
    learned = rows.read(systems, MODEL, FIRST, END, as_of, 1_000_000)
    daily = datasets.label_coverage(systems, MODEL, FIRST, END, as_of)
    assert (daily["labelled"] <= daily["rows"]).all()
    assert daily["labelled"].sum() == len(read) == len(joined) == learned.labelled == len(learned.times)
    assert evidence.labelled_rows(systems, MODEL, FIRST, END, as_of)[0] == len(read)
    found = dict(zip(read["loan"].tolist(), read["defaulted"].tolist(), strict=True))
    assert found == dict(zip(joined["loan"].tolist(), joined["defaulted"].tolist(), strict=True))
    assert learned.rows.outcomes.tolist() == [float(each) for each in read["defaulted"]]
    return found


def test_the_newest_arrival_counts_once_it_has_arrived(systems: Systems) -> None:
    before, after = outcomes(systems, CORRECTED - timedelta(microseconds=1)), outcomes(systems, CORRECTED)
    assert len(before) == 10 * ROWS_A_DAY
    assert before == outcomes(systems, CORRECTED - DAY)
    changed = {loan for loan, value in after.items() if value != before[loan]}
    assert changed == set(range(FLIPPED, TAKEN_BACK))
    assert before.keys() - after.keys() == set(range(TAKEN_BACK, TAKEN_BACK + ROWS_A_DAY))


def test_a_correction_is_no_new_label_and_says_nothing_of_how_late_labels_are(systems: Systems) -> None:
    assert evidence.labels_since(systems, MODEL, "outcomes", None, CORRECTED) == 10 * ROWS_A_DAY
    assert evidence.labels_since(systems, MODEL, "outcomes", END + DAY, CORRECTED) == 0
    assert label_delay(systems, MODEL, END + DAY, CORRECTED, 0).delays == ()
    delays = label_delay(systems, MODEL, FIRST, CORRECTED, 0).delays
    assert np.allclose([days for _, days in delays], 2 / 24)


def test_a_label_known_at_the_moment_of_its_row_is_new_once(systems: Systems) -> None:
    labels = systems.operations.model(MODEL).labels.model_copy(update={"arrived": "at"})
    sql = f"SELECT count(*) FROM {newly_told(labels, '$since', '$by')}"
    found = systems.warehouse.query(sql, {"since": FIRST + DAY, "by": FIRST + 3 * DAY})
    assert found.column(0).to_pylist() == [2 * ROWS_A_DAY]


def test_a_label_of_no_time_is_none(systems: Systems) -> None:
    row = systems.warehouse.read("outcomes").slice(0, 1)
    times = row.schema.get_field_index("at")
    row = row.set_column(times, row.schema.field(times), pa.nulls(1, row.schema.field(times).type))
    systems.warehouse.append("outcomes", row, "timeless")
    assert evidence.labels_since(systems, MODEL, "outcomes", None, CORRECTED) == 10 * ROWS_A_DAY


def test_a_label_of_no_row_is_nothing_to_learn_from(systems: Systems) -> None:
    told = systems.warehouse.read("outcomes")
    ids = told.schema.get_field_index("loan")
    strangers = told.set_column(ids, "loan", pa.array(np.arange(len(told)) + 1_000_000))
    systems.warehouse.append("outcomes", strangers, "strangers")
    rows, a_day = evidence.labelled_rows(systems, MODEL, FIRST, END, CORRECTED - DAY)
    assert (rows, a_day) == (10 * ROWS_A_DAY, 10 * ROWS_A_DAY / 14)

"""The walk through Elec2 in small, and its picture."""

from __future__ import annotations

import math
import os
from datetime import datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree

import pytest

from evals.benchmarks.elec2_drift import table, threshold, walk
from evals.elec2.picture import Walked, draw, page
from policies.declarations import Severity

START = datetime(1997, 2, 14)


def weeks() -> list[Walked]:
    tones = [Severity.unknown, Severity.ok, Severity.warning, Severity.critical, Severity.critical, Severity.ok]
    drops = [math.nan, 0.01, 0.07, 0.2, 0.15, 0.02]
    return [
        Walked(START + timedelta(days=7 * n), 0.9 if math.isnan(drop) else 0.85 - drop, 0.83, drop, tone)
        for n, (tone, drop) in enumerate(zip(tones, drops, strict=True))
    ]


def test_the_picture_shows_every_alarm_and_both_models() -> None:
    drawn = ElementTree.fromstring(str(draw(weeks(), 0.05)))
    space = "{http://www.w3.org/2000/svg}"
    alarms = [c for c in drawn.iter(f"{space}circle") if c.find(f"{space}title") is not None]
    assert len(alarms) == 3
    assert alarms[0].findtext(f"{space}title") == "1997-03-07: warning, AUC 0.070 below the baseline's"
    assert len(list(drawn.iter(f"{space}polyline"))) == 3
    texts = [t.text for t in drawn.iter(f"{space}text")]
    assert "threshold 0.05" in texts
    assert "champion, left alone" in texts
    assert "3 of 6 weekly runs raise an alarm" in page(weeks(), 0.05)


def test_the_table_sets_alarms_against_what_was_lost() -> None:
    lines = table(weeks()).splitlines()
    assert lines[1].split() == ["no", "alarm", "3", "85.7%", "83.0%", "-2.7%"]
    assert lines[2].split() == ["alarm", "3", "71.0%", "83.0%", "+12.0%"]
    assert lines[-1].endswith("1997-03-07")


def test_the_first_weeks_are_walked_without_an_alarm(tmp_path: Path) -> None:
    root = os.environ.get("GUARDIAN_REFERENCE_DATA")
    if not root:
        pytest.skip("GUARDIAN_REFERENCE_DATA is not set")
    lived = list(walk(Path(root) / "data" / "elec2.csv", tmp_path / "elec2", most_weeks=2))
    assert [week.start for week in lived] == [START, START + timedelta(days=7)]
    assert all(0.5 < week.accuracy < 1 and 0.5 < week.refitted < 1 and not week.alarm for week in lived)
    assert threshold() == 0.05

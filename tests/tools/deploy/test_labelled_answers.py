"""Answers and their labels, found in every engine as pandas finds them: the row that was scored, and the first one."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from policies.declarations.binding import Features, Labels, ModelBinding
from tests.postgres import database_url
from tests.tools.deploy.conftest import Shop
from tests.tools.deploy.test_tool import deploy, share, step
from tools.deploy.copies import agreement, labelled
from tools.deploy.evidence import Period, with_labels
from tools.deploy.gates import Evidence
from tools.systems.systems import Systems
from tools.systems.warehouse import AnyWarehouse, Warehouse

MINUTE = np.timedelta64(1, "m")
PERIOD = Period("1", "2", (datetime(2026, 2, 2), datetime(2026, 2, 2, 6)), datetime(2026, 2, 3))
BINDING = ModelBinding(
    registry_name="churn", target="churned", id="customer_id", time="scored_at", table="ml.features",
    holdout="ml.holdout", prediction_log="ml.requests", features=Features(numeric=["a"]),
    labels=Labels(table="ml.labels", id="customer_id", time="scored_at", value="churned", arrived="labelled_at"),
)  # fmt: skip


@pytest.fixture
def on_postgresql(postgres: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUARDIAN_WAREHOUSE_URL", database_url(postgres))


@pytest.mark.usefixtures("on_postgresql")
@pytest.mark.timeout(120)
def test_a_canary_judged_by_labels_on_postgresql(shop: Shop) -> None:
    shop.gate("2")
    deploy(shop)
    for hours, requests in ((1, 10_000), (4, 6_000), (12, 6_000), (24, 6_000)):
        shop.live(hours, requests)
        done = step(shop)
    assert (done.status, done.traffic_pct, share(shop)) == ("promoted", 100.0, ("2", None, 0.0))
    measured = {m.name: m for m in done.last_gate.measurements} if done.last_gate else {}
    assert measured["auc_degradation"].value is not None and measured["auc_degradation"].value < 0


@pytest.mark.usefixtures("on_postgresql")
@pytest.mark.timeout(120)
def test_a_challenger_that_ranks_worse_is_rolled_back_on_postgresql(shop: Shop) -> None:
    shop.gate("3")
    deploy(shop, "3")
    for hours in (1, 4, 12, 24):
        shop.live(hours, 8_000)
        if (result := step(shop)).ended:
            break
    assert result.status == "rolled_back" and "auc_degradation > 0.05" in result.reason


def _systems(warehouse: AnyWarehouse) -> Systems:
    """Versions whose training nobody knows of, and a warehouse."""
    registry = SimpleNamespace(get=lambda *_: None, fetch=lambda *_: SimpleNamespace(path="nowhere"))
    operations = SimpleNamespace(model=lambda _: BINDING, memory_gb_of=lambda _: None)
    return cast(Systems, SimpleNamespace(warehouse=warehouse, registry=registry, operations=operations))


def _lived(warehouse: AnyWarehouse, n: int = 600) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A day of requests, some failed, some asked for several instances; several feature rows a customer, some at the
    very time of a request; labels for most, some corrected and some too late. Returns the log and the last labels."""
    rng = np.random.default_rng(3)
    start = np.datetime64(PERIOD.stages[0], "us")
    ids = rng.integers(0, 60, n)
    at = start + MINUTE * rng.permutation(1_440)[:n]
    variant = rng.choice(["champion", "challenger"], n)
    score = np.where(rng.random(n) < 0.05, np.nan, rng.random(n).round(6))
    log = pd.DataFrame(
        {
            "request_id": [f"r{each}" for each in range(n)], "id": ids.astype(str), "at": at, "variant": variant,
            "version": np.where(variant == "champion", "1", "2"), "score": score, "label": score > 0.5,
        }
    )  # fmt: skip
    log.loc[::50, "id"] = None
    of = rng.integers(0, 60, 400)
    features = pd.DataFrame({"customer_id": of, "scored_at": start + MINUTE * rng.integers(-3_000, 1_440, 400)})
    same = log.dropna(subset="id")[["id", "at"]][::9].set_axis(["customer_id", "scored_at"], axis=1)
    features = pd.concat([features, same.astype({"customer_id": "int64"})]).drop_duplicates(ignore_index=True)
    features["a"] = rng.random(len(features)).round(6)
    labels = features[["customer_id", "scored_at"]].sample(frac=0.8, random_state=1)
    labels["churned"] = rng.random(len(labels)) < 0.4
    labels["labelled_at"] = labels["scored_at"] + MINUTE * rng.integers(1, 900, len(labels))
    corrected = labels[::7].assign(churned=~labels["churned"][::7], labelled_at=labels["labelled_at"][::7] + MINUTE)
    told = pd.concat([labels, corrected], ignore_index=True)
    for table, frame in (("ml.features", features), ("ml.labels", told)):
        times = frame.astype({each: "datetime64[us]" for each in frame if each in ("scored_at", "labelled_at")})
        warehouse.append(table, pa.Table.from_pandas(times, preserve_index=False), "all")
    last = told[told["labelled_at"] <= PERIOD.until].sort_values("labelled_at").drop_duplicates(
        ["customer_id", "scored_at"], keep="last"
    )  # fmt: skip
    scored = features.merge(last, how="left", on=["customer_id", "scored_at"])
    return log, scored


def _logged(warehouse: AnyWarehouse, log: pd.DataFrame) -> None:
    table = pa.Table.from_pandas(log.astype({"at": "datetime64[us]"}), preserve_index=False)
    warehouse.append("ml.requests", table, "all")


def _by_pandas(log: pd.DataFrame, scored: pd.DataFrame, apart: list[str]) -> pd.DataFrame:
    """The first answer to each labelled feature row, by `merge_asof`."""
    asked = log.dropna(subset="id").astype({"id": "int64"}).sort_values("at")
    rows = scored.rename(columns={"customer_id": "id"}).sort_values("scored_at")
    found = pd.merge_asof(asked, rows, left_on="at", right_on="scored_at", by="id").dropna(subset="scored_at")
    return found.drop_duplicates([*apart, "id", "scored_at"]).dropna(subset="churned").sort_values("at")


@pytest.fixture
def duckdb(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path)


def _judged_alike(warehouse: AnyWarehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    replays = SimpleNamespace(weighed=lambda _, rows, *__: rows["a"].to_numpy())
    monkeypatch.setattr("tools.deploy.evidence.REPLAYS", replays)
    log, scored = _lived(warehouse)
    _logged(warehouse, log)
    found = with_labels(_systems(warehouse), "M", PERIOD, Evidence(errors=cast(Any, None), slow={}))
    wanted = _by_pandas(log.dropna(subset="score"), scored, ["variant"])
    assert min(wanted["variant"].value_counts()) > 60
    for variant, served in (("champion", found.champion), ("challenger", found.challenger)):
        rows = wanted[wanted["variant"] == variant]
        assert served.score.tolist() == pytest.approx(rows["score"].tolist())
        assert served.label.tolist() == rows["churned"].astype(bool).tolist()
        assert served.stage.tolist() == (rows["at"] >= PERIOD.stages[1]).astype(int).tolist()
    fresh = scored[(scored["scored_at"] > PERIOD.stages[0]) & (scored["labelled_at"] > PERIOD.stages[0])].copy()
    fresh = fresh.sort_values(["scored_at", "customer_id"], key=lambda c: c.astype(str) if c.name != "scored_at" else c)
    assert not found.unreplayed and len(fresh) > 100
    assert found.replayed.label.tolist() == fresh["churned"].astype(bool).tolist()
    answered = wanted[wanted["variant"] == "champion"].set_index(["id", "scored_at"])["score"]
    theirs = answered.reindex(pd.MultiIndex.from_frame(fresh[["customer_id", "scored_at"]])).to_numpy()
    assert found.replayed.champion.tolist() == pytest.approx(np.where(np.isnan(theirs), fresh["a"], theirs).tolist())


def _copies_alike(warehouse: AnyWarehouse) -> None:
    log, scored = _lived(warehouse)
    asked = log.dropna(subset="score").assign(variant="champion", version="1")
    copied = asked[::2].assign(variant="shadow", version="2", score=asked["score"][::2] / 2)
    copied["label"] = copied["score"] > 0.5
    several = asked[:8].assign(score=0.25)  # these requests had two instances, which cannot be told apart
    _logged(warehouse, pd.concat([asked, copied, several], ignore_index=True))
    pairs = asked[8:].merge(copied[["request_id", "score", "label"]], on="request_id", suffixes=("", "_copy"))
    period = Period("1", "2", PERIOD.stages, PERIOD.until, "shadow")
    alike = agreement(_systems(warehouse), "ml.requests", period)
    assert alike is not None and alike.n == len(pairs)
    assert alike.same_label == pytest.approx((pairs["label"] == pairs["label_copy"]).mean())
    assert alike.champion_scores == pytest.approx(tuple(pairs["score"].quantile([0.1, 0.5, 0.9])), rel=1e-6)
    wanted = _by_pandas(pairs, scored, [])
    found = labelled(_systems(warehouse), BINDING, period)
    assert len(wanted) > 60
    assert found.champion.tolist() == pytest.approx(wanted["score"].tolist())
    assert found.challenger.tolist() == pytest.approx(wanted["score_copy"].tolist())
    assert found.label.tolist() == wanted["churned"].astype(bool).tolist()


def test_labelled_answers_of_both_variants(duckdb: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    _judged_alike(duckdb, monkeypatch)


def test_labelled_answers_of_both_variants_in_an_engine(engine: AnyWarehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    if engine.dialect == "snowflake":
        pytest.skip("fakesnow has no hash(…)")
    _judged_alike(engine, monkeypatch)


def test_copies_are_paired_and_labelled(duckdb: Warehouse) -> None:
    _copies_alike(duckdb)


def test_copies_are_paired_and_labelled_in_an_engine(engine: AnyWarehouse) -> None:
    _copies_alike(engine)

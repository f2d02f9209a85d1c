"""Every declaration that the seed prints is accepted, with exactly its fields and values."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from policies.declarations import Operations, load, parse
from policies.declarations.base import parse_duration

SIMSHOP = Path(__file__).parents[2] / "evals" / "operations.yaml"
BLOCKS = {
    "budget": "budgets",
    "mlops agent": "agents",
    "drift_monitor": "drift_monitors",
    "retraining_pipeline": "retraining_pipelines",
    "champion_challenger": "champion_challengers",
    "deployment_strategy": "deployment_strategies",
    "serving_infra": "serving_infra",
    "business_kpi_tracker": "business_kpi_trackers",
}
TOKEN = re.compile(r'"(?P<text>[^"]*)"|(?P<number>-?\d+(?:\.\d+)?)|(?P<name>[A-Za-z_]\w*)|(?P<mark>[{}\[\]:,])')


def _seed_blocks(text: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(block, name, body) of every declaration printed in the seed."""
    plain = re.sub(r"//[^\n]*", "", text)
    for head in re.finditer(rf"^({'|'.join(BLOCKS)}) (\w+) (?={{)", plain, re.MULTILINE):
        tokens = list(TOKEN.finditer(plain, head.end()))
        body, _ = _value(tokens, 0)
        yield BLOCKS[head[1]], head[2], body


def _value(tokens: list[re.Match[str]], at: int) -> tuple[Any, int]:
    token = tokens[at]
    if token["mark"] == "{":
        mapping: dict[str, Any] = {}
        at += 1
        while tokens[at]["mark"] != "}":
            key = tokens[at]["name"]
            mapping[key], at = _value(tokens, at + 2)
            at += tokens[at]["mark"] == ","
        return mapping, at + 1
    if token["mark"] == "[":
        items = []
        at += 1
        while tokens[at]["mark"] != "]":
            item, at = _value(tokens, at)
            items.append(item)
            at += tokens[at]["mark"] == ","
        return items, at + 1
    if token["number"] is not None:
        number = float(token["number"])
        return (int(number) if number.is_integer() and "." not in token["number"] else number), at + 1
    if token["name"] in ("true", "false"):
        return token["name"] == "true", at + 1
    return (token["text"] if token["text"] is not None else token["name"]), at + 1


@pytest.fixture
def seed() -> list[tuple[str, str, dict[str, Any]]]:
    reference = os.environ.get("GUARDIAN_REFERENCE_DATA")
    if not reference:
        pytest.skip("GUARDIAN_REFERENCE_DATA is not set")
    (file,) = (Path(reference) / "seed").glob("*.txt")
    return list(_seed_blocks(file.read_text(encoding="utf-8")))


def _lacks(expected: Any, got: Any) -> bool:
    if isinstance(expected, dict):
        return not isinstance(got, dict) or any(_lacks(value, got.get(key)) for key, value in expected.items())
    if isinstance(expected, list):
        return not isinstance(got, list) or len(got) != len(expected) or any(map(_lacks, expected, got))
    if isinstance(expected, str) and isinstance(got, str):
        return " ".join(expected.split()) != " ".join(got.split()) and not _same_duration(expected, got)
    return bool(expected != got)


def _same_duration(one: str, other: str) -> bool:
    try:
        return parse_duration(one) == parse_duration(other)
    except ValueError:
        return False


def test_the_seed_prints_all_eleven_blocks(seed: list[tuple[str, str, dict[str, Any]]]) -> None:
    assert len(seed) == 11
    assert {block for block, _, _ in seed} == set(BLOCKS.values())


def test_simshop_declares_each_block_of_the_seed_unchanged(seed: list[tuple[str, str, dict[str, Any]]]) -> None:
    declared = load(SIMSHOP).model_dump(mode="json", exclude_none=True)
    for block, name, body in seed:
        got = declared[block][name]
        if block == "drift_monitors":  # SimShop adds a label_drift monitor to the seed's five
            got["monitors"] = [each for each in got["monitors"] if each["type"] != "label_drift"]
        assert not _lacks(body, got), f"{block}.{name} differs from the seed: {got}"


def test_the_seed_blocks_alone_are_accepted(seed: list[tuple[str, str, dict[str, Any]]]) -> None:
    ours = yaml.safe_load(SIMSHOP.read_text())
    file: dict[str, Any] = {key: ours[key] for key in ("models", "schemas", "quality_gates", "systems")}
    for block, name, body in seed:
        file.setdefault(block, {})[name] = body
    operations = parse(yaml.safe_dump(file, sort_keys=False), "seed.yaml")
    assert isinstance(operations, Operations)
    assert [stage.traffic_pct for stage in operations.deployment_strategies["CanaryDeploy"].stages] == [
        5, 10, 25, 50, 100,
    ]  # fmt: skip

"""A version that somebody deleted from the registry: nothing is half moved to it, and nothing else waits for it."""

from __future__ import annotations

import shutil

import pytest

from policies.errors import InputError
from tests.tools.deploy import test_tool
from tests.tools.deploy.conftest import MODEL, NAME, START, Shop
from tools.deploy.tool import advance, rollback
from tools.systems.store import Kind


def promoted(shop: Shop) -> None:
    """Version 2 serves, and version 1 did before it; both are in the cache."""
    registry = shop.systems.registry
    for version in ("1", "2"):
        registry.fetch(NAME, version)
    registry.set_alias(NAME, "previous", "1")
    registry.set_alias(NAME, "champion", "2")
    shop.systems.traffic.set(MODEL, "2", at=START, why="promoted", rests_on=None)


def test_a_champion_that_is_gone_is_not_gone_back_to(shop: Shop) -> None:
    test_tool.test_a_better_challenger_passes_all_stages_in_nominal_time(shop)
    registry, rows = shop.systems.registry, len(shop.systems.store.list(Kind.rollout))
    shutil.rmtree(registry.fetch(NAME, "1").path)
    registry.client.delete_model_version(NAME, "1")
    with pytest.raises(InputError, match=r"version 1, the champion before version 2, cannot serve: .*no version '1'"):
        rollback(shop.systems, MODEL, "it is wrong")
    split = shop.systems.traffic.split(MODEL)
    assert split is not None
    assert (split.champion, registry.alias(NAME, "champion")) == ("2", "2")
    assert len(shop.systems.store.list(Kind.rollout)) == rows
    assert advance(shop.systems, shop.now) == []


def test_one_that_is_at_hand_serves_and_people_hear_that_no_alias_says_so(shop: Shop) -> None:
    shop.gate("2")
    promoted(shop)
    registry = shop.systems.registry
    registry.set_alias(NAME, "previous", "3")
    registry.fetch(NAME, "3")

    def gone(name: str, alias: str, version: str) -> None:
        raise InputError(f"has no version {version!r} of {name!r}", where="model registry")

    registry.set_alias = gone  # type: ignore[method-assign]
    state = rollback(shop.systems, MODEL, "it is wrong")
    split = shop.systems.traffic.split(MODEL)
    assert split is not None
    assert (state.settled, split.champion) == (True, "3")
    assert advance(shop.systems, shop.now) == []


def test_what_the_registry_refuses_is_told_in_a_line(shop: Shop) -> None:
    registry = shop.systems.registry
    with pytest.raises(InputError, match=r"model registry: has no version '99' of 'churn_model'"):
        registry.set_alias(NAME, "champion", "99")
    with pytest.raises(InputError, match=r"model registry: has no version '99' of 'churn_model'"):
        registry.tag(NAME, "99", "a", "b")

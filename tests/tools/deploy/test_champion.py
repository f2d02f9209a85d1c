"""The alias `champion` moved by hand in MLflow: what serves stays the champion of everyone, and they are told."""

from __future__ import annotations

from tests.tools.deploy.conftest import MODEL, NAME, Shop
from tools.deploy.champion import moved_alias
from tools.deploy.permission import serving_version
from tools.evaluate import contenders
from tools.retrain import evidence


def test_an_alias_that_was_moved_changes_nobodys_champion(shop: Shop) -> None:
    systems = shop.systems
    assert moved_alias(systems, MODEL) == ""
    systems.registry.set_alias(NAME, "challenger", "2")
    systems.registry.set_alias(NAME, "champion", "2")
    champion, challenger = contenders.resolve(systems, MODEL, "ChurnChallenge")
    retrained = evidence.champion(systems, MODEL)
    assert retrained is not None
    assert champion.version == serving_version(systems, MODEL) == retrained.version == "1"
    assert challenger.version == "2"
    assert moved_alias(systems, MODEL) == (
        "the alias 'champion' of churn_model is on version 2 in MLflow, and version 1 serves and counts as the "
        "champion: give the alias back to it; to have version 2 serve, give it 'challenger', evaluate and deploy it"
    )
    systems.registry.delete_alias(NAME, "champion")
    assert "is on no version in MLflow" in moved_alias(systems, MODEL)
    assert contenders.resolve(systems, MODEL, "ChurnChallenge")[0].version == "1"

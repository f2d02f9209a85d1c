"""Who the champion is: the version that answers, by the traffic split. The registry's alias only follows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tools.systems.registry import CHAMPION

if TYPE_CHECKING:
    from tools.systems.systems import Systems


def moved_alias(systems: Systems, model: str) -> str:
    """That the alias `champion` is on another version than the one that serves, in a line; empty where they agree.

    Raises SystemDown.
    """
    name, split = systems.operations.model(model).registry_name, systems.traffic.split(model)
    if split is None or (held := systems.registry.alias(name, CHAMPION)) == split.champion:
        return ""
    wanted = f"; to have version {held} serve, give it 'challenger', evaluate and deploy it" if held else ""
    return (
        f"the alias 'champion' of {name} is on {f'version {held}' if held else 'no version'} in MLflow, and version "
        f"{split.champion} serves and counts as the champion: give the alias back to it{wanted}"
    )

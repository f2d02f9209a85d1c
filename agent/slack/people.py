"""Who a Slack user is: the names under `systems.people` whose `slack` is this user's id. Nobody else acts."""

from __future__ import annotations

from agent.conversation.thread import Person
from policies.declarations.binding import Person as Declared
from tools.systems.systems import Systems


def is_user(person: Declared | None) -> bool:
    """Whether a declared person's `slack` is a member's id: a channel or a display name is nobody's identity."""
    return person is not None and (person.slack or "")[:1] in ("U", "W")


def names_of(systems: Systems, user: str) -> list[str]:
    """The declared names of a Slack user id."""
    people = systems.operations.systems.people
    return [name for name, person in people.items() if person.slack == user and is_user(person)]


def person_of(systems: Systems, user: str) -> Person:
    """Who asks, as a conversation knows them."""
    names = names_of(systems, user)
    return Person(name=names[0] if names else user, may_act=bool(names))

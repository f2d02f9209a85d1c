from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from policies.alerting import Address, AlertStatus, Change, Standing, addresses, observed
from policies.declarations import Severity
from policies.declarations.binding import Person

NOW, DAY = datetime(2026, 1, 20), timedelta(days=1)


def test_the_quiet_period_of_what_was_over_counts_from_its_end_and_not_from_the_last_call() -> None:
    over = Standing(AlertStatus.resolved, Severity.critical, called_at=NOW - 9 * DAY, resolved_at=NOW - DAY)
    assert observed(over, Severity.warning, NOW, 10 * DAY) is Change.reopened
    assert observed(over, Severity.warning, NOW, DAY) is Change.opened
    long_called = Standing(AlertStatus.resolved, Severity.critical, called_at=NOW - 9 * DAY, resolved_at=NOW)
    assert observed(long_called, Severity.warning, NOW, 10 * DAY) is Change.reopened
    assert observed(long_called, Severity.warning, NOW, 5 * DAY) is not Change.opened


BOTH = Person(slack="#ml", email="ann@example.com", pagerduty="key")


@pytest.mark.parametrize(
    ("person", "channels", "severity", "reached"),
    [
        ("ann", [], "warning", ["slack", "email"]),
        ("ann", [], "critical", ["slack", "pagerduty", "email"]),
        ("ann", ["pagerduty"], "warning", ["pagerduty"]),
        ("ann", ["slack"], "critical", ["slack"]),
        ("pager", [], "warning", ["pagerduty"]),
        ("pager", ["slack"], "warning", ["pagerduty"]),
        ("bob@example.com", [], "warning", ["email"]),
        ("bob@example.com", ["slack"], "critical", ["email"]),
        ("bob", [], "critical", []),
    ],
)
def test_where_a_person_is_reached(person: str, channels: list[str], severity: str, reached: list[str]) -> None:
    people = {"ann": BOTH, "pager": Person(pagerduty="key")}
    found = addresses(person, people, channels, Severity(severity))
    assert [each.channel for each in found] == reached
    if person == "bob@example.com":
        assert found == (Address(person, "email", person),)
    if person == "ann":
        assert {each.channel: each.address for each in found}.items() <= BOTH.model_dump().items()

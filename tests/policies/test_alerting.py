from __future__ import annotations

from datetime import datetime, timedelta

from policies.alerting import AlertStatus, Change, Standing, observed
from policies.declarations import Severity

NOW, DAY = datetime(2026, 1, 20), timedelta(days=1)


def test_the_quiet_period_of_what_was_over_counts_from_its_end_and_not_from_the_last_call() -> None:
    over = Standing(AlertStatus.resolved, Severity.critical, called_at=NOW - 9 * DAY, resolved_at=NOW - DAY)
    assert observed(over, Severity.warning, NOW, 10 * DAY) is Change.reopened
    assert observed(over, Severity.warning, NOW, DAY) is Change.opened
    long_called = Standing(AlertStatus.resolved, Severity.critical, called_at=NOW - 9 * DAY, resolved_at=NOW)
    assert observed(long_called, Severity.warning, NOW, 10 * DAY) is Change.reopened
    assert observed(long_called, Severity.warning, NOW, 5 * DAY) is not Change.opened

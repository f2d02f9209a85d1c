"""SimShop for 60 nights with the seed's story: the verdict of each night, whom it called, and its tokens."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select

from policies.declarations import Severity


def main(arguments: Sequence[str]) -> None:
    """Prints a line a night on which something happened, then the incidents and what quiet nights cost."""
    from evals.demo.shop import DEPLOYED, Shop

    parser = argparse.ArgumentParser(prog="sixty_nights", description=__doc__)
    parser.add_argument("--nights", type=int, default=60)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--customers", type=int, default=100_000)
    parser.add_argument("--planner", default="runbook")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="nights-") as folder:
        shop = Shop(Path(folder) / "shop", options.seed, options.planner, say=_say, customers=options.customers)
        try:
            shop.open()
            shop.live(DEPLOYED + timedelta(days=options.nights))
            _show(shop)
        finally:
            shop.close()


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _show(shop: Any) -> None:
    """The nights, then the sums."""
    from evals.demo.shop import DEPLOYED
    from tools.systems.tables import AlertRow

    with shop.systems.store.reading() as session:
        alerts = [row for row in session.scalars(select(AlertRow).order_by(AlertRow.id)) if row.facts]
    began: dict[date, list[str]] = {}
    for cause in shop.world.story.causes:
        began.setdefault(cause.starts, []).append(f"{cause.name} begins")
        if cause.ends is not None:
            began.setdefault(cause.ends + timedelta(days=1), []).append(f"{cause.name} is over")
    quiet, quiet_calls, quiet_tokens = 0, 0, 0
    print(f"{'night':12}{'verdict':10}{'tokens':>7}  what happened in the shop the day before; whom it called")
    for number, night in enumerate(shop.nights, 1):
        at = DEPLOYED + timedelta(days=number)
        called = [row for row in alerts if row.opened_at == at or (row.calls > 1 and row.called_at == at)]
        over = [row for row in alerts if row.resolved_at == at]
        part = night.models[0]
        if part.severity is Severity.ok:
            quiet, quiet_tokens = quiet + 1, quiet_tokens + night.budget.tokens
            quiet_calls += len(called)
        told = [*began.get((at - timedelta(days=1)).date(), ()), *(f"CALLED: {row.title}" for row in called)]
        told += [f"over: {row.title}" for row in over]
        if told:
            print(f"{at:%Y-%m-%d}  {part.severity.value:10}{night.budget.tokens:7}  {'; '.join(told)}")
    print(f"\n{len(shop.nights)} nights: {dict(Counter(n.models[0].severity.value for n in shop.nights))}")
    print(f"quiet nights: {quiet}, calls on them {quiet_calls}, tokens on them {quiet_tokens}")
    print(f"incidents: {len(alerts)}, calls {sum(row.calls for row in alerts)}")
    for row in alerts:
        print(
            f"  {row.opened_at:%Y-%m-%d} to {_day(row.resolved_at)}  seen {row.seen}, called {row.calls}: {row.title}"
        )


def _day(at: datetime | None) -> str:
    return "still open" if at is None else f"{at:%Y-%m-%d}"

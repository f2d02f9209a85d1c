"""The ledger: what does not fit is not reserved, whoever asks at the same time."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from agent.budget import BudgetExhausted, Ledger, spent_by_run
from policies.declarations.binding import Budget
from tools.systems.clock import VirtualClock
from tools.systems.store import Store

NOON = datetime(2026, 2, 2, 12)
RACER = """
import os, sys
from agent.budget import BudgetExhausted, Ledger
from policies.declarations.binding import Budget
from tools.systems.clock import VirtualClock
from tools.systems.store import Store

store = Store(sys.argv[1])
ledger = Ledger(store, VirtualClock(store), "agent", Budget(cost=1.0, tokens=10_000))
for number in range(40):
    try:
        reservation = ledger.reserve(f"run-{os.getpid()}", "gpt-4o", 0.03, 100)
    except BudgetExhausted:
        break
    if sys.argv[2] == "dies" and number == 0:
        os.kill(os.getpid(), 9)
    ledger.settle(reservation, 0.02, 60)
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    opened = Store(f"sqlite:///{tmp_path / 'state.db'}")
    VirtualClock(opened).set(NOON)
    return opened


def ledger(store: Store, cost: float = 1.0, tokens: int = 10_000) -> Ledger:
    return Ledger(store, VirtualClock(store), "agent", Budget(cost=cost, tokens=tokens))


def test_a_call_that_does_not_fit_is_refused_with_the_numbers(store: Store) -> None:
    book = ledger(store, cost=0.10)
    book.reserve("run-1", "gpt-4o", 0.07, 100)
    with pytest.raises(BudgetExhausted, match=r"\$0\.0400 and 100 tokens; of \$0\.10") as refused:
        book.reserve("run-1", "gpt-4o", 0.04, 100)
    assert (refused.value.exit_code, refused.value.policy) == (3, "budget")
    assert book.spent().cost_usd == 0.07


def test_tokens_are_a_limit_of_their_own(store: Store) -> None:
    book = ledger(store, tokens=1000)
    book.reserve("run-1", "gpt-4o", 0.01, 900)
    with pytest.raises(BudgetExhausted):
        book.reserve("run-2", "gpt-4o", 0.01, 101)


def test_settling_frees_what_was_not_used_and_an_unknown_outcome_stays_charged(store: Store) -> None:
    book = ledger(store)
    book.settle(book.reserve("run-1", "gpt-4o", 0.5, 100), 0.1, 20)
    book.reserve("run-2", "gpt-4o", 0.5, 100)
    assert book.spent().model_dump() == {"cost_usd": 0.6, "tokens": 120, "llm_calls": 2}
    assert spent_by_run(store, "run-1").cost_usd == 0.1


def test_the_day_rolls_and_a_clock_set_back_frees_nothing(store: Store) -> None:
    book, clock = ledger(store), VirtualClock(store)
    book.reserve("run-1", "gpt-4o", 1.0, 100)
    clock.set(NOON - timedelta(days=3))
    with pytest.raises(BudgetExhausted):
        book.reserve("run-2", "gpt-4o", 0.01, 1)
    clock.set(NOON + timedelta(hours=23))
    with pytest.raises(BudgetExhausted):
        book.reserve("run-2", "gpt-4o", 0.01, 1)
    clock.set(NOON + timedelta(hours=24))
    book.reserve("run-2", "gpt-4o", 0.01, 1)


def test_racing_processes_never_exceed_it_together_even_if_one_is_killed(store_url: str) -> None:
    url, root = store_url, Path(__file__).parents[2]
    store = Store(url)
    VirtualClock(store).set(NOON)
    killed = subprocess.run([sys.executable, "-c", RACER, url, "dies"], cwd=root, timeout=120, check=False)
    assert killed.returncode == -9
    racers = [subprocess.Popen([sys.executable, "-c", RACER, url, "lives"], cwd=root) for _ in range(3)]
    assert [racer.wait(timeout=120) for racer in racers] == [0, 0, 0]
    spent = ledger(store).spent()
    assert 0.97 < spent.cost_usd <= 1.0
    assert spent.tokens <= 10_000

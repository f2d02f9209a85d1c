"""The budget: what an agent may still spend, kept in the state store and asked before every model call.

A call is reserved at its upper bound before it is made, and settled to what the provider reports after. A reservation
that is never settled (a timeout, a crash) stays charged. All runs of an agent share one budget; reserving is one
exclusive transaction, so that racing processes never exceed it together.
"""

from __future__ import annotations

from datetime import timedelta

from pydantic import BaseModel, ConfigDict
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from policies.declarations.binding import Budget
from policies.errors import PolicyRefusal
from tools.systems.clock import Clock
from tools.systems.store import Store
from tools.systems.tables import SpendRow

PERIOD = timedelta(days=1)
"""A budget is per rolling day."""


class BudgetExhausted(PolicyRefusal):
    """The next model call does not fit into what is left; it was not made."""

    def __init__(self, reason: str, where: str = "") -> None:
        super().__init__("budget", reason, where)


class Spent(BaseModel):
    """Settled and reserved spending: US dollars, tokens, and model calls (each attempt is one)."""

    model_config = ConfigDict(frozen=True)

    cost_usd: float = 0.0
    tokens: int = 0
    llm_calls: int = 0


class Ledger:
    """One agent's spending against its declared budget a day, and a run's against `per_run`, where one is declared."""

    def __init__(self, store: Store, clock: Clock, agent: str, declared: Budget, per_run: Budget | None = None) -> None:
        self.agent = agent
        self.declared = declared
        self.per_run = per_run
        self._store = store
        self._clock = clock

    def reserve(self, run_id: str, model: str, usd: float, tokens: int) -> int:
        """Commits a reservation before a model call, returns its number. Raises BudgetExhausted if it does not fit."""
        with self._store.writing() as session:
            self._fits(self._spent(session), self.declared, "a day", usd, tokens)
            if self.per_run is not None:
                of_run = _total(session, SpendRow.agent == self.agent, SpendRow.run_id == run_id)
                self._fits(of_run, self.per_run, "a run", usd, tokens)
            row = SpendRow(
                agent=self.agent,
                run_id=run_id,
                at=self._clock.now(),
                model=model,
                reserved_usd=usd,
                reserved_tokens=tokens,
            )
            session.add(row)
            session.flush()
            return row.id

    def _fits(self, spent: Spent, cap: Budget, of: str, usd: float, tokens: int) -> None:
        if spent.cost_usd + usd > cap.cost or spent.tokens + tokens > cap.tokens:
            raise BudgetExhausted(
                f"the next call may cost ${usd:.4f} and {tokens} tokens; of ${cap.cost:.2f} and "
                f"{cap.tokens} tokens {of}, ${spent.cost_usd:.4f} and {spent.tokens} are spent",
                where=f"agents.{self.agent}",
            )

    def settle(self, reservation: int, usd: float, prompt: int, output: int = 0) -> None:
        """Replaces a reservation by what the call did cost (0 where the provider refused it), and its tokens."""
        with self._store.writing() as session:
            row = session.get_one(SpendRow, reservation)
            row.settled_usd, row.settled_tokens = usd, prompt + output
            row.prompt_tokens, row.output_tokens, row.ended_at = prompt, output, self._clock.now()

    def spent(self) -> Spent:
        """What the agent spent in the last rolling day, reservations included."""
        with self._store.reading() as session:
            return self._spent(session)

    def _spent(self, session: Session) -> Spent:
        # no upper bound on `at`: a clock set back must not free what was spent
        return _total(session, SpendRow.agent == self.agent, SpendRow.at > self._clock.now() - PERIOD)


def spent_by_run(store: Store, run_id: str) -> Spent:
    """What one run spent, reservations included."""
    with store.reading() as session:
        return _total(session, SpendRow.run_id == run_id)


def _total(session: Session, *where: object) -> Spent:
    usd = func.coalesce(SpendRow.settled_usd, SpendRow.reserved_usd)
    tokens = func.coalesce(SpendRow.settled_tokens, SpendRow.reserved_tokens)
    query = select(func.coalesce(func.sum(usd), 0.0), func.coalesce(func.sum(tokens), 0), func.count())
    row = session.execute(query.where(*where)).one()  # type: ignore[arg-type]
    return Spent(cost_usd=round(float(row[0]), 9), tokens=int(row[1]), llm_calls=int(row[2]))

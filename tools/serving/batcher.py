"""Micro-batching: requests that arrived in the same turn of the event loop are scored in one call."""

from __future__ import annotations

import asyncio
from typing import Any

from tools.serving.scorer import Scorer, ScoringFailed
from tools.tasks import Answer


class Batcher:
    """Scores rows in process. A row that the model fails on fails its own request only."""

    def __init__(self) -> None:
        self._pending: list[tuple[Scorer, list[Any], asyncio.Future[list[Answer]]]] = []

    async def score(self, scorer: Scorer, rows: list[Any]) -> list[Answer]:
        """Answers to encoded rows. Raises ScoringFailed."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[Answer]] = loop.create_future()
        if not self._pending:
            loop.call_soon(self._run)
        self._pending.append((scorer, rows, answer))
        return await answer

    def _run(self) -> None:
        pending, self._pending = self._pending, []
        if len({id(scorer) for scorer, _, _ in pending}) > 1 or len(pending) == 1:
            for scorer, rows, answer in pending:
                _alone(scorer, rows, answer)
            return
        try:
            scores = pending[0][0].score([row for _, rows, _ in pending for row in rows])
        except ScoringFailed:
            for scorer, rows, answer in pending:
                _alone(scorer, rows, answer)
            return
        start = 0
        for _, rows, answer in pending:
            if not answer.done():
                answer.set_result(scores[start : start + len(rows)])
            start += len(rows)


def _alone(scorer: Scorer, rows: list[Any], answer: asyncio.Future[list[Answer]]) -> None:
    if answer.done():
        return
    try:
        answer.set_result(scorer.score(rows))
    except ScoringFailed as error:
        answer.set_exception(error)

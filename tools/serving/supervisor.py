"""The worker processes of one gateway: forked from this process, which has the libraries loaded and answers nothing.

All take connections from one listening socket. Its queue belongs to no worker, so that one that is killed loses what it
had taken and no more; with a socket each (SO_REUSEPORT) the kernel would go on handing callers to the dead one's queue.
A fork starts in milliseconds and shares the libraries' memory. This process is single-threaded, opens no connection to
a system that could be shared by mistake, and reads what the workers do from their rows of numbers.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from policies.autoscaling import Autoscaler
from tools.serving.lifeline import die_with_parent
from tools.serving.metrics import ARRIVED, BEAT, SERVING, Layout, Metrics
from tools.serving.worker import DRAIN, SHUTDOWN_SECONDS

if TYPE_CHECKING:
    from tools.serving.metrics import Row

TICK_SECONDS = 0.05
HUNG_SECONDS = 5.0
"""A serving worker whose loop has not turned for so long is killed and replaced."""
_RESTART_SECONDS = (0.1, 10.0)
_SETTLED_SECONDS = 10.0
"""A worker that lived for so long was no failed start."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)

log = logging.getLogger("guardian.gateway")


@dataclass(frozen=True)
class Seat:
    """What a new worker is told: its row; whether others serve, so that it may wait until it can; whom it replaces."""

    slot: int
    patient: bool = False
    gone: tuple[int, ...] = ()


@dataclass
class _Worker:
    pid: int
    metrics: Metrics
    slot: int
    started: float
    asked_to_leave: bool = False

    @property
    def serving(self) -> bool:
        return bool(self.metrics[SERVING])


class Supervisor:
    """Keeps as many workers as the autoscaler wants. `run` is what a worker does, in its own process.

    `gone` are the processes of an earlier gateway that was killed.
    """

    def __init__(
        self,
        run: Callable[[Seat], None],
        layout: Layout,
        rows: Sequence[Row],
        scaler: Autoscaler,
        gone: Sequence[int] = (),
    ) -> None:
        self._run = run
        self._layout = layout
        self._rows = rows
        self._scaler = scaler
        self._workers: dict[int, _Worker] = {}
        self._gone = [*gone]
        self._not_before = 0.0
        self._pause = _RESTART_SECONDS[0]

    def serve(self) -> None:
        """Until SIGTERM or SIGINT; then the workers answer what they have taken, and write the log."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        ended = None
        while ended not in (signal.SIGTERM, signal.SIGINT):
            self._reap()
            self._keep(time.monotonic())
            received = signal.sigtimedwait(_SIGNALS, TICK_SECONDS)
            ended = received.si_signo if received is not None else None
        self._stop()

    def _keep(self, now: float) -> None:
        arrived = self._layout.at[ARRIVED]
        before = self._scaler.wanted
        wanted = self._scaler.observe(sum(row[arrived] for row in self._rows), now)
        if wanted != before:
            log.info("%d instances, %d before: %.0f requests a second", wanted, before, self._scaler.rate)
        for worker in self._workers.values():
            if worker.serving and now - worker.metrics[BEAT] > HUNG_SECONDS:
                log.error("worker %d hangs, is killed", worker.pid)
                os.kill(worker.pid, signal.SIGKILL)
        kept = [worker for worker in self._workers.values() if not worker.asked_to_leave]
        starting = sum(not worker.serving for worker in kept)
        # Loading is work for a core: more at once than there are cores would be in the way of those that serve.
        if len(kept) < wanted and now >= self._not_before and starting < (os.cpu_count() or 1):
            self._start(now, patient=len(kept) > starting)
        # First those that do not serve yet, then the youngest.
        for worker in sorted(kept, key=lambda each: (each.serving, -each.started))[: max(len(kept) - wanted, 0)]:
            worker.asked_to_leave = True
            os.kill(worker.pid, DRAIN)

    def _start(self, now: float, *, patient: bool) -> None:
        used = {worker.slot for worker in self._workers.values()}
        slot = next((number for number in range(len(self._rows)) if number not in used), None)
        if slot is None:
            return  # those that leave have not left yet
        seat, parent = Seat(slot, patient, tuple(self._gone)), os.getpid()
        self._gone.clear()
        metrics = Metrics(self._layout, self._rows, slot)
        metrics.start()
        pid = os.fork()
        if pid == 0:
            self._be_worker(seat, parent)
        self._workers[pid] = _Worker(pid, metrics, slot, now)

    def _be_worker(self, seat: Seat, parent: int) -> None:
        code = 1
        try:
            die_with_parent(parent)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            self._run(seat)
            code = 0
        except BaseException as error:
            log.exception("worker %d: %s", os.getpid(), error)
        finally:
            sys.stderr.flush()
            os._exit(code)  # what the supervisor would do at its end is not the worker's to do

    def _reap(self) -> None:
        while self._workers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            worker = self._workers.pop(pid)
            lost = worker.metrics.end()
            if lost:
                log.error("worker %d: %d rows of the prediction log are lost", pid, lost)
            if worker.asked_to_leave:
                continue
            now = time.monotonic()
            first, longest = _RESTART_SECONDS
            self._pause = first if now - worker.started > _SETTLED_SECONDS else min(self._pause * 2, longest)
            self._not_before = now if self._pause == first else now + self._pause
            self._gone.append(pid)
            code = os.waitstatus_to_exitcode(status)
            log.error(
                "worker %d ended (%s), another is started", pid, f"signal {-code}" if code < 0 else f"exit {code}"
            )

    def _stop(self) -> None:
        for worker in self._workers.values():
            worker.asked_to_leave = True
            os.kill(worker.pid, signal.SIGTERM)
        until = time.monotonic() + SHUTDOWN_SECONDS + 2.0
        while self._workers:
            self._reap()
            if time.monotonic() > until:
                for pid in self._workers:
                    os.kill(pid, signal.SIGKILL)
            if self._workers:
                signal.sigtimedwait((signal.SIGCHLD,), TICK_SECONDS)

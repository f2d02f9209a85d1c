"""The worker processes of one gateway: forked from this process, which has the libraries loaded and answers nothing.

All take connections from one listening socket. Its queue belongs to no worker, so that one that is killed loses what it
had taken and no more; with a socket each (SO_REUSEPORT) the kernel would go on handing callers to the dead one's queue.
A fork starts in milliseconds and shares the libraries' memory. This process runs no thread, opens no connection to a
system that could be shared by mistake, and reads what the workers do from their rows of numbers.

Each worker has a challenger process of its own. One for all would be the only thing that does not grow with the load:
at half the traffic of ten workers it would miss its deadline for want of a core, which would look like its own fault;
and one crash would cost all of its answers. They are forked here too, so that ten cost little more memory than one.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from policies.autoscaling import Autoscaler
from policies.errors import SystemDown
from tools.serving import challenger_worker
from tools.serving.lifeline import die_with_parent
from tools.serving.metrics import ARRIVED, BEAT, SERVING, Layout, Metrics
from tools.serving.nursery import obey
from tools.serving.worker import DRAIN, SHUTDOWN_SECONDS

if TYPE_CHECKING:
    from tools.serving.metrics import Row

TICK_SECONDS = 0.05
HUNG_SECONDS = 5.0
"""A serving worker whose loop has not turned for so long is killed and replaced."""
_RESTART_SECONDS = (0.1, 10.0)
_SETTLED_SECONDS = 10.0
"""A worker that lived for so long was no failed start."""
_MOST_FAILED_STARTS = 4
"""So many in a row, none serving, and the gateway ends: its callers would wait for an answer that does not come."""
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)

log = logging.getLogger("guardian.gateway")


@dataclass(frozen=True)
class Seat:
    """What a new worker is told.

    Its row; whether others serve, so that it may wait until it can; who was killed; its line to the supervisor.
    """

    slot: int
    patient: bool = False
    gone: tuple[int, ...] = ()
    line: socket.socket | None = None


@dataclass
class _Worker:
    pid: int
    metrics: Metrics
    slot: int
    started: float
    line: socket.socket
    challengers: set[int] = field(default_factory=set)
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
        self._ending = False
        self._not_before = 0.0
        self._failed_starts = 0

    def serve(self) -> None:
        """Until SIGTERM or SIGINT; then the workers answer what they have taken, and write the log.

        Raises SystemDown where no worker stays alive.
        """
        woken, self._waker = socket.socketpair()
        for end in (woken, self._waker):
            end.setblocking(False)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        for number in _SIGNALS:
            signal.signal(number, self._on_signal)
        while not self._ending and not self._hopeless:
            self._reap()
            self._keep(time.monotonic())
            self._wait(woken)
        self._stop(woken)
        if not self._ending:
            raise SystemDown(f"{self._failed_starts} workers in a row ended as they started", where="gateway")

    @property
    def _hopeless(self) -> bool:
        serving = any(worker.serving for worker in self._workers.values())
        return self._failed_starts >= _MOST_FAILED_STARTS and not serving

    def _on_signal(self, number: int, _: object) -> None:
        self._ending = self._ending or number != signal.SIGCHLD

    def _wait(self, woken: socket.socket) -> None:
        """For the next tick, a signal or what a worker asks; does the latter."""
        lines = {worker.line: worker for worker in self._workers.values()}
        for ready in select.select([woken, *lines], [], [], TICK_SECONDS)[0]:
            if ready is woken:
                with suppress(BlockingIOError):
                    woken.recv(4096)
            else:
                self._obey(lines[ready])

    def _obey(self, worker: _Worker) -> None:
        def fork(end: int) -> int:
            pid = self._fork(lambda: challenger_worker.main([str(end), str(parent)]), end)
            worker.challengers.add(pid)
            return pid

        def kill(pid: int) -> None:
            if pid in worker.challengers:
                os.kill(pid, signal.SIGKILL)

        parent = os.getpid()
        with suppress(OSError):  # the worker died meanwhile, and is reaped next
            obey(worker.line, fork, kill)

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
        line, theirs = socket.socketpair()
        seat = Seat(slot, patient, tuple(self._gone), theirs)
        self._gone.clear()
        metrics = Metrics(self._layout, self._rows, slot)
        metrics.start()
        with theirs:
            pid = self._fork(lambda: self._run(seat))
        self._workers[pid] = _Worker(pid, metrics, slot, now, line)

    def _fork(self, work: Callable[[], object], *only: int) -> int:
        """The id of a new process that does `work`; with descriptors in `only`, it has no others than these."""
        parent = os.getpid()
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # until they are the child's own
        pid = os.fork()
        if pid == 0:
            self._be_child(work, parent, only)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        return pid

    def _be_child(self, work: Callable[[], object], parent: int, only: Sequence[int]) -> NoReturn:
        code = 1
        try:
            die_with_parent(parent)
            signal.set_wakeup_fd(-1)
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            for worker in self._workers.values():
                worker.line.close()
            if only:
                _close_all_but(only)
            work()
            code = 0
        except BaseException as error:
            log.exception("process %d: %s", os.getpid(), error)
        finally:
            sys.stderr.flush()
            os._exit(code)  # what the supervisor would do at its end is not the child's to do

    def _reap(self) -> None:
        while self._workers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            worker = self._workers.pop(pid, None)
            if worker is None:
                for each in self._workers.values():
                    each.challengers.discard(pid)
                continue
            worker.line.close()
            for challenger in worker.challengers:
                with suppress(ProcessLookupError):
                    os.kill(challenger, signal.SIGKILL)
            lost = worker.metrics.end()
            if lost:
                log.error("worker %d: %d rows of the prediction log are lost", pid, lost)
            if worker.asked_to_leave:
                continue
            now = time.monotonic()
            first, longest = _RESTART_SECONDS
            self._failed_starts = 0 if now - worker.started > _SETTLED_SECONDS else self._failed_starts + 1
            self._not_before = now + min(first * 2**self._failed_starts, longest) if self._failed_starts else now
            self._gone.append(pid)
            code = os.waitstatus_to_exitcode(status)
            log.error(
                "worker %d ended (%s), another is started", pid, f"signal {-code}" if code < 0 else f"exit {code}"
            )

    def _stop(self, woken: socket.socket) -> None:
        for worker in self._workers.values():
            worker.asked_to_leave = True
            os.kill(worker.pid, signal.SIGTERM)
        until = time.monotonic() + SHUTDOWN_SECONDS + 2.0
        while self._workers:
            self._reap()
            if time.monotonic() > until:
                for pid in self._workers:
                    os.kill(pid, signal.SIGKILL)
            self._wait(woken)


def _close_all_but(descriptors: Sequence[int]) -> None:
    """Above the standard three: a challenger has nothing to do with the gateway's sockets."""
    first = 3
    for descriptor in sorted(descriptors):
        os.closerange(first, descriptor)
        first = descriptor + 1
    os.closerange(first, os.sysconf("SC_OPEN_MAX"))

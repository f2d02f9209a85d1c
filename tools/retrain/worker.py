"""The process that trains: `python -m tools.retrain.worker FD`, with its end of a socket at that file descriptor.

It touches no store, registry or table: it gets rows and gives back trials and models. So it can be stopped at any
moment and nothing is left half done. It ends with the process that started it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection

from policies.errors import InputError
from tools.retrain import limits
from tools.retrain.job import Failed, Finished, Job, Message, NewBest, TrialsDone


def main(descriptor: int) -> None:
    """Receives one job, does it and says what came of it."""
    os.set_inheritable(descriptor, False)
    parent = Connection(descriptor)
    # What every job needs, imported while the parent still reads the rows.
    import optuna
    import sklearn.compose
    import sklearn.ensemble  # noqa: F401

    try:
        job = parent.recv()
    except (EOFError, OSError):
        return  # whoever started it was gone before the job had arrived
    assert isinstance(job, Job)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    try:
        limits.limit_memory(job.training.memory_limit_gb)
        parent.send(work(job, parent.send))
    except MemoryError:
        parent.send(Failed(f"memory_limit_gb: {job.training.memory_limit_gb:g} GB did not suffice", "training"))
    except InputError as error:
        parent.send(Failed(error.message, error.where or "training"))
    except optuna.exceptions.OptunaError as error:
        parent.send(Failed(f"the search failed: {error}", ""))


def work(job: Job, tell: Callable[[Message], None]) -> Finished:
    """Searches, then fits the best parameters once more on train and validation together; tells what ends."""
    import cloudpickle

    from tools.retrain.compute import RayTasks, Threads
    from tools.retrain.recipes import resolve
    from tools.retrain.search import Task, search

    declared = job.training
    recipe = resolve(declared.use_experiment, job.home, job.features, job.target, job.known, job.scratch, job.task)
    train, validation = job.rows.at(slice(None, job.cut)), job.rows.at(slice(job.cut, None))
    task = Task.of(recipe, train, validation, job.objective, job.seed, job.task)
    remote = declared.compute == "ray" and recipe.tunable
    best = search(
        task,
        RayTasks(declared.address or "", declared.memory_limit_gb) if remote else Threads(),
        trials=job.trials if recipe.tunable else 1,
        max_seconds=job.search_seconds,
        earlier=job.earlier,
        on_trials=lambda records: tell(TrialsDone(records)),
        on_best=lambda best: tell(NewBest(best, recipe.described(best.parameters), task.judged.outcomes)),
    )
    return Finished(cloudpickle.dumps(recipe.fit(best.parameters, job.rows, declared.max_rows, job.seed)))


def _end_with(parent: Connection) -> None:
    """Ends this process, and all that it started, when the parent is gone."""
    try:
        parent.recv()
    except (EOFError, OSError):
        os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main(int(sys.argv[1]))

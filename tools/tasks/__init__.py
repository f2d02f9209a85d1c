"""What differs by what a model foretells: whether (`binary`), which (`multiclass`) or how much (`regression`).

`of(name)` is the one place where a task is looked up. Learning, judging, serving and rolling out ask the task and never
its name; a further one is a module with the methods of `Task`, a line in TASKS, and its metrics in `policies.tasks`.
"""

from tools.tasks.binary import Binary
from tools.tasks.multiclass import Multiclass
from tools.tasks.regression import Regression
from tools.tasks.task import Answer, Answers, Outcomes, Reading, Support, Task, differ, known_outcomes, measured, sound

__all__ = [
    "BINARY", "TASKS", "Answer", "Answers", "Outcomes", "Reading", "Support", "Task", "differ",
    "known_outcomes", "measured", "of", "sound",
]  # fmt: skip

BINARY: Task = Binary()
TASKS: dict[str, Task] = {each.name: each for each in (BINARY, Multiclass(), Regression())}


def of(name: str) -> Task:
    """The task of that name, as a model's binding declares it."""
    return TASKS[name]

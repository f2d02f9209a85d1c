"""The one exception tree of the project.

::

    GuardianError            exit 1   anything the Guardian itself raises
    ├── InputError           exit 2   bad usage, reference or data; says what would be right
    │   └── DeclarationError exit 2   problems in a declarations file, each with its line
    ├── PolicyRefusal        exit 3   a policy says no: which one, and why
    │   └── BudgetExhausted  exit 3   the next model call does not fit the budget   (agent.budget)
    ├── ApprovalPending      exit 4   waiting for a person: the approval's id
    ├── SystemDown           exit 1   a system stayed down after retries
    │   └── ProviderDown     exit 1   the language model did not answer             (agent.planners.protocol)
    ├── StaleRevision        exit 1   someone else changed the row meanwhile        (tools.systems.store)
    └── RunBusy              exit 1   another process works on this run             (agent.runs)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class GuardianError(Exception):
    """Base of all errors raised on purpose. `where` names the file, table, declaration or system at fault."""

    exit_code = 1
    kind = "failed"

    def __init__(self, message: str, where: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.where = where

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


class InputError(GuardianError):
    """Bad usage, a dangling reference or unusable data. The message says what would be right."""

    exit_code = 2
    kind = "input"


@dataclass(frozen=True)
class Problem:
    """One fault in a declarations file: `place` is the dotted path, `line` counts from 1 (0: unknown)."""

    file: str
    line: int
    place: str
    cause: str

    def __str__(self) -> str:
        at = f"{self.file}:{self.line}" if self.line else self.file
        return f"{at}: {self.place}: {self.cause}" if self.place else f"{at}: {self.cause}"


class DeclarationError(InputError):
    """Every problem found in a declarations file, not only the first."""

    kind = "declaration"

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in problems))

    def __str__(self) -> str:
        return self.message


class PolicyRefusal(GuardianError):
    """A policy refused the action. `policy` is its name, the message its reason."""

    exit_code = 3
    kind = "policy"

    def __init__(self, policy: str, reason: str, where: str = "") -> None:
        super().__init__(f"blocked by policy {policy}: {reason}", where)
        self.policy = policy
        self.reason = reason


class ApprovalPending(GuardianError):
    """The action waits for a person's decision."""

    exit_code = 4
    kind = "approval"

    def __init__(self, approval_id: str, reason: str) -> None:
        super().__init__(f"waiting for approval {approval_id}: {reason}")
        self.approval_id = approval_id


class SystemDown(GuardianError):
    """A system the Guardian acts on did not answer, after retries."""

    kind = "system"

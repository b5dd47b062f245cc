"""What happened in a run, in columns: every task, every attempt, and the board at regular times."""

from array import array
from typing import NamedTuple

OUTCOMES = (
    "running",
    "completed",
    "rejected",
    "failed",
    "released",
    "blocked",
    "expired",
    "stopped",
)
ENDS = ("open", "done", "dead_letter", "cancelled")
NEVER = -1


class Sample(NamedTuple):
    """The board at an instant."""

    at_us: int
    created: int
    done: int
    dead: int
    ready: int  # could be assigned at once
    open: int  # not assigned: ready, waiting for dependencies, or on hold
    assigned: int
    blocked: int
    in_review: int
    busy: int  # agents that hold a task
    waiting: int  # agents that wait for one
    here: int  # agents that are not away


class Ledger:
    """Columns that grow as things happen. Instants are microseconds since the start.

    Tasks are told by their numbers from 1, attempts by their row.
    """

    def __init__(self) -> None:
        self.created_us = array("q")
        self.ready_us = array("q")  # first time that nothing stood before it
        self.started_us = array("q")  # first assignment
        self.ended_us = array("q")
        self.end = array("b")  # index into ENDS
        self.priority = array("b")
        self.project = array("h")
        self.human_min = array("f")
        self.attempts = array("h")
        self.is_wrong = array("b")  # accepted although it was not right
        # of attempts
        self.task = array("i")
        self.agent = array("i")
        self.from_us = array("q")
        self.to_us = array("q")  # when the agent was free again
        self.outcome = array("b")
        self.tokens = array("q")
        self.samples: list[Sample] = []
        # Work in system, integrated: the sum over time of all tasks created and not ended.
        self.n_inside = 0
        self.n_ended = [0] * len(ENDS)
        self.inside_us = 0  # task-microseconds
        self._inside_since_us = 0

    def created(
        self, at_us: int, *, project: int, priority: int, human_min: float, is_ready: bool
    ) -> None:
        self.created_us.append(at_us)
        self.ready_us.append(at_us if is_ready else NEVER)
        self.started_us.append(NEVER)
        self.ended_us.append(NEVER)
        self.end.append(0)
        self.priority.append(priority)
        self.project.append(project)
        self.human_min.append(human_min)
        self.attempts.append(0)
        self.is_wrong.append(0)
        self.count_until(at_us)
        self.n_inside += 1

    def became_ready(self, number: int, at_us: int) -> None:
        if self.ready_us[number - 1] == NEVER:
            self.ready_us[number - 1] = at_us

    def started(self, number: int, agent: int, at_us: int) -> int:
        """Note an assignment; return the row of its attempt."""
        task = number - 1
        if self.started_us[task] == NEVER:
            self.started_us[task] = at_us
        self.attempts[task] += 1
        self.task.append(number)
        self.agent.append(agent)
        self.from_us.append(at_us)
        self.to_us.append(NEVER)
        self.outcome.append(0)
        self.tokens.append(0)
        return len(self.task) - 1

    def freed(self, row: int, at_us: int) -> None:
        """Note that the agent is done with it."""
        if self.to_us[row] == NEVER:
            self.to_us[row] = at_us

    def judged(self, row: int, outcome: str) -> None:
        self.outcome[row] = OUTCOMES.index(outcome)

    def ended(self, number: int, at_us: int, end: str, *, is_wrong: bool = False) -> None:
        task, how = number - 1, ENDS.index(end)
        self.ended_us[task] = at_us
        self.end[task] = how
        self.is_wrong[task] = is_wrong
        self.n_ended[how] += 1
        self.count_until(at_us)
        self.n_inside -= 1

    def count_until(self, at_us: int) -> None:
        """Bring the integral up to an instant."""
        self.inside_us += self.n_inside * (at_us - self._inside_since_us)
        self._inside_since_us = at_us

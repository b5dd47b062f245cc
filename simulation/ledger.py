"""What happened in a run, in columns: every task, every attempt, and the board at regular times.

Rows of which nothing will change any more go to an unnamed file, so that a year takes no more
memory than a fortnight.
"""

import tempfile
import weakref
from array import array
from io import BufferedRandom
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

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


# Instants are microseconds since the start.
_TASK = {
    "created_us": "q",
    "ready_us": "q",  # first time that nothing stood before it
    "started_us": "q",  # first assignment
    "ended_us": "q",
    "end": "b",  # index into ENDS
    "priority": "b",
    "project": "h",
    "human_min": "d",
    "attempts": "h",
    "is_wrong": "b",  # accepted although it was not right
}
_ATTEMPT = {
    "task": "i",
    "agent": "i",
    "from_us": "q",
    "to_us": "q",  # when the agent was free again
    "outcome": "b",
    "tokens": "q",
}
# Of answers of people; whether it helped stands in what it was about.
_ANSWER = {"asked_us": "q", "waited_us": "q", "worked_us": "q"}
SPILL_ROWS = 1 << 16  # at once


class Columns:
    """Arrays of one length. The first rows lie in files, where they do not change any more."""

    def __init__(self, types: dict[str, str]) -> None:
        self.first = 0  # rows in files
        self.arrays: dict[str, array[Any]] = {name: array(code) for name, code in types.items()}
        self._files: dict[str, BufferedRandom] = {}

    def spill(self, n: int) -> None:
        """Take ``n`` more rows out of memory."""
        for name, values in self.arrays.items():
            if name not in self._files:
                file = self._files[name] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with this
                weakref.finalize(self, file.close)
            self._files[name].write(values[:n].tobytes())
            del values[:n]
        self.first += n

    def read(self, name: str) -> NDArray[Any]:
        """Return the whole column."""
        values = self.arrays[name]
        column = np.empty(self.first + len(values), values.typecode)
        column[self.first :] = values
        if self.first:
            file = self._files[name]
            file.flush()
            file.seek(0)
            file.readinto(column[: self.first].view(np.uint8).data)  # leaves the file at its end
        return column


class Ledger:
    """Columns that grow as things happen.

    Tasks are told by their numbers from 1, attempts by their row.
    """

    def __init__(self) -> None:
        self._tasks, self._attempts = Columns(_TASK), Columns(_ATTEMPT)
        tasks, attempts = self._tasks.arrays, self._attempts.arrays
        self._created_us, self._ready_us = tasks["created_us"], tasks["ready_us"]
        self._started_us, self._ended_us = tasks["started_us"], tasks["ended_us"]
        self._end, self._n_attempts = tasks["end"], tasks["attempts"]
        self._is_wrong, self._to_us = tasks["is_wrong"], attempts["to_us"]
        self._outcome, self._tokens = attempts["outcome"], attempts["tokens"]
        self._answers = Columns(_ANSWER)
        self._samples: array[int] = array("q")
        self.n_questions_open = 0  # to people, when the run ended
        self.n_inside = 0  # tasks created and not ended
        self.n_ended = [0] * len(ENDS)

    @property
    def n_tasks(self) -> int:
        return self._tasks.first + len(self._created_us)

    @property
    def n_attempts(self) -> int:
        return self._attempts.first + len(self._to_us)

    @property
    def n_in_files(self) -> int:
        """Rows that are out of memory."""
        return self._tasks.first + self._attempts.first

    def column(self, name: str) -> NDArray[Any]:
        """One column as an array, shape (n_tasks,), (n_attempts,) or (n_answers,)."""
        if name in _ANSWER:
            return self._answers.read(name)
        return (self._tasks if name in _TASK else self._attempts).read(name)

    @property
    def samples(self) -> list[Sample]:
        """The board at regular times."""
        values, n = self._samples, len(Sample._fields)
        return [Sample(*values[i : i + n]) for i in range(0, len(values), n)]

    def sampled(self, sample: Sample) -> None:
        self._samples.extend(sample)
        if len(self._created_us) > 2 * SPILL_ROWS:
            self._spill()

    def created(
        self, at_us: int, *, project: int, priority: int, human_min: float, is_ready: bool
    ) -> None:
        row = (at_us, at_us if is_ready else NEVER, NEVER, NEVER, 0, priority, project, human_min)
        for values, value in zip(self._tasks.arrays.values(), (*row, 0, 0), strict=True):
            values.append(value)
        self.n_inside += 1

    def human_min(self, number: int) -> float:
        return cast("float", self._tasks.arrays["human_min"][number - 1 - self._tasks.first])

    def became_ready(self, number: int, at_us: int) -> None:
        task = number - 1 - self._tasks.first
        if self._ready_us[task] == NEVER:
            self._ready_us[task] = at_us

    def started(self, number: int, agent: int, at_us: int) -> int:
        """Note an assignment; return the row of its attempt."""
        task = number - 1 - self._tasks.first
        if self._started_us[task] == NEVER:
            self._started_us[task] = at_us
        self._n_attempts[task] += 1
        row = (number, agent, at_us, NEVER, 0, 0)
        for values, value in zip(self._attempts.arrays.values(), row, strict=True):
            values.append(value)
        return self.n_attempts - 1

    def used(self, row: int, tokens: int) -> None:
        self._tokens[row - self._attempts.first] += tokens

    def freed(self, row: int, at_us: int) -> None:
        """Note that the agent is done with it."""
        place = row - self._attempts.first
        if self._to_us[place] == NEVER:
            self._to_us[place] = at_us

    def judged(self, row: int, outcome: str) -> None:
        self._outcome[row - self._attempts.first] = OUTCOMES.index(outcome)

    def answered(self, asked_us: int, waited_us: int, worked_us: int) -> None:
        """Note a person's answer."""
        row = (asked_us, waited_us, worked_us)
        for values, value in zip(self._answers.arrays.values(), row, strict=True):
            values.append(value)

    def ended(self, number: int, at_us: int, end: str, *, is_wrong: bool = False) -> None:
        task, how = number - 1 - self._tasks.first, ENDS.index(end)
        self._ended_us[task] = at_us
        self._end[task] = how
        self._is_wrong[task] = is_wrong
        self.n_ended[how] += 1
        self.n_inside -= 1

    def _spill(self) -> None:
        """Take old rows out of memory: tasks that have ended, and attempts at them that are over.

        Nothing of an ended task is noted any more, but that an agent that came late is free.
        """
        if all(at_us != NEVER for at_us in self._ended_us[:SPILL_ROWS]):
            self._tasks.spill(SPILL_ROWS)
        tasks = np.array(self._attempts.arrays["task"][:SPILL_ROWS]) - 1 - self._tasks.first
        is_over = (tasks < 0) & (np.array(self._to_us[:SPILL_ROWS]) != NEVER)
        if len(tasks) == SPILL_ROWS and is_over.all():
            self._attempts.spill(SPILL_ROWS)

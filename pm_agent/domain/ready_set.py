"""The ready tasks, kept so that a claim's cost does not grow with their number.

Tasks with the same project and the same required skills form a *ready class*. A class keeps its
tasks sorted by a static rank; ageing is linear in time, so the order of two waiting tasks never
changes and no rescan is needed. What scoring reads of a task lies in one row of a shared array.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sortedcontainers import SortedList

from pm_agent.domain.ids import ProjectId, TaskId
from pm_agent.domain.signature import ClassKey, Signature, levels_of, may_take
from pm_agent.domain.task import Task
from pm_agent.domain.time import HOUR_US

# One priority class is worth this much waiting: a normal task that has waited 4 h longer goes
# before a high one, so nothing starves.
AGING_US = 4 * HOUR_US
# Work waiting behind a task lets it go before its equals, at most by one priority class.
US_PER_CRITICAL_MINUTE = AGING_US // 480

# What scoring reads of a task. The last columns are facts as they stand, the first three become
# facts about one agent; so a head's rows can be copied into a matrix of facts in one go.
COLUMNS = (
    "kind",
    "estimate_min",
    "created_us",  # exact: below 2**53 until the year 2255
    "n_unblocks",
    "critical_path_h",
    "n_dependencies",
    "priority",
    "level",
    "failures",
)
N_COLUMNS = len(COLUMNS)
# Behind them in each row: its place in its class, its number, and the number of the agent whose
# attempt failed last, or 0. Whole numbers below 2**53, so exact.
RANK, NUMBER, LAST_AGENT = range(N_COLUMNS, N_COLUMNS + 3)
_WIDTH = N_COLUMNS + 3
_ESTIMATE, _PRIORITY = COLUMNS.index("estimate_min"), COLUMNS.index("priority")
UNKNOWN_MIN = 30  # what a task without an estimate is taken for


class Entry(NamedTuple):
    rank: int  # microseconds, or as `length_of`; the lowest goes first
    number: int
    slot: int  # row in the columns


def rank_of(task: Task, priority: int | None = None) -> int:
    """Static rank: creation time less what priority and waiting work are worth.

    ``priority`` is the effective one, when work that waits for the task is more urgent than it.
    """
    behind = min(task.critical_path_min * US_PER_CRITICAL_MINUTE, AGING_US)
    return task.created_at_us - (priority or task.priority) * AGING_US - behind


def row_of(task: Task, kind_number: int, n_unblocks: int, priority: int) -> tuple[float, ...]:
    """What scoring reads of a task: a row of `COLUMNS`; ``priority`` is the effective one."""
    return (
        kind_number,
        task.minutes,
        task.created_at_us,
        n_unblocks,
        task.critical_path_min / 60,
        len(task.dependencies),
        priority,
        task.level,
        task.failures,
    )


def length_of(row: Sequence[float]) -> int:
    """Milliminutes of a row's task, halved for each class of priority: the lowest goes first."""
    return round(1_000 * (row[_ESTIMATE] or UNKNOWN_MIN)) >> int(row[_PRIORITY])


class Head(NamedTuple):
    """The first tasks of a class.

    With their rows: a claim joins those of a dozen heads, and reads nothing of the shared array,
    however large the board has made that.
    """

    n_asked: int
    rows: NDArray[np.float64]  # (n_tasks, n_columns + 3)
    end: Entry | None  # entries after it change nothing here; None: there was room for more


class Mixed(NamedTuple):
    """The first tasks of a class and the shortest besides, half of each."""

    n_asked: int
    rows: NDArray[np.float64]  # (n_tasks, n_columns + 3)


class ReadyClass:
    """The ready tasks of one project that require the same skills."""

    __slots__ = ("by_length", "entries", "head", "key", "mixed", "n", "number")

    def __init__(self, key: ClassKey, number: int) -> None:
        self.key = key
        self.number = number
        self.entries: SortedList[Entry] = SortedList()
        self.n = 0  # of entries
        self.head: Head | None = None  # kept until one of its tasks changes: most claims find it
        # The same tasks by length, from when somebody first asks for the shortest.
        self.by_length: SortedList[Entry] | None = None
        self.mixed: Mixed | None = None  # kept until any task of the class changes

    def touch(self, entry: Entry) -> None:
        """Forget the head if it holds, or would now hold, this entry."""
        self.mixed = None
        head = self.head
        if head is not None and (head.end is None or entry <= head.end):
            self.head = None

    def admits(self, signature: Signature) -> bool:
        """Whether an agent with these skills and projects may take a task of this class."""
        return may_take(levels_of(signature), signature[1], self.key)


class Eligible:
    """The classes open to agents of one signature, with what is worth computing once for each."""

    __slots__ = ("classes", "fit", "fits", "layout", "numbers", "rarity")

    def __init__(self, classes: list[ReadyClass]) -> None:
        self.classes = classes
        self.numbers = {c.number for c in classes}
        # Filled by the reader: how agents fit a class, by its number, and spread over the tasks
        # of the heads last seen, (n_tasks, n_fits), as long as their classes and sizes stay.
        self.fits: dict[int, tuple[float, ...]] = {}
        self.layout: tuple[list[ReadyClass], list[int]] | None = None
        self.fit: NDArray[np.float32] | None = None
        # How rare those are that can do these tasks, (n_tasks,), as long as those known stay able.
        self.rarity: tuple[dict[int, int], object, NDArray[np.float64]] | None = None


class ReadySet:
    """All ready tasks by class, with the columns that scoring reads."""

    def __init__(self) -> None:
        self.classes: dict[ClassKey, ReadyClass] = {}
        self.columns: NDArray[np.float64] = np.zeros((256, _WIDTH))  # (n_slots, n_columns + 3)
        self.task_ids: list[TaskId] = [""] * 256
        self.failed_by: Counter[int] = Counter()  # tasks by the agent whose attempt failed last
        self._last_agents: dict[int, int] = {}  # by slot, where an attempt has failed
        self._free: list[int] = list(range(255, -1, -1))
        self._where: dict[TaskId, tuple[ReadyClass, Entry]] = {}
        self._eligible: dict[Signature, Eligible] = {}
        # Classes that gained a task since the standing offers were last looked at.
        self.fresh: dict[ReadyClass, None] = {}

    def __len__(self) -> int:
        return len(self._where)

    def __contains__(self, task_id: TaskId) -> bool:
        return task_id in self._where

    def __iter__(self) -> Iterator[TaskId]:
        return iter(self._where)

    def put(
        self, task: Task, row: tuple[float, ...], last_agent: int, priority: int | None = None
    ) -> None:
        """Add a task, or bring its place and row up to date.

        ``last_agent`` is the number of the agent whose attempt at it failed last, or 0.
        """
        key = (task.project_id, task.skills)
        rank = rank_of(task, priority)
        known = self._where.get(task.id)
        if known is not None:
            ready_class, entry = known
            if entry.rank == rank and ready_class.key == key:
                self._move(ready_class, entry, row)
                self._fill(entry, row, last_agent)
                ready_class.touch(entry)
                return
            self.remove(task.id)
        owner = self.classes.get(key)
        if owner is None:
            owner = self._new_class(key)
        if not self._free:
            self._grow()
        slot = self._free.pop()
        self.task_ids[slot] = task.id
        entry = Entry(rank, task.number, slot)
        self._fill(entry, row, last_agent)
        owner.entries.add(entry)
        if owner.by_length is not None:
            owner.by_length.add(Entry(length_of(row), task.number, slot))
        owner.n += 1
        owner.touch(entry)
        self._where[task.id] = (owner, entry)
        self.fresh[owner] = None

    def place_of(self, task_id: TaskId) -> tuple[ReadyClass, Entry]:
        """Where a ready task lies: its class, and its entry there."""
        return self._where[task_id]

    def remove(self, task_id: TaskId) -> None:
        """Take a task out; nothing happens when it is not in."""
        known = self._where.pop(task_id, None)
        if known is None:
            return
        owner, entry = known
        owner.entries.remove(entry)
        if owner.by_length is not None:
            owner.by_length.remove(self._length_entry(entry))
        owner.n -= 1
        owner.touch(entry)
        self._forget_failed(entry.slot)
        self._free.append(entry.slot)

    def head(self, of: ReadyClass, n: int) -> Head:
        """The first ``n`` tasks of a class, or all it has."""
        head = of.head
        if head is None or head.n_asked != n:
            entries = list(islice(of.entries, n))
            rows = self.rows_of([entry.slot for entry in entries])
            head = of.head = Head(n, rows, entries[-1] if len(entries) == n else None)
        return head

    def mixed(self, of: ReadyClass, n: int) -> Mixed:
        """Half of ``n`` tasks by rank, the others the shortest that are left; or all it has.

        By rank alone, what nobody wants to do would fill the head one by one, and hide what they
        would rather do.
        """
        mixed = of.mixed
        if mixed is None or mixed.n_asked != n:
            slots = [entry.slot for entry in islice(of.entries, n if of.n <= n else n // 2)]
            if of.n > n:
                if of.by_length is None:
                    of.by_length = self.sorted_by_length(of)
                # As many as are asked for: then enough are left when the first ones are among them.
                slots += [entry.slot for entry in islice(of.by_length, n)]
                slots = list(dict.fromkeys(slots))[:n]
            mixed = of.mixed = Mixed(n, self.rows_of(slots))
        return mixed

    def rows_of(self, slots: list[int]) -> NDArray[np.float64]:
        """Rows of some tasks by their slots, (n_tasks, n_columns + 3)."""
        return self.columns.take(np.array(slots, dtype=np.intp), axis=0)

    def eligible(self, signature: Signature) -> Eligible:
        """Classes open to agents of this signature, empty ones included."""
        known = self._eligible.get(signature)
        if known is None:
            levels, projects = levels_of(signature), signature[1]
            classes = [c for c in self.classes.values() if may_take(levels, projects, c.key)]
            known = Eligible(classes)
            self._eligible[signature] = known
        return known

    def refresh_project(self, project_id: ProjectId | None) -> None:
        """Mark classes as fresh when a hold or a limit that kept them back is gone."""
        for key, ready_class in self.classes.items():
            if ready_class.n and project_id in (None, key[0]):
                self.fresh[ready_class] = None

    def sorted_by_length(self, of: ReadyClass) -> SortedList[Entry]:
        """All of a class by length, once: on arrays, since it may have a million."""
        slots = [entry.slot for entry in of.entries]
        rows = self.rows_of(slots)
        minutes = np.where(rows[:, _ESTIMATE], rows[:, _ESTIMATE], UNKNOWN_MIN)
        lengths = np.rint(1_000 * minutes).astype(np.int64) >> rows[:, _PRIORITY].astype(np.int64)
        numbers = rows[:, NUMBER].astype(np.int64)
        return SortedList(map(Entry, lengths.tolist(), numbers.tolist(), slots))

    def _length_entry(self, entry: Entry) -> Entry:
        return Entry(length_of(self.columns[entry.slot].tolist()), entry.number, entry.slot)

    def _move(self, owner: ReadyClass, entry: Entry, row: tuple[float, ...]) -> None:
        """Bring a task's place by length up to date, before its row is."""
        if owner.by_length is None:
            return
        before, after = self._length_entry(entry), length_of(row)
        if before.rank != after:
            owner.by_length.remove(before)
            owner.by_length.add(Entry(after, entry.number, entry.slot))

    def _fill(self, entry: Entry, row: tuple[float, ...], last_agent: int) -> None:
        rank, number, slot = entry
        self.columns[slot] = (*row, rank, number, last_agent)
        self._forget_failed(slot)
        if last_agent:
            self._last_agents[slot] = last_agent
            self.failed_by[last_agent] += 1

    def _forget_failed(self, slot: int) -> None:
        last_agent = self._last_agents.pop(slot, 0)
        if last_agent:
            self.failed_by[last_agent] -= 1

    def _new_class(self, key: ClassKey) -> ReadyClass:
        owner = self.classes[key] = ReadyClass(key, len(self.classes))
        for signature, known in self._eligible.items():
            if owner.admits(signature):
                known.classes.append(owner)
                known.numbers.add(owner.number)
        return owner

    def _grow(self) -> None:
        old = len(self.task_ids)
        self.columns = np.vstack([self.columns, np.zeros((old, _WIDTH))])
        self.task_ids.extend([""] * old)
        self._free.extend(range(2 * old - 1, old - 1, -1))

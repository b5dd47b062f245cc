"""The ready tasks, kept so that a claim's cost does not grow with their number.

Tasks with the same project and the same required skills form a *ready class*. A class keeps its
tasks sorted by a static rank; ageing is linear in time, so the order of two waiting tasks never
changes and no rescan is needed. What scoring reads of a task lies in one row of a shared array.
"""

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sortedcontainers import SortedList

from pm_agent.domain.agent import Signature
from pm_agent.domain.ids import ProjectId, TaskId
from pm_agent.domain.task import Skill, Task
from pm_agent.domain.time import HOUR_US, SECOND_US

ClassKey = tuple[ProjectId, tuple[Skill, ...]]

# One priority class is worth this much waiting: a normal task that has waited 4 h longer goes
# before a high one, so nothing starves.
AGING_US = 4 * HOUR_US
# Work waiting behind a task lets it go before its equals, at most by one priority class.
US_PER_CRITICAL_MINUTE = AGING_US // 480

COLUMNS = (
    "created_s",
    "priority",
    "estimate_min",
    "level",
    "n_unblocks",
    "critical_path_min",
    "kind",
    "last_agent",
    "failures",
    "n_dependencies",
)
N_COLUMNS = len(COLUMNS)


class Entry(NamedTuple):
    rank: int  # microseconds; the lowest goes first
    number: int
    slot: int  # row in the columns


def rank_of(task: Task) -> int:
    """Static rank: creation time less what priority and waiting work are worth."""
    behind = min(task.critical_path_min * US_PER_CRITICAL_MINUTE, AGING_US)
    return task.created_at_us - task.priority * AGING_US - behind


class ReadyClass:
    """The ready tasks of one project that require the same skills."""

    __slots__ = ("entries", "key", "n_heads", "number", "slots")

    def __init__(self, key: ClassKey, number: int) -> None:
        self.key = key
        self.number = number
        self.entries: SortedList[Entry] = SortedList()
        self.slots: list[int] | None = None  # cached head, first n_heads of entries
        self.n_heads = 0

    def __len__(self) -> int:
        return len(self.entries)

    def head_slots(self, n: int) -> list[int]:
        """Rows of the first ``n`` entries."""
        if self.slots is None or self.n_heads != n:
            self.slots = [entry.slot for entry in islice(self.entries, n)]
            self.n_heads = n
        return self.slots

    def admits(self, signature: Signature) -> bool:
        """Whether an agent with these skills and projects may take a task of this class."""
        skills, projects = signature
        project_id, required = self.key
        if projects and project_id not in projects:
            return False
        if not required:
            return True
        levels = {skill.name: skill.level for skill in skills}
        return all(levels.get(skill.name, 0) >= skill.level for skill in required)


class Eligible:
    """The classes open to agents of one signature, with what is worth computing once for each."""

    __slots__ = ("classes", "fits")

    def __init__(self, classes: list[ReadyClass]) -> None:
        self.classes = classes
        self.fits: dict[int, tuple[float, ...]] = {}  # by class number; filled by the reader


class ReadySet:
    """All ready tasks by class, with the columns that scoring reads."""

    def __init__(self) -> None:
        self.classes: dict[ClassKey, ReadyClass] = {}
        self.columns: NDArray[np.float64] = np.zeros((256, N_COLUMNS))  # (n_slots, n_columns)
        self.task_ids: list[TaskId] = [""] * 256
        self._free: list[int] = list(range(255, -1, -1))
        self._where: dict[TaskId, tuple[ReadyClass, Entry]] = {}
        self._eligible: dict[Signature, Eligible] = {}
        # Classes that gained a task since the standing offers were last looked at.
        self.fresh: dict[ClassKey, None] = {}

    def __len__(self) -> int:
        return len(self._where)

    def __contains__(self, task_id: TaskId) -> bool:
        return task_id in self._where

    def __iter__(self) -> Iterator[TaskId]:
        return iter(self._where)

    def put(self, task: Task, row: tuple[float, ...]) -> None:
        """Add a task, or bring its place and row up to date."""
        key = (task.project_id, task.skills)
        rank = rank_of(task)
        known = self._where.get(task.id)
        if known is not None:
            ready_class, entry = known
            if ready_class.key == key and entry.rank == rank:
                self.columns[entry.slot] = row
                return
            self.remove(task.id)
        owner = self.classes.get(key)
        if owner is None:
            owner = self._new_class(key)
        if not self._free:
            self._grow()
        slot = self._free.pop()
        self.columns[slot] = row
        self.task_ids[slot] = task.id
        entry = Entry(rank, task.number, slot)
        owner.entries.add(entry)
        owner.slots = None
        self._where[task.id] = (owner, entry)
        self.fresh[key] = None

    def remove(self, task_id: TaskId) -> None:
        """Take a task out; nothing happens when it is not in."""
        known = self._where.pop(task_id, None)
        if known is None:
            return
        owner, entry = known
        owner.entries.remove(entry)
        owner.slots = None
        self._free.append(entry.slot)

    def eligible(self, signature: Signature) -> Eligible:
        """Classes open to agents of this signature, empty ones included."""
        known = self._eligible.get(signature)
        if known is None:
            known = Eligible([c for c in self.classes.values() if c.admits(signature)])
            self._eligible[signature] = known
        return known

    def refresh_project(self, project_id: ProjectId | None) -> None:
        """Mark classes as fresh when a hold or a limit that kept them back is gone."""
        for key, ready_class in self.classes.items():
            if ready_class.entries and project_id in (None, key[0]):
                self.fresh[key] = None

    def _new_class(self, key: ClassKey) -> ReadyClass:
        owner = self.classes[key] = ReadyClass(key, len(self.classes))
        for signature, known in self._eligible.items():
            if owner.admits(signature):
                known.classes.append(owner)
        return owner

    def _grow(self) -> None:
        old = len(self.task_ids)
        self.columns = np.vstack([self.columns, np.zeros((old, N_COLUMNS))])
        self.task_ids.extend([""] * old)
        self._free.extend(range(2 * old - 1, old - 1, -1))


def created_s(task: Task) -> float:
    return task.created_at_us / SECOND_US

"""Priority inheritance: a task is as urgent as the most urgent work that waits for it.

Without it an urgent task waits behind a low one that nobody starts, as a high-priority thread waits
for a lock that a low one holds. A task's *effective priority* is the highest of its own and of all
open tasks that depend on it, directly or through others.

Kept incrementally: each open task counts its open dependants by their effective priority. A change
goes up only as far as it changes something, and with four priorities a task can rise three times
at most; so an import of n tasks costs O(dependencies), and one change O(dependencies above it).
What has ended inherits nothing and is skipped, so a completion costs nothing here.

References
----------
Sha, Rajkumar, Lehoczky, "Priority inheritance protocols: an approach to real-time synchronization",
IEEE Transactions on Computers 39 (9), 1990.
"""

from collections.abc import Iterable

from pm_agent.domain.ids import TaskId
from pm_agent.domain.task import PRIORITIES, Task
from pm_agent.domain.tombstone import Tombstones

_DOWNWARDS = range(len(PRIORITIES) - 1, 0, -1)


class Inheritance:
    """Effective priorities; an index that follows from the tables it is given."""

    def __init__(self, tasks: dict[TaskId, Task], tombstones: Tombstones) -> None:
        self._tasks = tasks
        self._tombstones = tombstones
        # Open dependants of a task that has not ended, by their effective priority. A task of the
        # same import may be counted for before it is created.
        self._waiting: dict[TaskId, list[int]] = {}

    def of(self, task: Task) -> int:
        """Effective priority, 0..3."""
        waiting = self._waiting.get(task.id)
        if waiting is not None:
            for priority in _DOWNWARDS:
                if priority <= task.priority:
                    break
                if waiting[priority]:
                    return priority
        return task.priority

    def shift(
        self, task_ids: Iterable[TaskId], before: int | None, after: int | None
    ) -> list[TaskId]:
        """A dependant of these tasks changes its effective priority; None: it does not count.

        Returns
        -------
        Ids of the tasks whose own effective priority changed by that.
        """
        changed: list[TaskId] = []
        todo = [(task_id, before, after) for task_id in task_ids]
        for task_id, old, new in todo:  # grows while it is read
            task = self._tasks.get(task_id)
            if task.is_terminal if task is not None else task_id in self._tombstones:
                continue
            was = self.of(task) if task is not None else 0
            waiting = self._waiting.setdefault(task_id, [0] * len(PRIORITIES))
            if old is not None:
                waiting[old] -= 1
            if new is not None:
                waiting[new] += 1
            if not any(waiting):
                del self._waiting[task_id]
            if task is not None and (now := self.of(task)) != was:
                changed.append(task_id)
                todo += [(dependency, was, now) for dependency in task.dependencies]
        return changed

    def end(self, task_id: TaskId) -> None:
        """Forget who waits for a task that has ended."""
        self._waiting.pop(task_id, None)

    def reopen(self, task_id: TaskId, dependants: Iterable[TaskId]) -> None:
        """Count anew who waits for a task that had ended."""
        self.end(task_id)  # when tables are loaded, dependants may come before what has ended
        for dependant in dependants:
            waiting = self._tasks[dependant]
            if not waiting.is_terminal:
                counted = self._waiting.setdefault(task_id, [0] * len(PRIORITIES))
                counted[self.of(waiting)] += 1

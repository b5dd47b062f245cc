"""What stays in the world of archived tasks, for ever: so it is small.

Dependants and late completions ask for it. Columns instead of objects: 17 bytes a task instead of
some 230, since numbers of tasks are dense and everything ever archived is kept.
"""

from collections.abc import Iterator
from struct import Struct

import msgspec

from pm_agent.domain.ids import ProjectId, TaskId, task_id
from pm_agent.domain.task import TaskState

# Per row: 1 + index of the project (0: no such tombstone), state, lease token, end of the task.
_ROW = Struct("<IBIq")
_STATES: tuple[TaskState, ...] = ("done", "cancelled", "dead_letter")


class Tombstone(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What is known of an archived task."""

    project_id: ProjectId
    state: TaskState
    lease_token: int
    ended_at_us: int


class Tombstones(msgspec.Struct):
    """Tombstones by the id of their task."""

    project_ids: list[ProjectId] = []
    rows: bytearray = msgspec.field(default_factory=bytearray)  # one of `_ROW` a task number

    def __contains__(self, identifier: TaskId) -> bool:
        return self.get(identifier) is not None

    def __getitem__(self, identifier: TaskId) -> Tombstone:
        found = self.get(identifier)
        if found is None:
            raise KeyError(identifier)
        return found

    def get(self, identifier: TaskId) -> Tombstone | None:
        number = identifier[2:]
        if not number.isdecimal() or identifier != task_id(int(number)):
            return None  # people name dependencies, and they may write anything
        return self._read(int(number))

    def put(self, identifier: TaskId, new: Tombstone) -> None:
        if new.project_id not in self.project_ids:
            self.project_ids.append(new.project_id)
        place = int(identifier[2:]) * _ROW.size
        missing = place + _ROW.size - len(self.rows)
        if missing > 0:
            self.rows.extend(bytes(missing))
        project = 1 + self.project_ids.index(new.project_id)
        state = _STATES.index(new.state)
        _ROW.pack_into(self.rows, place, project, state, new.lease_token, new.ended_at_us)

    def copy(self) -> "Tombstones":
        return Tombstones(self.project_ids.copy(), self.rows.copy())

    def items(self) -> Iterator[tuple[TaskId, Tombstone]]:
        """All, in the order of their ids as texts: the order of canonical JSON."""
        for number in _in_text_order(len(self.rows) // _ROW.size - 1):
            found = self._read(number)
            if found is not None:
                yield task_id(number), found

    def _read(self, number: int) -> Tombstone | None:
        place = number * _ROW.size
        if place >= len(self.rows):
            return None
        project, state, lease_token, ended_at_us = _ROW.unpack_from(self.rows, place)
        if not project:
            return None
        return Tombstone(self.project_ids[project - 1], _STATES[state], lease_token, ended_at_us)


def _in_text_order(last: int) -> Iterator[int]:
    """1 to ``last``, as their decimal texts are sorted: 1, 10, 11, 2."""
    number = 1
    for _ in range(last):
        yield number
        if number * 10 <= last:
            number *= 10
            continue
        if number >= last:
            number //= 10
        number += 1
        while number % 10 == 0:
            number //= 10

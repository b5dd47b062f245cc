"""Alarms that may come late: looks that most often find nothing to do.

A late alarm is harmless, since deciders look at the clock themselves, and a live coordinator is
late too. Looks at leases and at ended tasks are most of all alarms; here they ride along with the
next command of anybody, and make a step of their own only when none comes for a while. Alarms that
free a task, such as the end of a backoff, come on time.
"""

import heapq

from pm_agent.domain.assignment import CheckLease
from pm_agent.domain.envelope import Command
from pm_agent.domain.task import ArchiveTask
from pm_agent.domain.time import SECOND_US
from pm_agent.kernel.effects import Alarms

PATIENT = frozenset({CheckLease, ArchiveTask})
SLACK_US = 5 * SECOND_US  # against silences of minutes that are looked for


class PatientAlarms(Alarms):
    """The engine's alarms, in two heaps: those that are on time, and those that may be late."""

    def __init__(self) -> None:
        super().__init__()
        self._late: list[tuple[int, int, Command]] = []

    def put(self, at_us: int, command: Command) -> None:
        if type(command) in PATIENT:
            self._count += 1
            heapq.heappush(self._late, (at_us, self._count, command))
        else:
            super().put(at_us, command)

    def due(self, now_us: int) -> list[Command]:
        ready, late = super().due(now_us), self._late
        while late and late[0][0] <= now_us:
            ready.append(heapq.heappop(late)[2])
        return ready

    def next_us(self) -> int | None:
        if not self._late:
            return super().next_us()
        late_us = self._late[0][0] + SLACK_US
        return min(late_us, self._heap[0][0]) if self._heap else late_us

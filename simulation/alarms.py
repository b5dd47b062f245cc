"""Alarms that may come late: looks that most often find nothing to do.

A late alarm is harmless, since deciders look at the clock themselves, and a live coordinator is
late too. Looks at leases and at ended tasks are most of all alarms; here they ride along with the
next command of anybody, and make a step of their own only when none comes for a while. Alarms that
free a task, such as the end of a backoff, come on time.
"""

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
        self._patient = Alarms()

    def put(self, at_us: int, command: Command) -> None:
        if type(command) in PATIENT:
            self._patient.put(at_us, command)
        else:
            super().put(at_us, command)

    def due(self, now_us: int) -> list[Command]:
        due, late = super().due(now_us), self._patient.due(now_us)
        return due + late if late else due

    def next_us(self) -> int | None:
        exact_us, patient_us = super().next_us(), self._patient.next_us()
        if patient_us is None or (exact_us is not None and exact_us < patient_us):
            return exact_us
        late_us = patient_us + SLACK_US
        return late_us if exact_us is None else min(exact_us, late_us)

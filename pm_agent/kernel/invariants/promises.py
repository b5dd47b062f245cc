"""Names of the promises, and what a broken one looks like."""

from collections.abc import Callable
from typing import NamedTuple

from pm_agent.domain.decision_record import DecisionRecord
from pm_agent.domain.ids import TaskId

SINGLE_LEASE = "single-lease"
FENCED = "fenced"
TERMINAL_STAYS = "terminal"
CONSERVATION = "conservation"
READY_SET = "ready-set"
CAPACITY = "capacity"
REPLAY = "replay"
SINGLE_WRITER = "single-writer"
EXPLAINABLE = "explainable"
MESSAGES = "messages"

# (record, the task assigned) → what comes out differently when it is computed again
Recompute = Callable[[DecisionRecord, TaskId], list[str]]


class Violation(NamedTuple):
    """A promise that was broken, with the values in it."""

    invariant: str
    detail: str

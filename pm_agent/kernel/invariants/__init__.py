"""The promises of PM Agent by name, and what checks them.

`Watch` is a small model of its own: it follows the events alone, knows nothing of the world's code,
and costs O(1) an event (a grant: the number of the task's dependencies). `check_world` scans a
whole world; `check_replay` folds a journal again. None of them reads a clock or the outside.

Limits (capacity, work in progress, caps) are checked when a lease is granted. One that is lowered
later binds new grants only: running work is never taken away, so that is no violation.

Neither a world nor its events can show four promises, so they are checked elsewhere:

==============  ==================================================================================
durable-ack     crash tests compare acknowledged replies with the journal that was left
idempotent      request ids are no part of the world: tests of `pm_agent.kernel.idempotency`
single-writer   the conformance suite of the journal port; here only that the epoch never falls
liveness        the simulator, which knows when faults stop and who waits
==============  ==================================================================================
"""

from pm_agent.kernel.invariants.promises import (
    CAPACITY,
    CONSERVATION,
    EXPLAINABLE,
    FENCED,
    MESSAGES,
    READY_SET,
    REPLAY,
    SINGLE_LEASE,
    SINGLE_WRITER,
    TERMINAL_STAYS,
    Recompute,
    Violation,
)
from pm_agent.kernel.invariants.replay import check_replay
from pm_agent.kernel.invariants.scan import check_world
from pm_agent.kernel.invariants.watch import Watch

__all__ = [
    "CAPACITY",
    "CONSERVATION",
    "EXPLAINABLE",
    "FENCED",
    "MESSAGES",
    "READY_SET",
    "REPLAY",
    "SINGLE_LEASE",
    "SINGLE_WRITER",
    "TERMINAL_STAYS",
    "Recompute",
    "Violation",
    "Watch",
    "check_replay",
    "check_world",
]

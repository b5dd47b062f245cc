"""Who is let in when more comes than can be served: the least urgent work is shed first.

All queues are bounded. What is shed can come back later; a completion that is shed is work that may
be done twice, and a heartbeat that is shed is a lease that may run out under a living agent.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Literal

import msgspec

from pm_agent.domain.errors import Overloaded

# In the order in which it is shed. `claim` takes on work: registering, asking, adding tasks.
# `progress` is a word about running work. `completion` ends work or keeps its lease alive, or
# stops harm: handing in, giving back, heartbeats, holds, revoking a token.
Work = Literal["admin_read", "board_read", "claim", "progress", "completion"]

# Load at which each is refused. 1.0 is a full house, in which a request waits a second or two.
SHED_AT: dict[Work, float] = {
    "admin_read": 0.25,
    "board_read": 0.5,
    "claim": 0.75,
    "progress": 1.0,
    "completion": 2.0,
}
READS: frozenset[Work] = frozenset({"admin_read", "board_read"})

# More executing requests than 256 make HAProxy mode unfair (p99 of seconds was measured); the rest
# wait here in order. Commands wait for the coordinator, so reads have slots of their own: they go
# on while it is away.
MAX_COMMANDS, MAX_READS = 64, 32
QUEUE_ROOM = 2_000  # requests that wait for a slot: a second or two of work
BACKLOG_ROOM = 4_000  # commands that wait for the coordinator, parked agents' offers among them
LAG_ROOM_S = 1.0
LAG_SAMPLE_S, LAG_SAMPLES = 0.1, 5


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How fast one caller may ask; beyond that it gets 429, however idle the server is."""

    claims_per_s: float = 50.0  # one agent's registrations, claims and new tasks
    claims_burst: int = 200
    requests_per_s: float = 1_000.0  # of any kind with one key or token
    requests_burst: int = 4_000
    strangers_per_s: float = 1.0  # refused tokens from one address
    strangers_burst: int = 60
    streams: int = 8  # event streams of one principal at a time


def is_shed(work: Work, load: float) -> bool:
    """Whether this work is refused at this load (0.0 idle, 1.0 full, 2.0 twice overloaded)."""
    return load >= SHED_AT[work]


def load_of(*, lag_s: float, n_reads: int, n_commands: int = 0, n_backlog: int = 0) -> float:
    """Return how full the house is: its fullest part decides.

    Parameters
    ----------
    lag_s
        Seconds by which the event loop is late, lastingly.
    n_reads, n_commands
        Requests that wait for a slot.
    n_backlog
        Commands that wait for the coordinator.
    """
    return max(lag_s / LAG_ROOM_S, (n_reads + n_commands) / QUEUE_ROOM, n_backlog / BACKLOG_ROOM)


class Lane:
    """Slots for requests that execute; who finds none waits, first come first served."""

    def __init__(self, n_slots: int) -> None:
        self._slots = asyncio.Semaphore(n_slots)
        self.n_waiting = 0

    async def __aenter__(self) -> None:
        self.n_waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self.n_waiting -= 1

    async def __aexit__(self, *_: object) -> None:
        self._slots.release()


class Lag:
    """How late the event loop is: the least of the last samples, so that a burst is no overload.

    References
    ----------
    Nichols and Jacobson, "Controlling Queue Delay", ACM Queue 2012, tells a standing queue from a
    passing one by the least delay over an interval.
    """

    def __init__(self) -> None:
        self._samples: deque[float] = deque([0.0] * LAG_SAMPLES, maxlen=LAG_SAMPLES)
        self.seconds = 0.0

    def add(self, late_s: float) -> None:
        self._samples.append(late_s)
        self.seconds = min(self._samples)

    async def measure(self) -> None:
        """Take samples until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            before_s = loop.time()
            await asyncio.sleep(LAG_SAMPLE_S)
            self.add(loop.time() - before_s - LAG_SAMPLE_S)


class Admission:
    """The slots of one ingress, and the decision whom to let queue for them.

    Parameters
    ----------
    n_backlog
        Tells how many commands wait for the coordinator.
    """

    def __init__(self, n_backlog: Callable[[], int]) -> None:
        self._n_backlog = n_backlog
        self.reads, self.commands = Lane(MAX_READS), Lane(MAX_COMMANDS)
        self.lag = Lag()
        self.is_away = False  # the coordinator: what waits for it does not burden reads

    @property
    def n_queued(self) -> int:
        return self.reads.n_waiting + self.commands.n_waiting

    @property
    def load(self) -> float:
        """How full the house is, all in all."""
        return load_of(
            lag_s=self.lag.seconds,
            n_reads=self.reads.n_waiting,
            n_commands=self.commands.n_waiting,
            n_backlog=self._n_backlog(),
        )

    def require(self, work: Work) -> None:
        """Refuse work that is to be shed now.

        Raises
        ------
        Overloaded
        """
        if self.is_away and work in READS:
            load = load_of(lag_s=self.lag.seconds, n_reads=self.reads.n_waiting)
        else:
            load = self.load
        if is_shed(work, load):
            message = f"The server is at {load:.0%} of its load and takes no such requests now."
            raise Overloaded(message)

    def enter(self, work: Work) -> Lane:
        """Let a request queue for a slot, for an ``async with``.

        Raises
        ------
        Overloaded
        """
        self.require(work)
        return self.reads if work in READS else self.commands

"""What clients saw, and whether any two of them were told that they hold the same task.

The check trusts the clients' own histories alone, never the server's journal. A client surely held
a task from the moment it read the grant until it sent the write that ended its lease, or until the
lease ran out; what happened while a request was under way is in doubt and counts for nobody. Two
different clients that surely held one task at one instant are a double; so is a write that was
accepted from one, under whatever lease, while another surely held the task all the time.
"""

from collections.abc import Iterable
from datetime import datetime
from itertools import combinations
from typing import Literal

import msgspec

WriteKind = Literal["claim", "progress", "complete", "release"]
ENDS: frozenset[str] = frozenset({"complete", "release"})


class Write(msgspec.Struct, frozen=True, array_like=True):
    """A write that the server accepted, as its client saw it. Instants in seconds since 1970."""

    task_id: str
    agent_id: str
    lease_token: int
    kind: WriteKind
    sent_s: float
    received_s: float
    lease_until_s: float = 0.0  # as granted or renewed; 0: not told


class Lease(msgspec.Struct):
    """When one agent surely held one task."""

    agent_id: str
    lease_token: int
    start_s: float
    until_s: float  # expiry as last told
    end_s: float = float("inf")  # when the client ended it
    writes: list[tuple[float, float]] = []  # that were accepted: when sent, and when answered

    def overlaps(self, other: "Lease") -> bool:
        """Whether both were surely held at once, or one of them while the other was used."""
        start_s = max(self.start_s, other.start_s)
        if start_s < min(self.until_s, other.until_s, self.end_s, other.end_s):
            return True
        return other.was_written_into(self.writes) or self.was_written_into(other.writes)

    def was_written_into(self, writes: Iterable[tuple[float, float]]) -> bool:
        """Whether another's write was accepted while this lease was surely held."""
        over_s = min(self.until_s, self.end_s)
        return any(self.start_s < sent_s and got_s < over_s for sent_s, got_s in writes)


def count_doubles(writes: Iterable[Write]) -> int:
    """Number of pairs of different agents that held one task at one instant."""
    return len(find_doubles(writes))


def find_doubles(writes: Iterable[Write]) -> list[tuple[str, Lease, Lease]]:
    """Tasks with two leases of different agents that overlap.

    Two agents that were given the same lease token of one task are a double too, whenever they
    held it: the token is what tells them apart.
    """
    return [
        (task_id, one, other)
        for task_id, leases in _leases(writes).items()
        for one, other in combinations(leases, 2)
        if one.agent_id != other.agent_id
        and (one.lease_token == other.lease_token or one.overlaps(other))
    ]


def _leases(writes: Iterable[Write]) -> dict[str, list[Lease]]:
    by_task: dict[str, dict[tuple[str, int], Lease]] = {}
    for write in sorted(writes, key=lambda w: w.received_s):
        leases = by_task.setdefault(write.task_id, {})
        key = (write.agent_id, write.lease_token)
        lease = leases.get(key)
        if lease is None:
            until_s = write.lease_until_s or float("inf")
            # Accepted without a grant that we saw: it held at least while that write was taken.
            start_s = write.received_s if write.kind == "claim" else write.sent_s
            leases[key] = lease = Lease(write.agent_id, write.lease_token, start_s, until_s)
            if write.kind in ENDS:
                lease.end_s = write.received_s
        elif write.kind in ENDS:
            lease.end_s = min(lease.end_s, write.sent_s)
        elif write.lease_until_s:
            lease.until_s = write.lease_until_s
        if write.kind != "claim":  # the answer to one may be given again when its lease is over
            lease.writes.append((write.sent_s, write.received_s))
    return {task_id: list(leases.values()) for task_id, leases in by_task.items()}


def seconds_of(instant: str) -> float:
    """Seconds since 1970 of an ISO 8601 instant; 0.0 of an empty text."""
    return datetime.fromisoformat(instant).timestamp() if instant else 0.0

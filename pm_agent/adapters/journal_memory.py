"""The journal in memory, for simulation and tests: the same contract, without the disk.

Not for real work: it ends with the process. What survives a simulated crash is the `Store`; a new
`MemoryJournal` on the same store is what a restarted coordinator, or its zombie, would see.
"""

from bisect import bisect_left
from pathlib import Path
from typing import Self

import msgspec

from pm_agent.domain.envelope import Body
from pm_agent.domain.errors import AlreadyExists
from pm_agent.kernel.chain import require_continuation, require_epoch
from pm_agent.kernel.idempotency import KEEP_US
from pm_agent.ports import GENESIS, Batch, Head, StoredEvent, StoredRequest, StoredSnapshot

KEPT_SNAPSHOTS = 2  # per schema version: the newest, and one more should it not load


class Store(msgspec.Struct):
    """What a disk would hold."""

    epoch: int = 0
    probes: int = 0
    events: list[StoredEvent] = []  # position p at index p - 1
    bodies: dict[str, Body] = {}
    requests: dict[tuple[str, str], StoredRequest] = {}  # by principal and request id, oldest first
    snapshots: list[StoredSnapshot] = []  # ascending by position

    @classmethod
    def load(cls, path: str) -> Self:
        """Read what `MemoryJournal.backup` wrote."""
        return msgspec.msgpack.decode(Path(path).read_bytes(), type=cls)

    def head(self) -> Head:
        if not self.events:
            return Head(0, GENESIS, self.epoch)
        last = self.events[-1]
        return Head(last.position, last.hash, self.epoch)


class MemoryJournal:
    """Fulfils `pm_agent.ports.Journal` with lists and dictionaries.

    Parameters
    ----------
    store
        Share one to have several coordinators on one journal; a new one by default.
    """

    def __init__(self, store: Store | None = None) -> None:
        self.store = Store() if store is None else store
        self._epoch = 0  # of this writer; 0 until activated

    async def activate(self) -> Head:
        self.store.epoch += 1
        self._epoch = self.store.epoch
        return self.store.head()

    async def append(self, batch: Batch) -> None:
        store = self.store
        require_epoch(store.epoch, batch.epoch)
        require_continuation(store.head(), batch.events)
        store.events.extend(batch.events)
        for body in batch.bodies:
            store.bodies[body.ref] = body
        for request in batch.requests:
            key = request.principal, request.request_id
            store.requests.pop(key, None)  # an id used again after its 24 hours moves to the end
            store.requests[key] = request

    async def probe(self) -> None:
        require_epoch(self.store.epoch, self._epoch)
        self.store.probes += 1

    async def head(self) -> Head:
        return self.store.head()

    async def read(self, after: int, limit: int = 1000) -> list[StoredEvent]:
        return self.store.events[after : after + limit]

    async def read_at(self, position: int) -> StoredEvent | None:
        is_there = 1 <= position <= len(self.store.events)
        return self.store.events[position - 1] if is_there else None

    async def read_subject(self, subject: str, limit: int = 1000) -> list[StoredEvent]:
        about = [event for event in self.store.events if event.subject == subject]
        return about[max(0, len(about) - limit) :]

    async def read_bodies(self, refs: list[str]) -> dict[str, Body]:
        bodies = self.store.bodies
        return {ref: bodies[ref] for ref in refs if ref in bodies}

    async def erase_body(self, ref: str) -> bool:
        return self.store.bodies.pop(ref, None) is not None

    async def read_requests(self, since_us: int) -> list[StoredRequest]:
        return [request for request in self.store.requests.values() if request.at_us >= since_us]

    async def save_snapshot(self, snapshot: StoredSnapshot) -> None:
        store = self.store
        require_epoch(store.epoch, self._epoch)
        assert snapshot.position <= len(store.events), (snapshot.position, len(store.events))
        others = [
            one
            for one in store.snapshots
            if (one.position, one.schema_version) != (snapshot.position, snapshot.schema_version)
        ]
        at = bisect_left(others, snapshot.position, key=lambda one: one.position)
        others.insert(at, snapshot)
        alike = [one for one in others if one.schema_version == snapshot.schema_version]
        dropped = alike[:-KEPT_SNAPSHOTS]
        store.snapshots = [one for one in others if one not in dropped]
        self._forget_requests()

    async def load_snapshot(self, schema_version: int) -> StoredSnapshot | None:
        alike = [one for one in self.store.snapshots if one.schema_version == schema_version]
        return alike[-1] if alike else None

    async def backup(self, path: str) -> None:
        """Write the store as MessagePack; `Store.load` reads it, to look into a simulated run."""
        try:
            with Path(path).open("xb") as file:  # noqa: ASYNC230 - no other coroutine waits in a simulation
                file.write(msgspec.msgpack.encode(self.store))
        except FileExistsError as error:
            raise AlreadyExists(f"There is a file at {path} already.") from error

    async def close(self) -> None:
        """Do nothing: what the store holds outlives the coordinator, as a disk would."""

    def _forget_requests(self) -> None:
        if not self.store.events:
            return
        oldest_kept_us = self.store.events[-1].at_us - KEEP_US
        kept = self.store.requests.items()
        self.store.requests = {key: one for key, one in kept if one.at_us >= oldest_kept_us}

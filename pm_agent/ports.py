"""What the core asks of the outside. Adapters fulfil these; one conformance suite tests each port.

Only types: no behaviour, no defaults. Methods that wait for the outside are coroutines; the scorer
is pure arithmetic and is called inside a decision.
"""

from typing import NamedTuple, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from pm_agent.domain.envelope import Body
from pm_agent.domain.project import Gate

GENESIS = bytes(32)  # the hash before the first event


class StoredEvent(msgspec.Struct, frozen=True, gc=False):
    """An event as the journal keeps it: sealed, its data still encoded."""

    position: int
    at_us: int
    epoch: int
    kind: str
    schema_version: int
    principal: str
    cause: str
    subject: str
    payload: bytes  # canonical JSON
    hash: bytes  # SHA-256 over the previous hash and everything above


class StoredRequest(msgspec.Struct, frozen=True, gc=False):
    """The reply to a request id, kept so that a retry gets the same one."""

    principal: str
    request_id: str
    body_sha256: bytes
    at_us: int
    position: int
    reply: bytes  # JSON


class Batch(msgspec.Struct, frozen=True):
    """What one step writes, in one commit or not at all."""

    epoch: int
    events: list[StoredEvent]
    bodies: list[Body]
    requests: list[StoredRequest]


class Head(NamedTuple):
    """Where the journal ends."""

    position: int
    hash: bytes
    epoch: int


EMPTY = Head(0, GENESIS, 0)  # where a journal begins


class StoredSnapshot(msgspec.Struct, frozen=True):
    """A saved world with the position it stands at."""

    position: int
    schema_version: int
    data: bytes


class Journal(Protocol):
    """The append-only truth of one workspace.

    One writer at a time: `activate` takes a higher epoch in one transaction, and every append is
    conditional on it. An acknowledged append survives any crash.
    """

    async def activate(self) -> Head:
        """Become the writer: take the next epoch, and return the head with it.

        Raises
        ------
        JournalLocked, JournalCorrupt, JournalTooNew
        """
        ...

    async def append(self, batch: Batch) -> None:
        """Write a batch in one durable commit.

        Raises
        ------
        Fenced
            A higher epoch has been taken. Nothing was written.
        JournalUnavailable
            It failed, or its outcome is unknown: rebuild from `read` before going on.
        """
        ...

    async def probe(self) -> None:
        """Write and commit a mark that is no event, to learn whether appends work again."""
        ...

    async def head(self) -> Head: ...

    async def read(self, after: int, limit: int = 1000) -> list[StoredEvent]:
        """Events with a position above ``after``, in order."""
        ...

    async def read_at(self, position: int) -> StoredEvent | None: ...

    async def read_subject(self, subject: str, limit: int = 1000) -> list[StoredEvent]:
        """Newest ``limit`` events about one task, agent or project, oldest first."""
        ...

    async def read_bodies(self, refs: list[str]) -> dict[str, Body]:
        """Bodies by reference; an erased or unknown one is left out."""
        ...

    async def erase_body(self, ref: str) -> bool:
        """Forget a text; chain and replay stay intact. False when there was none."""
        ...

    async def read_requests(self, since_us: int) -> list[StoredRequest]: ...

    async def save_snapshot(self, snapshot: StoredSnapshot) -> None: ...

    async def load_snapshot(self, schema_version: int) -> StoredSnapshot | None:
        """Newest snapshot of this schema version; others are ignored."""
        ...

    async def backup(self, path: str) -> None:
        """Write a consistent copy to a new file while the journal is in use."""
        ...

    async def close(self) -> None: ...


class Clock(Protocol):
    """Tells the time."""

    def now_us(self) -> int:
        """Microseconds since 1970 UTC, never going back within a process."""
        ...


class Scores(NamedTuple):
    """What a scorer found, a row a task."""

    values: NDArray[np.float32]  # (n_tasks,)
    factors: NDArray[np.float32]  # (n_tasks, n_factors), each 0..1


class Scorer(Protocol):
    """Pure arithmetic: facts about candidate tasks for one agent → scores, with their factors."""

    policy: str
    version: str  # names all of the following too: a new version when any of them changes
    fact_names: tuple[str, ...]
    factor_names: tuple[str, ...]
    weights: tuple[float, ...]

    def score(self, facts: NDArray[np.float32]) -> Scores:
        """Score candidates.

        Parameters
        ----------
        facts : array, shape (n_tasks, n_facts)
            Columns as in ``fact_names``.
        """
        ...


class InstructionBrief(msgspec.Struct, frozen=True, kw_only=True):
    """All that a writer may use. Every text in it is data, never an instruction to the writer."""

    task_id: str
    title: str
    description: str
    kind: str
    priority: str
    project: str
    completion: str
    gate_argv: tuple[str, ...]
    acceptance_criteria: tuple[str, ...]
    path_hints: tuple[str, ...]
    artifacts: tuple[tuple[str, str, str, str], ...]  # dependency id, name, uri, note
    decisions: tuple[tuple[str, str], ...]  # dependency id, text
    recovery: tuple[str, ...]  # lines about the attempt before; empty on the first
    agent_name: str
    lease_token: int


class Written(NamedTuple):
    """A text and who wrote it."""

    text: str
    writer: str


class LanguageModel(Protocol):
    """Writes texts; never inside a decision."""

    async def write_instructions(self, brief: InstructionBrief) -> Written: ...


class GateRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a gate learns about the work, as JSON on its standard input."""

    effect_id: str
    task_id: str
    attempt: int
    lease_token: int
    agent_id: str
    commit: str
    branch: str
    links: tuple[str, ...]


class GateVerdict(NamedTuple):
    """What a gate found."""

    passed: bool
    reasons: tuple[str, ...]
    report: str  # the end of what the command printed


class GateRunner(Protocol):
    """Judges submitted work by a command."""

    async def run(self, gate: Gate, request: GateRequest) -> GateVerdict:
        """Run the project's fixed command. Fails closed: whatever goes wrong is a no."""
        ...

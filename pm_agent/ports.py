"""What the core asks of the outside. Adapters fulfil these; one conformance suite tests each port.

Only types: no behaviour, no defaults. Methods that wait for the outside are coroutines; the scorer
is pure arithmetic and is called inside a decision.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from pm_agent.domain.assessment import RiskKind
from pm_agent.domain.blocker import BlockerType
from pm_agent.domain.envelope import Body
from pm_agent.domain.model_call import ModelCall
from pm_agent.domain.project import Gate
from pm_agent.domain.severity import Severity

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
    # Whether its scores say as well which of several waiting agents should get a task; else the one
    # that waits longest gets it.
    compares_agents: bool
    # Whether half of its candidates are the shortest tasks, and not those whose turn it is alone.
    sees_shortest: bool
    # Another that says what it would have chosen, and decides nothing.
    shadow: "Scorer | None"

    def score(self, facts: NDArray[np.float32]) -> Scores:
        """Score candidates.

        Parameters
        ----------
        facts : array, shape (n_tasks, n_facts)
            Columns as in ``fact_names``.
        """
        ...


class Forecaster(Protocol):
    """A learned model as the learned scorer asks it: pure, row by row, and fast.

    Equal rows have equal forecasts, whatever stands beside them: a stored record is checked so.
    """

    version: str

    def forecast(self, facts: NDArray[np.float32]) -> NDArray[np.float32]:
        """Forecast how attempts would go.

        Parameters
        ----------
        facts : array, shape (n_tasks, n_facts)
            Columns as in `pm_agent.features.assignment.learned.FORECAST_FACT_NAMES`.

        Returns
        -------
        array, shape (n_tasks, 5)
            P(accepted); minutes of work, the median and the 90th percentile; dollars, 1 where no
            price was ever seen; and how many times as much accepted work a dollar buys as with a
            typical agent.
        """
        ...


class InstructionBrief(msgspec.Struct, frozen=True, kw_only=True, tag=True):
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
    risks: tuple[str, ...] = ()  # lines about what may go wrong, the worst first


class BlockerBrief(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A blocker that somebody is to advise on. Its texts are data, as above."""

    blocker_id: str
    task_id: str
    title: str
    description: str  # of the task
    blocker_type: BlockerType
    severity: Severity
    report: str  # what the agent said
    tried: tuple[str, ...]  # a line for each step before, with what came of it


class TaskBrief(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A task to be judged. Its texts are data, as above."""

    task_id: str
    title: str
    description: str
    kind: str
    labels: tuple[str, ...] = ()
    skills: tuple[str, ...] = ()
    acceptance_criteria: tuple[str, ...] = ()
    path_hints: tuple[str, ...] = ()
    n_dependencies: int = 0
    n_dependants: int = 0
    estimate_min: int = 0  # 0: none was given
    complexity: int = 0  # 0: none was given


class AssessmentBrief(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Tasks to be judged, each for itself."""

    tasks: tuple[TaskBrief, ...]


class Push(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Something for a webhook."""

    url: str  # empty: there is no webhook any more
    secret: str
    delivery_id: str  # the same when it is sent again
    subscription_id: str
    payload: bytes


Brief = InstructionBrief | BlockerBrief | AssessmentBrief | Push

# What a model may say at most; whoever stores an answer holds it to these once more.
MAX_LINES = 6
MAX_LINE = 300  # characters
MAX_TEXT = 20_000


class Written(NamedTuple):
    """A text and where it comes from."""

    text: str
    call: ModelCall


class Advice(NamedTuple):
    """What may help against a blocker."""

    cause: str  # the likely one, in a sentence
    steps: tuple[str, ...]  # to try, in order
    confidence: Literal["low", "medium", "high"]
    needs_person: bool  # only a person can decide or do it
    call: ModelCall


class Risk(NamedTuple):
    """Something that may go wrong with a task."""

    kind: RiskKind
    severity: Severity
    what: str
    mitigation: str


class Judgement(NamedTuple):
    """How long, hard and risky a task is."""

    minutes: int  # of a person who knows the code, 1..MAX_MINUTES
    level: int  # 1 a line or two … 5 days of work in many places
    reasons: tuple[str, ...]
    risks: tuple[Risk, ...]  # the worst first
    call: ModelCall


class LanguageModel(Protocol):
    """Writes texts and judges; never inside a decision.

    An answer fills bounded fields only, is given by rules where a model fails, and says so
    (`ModelCall.stands_in`). So no method raises for what the outside does.

    Attributes
    ----------
    assessed_at_once : int
        How many tasks `assess` is asked about at once; 0: all. Answers are stored as they come, so
        that a process that dies has to pay again for no more than these.
    """

    assessed_at_once: int

    async def write_instructions(self, brief: InstructionBrief) -> Written:
        """Write the text that an agent gets with its task."""
        ...

    async def advise(self, brief: BlockerBrief) -> Advice:
        """Say what may help against a blocker."""
        ...

    async def assess(self, briefs: Sequence[TaskBrief]) -> list[Judgement]:
        """Judge tasks, one answer each. Not urgent: it may take minutes, or go to the rules."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


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


class Wrapped(NamedTuple):
    """A data key, encrypted under a key-encryption key."""

    version: str  # of the key-encryption key
    data: bytes


class KeyEncryption(Protocol):
    """Where key-encryption keys live: in the environment, a file, or a KMS that never shows them.

    ``about`` says what the data key belongs to; unwrapping with another text fails.
    """

    @property
    def version(self) -> str:
        """The version that new data keys are wrapped with."""
        ...

    def wrap(self, data_key: bytes, about: bytes) -> Wrapped: ...

    def unwrap(self, wrapped: Wrapped, about: bytes) -> bytes:
        """Return the data key.

        Raises
        ------
        SecretsLocked
            The version is not there, or the data is not as it was wrapped.
        """
        ...


class Secret(NamedTuple):
    """One version of a secret of ours."""

    version: int
    value: bytes
    made_at_s: int


class Secrets(Protocol):
    """Secrets that PM Agent itself needs, by name. Each has versions; the newest one is in use."""

    def read(self, name: str) -> list[Secret]:
        """All versions, newest first; empty when there is none.

        Raises
        ------
        SecretsLocked
        """
        ...

    def add(self, name: str, value: bytes, now_s: int, *, first: bool = False) -> list[Secret]:
        """Add a version and return all; with ``first`` only if there is none yet."""
        ...

    def drop(self, name: str, version: int) -> None:
        """Forget a version."""
        ...


class DeliveryFailed(Exception):
    """A push did not arrive; what is said has neither address nor secret in it."""

    def __init__(self, reason: str, *, is_final: bool = False) -> None:
        self.reason = reason
        self.is_final = is_final  # trying again would not help
        super().__init__(reason)


class Notifier(Protocol):
    """Brings pushes to the webhooks of subscriptions."""

    async def deliver(self, push: Push) -> None:
        """Bring one push, once.

        Raises
        ------
        DeliveryFailed
        """
        ...

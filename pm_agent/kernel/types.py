"""What passes between engine, features and drivers."""

from collections.abc import Callable, Iterable
from hashlib import sha256
from random import Random
from typing import Any, Literal, Protocol

import msgspec

from pm_agent.domain.envelope import Body, Command, Event, EventData
from pm_agent.domain.errors import PMError
from pm_agent.domain.ids import AgentId
from pm_agent.domain.time import DAY_US, HOUR_US, MINUTE_US, SECOND_US
from pm_agent.domain.world import World
from pm_agent.kernel.effects import Alarm, Effect
from pm_agent.kernel.presence import Offer, Presence
from pm_agent.ports import Scorer


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers that decisions use. Events record what they led to, so replay needs none of them."""

    # An agent that heartbeats signs every 30 s: four missed ones are silence.
    heartbeat_silence_us: int = 120 * SECOND_US
    # One that only speaks MCP is silent while it thinks; leases of 4 to 7 minutes were measured
    # to die under living agents. Its own habit may earn it more: three times the 95th percentile
    # of its gaps.
    request_silence_us: int = 20 * MINUTE_US
    request_silence_max_us: int = 120 * MINUTE_US
    gap_quantile: float = 0.95
    gap_factor: int = 3
    max_declared_silence_us: int = 120 * MINUTE_US
    budget_min_us: int = 30 * MINUTE_US
    budget_max_us: int = 4 * HOUR_US
    # A task given to an agent that waits must be answered: one that vanished keeps it no longer.
    # Who heartbeats does so by itself, and who is pushed to can answer at once. One that only
    # speaks MCP may start to work in silence: first words after 4 minutes and more were measured.
    confirm_us: int = 60 * SECOND_US
    confirm_silent_us: int = 10 * MINUTE_US
    # An agent may name the address of a webhook: by default none that only the server can reach.
    webhooks_to_private_addresses: bool = False
    # Poison: a task that takes agents down or that they give up is not tried for ever. Two agents
    # lost on one task were hardly both unlucky; one agent may lose its connection twice. Judgement,
    # as of queues that park a message after 3 to 5 deliveries; see docs/job_lifecycle.md.
    max_agents_lost: int = 2  # different ones, whose leases on it were lost
    max_losses: int = 3  # lost leases, whosever
    max_agent_failures: int = 2  # attempts that their agents gave up as failed
    max_failures: int = 5  # all of these together, and work that was rejected
    backoff_base_us: int = 5 * SECOND_US
    backoff_max_us: int = 5 * MINUTE_US
    archive_after_us: int = 7 * DAY_US
    exploration: float = 0.03
    near_tie: float = 0.02
    # Share of claims that goes to the task whose turn it is by age and priority, whatever its
    # score: the rank bounds what may go before it, and this is what makes its turn come.
    reserve: float = 0.1
    shortlist: int = 100
    shadow: float = 0.0  # share of an agent's own claims in which the scorer's shadow is asked too
    # Blockers: what may be done before a person is asked, and how long each of it may take.
    blocker_ladder: Literal["full", "advice", "person"] = "full"
    blocker_try_us: int = 15 * MINUTE_US  # for an agent to say whether something helped
    blocker_retry_us: int = 2 * MINUTE_US  # pause before the first retry; it doubles
    blocker_help_us: int = 20 * MINUTE_US  # for another agent to answer
    blocker_reassign_us: int = 30 * MINUTE_US  # until another agent has got as far
    blocker_split_us: int = 90 * MINUTE_US  # what a task split off is expected to take
    # Until a person answers, which is what steps save; before anybody has (else what was seen).
    person_answer_us: int = 2 * HOUR_US
    # What it costs to ask a person about what is solved without one meanwhile; judgement.
    person_attention_us: int = 10 * MINUTE_US
    escalate_again_us: int = 30 * MINUTE_US  # then a person is asked again; it doubles
    escalate_max_us: int = DAY_US
    acknowledged_us: int = DAY_US  # how long an acknowledgement holds that back
    # Predicted use of a claim, reserved against the project's caps.
    tokens_per_estimated_min: int = 4_000
    microusd_per_token: int = 3
    default_estimate_min: int = 30


class Context(msgspec.Struct, kw_only=True):
    """All that a decision may use beside the world and the command."""

    now_us: int
    random: Random
    scorer: Scorer
    presence: Presence
    policy: Policy
    pending_effects: dict[str, Effect]

    def body(self, text: str) -> Body | None:
        """Make a body with a fresh salt, or None for an empty text."""
        if not text:
            return None
        salt = self.random.randbytes(16)
        # The time first, so that a journal keeps neighbours in time on the same pages.
        return Body(f"{self.now_us:x}.{body_digest(salt, text)}", salt, text)


def body_digest(salt: bytes, text: str) -> str:
    """Hex SHA-256 over a text's salt and itself: the end of its reference."""
    return sha256(salt + text.encode()).hexdigest()


class Result(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """What a command answers. Subclassed per command; field names are those of the API."""


class Decision(msgspec.Struct, kw_only=True):
    """What a decider found: facts, an answer, and changes of presence."""

    result: Result
    events: list[EventData] = []
    bodies: list[Body] = []
    offer: Offer | None = None  # a standing offer to leave
    withdraw: AgentId | None = None  # whose standing offer to drop
    check_again_us: int | None = None  # for a command that an alarm sent
    # Refused, and yet events stand above: what the caller brought is kept. Its result is not
    # remembered, so a retry is decided anew.
    refusal: PMError | None = None


class ErrorInfo(msgspec.Struct, frozen=True):
    """A refusal, as data."""

    code: str
    message: str
    next_step: str

    @classmethod
    def of(cls, error: PMError) -> "ErrorInfo":
        return cls(error.code, error.message, error.next_step)


class Reply(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """The answer to a command; released only when its events are durable."""

    request_id: str
    position: int  # read your own write: views at or past this have it
    result: bytes = b""  # JSON of the command's Result
    error: ErrorInfo | None = None
    directives: tuple[str, ...] = ()  # what the agent must obey now
    inbox: int = 0  # messages that the agent has not acknowledged


class Decider(Protocol):
    """A rule: world, command and context in, a decision out. It changes nothing."""

    def __call__(self, world: World, command: Any, context: Context, /) -> Decision: ...


Reactor = Callable[[Event, Any, World], Effect | Alarm | None]  # event, its data, world


class Catalog(msgspec.Struct, frozen=True):
    """Which feature handles what. Written out in ``pm_agent/catalog.py``."""

    deciders: dict[type[Command], Decider]
    reactors: dict[type[EventData], tuple[Reactor, ...]]
    # After the commands of a step: what the system owes to waiting agents, one by one.
    settle: Callable[[World, Context], Iterable[Command]]
    # Alarms that a world implies; for a world loaded from a snapshot.
    alarms: Callable[[World], Iterable[Alarm]]

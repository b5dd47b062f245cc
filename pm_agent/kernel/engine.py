"""One step: commands in order, each seeing the events of those before it.

The engine decides and folds in memory; it writes nothing. A driver takes the batches of one step or
several to the journal in one transaction, and releases their replies only when that is durable.
When it fails the engine is thrown away and a new one is built from the journal: what memory held
beyond the journal has been shown to nobody.
"""

from collections.abc import Iterable
from random import Random

import msgspec

from pm_agent.domain.envelope import SYSTEM, Body, Command, Event
from pm_agent.domain.errors import DecisionFailed, PMError
from pm_agent.domain.ids import AgentId
from pm_agent.domain.notice import NO_NOTICE, notice_for
from pm_agent.domain.world import World
from pm_agent.kernel.chain import seal, unseal
from pm_agent.kernel.effects import Alarms, Effect, Outbox
from pm_agent.kernel.idempotency import Requests
from pm_agent.kernel.presence import Offer, Presence
from pm_agent.kernel.types import Catalog, Context, Decision, ErrorInfo, Policy, Reply
from pm_agent.ports import EMPTY, Batch, Head, Scorer, StoredEvent, StoredRequest

MAX_BATCH = 256  # commands an append; beyond that the transaction itself becomes the tail

_encode = msgspec.json.Encoder().encode
_SYSTEM = str(SYSTEM)


class Step(msgspec.Struct):
    """What one step decided: the batch to write and the replies to release after it."""

    replies: list[Reply] = []
    events: list[Event] = []
    stored: list[StoredEvent] = []
    bodies: list[Body] = []
    requests: list[StoredRequest] = []
    failures: list[Exception] = []  # bugs met by single commands; for the driver's log

    def extend(self, later: "Step") -> None:
        """Add a step that was decided after this one and is written with it."""
        self.replies += later.replies
        self.events += later.events
        self.stored += later.stored
        self.bodies += later.bodies
        self.requests += later.requests
        self.failures += later.failures

    def batch(self, epoch: int) -> Batch:
        return Batch(epoch, self.stored, self.bodies, self.requests)


class Engine:
    """The decision core of one workspace.

    Parameters
    ----------
    catalog
        Which feature handles what.
    scorer, policy
        How candidates are scored, and the numbers decisions use.
    seed
        Of the random numbers decisions draw; each assignment records its own.
    started_us
        When this process took over; leases count silence from here at the earliest.
    """

    def __init__(
        self,
        catalog: Catalog,
        scorer: Scorer,
        policy: Policy,
        *,
        seed: int = 0,
        started_us: int = 0,
        world: World | None = None,
        outbox: Outbox | None = None,
        head: Head = EMPTY,
    ) -> None:
        self.catalog = catalog
        self.scorer = scorer
        self.policy = policy
        self.world = world or World()
        self.outbox = outbox or Outbox()
        self.requests = Requests()
        self.presence = Presence(max(started_us, self.world.tables.now_us))
        self.alarms = Alarms()
        self.head_hash = head.hash
        self.epoch = head.epoch
        self._random = Random(seed)

    # -- building from the journal ------------------------------------------------------------

    def replay(self, stored: Iterable[StoredEvent]) -> None:
        """Fold events that are durable already. Asks for effects, decides nothing."""
        for one in stored:
            self._fold(unseal(one), set_alarms=False)
            self.head_hash = one.hash
        # A wall clock may have been set back since: silence is counted in event time.
        self.presence.started_us = max(self.presence.started_us, self.world.tables.now_us)

    def restore_requests(self, known: Iterable[StoredRequest]) -> None:
        self.requests = Requests(known)

    def restore_offers(self, offers: Iterable[Offer]) -> None:
        """Let agents stand again that waited with the engine before this one."""
        for offer in offers:
            if offer.agent_id in self.world.agents:
                self.presence.stand(self.world.agents[offer.agent_id], offer)
        self.world.ready.refresh_project(None)

    def set_alarms(self) -> None:
        """After a replay: set the alarms that the world implies."""
        for alarm in self.catalog.alarms(self.world):
            self.alarms.put(alarm.at_us, alarm.command)

    # -- deciding -----------------------------------------------------------------------------

    def step(self, commands: list[Command], now_us: int) -> Step:
        """Decide commands in order, then what the clock and waiting agents are owed."""
        context = Context(
            now_us=max(now_us, self.world.tables.now_us),  # event time never goes back
            random=self._random,
            scorer=self.scorer,
            presence=self.presence,
            policy=self.policy,
            pending_effects=self.outbox.pending,
        )
        step = Step()
        self.requests.forget(context.now_us)
        for command in commands:
            step.replies.append(self._answer(command, context, step))
        for command in self.alarms.due(context.now_us):
            self._do_owed(command, context, step, is_alarm=True)
        for owed in self.catalog.settle(self.world, context):
            self._do_owed(owed, context, step)
        return step

    def hear(self, agent_ids: Iterable[AgentId], now_us: int) -> None:
        """Note signs of life that came without a command."""
        heard_us = max(now_us, self.world.tables.now_us)  # as in a step
        for agent_id in agent_ids:
            self.presence.hear(agent_id, heard_us)

    def next_wakeup_us(self) -> int | None:
        """When the clock alone will change something."""
        return self.alarms.next_us()

    def _answer(self, command: Command, context: Context, step: Step) -> Reply:
        who = command.principal
        principal = str(who)
        is_agent = who.kind == "agent"
        if is_agent:
            self.presence.hear(who.id, context.now_us)
        try:
            known = self.requests.find(principal, command)
            if known is not None:
                return Reply(
                    request_id=command.request_id, position=known.position, result=known.reply
                )
            n_before = len(step.events)
            decision = self._decide(command, principal, context, step)
            if decision.refusal is not None:
                raise decision.refusal
        except PMError as error:
            refused = Reply(
                request_id=command.request_id,
                position=self.world.position,
                error=ErrorInfo.of(error),
            )
            self.requests.note_refusal(principal, refused)
            return refused
        position = self.world.tables.position
        result = _encode(decision.result)
        if len(step.events) > n_before:
            request = self.requests.note(principal, command, context.now_us, position, result)
            if request is not None:
                step.requests.append(request)
        told = notice_for(self.world, who.id) if is_agent else NO_NOTICE
        return Reply(
            request_id=command.request_id,
            position=position,
            result=result,
            directives=told.directives,
            inbox=told.inbox,
        )

    def _do_owed(
        self, command: Command, context: Context, step: Step, *, is_alarm: bool = False
    ) -> None:
        """Do what the clock or a waiting agent is owed; a refusal concerns nobody."""
        who = command.principal
        try:
            principal = _SYSTEM if who is SYSTEM else str(who)
            self._decide(command, principal, context, step, is_alarm=is_alarm)
        except PMError:
            return

    def _decide(
        self,
        command: Command,
        principal: str,
        context: Context,
        step: Step,
        *,
        is_alarm: bool = False,
    ) -> Decision:
        """Decide one command and fold what it led to.

        The decider changes nothing, so its failure harms this one command only. A broken invariant
        is an `AssertionError` and is not caught: the process must stop.
        """
        try:
            decision = self.catalog.deciders[type(command)](self.world, command, context)
        except (PMError, AssertionError):
            raise
        except Exception as error:
            step.failures.append(error)
            message = f"Deciding {type(command).__name__} failed: {type(error).__name__}."
            raise DecisionFailed(message) from error
        if decision.events:
            self._commit(decision, command.request_id, principal, context.now_us, step)
        if decision.bodies:
            step.bodies += decision.bodies
        if decision.withdraw is not None:
            self.presence.withdraw(decision.withdraw)
        if decision.offer is not None:
            self.presence.stand(self.world.agents[decision.offer.agent_id], decision.offer)
        if is_alarm and decision.check_again_us is not None:
            self.alarms.put(decision.check_again_us, command)
        return decision

    def _commit(
        self, decision: Decision, cause: str, principal: str, now_us: int, step: Step
    ) -> None:
        """Fold the events of a decision and seal them into the chain."""
        position, events, stored = self.world.tables.position, step.events, step.stored
        for data in decision.events:
            position += 1
            event = Event(position, now_us, self.epoch, principal, cause, data)
            self._fold(event, set_alarms=True)
            sealed = seal(event, self.head_hash)
            self.head_hash = sealed.hash
            events.append(event)
            stored.append(sealed)

    def _fold(self, event: Event, *, set_alarms: bool) -> None:
        self.world.apply(event)
        self.outbox.apply(event)
        for reactor in self.catalog.reactors.get(type(event.data), ()):
            wanted = reactor(event, event.data, self.world)
            if isinstance(wanted, Effect):
                self.outbox.put(wanted)
            elif set_alarms and wanted is not None:
                self.alarms.put(wanted.at_us, wanted.command)

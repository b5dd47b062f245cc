"""Claim, wait, release, expire: the rules of who holds a task."""

from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from itertools import islice

from pm_agent.domain.agent import Agent
from pm_agent.domain.assignment import (
    Assignment,
    AssignmentExpired,
    CheckLease,
    ClaimTask,
    ExpiryReason,
    LeaseSuspected,
    ReleaseTask,
    TaskAssigned,
    TaskReleased,
    WaitForTask,
    WithdrawOffer,
)
from pm_agent.domain.decision_record import DecisionRecord
from pm_agent.domain.envelope import SYSTEM, Command, EventData
from pm_agent.domain.errors import CapacityExceeded, PMError, WrongState
from pm_agent.domain.ids import AgentId, ProjectId
from pm_agent.domain.ready_set import ReadyClass
from pm_agent.domain.subscription import Watchlist
from pm_agent.domain.task import LEASED, TaskDeadLettered
from pm_agent.domain.time import DAY_US, SECOND_US, iso
from pm_agent.domain.world import World
from pm_agent.features.assignment.budget import reserved_for, within_budget
from pm_agent.features.assignment.facts import Shortlist, shortlist
from pm_agent.features.assignment.learned import expected_of
from pm_agent.features.assignment.matching import MAX_AGENTS, match
from pm_agent.features.assignment.pick import Chances, pick
from pm_agent.features.assignment.record import record_of
from pm_agent.features.assignment.shadow import shadow_of
from pm_agent.kernel.fencing import require_lease, require_member, require_project, require_self
from pm_agent.kernel.leases import (
    LeaseClock,
    attempt_budget_us,
    clocks_of,
    confirm_us,
    first_suspicion_us,
    lease_until_us,
    silence_allowance_us,
)
from pm_agent.kernel.presence import Offer
from pm_agent.kernel.retry import after_failure
from pm_agent.kernel.types import Context, Decision, Result

RETRY_JITTER = 0.2
STANDS_US = 365 * DAY_US  # an agent with a webhook waits until its subscription ends
# Waiting agents that are compared for one task, in 0.6 ms: the best of so many drawn at random is
# among the best sixteenth of all.
FOR_ONE = 16
# A wait that follows the last one within this time is the same wait.
STILL_WAITING_US = 10 * SECOND_US


class ClaimResult(Result, frozen=True, kw_only=True):
    """``outcome`` is ``assigned``, ``waiting`` or ``none``; the rest follows from it."""

    outcome: str
    task_id: str = ""
    lease_token: int = 0
    attempt: int = 0
    lease_until: str = ""
    confirm_by: str = ""  # make any call by then: the task was given while you waited
    policy: str = ""
    reason: str = ""
    retry_after_s: int = 0


_SERVED = ClaimResult(outcome="assigned")


class ReleaseResult(Result, frozen=True, kw_only=True):
    """Where the task went; an empty state when nothing happened."""

    task_id: str
    state: str


def claim(world: World, command: ClaimTask, context: Context) -> Decision:
    """Give the agent its best task now, or say why there is none."""
    return _claim(world, command, context, waits=command.is_offered)


def _claim(world: World, command: ClaimTask, context: Context, *, waits: bool) -> Decision:
    """Give the agent a task.

    One that waits gets what it watches for alone, and must confirm: it may be gone by now.
    """
    require_self(command.principal, command.agent_id)
    agent = require_member(world, command.agent_id)
    given = _unanswered(world, agent)
    if given is not None:  # the reply that carried it was lost: the same lease again
        return Decision(result=_assigned_result(given, context), withdraw=agent.id)
    if command.project_id is not None:
        require_project(world, command.project_id)
    if command.is_offered and (agent.id not in context.presence.offers or _is_full(agent)):
        return Decision(result=ClaimResult(outcome="none", reason="no_longer_waiting"))
    _require_capacity(agent)
    if world.tables.workspace_holds or agent.holds:
        return Decision(result=_nothing(world, agent, "on_hold", context))
    wanted = world.watchlists.wanted_by(agent.id) if waits else None
    found = shortlist(world, agent, command.project_id, context, wanted)
    if found is None:
        return Decision(result=_nothing(world, agent, "no_ready_task", context))
    is_system = command.principal.kind == "system"
    record = command.match if is_system else None
    if record is None:
        record = _picked(world, agent, command.project_id, wanted, found, context)
    elif record.chosen_number not in found.numbers:  # its project is full, or has no budget left
        return Decision(result=_nothing(world, agent, "match_not_possible", context))
    event = _assign(world, agent, record, context, by_system=is_system, waits=waits)
    # Who waits is told by the event: nobody reads what the system is told in its place.
    result = _SERVED if command.is_offered else given_by(event, context.now_us)
    return Decision(events=[event], result=result, withdraw=agent.id)


def given_by(event: TaskAssigned, at_us: int) -> ClaimResult:
    """What the agent of an assignment is told; also when it is woken by it, and asks nobody."""
    return ClaimResult(
        outcome="assigned",
        task_id=event.task_id,
        lease_token=event.lease_token,
        attempt=event.attempt,
        lease_until=iso(lease_until_us(event.silence_us, event.budget_us, at_us, at_us)),
        confirm_by=iso(at_us + event.confirm_us) if event.confirm_us else "",
        policy=event.decision.version,
    )


def wait(world: World, command: WaitForTask, context: Context) -> Decision:
    """As a claim of what the agent watches for, but leave a standing offer when there is nothing.

    The system waits for agents that are reached by a stream or a webhook.
    """
    now = ClaimTask(
        request_id=command.request_id,
        principal=command.principal,
        agent_id=command.agent_id,
        project_id=command.project_id,
    )
    decision = _claim(world, now, context, waits=True)
    result = decision.result
    assert isinstance(result, ClaimResult)
    if result.outcome == "assigned":
        return decision
    since_us = context.now_us
    before = context.presence.offers.get(command.agent_id)
    if before is not None and before.until_us > context.now_us - STILL_WAITING_US:
        since_us = before.since_us  # the next long poll of one and the same wait keeps its place
    until_us = command.until_us
    if before is not None and command.agent_id in world.watchlists.hooked:
        until_us = max(until_us, before.until_us)  # a poll that ends does not end the webhook
    is_pushed = command.principal.kind == "system"
    offer = Offer(command.agent_id, since_us, until_us, command.project_id, is_pushed)
    waiting = ClaimResult(
        outcome="waiting", reason=result.reason, retry_after_s=result.retry_after_s
    )
    return Decision(result=waiting, offer=offer)


def withdraw(world: World, command: WithdrawOffer, context: Context) -> Decision:
    """Drop the agent's standing offer; one that stands for its webhook stays."""
    require_self(command.principal, command.agent_id)
    stays = command.agent_id in world.watchlists.hooked
    withdrawn = None if stays else command.agent_id
    return Decision(result=ClaimResult(outcome="none"), withdraw=withdrawn)


def settle(world: World, context: Context) -> Iterable[Command]:
    """Match standing offers with classes that gained tasks.

    Where several agents wait for several tasks they are matched, so that the total is the best;
    what is left goes one by one to the longest waiting.

    Gives claims in the agents' names, each to be decided before the next is asked for: an agent
    that may not take the task (on hold, failed at it last) leaves it to the one that waits behind
    it. A claim that finds nothing leaves its offer standing.
    """
    if not world.ready.fresh and not world.watchlists.idle:
        return ()  # most steps: nothing became ready
    return _settled(world, context)


def _settled(world: World, context: Context) -> Iterator[Command]:
    yield from _served(world, context)
    yield from _hooked(world, context)


def _hooked(world: World, context: Context) -> Iterator[WaitForTask]:
    """Waits of agents that are reached by a webhook, and do not stand for a task now.

    One whose last task came back without a word is not waited for before it was heard again.
    """
    lists, offers = world.watchlists, context.presence.offers
    for agent_id in list(lists.idle):
        hook = world.subscriptions[lists.hooked[agent_id]]
        if context.presence.heard_at(agent_id) <= hook.unanswered_us:
            continue
        del lists.idle[agent_id]
        standing = offers.get(agent_id)
        is_short = standing is None or standing.until_us < context.now_us + STANDS_US // 2
        if is_short and not _is_full(world.agents[agent_id]):
            yield WaitForTask(
                request_id=f"system:hook:{agent_id}:{context.now_us}",
                principal=SYSTEM,
                agent_id=agent_id,
                until_us=context.now_us + STANDS_US,
            )


def _served(world: World, context: Context) -> Iterator[ClaimTask]:
    """Claims for those who wait for what became ready."""
    if not world.ready.fresh:
        return
    fresh, world.ready.fresh = world.ready.fresh, {}
    if not context.presence.offers:
        return
    yield from _matched(world, fresh, context)
    asked: set[AgentId] = set()
    for one in fresh:
        if not one.n:
            continue
        for offer in _waiting(world, [one], context):
            if offer.agent_id not in asked:
                asked.add(offer.agent_id)
                yield _offered(offer, context)
                if not one.n:
                    break


def _matched(world: World, fresh: Iterable[ReadyClass], context: Context) -> Iterator[ClaimTask]:
    """Claims of tasks that were chosen for several agents at once.

    One task is matched too where the scorer knows which of several agents should get it: the
    cheapest that is likely to do it, not the one that waits longest. An agent whose match has
    become impossible, because those before it used up a limit, is matched again with what is left.
    """
    least = 1 if context.scorer.compares_agents else 2
    n_tasks = sum([one.n for one in fresh])
    if n_tasks < least:
        return
    most = MAX_AGENTS if n_tasks > 1 else FOR_ONE
    # As many as one match takes are looked at, however many wait.
    drawn = context.scorer.compares_agents  # else those that never get one are all it sees
    offers = _waiting(world, fresh, context, are_drawn=drawn)
    waiting = (o for o in offers if _may_take(world, o.agent_id))
    again: list[Offer] = []
    while sum([one.n for one in fresh]) >= least:
        batch = again + list(islice(waiting, most - len(again)))
        if len(batch) < 2:  # noqa: PLR2004 - one agent: no match
            return
        try:
            matches = match(world, batch, context)
        except (PMError, AssertionError):
            raise
        except Exception:  # noqa: BLE001 - a scorer's; claims meet it too, where it harms one only
            return
        for offer, record in matches:
            yield _offered(offer, context, record)
        again = [m.offer for m in matches if m.offer.agent_id in context.presence.offers]
        if len(again) == len(matches):  # nothing has changed, and nothing would
            again = []


def _waiting(
    world: World, classes: Iterable[ReadyClass], context: Context, *, are_drawn: bool = False
) -> Iterator[Offer]:
    """Standing offers of agents that classes admit, longest waiting first; or some of them, drawn.

    One by one: most often the first takes what there is, and hundreds wait behind it.
    """
    presence = context.presence
    queues: list[Iterator[Offer]] = []
    for signature in presence.signatures():
        open_to = world.ready.eligible(signature).numbers
        projects = {c.key[0] for c in classes if c.number in open_to}
        if projects:
            if are_drawn:
                queue = presence.drawn(signature, context.now_us, MAX_AGENTS, context.random)
            else:
                queue = presence.queue(signature, context.now_us)
            queues.append(_wants(world, classes, projects, queue))
    if len(queues) == 1:
        return queues[0]
    return merge(*queues, key=_place_of)


def _place_of(offer: Offer) -> tuple[int, AgentId]:
    return offer.since_us, offer.agent_id


def _wants(
    world: World, classes: Iterable[ReadyClass], projects: set[ProjectId], offers: Iterator[Offer]
) -> Iterator[Offer]:
    watched = world.watchlists.of_agent
    for offer in offers:
        if offer.project_id is not None and offer.project_id not in projects:
            continue
        if offer.agent_id in watched:
            wanted = world.watchlists.wanted_by(offer.agent_id) or ()
            if not any(c.key in one.by_class for one in wanted for c in classes):
                continue
        yield offer


def _may_take(world: World, agent_id: AgentId) -> bool:
    agent = world.agents[agent_id]
    is_held = world.tables.workspace_holds or agent.holds
    return not is_held and not _is_full(agent) and _unanswered(world, agent) is None


def _offered(offer: Offer, context: Context, record: DecisionRecord | None = None) -> ClaimTask:
    """Claim in the name of an agent that waits."""
    return ClaimTask(
        request_id=f"system:offer:{offer.agent_id}:{context.now_us}",
        principal=SYSTEM,
        agent_id=offer.agent_id,
        project_id=offer.project_id,
        is_offered=True,
        match=record,
    )


def release(world: World, command: ReleaseTask, context: Context) -> Decision:
    """End the attempt at the agent's wish."""
    task, assignment = require_lease(world, command.principal, command.task_id, command.lease_token)
    if task.state not in LEASED:
        message = f"Task {task.id} is {task.state}: its work was handed in already."
        raise WrongState(message, "Wait for the verdict, and ask for another task meanwhile.")
    note = context.body(command.note)
    events: list[EventData] = [
        TaskReleased(
            task_id=task.id,
            agent_id=assignment.agent_id,
            lease_token=assignment.lease_token,
            reason=command.reason,
            note=note.ref if note else None,
        )
    ]
    if command.reason == "failed":
        events += after_failure(task, "failed", assignment.agent_id, context)
    state = "blocked" if world.open_blockers(task.id) else "open"
    if isinstance(events[-1], TaskDeadLettered):
        state = "dead_letter"
    result = ReleaseResult(task_id=task.id, state=state)
    return Decision(events=events, bodies=[note] if note else [], result=result)


def check_lease(world: World, command: CheckLease, context: Context) -> Decision:
    """End a lease that is lost, tell of one that is suspect; else look again later."""
    assignment = world.assignments.get(command.task_id)
    result = ReleaseResult(task_id=command.task_id, state="")
    if assignment is None or assignment.lease_token != command.lease_token:
        return Decision(result=result)
    task = world.tasks[command.task_id]
    if task.state not in LEASED:  # in review: any verdict ends this lease, however late it comes
        return Decision(result=result)
    heard_us = max(context.presence.heard_at(assignment.agent_id), assignment.heard_at_us)
    granted_us = max(assignment.granted_at_us, context.presence.started_us)
    is_unconfirmed = assignment.is_offered and heard_us <= granted_us
    first_us = first_suspicion_us(assignment, task.state, context.presence)
    if context.now_us < first_us and not is_unconfirmed:  # most looks
        return Decision(result=result, check_again_us=first_us)
    clocks = clocks_of(assignment, task.state, context.presence)
    told = [clock.told_by(context.now_us) for clock in clocks]
    ends: list[tuple[int, ExpiryReason]] = [(clock.lost_us, clock.reason) for clock in told]
    if is_unconfirmed:
        ends.append((_confirmed_by_us(assignment, context), "unconfirmed"))
    end_us, reason = min(ends)
    if context.now_us < end_us:
        suspected = [
            _suspected(assignment, clock, heard_us)
            for clock, before in zip(told, clocks, strict=True)
            if clock is not before
        ]
        ahead = [clock.suspect_us for clock in clocks if clock.suspect_us > context.now_us]
        return Decision(events=[*suspected], result=result, check_again_us=min([end_us, *ahead]))
    expired = AssignmentExpired(
        task_id=task.id,
        agent_id=assignment.agent_id,
        lease_token=assignment.lease_token,
        reason=reason,
        agent_heard_at_us=heard_us,
        task_heard_at_us=assignment.heard_at_us,
    )
    events: list[EventData] = [expired]
    if reason != "unconfirmed":
        events += after_failure(task, "expired", assignment.agent_id, context)
    return Decision(events=events, result=result)


def _suspected(held: Assignment, clock: LeaseClock, heard_us: int) -> LeaseSuspected:
    return LeaseSuspected(
        task_id=held.task_id,
        agent_id=held.agent_id,
        lease_token=held.lease_token,
        reason=clock.reason,
        allowance_us=clock.allowance_us,
        agent_heard_at_us=heard_us,
        task_heard_at_us=held.heard_at_us,
        lost_at_us=clock.lost_us,
    )


def _picked(  # noqa: PLR0917 - parts of one claim
    world: World,
    agent: Agent,
    project_id: ProjectId | None,
    wanted: Sequence[Watchlist] | None,
    found: Shortlist,
    context: Context,
) -> DecisionRecord:
    """Pick for this agent alone."""
    found, scored = within_budget(world, found, context.scorer.score(found.facts), context.scorer)
    seed, policy = context.random.getrandbits(53), context.policy
    chances = Chances(policy.exploration, policy.near_tie, policy.reserve, found.first)
    choice = pick(scored.values, seed, chances)
    shadow = None
    if context.scorer.shadow is not None:
        chosen = int(found.numbers[choice.chosen])
        shadow = shadow_of(world, agent, project_id, wanted, context, seed, chosen)
    return record_of(
        agent, found, scored, choice, context, seed=seed, chances=chances, shadow=shadow
    )


def _assign(
    world: World,
    agent: Agent,
    record: DecisionRecord,
    context: Context,
    *,
    by_system: bool,
    waits: bool,
) -> TaskAssigned:
    policy = context.policy
    task = world.tasks[record.chosen_id]
    expected = expected_of(record)
    silence_us = silence_allowance_us(
        agent.id,
        context.presence,
        policy,
        sends_heartbeats=agent.sends_heartbeats,
        earned_us=world.earned_silences.get(agent.id, 0),
    )
    return TaskAssigned(
        task_id=task.id,
        agent_id=agent.id,
        lease_token=task.lease_token + 1,
        attempt=task.attempt + 1,
        silence_us=silence_us,
        budget_us=attempt_budget_us(
            policy, task.minutes, expected.longest_min if expected else 0.0
        ),
        decision=record,
        is_offered=by_system,
        confirm_us=_window_us(agent, silence_us, context, by_system=by_system) if waits else 0,
        reserved=reserved_for(world, task, expected, policy),
        is_earned=not agent.sends_heartbeats and silence_us > policy.request_silence_us,
    )


def _window_us(agent: Agent, silence_us: int, context: Context, *, by_system: bool) -> int:
    """How long the first sign of life may take of an agent that waits."""
    standing = context.presence.offers.get(agent.id)
    is_pushed = by_system and (standing is None or standing.is_pushed)
    speaks_soon = agent.sends_heartbeats or is_pushed
    return confirm_us(context.policy, silence_us, speaks_soon=speaks_soon)


def _confirmed_by_us(held: Assignment, context: Context) -> int:
    """Instant until which the first sign of life is waited for.

    It leaves no event, and is forgotten when the coordinator is replaced: then nobody who may have
    given it loses a task before a whole silence is over.
    """
    started_us = context.presence.started_us
    if held.granted_at_us < started_us:
        return started_us + held.silence_us
    return held.granted_at_us + (held.confirm_us or context.policy.confirm_us)


def _unanswered(world: World, agent: Agent) -> Assignment | None:
    for task_id in agent.active:
        if task_id in world.unanswered:
            return world.assignments[task_id]
    return None


def _assigned_result(held: Assignment, context: Context) -> ClaimResult:
    return ClaimResult(
        outcome="assigned",
        task_id=held.task_id,
        lease_token=held.lease_token,
        attempt=held.attempt,
        lease_until=iso(
            lease_until_us(held.silence_us, held.budget_us, context.now_us, held.heard_at_us)
        ),
        confirm_by=iso(_confirmed_by_us(held, context)),
        policy=context.scorer.version,
    )


def _is_full(agent: Agent) -> bool:
    return len(agent.active) >= agent.capacity


def _require_capacity(agent: Agent) -> None:
    if _is_full(agent):
        held = ", ".join(agent.active[:5])
        message = f"Agent {agent.id} holds {len(agent.active)} of {agent.capacity} tasks: {held}."
        raise CapacityExceeded(message)


def _nothing(world: World, agent: Agent, reason: str, context: Context) -> ClaimResult:
    """Return an empty answer with a jittered hint, so that idle agents do not come together."""
    chosen = agent.project_ids or world.projects
    hint = min([world.projects[p].retry_after_s for p in chosen if p in world.projects], default=30)
    jitter = 1 + RETRY_JITTER * (2 * context.random.random() - 1)
    return ClaimResult(outcome="none", reason=reason, retry_after_s=max(1, round(hint * jitter)))

"""Claim, wait, release, expire: the rules of who holds a task."""

from collections.abc import Iterator

from pm_agent.domain.agent import Agent
from pm_agent.domain.assignment import (
    Assignment,
    AssignmentExpired,
    CheckLease,
    ClaimTask,
    DecisionRecord,
    ExpiryReason,
    ReleaseTask,
    TaskAssigned,
    TaskReleased,
    WaitForTask,
    WithdrawOffer,
    lease_until_us,
)
from pm_agent.domain.envelope import SYSTEM, Command, EventData
from pm_agent.domain.errors import CapacityExceeded, WrongState
from pm_agent.domain.ids import AgentId, ProjectId
from pm_agent.domain.project import Project
from pm_agent.domain.task import LEASED, Task, TaskDeadLettered
from pm_agent.domain.time import MINUTE_US, SECOND_US, iso
from pm_agent.domain.world import World
from pm_agent.features.assignment.facts import Shortlist, predicted_usage, shortlist
from pm_agent.features.assignment.pick import N_EXPLAINED, SCORE_DECIMALS, pick
from pm_agent.kernel.fencing import require_agent, require_lease, require_project, require_self
from pm_agent.kernel.presence import Offer
from pm_agent.kernel.retry import after_failure
from pm_agent.kernel.types import Context, Decision, Policy, Result

RETRY_JITTER = 0.2
# A wait that follows the last one within this time is the same wait.
STILL_WAITING_US = 10 * SECOND_US


class ClaimResult(Result, frozen=True, kw_only=True):
    """``outcome`` is ``assigned``, ``waiting`` or ``none``; the rest follows from it."""

    outcome: str
    task_id: str = ""
    lease_token: int = 0
    attempt: int = 0
    lease_until: str = ""
    policy: str = ""
    reason: str = ""
    retry_after_s: int = 0


class ReleaseResult(Result, frozen=True, kw_only=True):
    """Where the task went; an empty state when nothing happened."""

    task_id: str
    state: str


def claim(world: World, command: ClaimTask, context: Context) -> Decision:
    """Give the agent its best task now, or say why there is none."""
    require_self(command.principal, command.agent_id)
    agent = require_agent(world, command.agent_id)
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
    found = shortlist(world, agent, command.project_id, context.policy, context.now_us)
    if found is None:
        return Decision(result=_nothing(world, agent, "no_ready_task", context))
    event = _assign(world, agent, found, context, is_offered=command.is_offered)
    result = ClaimResult(
        outcome="assigned",
        task_id=event.task_id,
        lease_token=event.lease_token,
        attempt=event.attempt,
        lease_until=iso(
            lease_until_us(event.silence_us, event.budget_us, context.now_us, context.now_us)
        ),
        policy=event.decision.version,
    )
    return Decision(events=[event], result=result, withdraw=agent.id)


def wait(world: World, command: WaitForTask, context: Context) -> Decision:
    """As a claim, but leave a standing offer when there is nothing."""
    now = ClaimTask(
        request_id=command.request_id,
        principal=command.principal,
        agent_id=command.agent_id,
        project_id=command.project_id,
    )
    decision = claim(world, now, context)
    result = decision.result
    assert isinstance(result, ClaimResult)
    if result.outcome == "assigned":
        return decision
    since_us = context.now_us
    before = context.presence.offers.get(command.agent_id)
    if before is not None and before.until_us > context.now_us - STILL_WAITING_US:
        since_us = before.since_us  # the next long poll of one and the same wait keeps its place
    offer = Offer(command.agent_id, since_us, command.until_us, command.project_id)
    waiting = ClaimResult(
        outcome="waiting", reason=result.reason, retry_after_s=result.retry_after_s
    )
    return Decision(result=waiting, offer=offer)


def withdraw(world: World, command: WithdrawOffer, context: Context) -> Decision:
    """Drop the agent's standing offer."""
    require_self(command.principal, command.agent_id)
    return Decision(result=ClaimResult(outcome="none"), withdraw=command.agent_id)


def settle(world: World, context: Context) -> Iterator[Command]:
    """Match standing offers with classes that gained tasks: longest waiting first.

    Yields claims in the agents' names, each to be decided before the next is asked for: an agent
    that may not take the task (on hold, failed at it last) leaves it to the one that waits behind
    it. A claim that finds nothing leaves its offer standing.
    """
    if not world.ready.fresh:
        return
    fresh, world.ready.fresh = world.ready.fresh, {}
    if not context.presence.offers:
        return
    asked: set[AgentId] = set()
    for key in fresh:
        ready_class = world.ready.classes[key]
        waiting = [
            offer
            for signature in context.presence.signatures()
            if ready_class.admits(signature)
            for offer in context.presence.waiting(signature, context.now_us)
            if offer.project_id in (None, key[0]) and offer.agent_id not in asked
        ]
        waiting.sort(key=lambda offer: (offer.since_us, offer.agent_id))
        for offer in waiting:
            if not ready_class.entries:
                break
            asked.add(offer.agent_id)
            yield ClaimTask(
                request_id=f"system:offer:{offer.agent_id}:{context.now_us}",
                principal=SYSTEM,
                agent_id=offer.agent_id,
                project_id=offer.project_id,
                is_offered=True,
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
        events += after_failure(task, context.now_us, context.policy, context.random)
    state = "blocked" if world.open_blockers(task.id) else "open"
    if isinstance(events[-1], TaskDeadLettered):
        state = "dead_letter"
    result = ReleaseResult(task_id=task.id, state=state)
    return Decision(events=events, bodies=[note] if note else [], result=result)


def check_lease(world: World, command: CheckLease, context: Context) -> Decision:
    """End a lease whose agent or task has been silent too long; else look again later."""
    assignment = world.assignments.get(command.task_id)
    result = ReleaseResult(task_id=command.task_id, state="")
    if assignment is None or assignment.lease_token != command.lease_token:
        return Decision(result=result)
    task = world.tasks[command.task_id]
    if task.state not in LEASED:  # in review: the server waits, not the agent
        return Decision(result=result, check_again_us=context.now_us + MINUTE_US)
    heard_us = max(context.presence.heard_at(assignment.agent_id), assignment.heard_at_us)
    deadlines = lease_deadlines(assignment, task, heard_us, context)
    until_us, reason = min(deadlines)
    if context.now_us < until_us:
        return Decision(result=result, check_again_us=until_us)
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
        events += after_failure(task, context.now_us, context.policy, context.random)
    return Decision(events=events, result=result)


def lease_deadlines(
    assignment: Assignment, task: Task, heard_us: int, context: Context
) -> list[tuple[int, ExpiryReason]]:
    """Instants at which the lease ends if nobody is heard from now on, with the reason."""
    deadlines: list[tuple[int, ExpiryReason]] = [(heard_us + assignment.silence_us, "agent_silent")]
    if task.state == "assigned":  # a blocked task may rightly be silent: it waits for an answer
        # After a recovery nobody could report for a while, so the budget starts anew too.
        said_us = max(assignment.heard_at_us, context.presence.started_us)
        # A declared silence is about the task too.
        patience_us = max(assignment.budget_us, assignment.silence_us)
        deadlines.append((said_us + patience_us, "task_silent"))
    granted_us = max(assignment.granted_at_us, context.presence.started_us)
    if assignment.is_offered and heard_us <= granted_us:
        deadlines.append((granted_us + context.policy.confirm_us, "unconfirmed"))
    return deadlines


def attempt_budget_us(policy: Policy, estimate_min: int) -> int:
    """How long a task may be silent: twice a pessimistic duration, between 30 min and 4 h.

    Until durations are learned, three times the estimate stands in for the 95th percentile.
    """
    pessimistic_us = 3 * (estimate_min or policy.default_estimate_min) * MINUTE_US
    return min(max(2 * pessimistic_us, policy.budget_min_us), policy.budget_max_us)


def _assign(
    world: World, agent: Agent, found: Shortlist, context: Context, *, is_offered: bool
) -> TaskAssigned:
    policy, scorer = context.policy, context.scorer
    scored = scorer.score(found.facts)
    scores = scored.values.round(SCORE_DECIMALS)
    seed = context.random.getrandbits(53)
    choice = pick(scores, seed, policy.exploration, policy.near_tie)
    shown = [choice.chosen, *(i for i in choice.ranked if i != choice.chosen)][:N_EXPLAINED]
    record = DecisionRecord(
        policy=scorer.policy,
        version=scorer.version,
        seed=seed,
        exploration=policy.exploration,
        near_tie=policy.near_tie,
        propensity=round(choice.propensity, SCORE_DECIMALS),
        n_eligible=found.n_eligible,
        candidates=found.task_ids,
        scores=scores.tolist(),
        explained=shown,
        factors=scored.factors.take(shown, axis=0).round(SCORE_DECIMALS).tolist(),
        facts=found.facts.take(
            shown, axis=0
        ).tolist(),  # unrounded: from these the same scores come out again
        heard_at_us=context.presence.heard_at(agent.id),
    )
    task = world.tasks[found.task_ids[choice.chosen]]
    silence_us = (
        policy.heartbeat_silence_us if agent.sends_heartbeats else policy.request_silence_us
    )
    return TaskAssigned(
        task_id=task.id,
        agent_id=agent.id,
        lease_token=task.lease_token + 1,
        attempt=task.attempt + 1,
        silence_us=silence_us,
        budget_us=attempt_budget_us(policy, task.estimate_min),
        decision=record,
        is_offered=is_offered,
        reserved=predicted_usage(policy, task.estimate_min),
    )


def _unanswered(world: World, agent: Agent) -> Assignment | None:
    for task_id, agent_id in world.unanswered.items():  # few at any time: they end in a minute
        if agent_id == agent.id:
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
    hints = [p.retry_after_s for p in _projects_of(world, agent.project_ids)]
    hint = min(hints, default=30)
    jitter = 1 + RETRY_JITTER * (2 * context.random.random() - 1)
    return ClaimResult(outcome="none", reason=reason, retry_after_s=max(1, round(hint * jitter)))


def _projects_of(world: World, project_ids: tuple[ProjectId, ...]) -> list[Project]:
    chosen = project_ids or tuple(world.projects)
    return [world.projects[p] for p in chosen if p in world.projects]

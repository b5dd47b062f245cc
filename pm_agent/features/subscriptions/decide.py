"""Subscribe and unsubscribe; what becomes of pushes."""

from pm_agent.domain.address import require_public_url
from pm_agent.domain.assignment import AssignmentExpired
from pm_agent.domain.envelope import Body, EventData
from pm_agent.domain.errors import (
    AlreadyExists,
    TooManySubscriptions,
    UnknownSubscription,
)
from pm_agent.domain.ids import subscription_id
from pm_agent.domain.subscription import (
    MAX_FILTERS,
    MAX_PER_AGENT,
    NotePush,
    PushFailed,
    Subscribe,
    Subscribed,
    Subscription,
    TaskFilter,
    TaskPushed,
    Unsubscribe,
    Unsubscribed,
    Webhook,
)
from pm_agent.domain.world import World
from pm_agent.kernel.fencing import require_member, require_project, require_self
from pm_agent.kernel.types import Context, Decision, Result


class SubscriptionResult(Result, frozen=True, kw_only=True):
    """The subscription, and what to do next."""

    subscription_id: str
    agent_id: str
    next_step: str


def subscribe(world: World, command: Subscribe, context: Context) -> Decision:
    """Keep a filter for an agent."""
    require_self(command.principal, command.agent_id)
    agent = require_member(world, command.agent_id)
    wanted = _normal(command.filter)
    for project_id in wanted.project_ids:
        require_project(world, project_id)
    own = world.watchlists.of_agent.get(agent.id, {})
    if wanted in own.values() and not command.url:
        message = f"{agent.id} has this filter already."
        raise AlreadyExists(message, "See get_agent_status for your subscriptions.")
    if len(own) >= MAX_PER_AGENT:
        message = f"{agent.id} has {MAX_PER_AGENT} subscriptions."
        raise TooManySubscriptions(message)
    if len(world.watchlists.by_filter) >= MAX_FILTERS and wanted not in world.watchlists.by_filter:
        message = f"The workspace has {MAX_FILTERS} different filters."
        raise TooManySubscriptions(message, "Use a filter that another agent uses too.")
    number = world.tables.subscriptions_made + 1
    webhook, bodies = _webhook(command, context)
    subscribed = Subscribed(
        subscription_id=subscription_id(number),
        number=number,
        agent_id=agent.id,
        filter=wanted,
        webhook=webhook,
    )
    if webhook is not None:
        next_step = f"Tasks are posted to {webhook.host}; answer each with any call within 60 s."
    else:
        next_step = "Call wait_for_task, or follow GET /v1/agents/{agent_id}/events."
    result = SubscriptionResult(
        subscription_id=subscribed.subscription_id, agent_id=agent.id, next_step=next_step
    )
    return Decision(events=[subscribed], bodies=bodies, result=result)


def unsubscribe(world: World, command: Unsubscribe, context: Context) -> Decision:
    """Drop a filter."""
    known = _require_subscription(world, command.subscription_id)
    require_self(command.principal, known.agent_id)
    dropped = Unsubscribed(subscription_id=known.id, agent_id=known.agent_id)
    result = SubscriptionResult(
        subscription_id=known.id,
        agent_id=known.agent_id,
        next_step="Without any subscription you are offered every task that you can do.",
    )
    withdraw = known.agent_id if known.webhook is not None else None  # it stood for the webhook
    return Decision(events=[dropped], result=result, withdraw=withdraw)


def note_push(world: World, command: NotePush, context: Context) -> Decision:
    """Note that a push arrived; free the task at once when it could not."""
    if command.effect_id not in context.pending_effects:
        message = f"The push {command.effect_id} is over."
        raise UnknownSubscription(message)
    known = world.subscriptions.get(command.subscription_id)
    held = world.assignments.get(command.task_id)
    assert held is not None, command  # the effect ends with the attempt
    result = SubscriptionResult(
        subscription_id=command.subscription_id, agent_id=held.agent_id, next_step=""
    )
    events: list[EventData] = []
    if not command.failure:
        events.append(
            TaskPushed(
                effect_id=command.effect_id,
                subscription_id=command.subscription_id,
                task_id=command.task_id,
                agent_id=held.agent_id,
            )
        )
        return Decision(events=events, result=result)
    events.append(
        PushFailed(
            effect_id=command.effect_id,
            subscription_id=command.subscription_id,
            task_id=command.task_id,
            agent_id=held.agent_id,
            reason=command.failure,
        )
    )
    heard_us = context.presence.heard_at(held.agent_id)
    if known is not None and held.is_offered and heard_us <= held.granted_at_us:
        events.append(
            AssignmentExpired(
                task_id=held.task_id,
                agent_id=held.agent_id,
                lease_token=held.lease_token,
                reason="unconfirmed",
                agent_heard_at_us=heard_us,
                task_heard_at_us=held.heard_at_us,
            )
        )
    return Decision(events=events, result=result)


def _webhook(command: Subscribe, context: Context) -> tuple[Webhook | None, list[Body]]:
    if not command.url:
        return None, []
    allowed = context.policy.webhooks_to_private_addresses
    host = require_public_url(command.url, may_be_private=allowed)
    url, secret = context.body(command.url), context.body(command.secret)
    assert url is not None
    assert secret is not None, "the handler makes the secret"
    return Webhook(url.ref, secret.ref, host), [url, secret]


def _normal(given: TaskFilter) -> TaskFilter:
    """The same filter, written in one way."""
    return TaskFilter(
        skills=tuple(sorted({name.strip().lower() for name in given.skills})),
        labels=tuple(sorted(set(given.labels))),
        project_ids=tuple(sorted(set(given.project_ids))),
        paths=tuple(sorted(set(given.paths))),
        min_priority=given.min_priority,
    )


def _require_subscription(world: World, identifier: str) -> Subscription:
    known = world.subscriptions.get(identifier)
    if known is None:
        message = f"There is no subscription {identifier[:40]}."
        raise UnknownSubscription(message)
    return known

"""Operations of what is offered or told without being asked for each time."""

from pm_agent.api.handlers import subscriptions as handlers
from pm_agent.api.handlers.call import sends
from pm_agent.api.operations.row import Operation
from pm_agent.api.schemas import subscriptions as schemas
from pm_agent.api.stream import StreamedEvent
from pm_agent.domain import subscription
from pm_agent.features.subscriptions.decide import SubscriptionResult

SUBSCRIPTIONS: tuple[Operation, ...] = (
    Operation(
        name="subscribe",
        kind="command",
        tier="wider",
        work="progress",
        method="POST",
        path="/v1/agents/{agent_id}/subscriptions",
        scope="pm:work",
        input=schemas.SubscribeInput,
        result=handlers.SubscribeAnswer,
        command=subscription.Subscribe,
        handler=handlers.subscribe,
        status=201,
        help="Call this to be offered only tasks of a kind: by skill, label, project, path or "
        "priority; every field you give must match. They come by wait_for_task, the event stream "
        "or a webhook, reserved for you until confirm_by, or for a minute.",
    ),
    Operation(
        name="unsubscribe",
        kind="command",
        tier="wider",
        work="progress",
        method="DELETE",
        path="/v1/subscriptions/{subscription_id}",
        scope="pm:work",
        input=schemas.UnsubscribeInput,
        result=SubscriptionResult,
        command=subscription.Unsubscribe,
        handler=sends(subscription.Unsubscribe),
        help="Call this to drop a subscription; without any you are offered every task you can do.",
    ),
    Operation(
        name="stream_events",
        kind="query",
        tier=None,
        work="admin_read",
        method="GET",
        path="/v1/events",
        scope="pm:read",
        input=schemas.StreamEventsInput,
        result=StreamedEvent,
        handler=handlers.stream_events,
        streams=True,
        is_for_all_projects=True,
        help="Follow what happens, as server-sent events; an event's id is its journal position, "
        "and Last-Event-ID goes on after it.",
    ),
    Operation(
        name="stream_agent_events",
        kind="query",
        tier=None,
        work="board_read",
        method="GET",
        path="/v1/agents/{agent_id}/events",
        scope="pm:work",
        input=schemas.StreamAgentEventsInput,
        result=StreamedEvent,
        handler=handlers.stream_agent_events,
        streams=True,
        is_for_all_projects=True,
        help="Follow what concerns one agent, as server-sent events: its tasks, and what is said "
        "to it.",
    ),
)

"""Change notifications of the modern era: which resources a client wants to hear about, and when.

A ``subscriptions/listen`` request is its own stream, so there is no session and any replica serves
it: each follows all events anyway. What a slow client has not read yet is a set of addresses, never
a queue. A notification is a hint to read again; after a lost stream the client reads what it needs.
The era before keeps subscriptions in sessions, which we do not have, so it gets none.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import (
    SUBSCRIPTION_ID_META_KEY,
    ResourcesListChanged,
    ResourceUpdated,
    event_to_notification,
)
from mcp_types import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    SubscriptionFilter,
    SubscriptionsAcknowledgedNotification,
    SubscriptionsAcknowledgedNotificationParams,
    SubscriptionsListenRequestParams,
    SubscriptionsListenResult,
)

from pm_agent.api.mcp.door import Context, Door
from pm_agent.api.mcp.resources import Resources
from pm_agent.api.stream import project_of
from pm_agent.domain.envelope import Event
from pm_agent.domain.errors import RateLimited, Unavailable
from pm_agent.domain.message import MessageSent
from pm_agent.domain.project import ProjectCreated
from pm_agent.domain.world import World

MAX_URIS = 100  # of one stream: each is read once, to see whether its reader may
LOOK_S = 15.0  # between looks whether a quiet listener's token still holds
LISTED = ""  # stands for the list of resources itself


class Listener:
    """What one stream wants to hear of, and what it has not been told yet."""

    def __init__(self, uris: frozenset[str]) -> None:
        self.uris = uris
        self._news: dict[str, None] = {}  # in order, each once
        self._woken = asyncio.Event()

    def tell(self, uri: str) -> None:
        self._news[uri] = None
        self._woken.set()

    def end(self) -> None:
        self._woken.set()

    async def wait(self) -> list[str]:
        """Return what is new, after 15 seconds at the latest."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                await self._woken.wait()
        self._woken.clear()
        news, self._news = list(self._news), {}
        return news


class News:
    """Follows the replica's events once for all listeners.

    Clients open a stream whether or not they want to hear of resources: an event must not wake all.
    """

    def __init__(self, door: Door) -> None:
        self._door = door
        self._by_uri: defaultdict[str, set[Listener]] = defaultdict(set)
        self._following: asyncio.Task[None] | None = None
        self._listeners: set[Listener] = set()

    @contextmanager
    def heard_by(self, listener: Listener) -> Iterator[None]:
        """Tell a listener its news inside the block."""
        for uri in listener.uris:
            self._by_uri[uri].add(listener)
        self._listeners.add(listener)
        if self._following is None:
            self._following = asyncio.create_task(self._follow(), name="mcp-news")
        try:
            yield
        finally:
            for uri in listener.uris:
                self._by_uri[uri].discard(listener)
                if not self._by_uri[uri]:
                    del self._by_uri[uri]
            self._listeners.discard(listener)
            if not self._listeners and self._following is not None:
                self._following.cancel()
                self._following = None

    async def _follow(self) -> None:
        log = self._door.ingress().events
        position = log.position
        while not log.is_over:
            events = log.after(position)
            if events is None:  # a gap, as after a snapshot: anything may have changed
                position = log.position
                self._tell_all(set(self._by_uri))
                continue
            if events:
                position = events[-1].position
                world = self._door.ingress().world
                self._tell_all({uri for event in events for uri in touched(event, world)})
            await log.wait(position, LOOK_S)
        for listener in self._listeners:  # the server stops
            listener.end()

    def _tell_all(self, uris: set[str]) -> None:
        for uri in uris & self._by_uri.keys():
            for listener in self._by_uri[uri]:
                listener.tell(uri)


class Listening:
    """Serves ``subscriptions/listen``."""

    def __init__(self, door: Door, resources: Resources) -> None:
        self._door = door
        self._resources = resources
        self._news = News(door)

    async def listen(
        self, context: Context, params: SubscriptionsListenRequestParams
    ) -> SubscriptionsListenResult:
        """Tell of changes until the client is gone, its token ends or the server stops.

        Raises
        ------
        MCPError
            It may not read one of the resources, or there is none at that address.
        """
        wanted = params.notifications
        uris = list(dict.fromkeys(str(uri) for uri in wanted.resource_subscriptions or ()))
        if len(uris) > MAX_URIS:
            message = f"{len(uris)} resources are too many for one stream; {MAX_URIS} are possible."
            raise MCPError(INVALID_PARAMS, message)
        for uri in uris:
            await self._resources.contents(context, uri)  # who may not read it hears nothing of it
        listed = [LISTED] if wanted.resources_list_changed else []
        # Tools and prompts change with a release, not under a client's eyes.
        honored = SubscriptionFilter(
            resource_subscriptions=uris or None, resources_list_changed=bool(listed) or None
        )
        listener = Listener(frozenset([*uris, *listed]))
        meta = {SUBSCRIPTION_ID_META_KEY: context.request_id}
        acknowledged = SubscriptionsAcknowledgedNotificationParams(
            notifications=honored, _meta=meta
        )
        counted = self._door.ingress().pace.listening(self._door.grant(context))
        try:
            with counted, self._news.heard_by(listener):
                await context.session.send_notification(
                    SubscriptionsAcknowledgedNotification(params=acknowledged),
                    related_request_id=context.request_id,
                )
                while self._door.is_live(context):
                    for uri in await listener.wait():
                        event = ResourceUpdated(uri=uri) if uri else ResourcesListChanged()
                        await context.session.send_notification(
                            event_to_notification(event, meta),
                            related_request_id=context.request_id,
                        )
        except RateLimited as error:
            raise MCPError(INVALID_REQUEST, f"{error.message} {error.next_step}") from error
        except Unavailable:  # the server has stopped
            pass
        return SubscriptionsListenResult(_meta=meta)


def touched(event: Event, world: World) -> list[str]:
    """Addresses of the resources that an event changed."""
    data = event.data
    found = [LISTED] if isinstance(data, ProjectCreated) else []
    project_id = project_of(data, world)
    if project_id:
        found += [f"pm://projects/{project_id}", f"pm://projects/{project_id}/board"]
    told = (data.recipients if isinstance(data, MessageSent) else ()) or ()
    found += [f"pm://agents/{agent_id}/inbox" for agent_id in told]
    for name in ("task_id", "agent_id", "target_id"):  # what a hold is about is of either kind
        identifier = getattr(data, name, "")
        if identifier.startswith("T-"):
            found += [f"pm://tasks/{identifier}", f"pm://tasks/{identifier}/audit"]
        elif identifier.startswith("A-"):
            found += [f"pm://agents/{identifier}", f"pm://agents/{identifier}/inbox"]
        elif identifier.startswith("P-"):
            found += [f"pm://projects/{identifier}", f"pm://projects/{identifier}/board"]
    return found

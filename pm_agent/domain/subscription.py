"""Subscriptions: an agent's standing filters for tasks that it wants pushed to it.

An agent with subscriptions is offered only tasks that one of them matches; what it asks for itself,
with a claim, is not filtered. A ready task is held against the filters when it becomes ready, and
the matches are kept in order, so that an offer never searches the board.
"""

from typing import TYPE_CHECKING

import msgspec
from sortedcontainers import SortedList

from pm_agent.domain.envelope import Command, Event, EventData
from pm_agent.domain.ids import AgentId, BodyRef, ProjectId, SubscriptionId, TaskId
from pm_agent.domain.ready_set import Entry
from pm_agent.domain.signature import ClassKey
from pm_agent.domain.task import Task

if TYPE_CHECKING:
    from pm_agent.domain.world import World

MAX_PER_AGENT = 20
# Different ones in a workspace: each task that becomes ready is held against all of them, at about
# a microsecond each.
MAX_FILTERS = 500
MAX_DEAD_PUSHES = 10  # kept a subscription; older ones stay in the journal


class TaskFilter(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What a task must be like. Each field given must hold; in a list one of its values does."""

    skills: tuple[str, ...] = ()  # the task requires it
    labels: tuple[str, ...] = ()
    project_ids: tuple[ProjectId, ...] = ()
    paths: tuple[str, ...] = ()  # one of the task's path hints begins with it
    min_priority: int = 0

    def matches(self, task: Task) -> bool:
        """Whether a task is wanted."""
        return (
            task.priority >= self.min_priority
            and (not self.project_ids or task.project_id in self.project_ids)
            and (not self.skills or any(s.name in self.skills for s in task.skills))
            and (not self.labels or any(label in self.labels for label in task.labels))
            and (not self.paths or any(hint.startswith(self.paths) for hint in task.path_hints))
        )


class Webhook(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Where pushes go. Address and key are texts kept apart, so that they can be erased."""

    url: BodyRef
    secret: BodyRef  # of the signatures
    host: str  # for people to recognise it by


class DeadPush(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A push that was given up."""

    task_id: TaskId
    at_us: int
    reason: str


class Subscription(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    id: SubscriptionId
    agent_id: AgentId
    filter: TaskFilter
    created_at_us: int
    webhook: Webhook | None = None
    # When a task that was pushed came back unanswered: nothing more is pushed to a webhook before
    # its agent was heard again.
    unanswered_us: int = 0
    dead: tuple[DeadPush, ...] = ()


class Subscribe(Command, frozen=True, kw_only=True):
    agent_id: AgentId
    filter: TaskFilter
    url: str = ""  # of a webhook; empty: pushes go to waits and event streams alone
    secret: str = ""  # made with the request; signs what goes to the webhook


class Unsubscribe(Command, frozen=True, kw_only=True):
    subscription_id: SubscriptionId


class NotePush(Command, frozen=True, kw_only=True):
    """The effect runner's: a push has arrived, or was given up for a reason."""

    effect_id: str
    subscription_id: SubscriptionId
    task_id: TaskId
    failure: str = ""


class Subscribed(EventData, frozen=True, kw_only=True):
    subscription_id: SubscriptionId
    number: int
    agent_id: AgentId
    filter: TaskFilter
    webhook: Webhook | None = None


class Unsubscribed(EventData, frozen=True, kw_only=True):
    subscription_id: SubscriptionId
    agent_id: AgentId


class TaskPushed(EventData, frozen=True, kw_only=True):
    """A webhook has taken a push."""

    effect_id: str
    subscription_id: SubscriptionId
    task_id: TaskId
    agent_id: AgentId


class PushFailed(EventData, frozen=True, kw_only=True):
    """A push was given up after all its tries."""

    effect_id: str
    subscription_id: SubscriptionId
    task_id: TaskId
    agent_id: AgentId
    reason: str


class Watchlist:
    """Ready tasks that one filter matches, by ready class, in their order there."""

    __slots__ = ("by_class", "filter", "where")

    def __init__(self, of: TaskFilter) -> None:
        self.filter = of
        self.by_class: dict[ClassKey, SortedList[Entry]] = {}
        self.where: dict[TaskId, tuple[ClassKey, Entry]] = {}

    def put(self, task: Task, key: ClassKey, entry: Entry) -> bool:
        """Take a ready task in if it matches, at its present place; tell whether it is new."""
        before = self.where.get(task.id)
        is_wanted = self.filter.matches(task)
        if before is not None and (before != (key, entry) or not is_wanted):
            self.remove(task.id)
        if is_wanted and before != (key, entry):
            self.by_class.setdefault(key, SortedList()).add(entry)
            self.where[task.id] = (key, entry)
        return is_wanted and before is None

    def remove(self, task_id: TaskId) -> None:
        """Take a task out; nothing happens when it is not in."""
        known = self.where.pop(task_id, None)
        if known is not None:
            key, entry = known
            self.by_class[key].remove(entry)
            if not self.by_class[key]:
                del self.by_class[key]


class Watchlists:
    """What agents with subscriptions are watching for: an index, derived from the tables."""

    def __init__(self) -> None:
        self.by_filter: dict[TaskFilter, Watchlist] = {}
        self.of_agent: dict[AgentId, dict[SubscriptionId, TaskFilter]] = {}
        self.hooked: dict[AgentId, SubscriptionId] = {}  # agents with a webhook, the newest one
        # Of these, those that may stand again; emptied by who makes them stand.
        self.idle: dict[AgentId, None] = {}

    def wanted_by(self, agent_id: AgentId) -> list[Watchlist] | None:
        """What an agent may be offered; None: anything."""
        filters = self.of_agent.get(agent_id)
        if filters is None:
            return None
        return [self.by_filter[one] for one in dict.fromkeys(filters.values())]

    def put(self, task: Task, key: ClassKey, entry: Entry) -> bool:
        """Hold a ready task against all filters; tell whether one wants it that did not before."""
        is_new = False
        for watchlist in self.by_filter.values():
            is_new |= watchlist.put(task, key, entry)
        return is_new

    def remove(self, task_id: TaskId) -> None:
        for watchlist in self.by_filter.values():
            watchlist.remove(task_id)


def put_subscription(world: "World", new: Subscription) -> None:
    """Keep a subscription; of a new one, look at what is ready."""
    is_new = new.id not in world.subscriptions
    world.subscriptions[new.id] = new
    if new.webhook is not None:
        world.watchlists.idle[new.agent_id] = None
    if not is_new:
        return
    lists = world.watchlists
    lists.of_agent.setdefault(new.agent_id, {})[new.id] = new.filter
    if new.webhook is not None:
        lists.hooked[new.agent_id] = new.id
    if new.filter not in lists.by_filter:
        watchlist = lists.by_filter[new.filter] = Watchlist(new.filter)
        for task_id in world.ready:
            owner, entry = world.ready.place_of(task_id)
            watchlist.put(world.tasks[task_id], owner.key, entry)
    world.ready.refresh_project(None)


def drop_subscription(world: "World", identifier: SubscriptionId) -> None:
    """Forget a subscription, and its filter if no other has it."""
    old = world.subscriptions.pop(identifier)
    lists = world.watchlists
    own = lists.of_agent[old.agent_id]
    del own[identifier]
    if not own:
        del lists.of_agent[old.agent_id]
    if not any(old.filter in filters.values() for filters in lists.of_agent.values()):
        del lists.by_filter[old.filter]
    hooks = [s for s in own if world.subscriptions[s].webhook is not None]
    if hooks:
        lists.hooked[old.agent_id] = hooks[-1]
    else:
        lists.hooked.pop(old.agent_id, None)
        lists.idle.pop(old.agent_id, None)
    world.ready.refresh_project(None)  # without any filter the agent is offered everything


def note_unanswered(world: "World", agent_id: AgentId, at_us: int) -> None:
    """A task that was offered came back without a word."""
    hook = world.watchlists.hooked.get(agent_id)
    if hook is not None:
        known = world.subscriptions[hook]
        put_subscription(world, msgspec.structs.replace(known, unanswered_us=at_us))


def _subscribed(world: "World", event: Event, data: Subscribed) -> None:
    world.tables.subscriptions_made = data.number
    put_subscription(
        world,
        Subscription(
            id=data.subscription_id,
            agent_id=data.agent_id,
            filter=data.filter,
            created_at_us=event.at_us,
            webhook=data.webhook,
        ),
    )


def _unsubscribed(world: "World", event: Event, data: Unsubscribed) -> None:
    drop_subscription(world, data.subscription_id)


def _failed(world: "World", event: Event, data: PushFailed) -> None:
    known = world.subscriptions.get(data.subscription_id)
    if known is not None:
        dead = (*known.dead, DeadPush(data.task_id, event.at_us, data.reason))[-MAX_DEAD_PUSHES:]
        put_subscription(world, msgspec.structs.replace(known, dead=dead))


def _pushed(world: "World", event: Event, data: TaskPushed) -> None:
    """Only the outbox learns from it."""


APPLY = {
    Subscribed: _subscribed,
    Unsubscribed: _unsubscribed,
    TaskPushed: _pushed,
    PushFailed: _failed,
}

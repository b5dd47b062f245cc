"""Effects and alarms: what events ask of the outside and of the clock.

The outbox is itself a fold of the journal: the event that wants an effect puts it in, the event
that answers it takes it out. So none exists without its cause, none is lost in a crash, and each is
done at least once, with its id as idempotency key.
"""

import heapq

import msgspec

from pm_agent.domain.envelope import Command, Event
from pm_agent.domain.ids import BlockerId, ProjectId, TaskId
from pm_agent.domain.project import Gate


class WriteInstructions(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Write the text an agent gets with a task."""


class AskForAdvice(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Ask the language model what may help against a blocker."""

    blocker_id: BlockerId


class RunGate(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Run the project's fixed command on submitted work."""

    gate: Gate


class PushTask(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Tell the agent's webhook of the task that it was offered."""


class AssessTasks(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Judge how long, hard and risky some tasks of a project are. Not urgent, for no attempt."""

    project_id: ProjectId
    task_ids: tuple[TaskId, ...]


Want = WriteInstructions | AskForAdvice | RunGate | PushTask | AssessTasks


class Effect(msgspec.Struct, frozen=True, gc=False):
    """Something wanted of the outside, on behalf of one attempt where it names a task."""

    effect_id: str  # "WriteInstructions:1042": what is wanted, and the position of its cause
    task_id: TaskId
    lease_token: int
    want: Want

    @property
    def position(self) -> int:
        """Of the event that asked for it."""
        return int(self.effect_id.rpartition(":")[2])


class Alarm(msgspec.Struct, frozen=True, gc=False):
    """Send a command at an instant."""

    at_us: int
    command: Command


def effect_of(event: Event, task_id: TaskId, lease_token: int, want: Want) -> Effect:
    """Make the effect that an event asks for; its id names its cause."""
    return Effect(f"{type(want).__name__}:{event.position}", task_id, lease_token, want)


class Outbox:
    """Effects asked for and not answered yet."""

    def __init__(self, pending: dict[str, Effect] | None = None) -> None:
        self.pending = pending if pending is not None else {}
        self._of_task: dict[TaskId, dict[str, None]] = {}
        for effect in self.pending.values():
            self._of_task.setdefault(effect.task_id, {})[effect.effect_id] = None

    def apply(self, event: Event) -> None:
        """Take out what this event answers or makes pointless."""
        data = event.data
        effect_id = getattr(data, "effect_id", "")
        if effect_id:
            self._drop(effect_id)
        if data.ends_task:
            for stale in list(self._of_task.pop(data.task_id, ())):  # type: ignore[attr-defined]  # every such event names its task
                self.pending.pop(stale, None)
        elif data.ends_attempt:
            self._end_attempt(data.task_id, data.lease_token)  # type: ignore[attr-defined]  # as above, and its lease

    def _end_attempt(self, task_id: TaskId, lease_token: int) -> None:
        """Drop what it asked for; late work that was kept before it is judged all the same."""
        for effect_id in list(self._of_task.get(task_id, ())):
            effect = self.pending[effect_id]
            if not isinstance(effect.want, RunGate) or effect.lease_token >= lease_token:
                self._drop(effect_id)

    def put(self, effect: Effect) -> None:
        self.pending[effect.effect_id] = effect
        self._of_task.setdefault(effect.task_id, {})[effect.effect_id] = None

    def _drop(self, effect_id: str) -> None:
        known = self.pending.pop(effect_id, None)
        if known is not None:
            self._of_task[known.task_id].pop(effect_id, None)


class Alarms:
    """Commands to be sent later, by instant. Late alarms are harmless: deciders look again."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Command]] = []
        self._count = 0

    def put(self, at_us: int, command: Command) -> None:
        self._count += 1
        heapq.heappush(self._heap, (at_us, self._count, command))

    def due(self, now_us: int) -> list[Command]:
        heap, ready = self._heap, list[Command]()
        while heap and heap[0][0] <= now_us:
            ready.append(heapq.heappop(heap)[2])
        return ready

    def next_us(self) -> int | None:
        return self._heap[0][0] if self._heap else None

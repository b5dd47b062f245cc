"""Follows events alone, and holds each against the promises."""

from collections import Counter
from collections.abc import Callable, Iterable

from pm_agent.domain.envelope import Event, EventData
from pm_agent.domain.world import World
from pm_agent.kernel.invariants import leases, tasks, team
from pm_agent.kernel.invariants.promises import (
    CAPACITY,
    CONSERVATION,
    MESSAGES,
    REPLAY,
    SINGLE_WRITER,
    Recompute,
    Violation,
)
from pm_agent.kernel.invariants.seen import Seen

_FOLDS: dict[type[EventData], Callable[..., None]] = {**tasks.FOLDS, **leases.FOLDS, **team.FOLDS}


class Watch:
    """Follow a journal from its first event and tell what no event may do.

    Parameters
    ----------
    recompute : optional
        Computes a decision record again; without it records are checked for completeness only.
    """

    def __init__(self, recompute: Recompute | None = None) -> None:
        self._seen = Seen(recompute)

    def observe(self, event: Event) -> list[Violation]:
        """Take the next event; return what it violates."""
        return self.observe_all((event,))

    def observe_all(self, events: Iterable[Event]) -> list[Violation]:
        """Take the next events; return what they violate."""
        seen = self._seen
        seen.found = []
        for event in events:
            _follows(seen, event)
            fold = _FOLDS.get(type(event.data))
            if fold is not None:
                fold(seen, event, event.data)
        return seen.found

    def compare(self, world: World) -> list[Violation]:
        """Compare counts with those of a world at the same position: O(projects)."""
        found = []
        counted = Counter(
            {(p, s): n for p, states in world.counts.items() for s, n in states.items() if n}
        )
        seen = Counter(
            {(p, s): n for p, states in self._seen.states.items() for s, n in states.items() if n}
        )
        if counted != seen:
            found.append(Violation(CONSERVATION, f"world counts {counted}, events say {seen}"))
        if world.tables.tasks_created != self._seen.n_created:
            detail = f"{world.tables.tasks_created} created, events say {self._seen.n_created}"
            found.append(Violation(CONSERVATION, detail))
        if world.inboxes.keys() != self._seen.inboxes.keys():
            detail = f"inboxes of {sorted(world.inboxes)}, events say {sorted(self._seen.inboxes)}"
            found.append(Violation(MESSAGES, detail))
        found += [
            Violation(MESSAGES, f"inbox of {agent_id} holds {inbox.unread}, events say otherwise")
            for agent_id, inbox in world.inboxes.items()
            if len(inbox.unread) != len(self._seen.inboxes.get(agent_id, ()))
        ]
        for agent_id, n in self._seen.n_active.items():
            if len(world.agents[agent_id].active) != n:
                detail = f"{agent_id} holds {world.agents[agent_id].active}, events say {n}"
                found.append(Violation(CAPACITY, detail))
        return found


def _follows(seen: Seen, event: Event) -> None:
    if event.position != seen.position + 1:
        seen.broken(REPLAY, f"event {event.position} follows {seen.position}")
    if event.at_us < seen.at_us:
        seen.broken(REPLAY, f"event {event.position} is older than the one before it")
    if event.epoch < seen.epoch:
        detail = f"event {event.position} of epoch {event.epoch} follows epoch {seen.epoch}"
        seen.broken(SINGLE_WRITER, detail)
    elif event.epoch > seen.epoch:
        seen.epoch = event.epoch
    seen.position, seen.at_us = event.position, event.at_us

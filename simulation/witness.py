"""Follows the journal, never a coordinator's memory, and holds it against the promises.

The witness keeps a world of its own, folded from durable events alone: the replay of the journal,
going on. Coordinators are compared with it, and clients look at it.
"""

from collections.abc import Callable

from pm_agent.adapters.journal_memory import Store
from pm_agent.domain.envelope import Event
from pm_agent.domain.world import World
from pm_agent.features.assignment.view import differences
from pm_agent.kernel import snapshot as snapshots
from pm_agent.kernel.chain import unseal
from pm_agent.kernel.engine import Engine
from pm_agent.kernel.invariants import REPLAY, Violation, Watch, check_replay, check_world
from pm_agent.ports import GENESIS, StoredSnapshot


class Witness:
    """One pair of eyes on a journal.

    Parameters
    ----------
    store
        What the journal keeps.
    on_event
        Told of every durable event, once, in order.
    """

    def __init__(self, store: Store, on_event: Callable[[Event], None]) -> None:
        self.world = World()
        self.events: list[Event] = []
        self._store = store
        self._on_event = on_event
        self._watch = Watch(recompute=differences)
        self._saved: StoredSnapshot | None = None

    def follow(self, engine: Engine | None) -> list[Violation]:
        """Take what is new; compare counts with those of a coordinator that is as far."""
        found: list[Violation] = []
        for stored in self._store.events[len(self.events) :]:
            event = unseal(stored)
            self.events.append(event)
            found += self._watch.observe(event)
            self.world.apply(event)
            self._on_event(event)
        self.world.ready.fresh.clear()  # offers are the coordinator's matter
        if engine is not None and self._is_at_head(engine):
            found += self._watch.compare(engine.world)
        return found

    def _is_at_head(self, engine: Engine) -> bool:
        """Whether it holds the journal's last event. A failed one may be as far, with others."""
        last = self._store.events[-1].hash if self._store.events else GENESIS
        return engine.head_hash == last

    def scan(self, engine: Engine | None) -> list[Violation]:
        """Compare a coordinator's whole world with the replay, and scan it.

        The snapshot of the last scan and the events since must lead to the same world, too.
        """
        if engine is not None and not self._is_at_head(engine):
            engine = None
        world = engine.world if engine else self.world
        live = world.fingerprint()
        found = check_world(world)
        if live != self.world.fingerprint():
            found.append(Violation(REPLAY, f"at {len(self.events)} memory is not the replay"))
        if self._saved is not None:
            again, outbox = snapshots.load(self._saved)
            for event in self.events[again.position :]:
                again.apply(event)
                outbox.apply(event)
            if again.fingerprint() != live:
                detail = f"the snapshot at {self._saved.position} and its tail are another world"
                found.append(Violation(REPLAY, detail))
        if engine is not None:
            self._saved = snapshots.save(engine.world, engine.outbox)
        return found

    def conclude(self, engine: Engine | None) -> list[Violation]:
        """At the end: all of the above, and the whole journal folded again, chain included."""
        found = self.scan(engine)
        return found + check_replay(self._store.events, self.world.fingerprint(), self._saved)

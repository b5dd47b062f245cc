"""Coordinator processes in virtual time: they decide, append, die, sleep and come back as zombies.

What a process does with a step is what `pm_agent.runtime.coordinator_loop` does, without asyncio
and with faults in between: replies go out after the append alone; a failed append throws the engine
away; a refused one ends the process.
"""

from collections import Counter
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, TypeVar

from pm_agent.adapters.journal_memory import MemoryJournal, Store
from pm_agent.catalog import CATALOG
from pm_agent.domain.envelope import Command
from pm_agent.domain.errors import Fenced, JournalUnavailable, PMError
from pm_agent.domain.ids import AgentId
from pm_agent.domain.time import HOUR_US, MINUTE_US, SECOND_US
from pm_agent.kernel import snapshot as snapshots
from pm_agent.kernel.engine import MAX_BATCH, Engine, Step
from pm_agent.kernel.idempotency import KEEP_US
from pm_agent.kernel.presence import Offer
from pm_agent.kernel.types import Policy, Reply
from pm_agent.ports import GENESIS, Batch, Head, Scorer, StoredRequest
from simulation.coverage import Coverage, counted
from simulation.faults import Faults
from simulation.timeline import Timeline

Answered = Reply | PMError  # an error that no engine gave: away, closing, journal down
Answer = Callable[[Answered], None]
Waiting = list[tuple[Command, Answer]]
Returned = TypeVar("Returned")

GATHER_US = 2_000
SLOW_US = (SECOND_US // 10, 20 * SECOND_US)
PROBE_US = SECOND_US // 10
RESTART_US = (SECOND_US, 2 * MINUTE_US)
SLEEP_US = (SECOND_US, 30 * MINUTE_US)
LAND_LATE_US = (1_000, 20 * SECOND_US)
JUMP_US = (SECOND_US, 6 * HOUR_US)
LONGEST_BEHIND_US = 8 * HOUR_US
SNAPSHOT_CHANCE = 0.01  # per step
ZOMBIE_SHARE = 0.3  # of the requests still find their way to the process before
ZOMBIE_TRIES = 5


def finished(coroutine: Coroutine[Any, Any, Returned]) -> Returned:
    """Result of a coroutine that never waits, as those of a journal in memory."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: Returned = end.value
        return result
    message = "A coroutine of a journal in memory waited."
    raise AssertionError(message)


class Died(Exception):
    """The process died in the middle of a step."""


class Site:
    """What outlives a coordinator: the store of its journal, the clock, and who is asked now.

    Parameters
    ----------
    on_step
        Told after every step of any process, whether it was written or not.
    """

    def __init__(
        self,
        timeline: Timeline,
        faults: Faults,
        random: Random,
        *,
        scorer: Scorer,
        policy: Policy,
        seed: int,
        on_step: Callable[["Process"], None],
    ) -> None:
        self.timeline = timeline
        self.faults = faults
        self.random = random
        self.scorer = scorer
        self.policy = policy
        self.seed = seed
        self.on_step = on_step
        self.store = Store()
        self.clock_offset_us = 0
        self.current: Process | None = None
        self.signs: Callable[[], list[AgentId]] = list  # agents whose sidecars are heard now
        self.activations: list[Head] = []  # the head that each epoch began at
        self.stored_requests: list[StoredRequest] = []  # all that was ever written
        self.outcomes: Counter[str] = Counter()  # replies by code; "ok"
        self.n_commands = 0
        self.coverage: Coverage = {}
        self.catalog = counted(CATALOG, self.coverage)
        self._zombie: Process | None = None

    def clock_us(self) -> int:
        return self.timeline.now_us + self.clock_offset_us

    def jump_clock(self) -> None:
        """Set the wall clock wrong, either way."""
        jump_us = self.faults.span_us("clock_jumps", *JUMP_US)
        if self.faults.coin("clock_jumps"):
            jump_us = -jump_us
        behind_us = self.clock_us() + jump_us - self._last_event_us()
        if behind_us > -LONGEST_BEHIND_US:  # further back, virtual days would pass in one instant
            self.clock_offset_us += jump_us

    def set_clock_right(self) -> None:
        """No longer behind the instants that were written already."""
        behind_us = self._last_event_us() - self.clock_us()
        self.clock_offset_us += max(0, behind_us)

    def start(self) -> None:
        """Let a new process take over."""
        self.current = Process(self)
        self.current.start()

    def give_up(self, process: "Process") -> None:
        """Replace a process that died, or that answers no more."""
        if process is self.current:
            self.current = None
            self._zombie = process
            delay_us = self.faults.span_us("coordinator_sleeps", *RESTART_US)
            self.timeline.after(delay_us, self.start)

    def deliver(self, command: Command, answer: Answer) -> None:
        """Bring a request to the coordinator, or to one that believes it still is."""
        zombie, to = self._zombie, self.current
        if zombie is not None and zombie.is_alive and self.random.random() < ZOMBIE_SHARE:
            to = zombie
        if to is None:
            answer(JournalUnavailable())
        else:
            to.deliver(command, answer)

    def append(self, journal: MemoryJournal, batch: Batch) -> None:
        """Write a batch, or fail to.

        Raises
        ------
        Died, Fenced, JournalUnavailable
        """
        strikes = self.faults.strikes
        if strikes("coordinator_dies_before_append"):
            raise Died
        if strikes("append_fails"):
            raise JournalUnavailable
        if strikes("append_unknown"):
            if self.faults.coin("append_unknown"):
                self._write(journal, batch)
            raise JournalUnavailable
        if strikes("append_lands_late"):
            delay_us = self.faults.span_us("append_lands_late", *LAND_LATE_US)
            self.timeline.after(delay_us, self._write_late, journal, batch)
            raise JournalUnavailable
        self._write(journal, batch)
        if strikes("coordinator_dies_after_append"):
            raise Died

    def _write(self, journal: MemoryJournal, batch: Batch) -> None:
        finished(journal.append(batch))
        self.stored_requests += batch.requests

    def _write_late(self, journal: MemoryJournal, batch: Batch) -> None:
        try:
            self._write(journal, batch)
        except (Fenced, JournalUnavailable):
            return

    def _last_event_us(self) -> int:
        events = self.store.events
        return events[-1].at_us if events else 0


class Process:
    """One life of the coordinator."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.engine: Engine | None = None
        self.is_alive = True
        self._journal = MemoryJournal(site.store)
        self._epoch = 0
        self._inbox: Waiting = []
        self._offers: list[Offer] = []  # that stood before the step under way
        self._is_due = False
        self._is_asleep = False
        self._wakes_us: int | None = None
        self._n_insisted = 0

    def start(self) -> None:
        head = finished(self._journal.activate())
        self._epoch = head.epoch
        self.site.activations.append(head)
        self._rebuild()

    def deliver(self, command: Command, answer: Answer) -> None:
        if not self.is_alive or (self.engine is None and not self._is_asleep):
            answer(JournalUnavailable())
            return
        self._inbox.append((command, answer))
        self._step_soon()

    # -- one step -----------------------------------------------------------------------------

    def _step_soon(self) -> None:
        if not self._is_due:
            self._is_due = True
            faults, delay_us = self.site.faults, GATHER_US
            if faults.strikes("append_slow"):
                delay_us += faults.span_us("append_slow", *SLOW_US)
            self.site.timeline.after(delay_us, self._step)

    def _step(self) -> None:
        self._is_due = False
        engine = self.engine
        if engine is None or not self.is_alive or self._is_asleep:
            return
        site = self.site
        if site.faults.strikes("clock_jumps"):
            site.jump_clock()
        waiting, self._inbox = self._inbox[:MAX_BATCH], self._inbox[MAX_BATCH:]
        now_us = site.clock_us()
        engine.hear(site.signs(), now_us)
        self._offers = list(engine.presence.offers.values())
        step = engine.step([command for command, _ in waiting], now_us)
        assert not step.failures, step.failures
        site.n_commands += len(waiting)
        site.outcomes.update(r.error.code if r.error else "ok" for r in step.replies)
        if site.faults.strikes("coordinator_sleeps"):
            self._is_asleep = True
            site.give_up(self)
            site.timeline.after(
                site.faults.span_us("coordinator_sleeps", *SLEEP_US), self._commit, step, waiting
            )
        else:
            self._commit(step, waiting)

    def _commit(self, step: Step, waiting: Waiting) -> None:
        self._is_asleep = False
        try:
            if step.events:
                self.site.append(self._journal, step.batch(self._epoch))
        except Died:
            self.is_alive = False
            self.site.give_up(self)
        except Fenced as error:
            self._refuse(waiting, error)
            self._insist_or_end()
        except JournalUnavailable as error:
            self._refuse(waiting, error)
            self.engine = None
            self.site.timeline.after(PROBE_US, self._recover)
        else:
            self._release(step, waiting)
        self.site.on_step(self)

    def _release(self, step: Step, waiting: Waiting) -> None:
        for (_, answer), reply in zip(waiting, step.replies, strict=True):
            answer(reply)
        assert self.engine is not None
        if self.site.random.random() < SNAPSHOT_CHANCE and self._is_durable(self.engine):
            self._save(self.engine)
        if self._inbox:
            self._step_soon()
        self._sleep()

    def _refuse(self, waiting: Waiting, error: PMError) -> None:
        for _, answer in (*waiting, *self._inbox):
            answer(error)
        self._inbox.clear()

    # -- alarms -------------------------------------------------------------------------------

    def _sleep(self) -> None:
        """Set the clock for the next alarm, unless an earlier one is set."""
        assert self.engine is not None
        next_us = self.engine.next_wakeup_us()
        if next_us is None:
            return
        at_us = max(next_us - self.site.clock_offset_us, self.site.timeline.now_us)
        if self._wakes_us is None or at_us < self._wakes_us:
            self._wakes_us = at_us
            self.site.timeline.at(at_us, self._wake, at_us)

    def _wake(self, at_us: int) -> None:
        if self._wakes_us != at_us:
            return  # an earlier one was set since
        self._wakes_us = None
        if self.engine is None or not self.is_alive or self._is_asleep:
            return
        next_us = self.engine.next_wakeup_us()
        event_time_us = max(self.site.clock_us(), self.engine.world.tables.now_us)
        if next_us is not None and next_us <= event_time_us:
            self._step_soon()
        else:
            self._sleep()

    # -- rebuilding ---------------------------------------------------------------------------

    def _recover(self) -> None:
        if not self.is_alive:
            return
        if self.site.faults.strikes("outage_goes_on"):
            self.site.timeline.after(20 * PROBE_US, self._recover)
            return
        try:
            finished(self._journal.probe())
            self._rebuild()
        except Fenced:
            self._insist_or_end()

    def _rebuild(self) -> None:
        """Make the engine anew from the newest snapshot, or none, and the events after it."""
        site = self.site
        now_us = site.clock_us()
        saved = finished(self._journal.load_snapshot(snapshots.SCHEMA_VERSION))
        if saved is not None and site.faults.strikes("snapshot_lost"):
            saved = None
        world, outbox = snapshots.load(saved) if saved else (None, None)
        at = saved.position if saved else 0
        before = site.store.events[at - 1].hash if at else GENESIS
        engine = Engine(
            site.catalog,
            site.scorer,
            site.policy,
            seed=site.seed,
            started_us=now_us,
            world=world,
            outbox=outbox,
            head=Head(at, before, self._epoch),
        )
        while page := finished(self._journal.read(engine.world.position)):
            engine.replay(page)
        engine.restore_requests(finished(self._journal.read_requests(now_us - KEEP_US)))
        engine.set_alarms()
        engine.restore_offers(self._offers)
        self.engine = engine
        self._sleep()

    def _insist_or_end(self) -> None:
        self._n_insisted += 1
        insists = self._n_insisted <= ZOMBIE_TRIES and self.site.faults.strikes("zombie_insists")
        if insists:
            self._rebuild()
        else:
            self.is_alive = False
            self.engine = None

    def _is_durable(self, engine: Engine) -> bool:
        return engine.world.position == len(self.site.store.events)

    def _save(self, engine: Engine) -> None:
        try:
            finished(self._journal.save_snapshot(snapshots.save(engine.world, engine.outbox)))
        except Fenced:
            return  # a zombie's; only a slower start

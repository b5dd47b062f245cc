"""The coordinator: takes all commands that wait, decides them, commits once, then replies.

While one commit is on its way to disk the next batch is decided; there is no timer and no added
delay. On a failed or ambiguous append no reply is released, neither of it nor of what was decided
since: the engine is discarded and rebuilt from the journal, and until a probe append succeeds
writes are refused while reads go on.
"""

import asyncio
import gc
import logging
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress

from pm_agent.domain.envelope import Body, Command
from pm_agent.domain.errors import (
    Fenced,
    JournalUnavailable,
    Overloaded,
    PMError,
    Unavailable,
)
from pm_agent.domain.ids import AgentId, ProjectId
from pm_agent.domain.time import SECOND_US
from pm_agent.kernel import snapshot as snapshots
from pm_agent.kernel.engine import MAX_BATCH, Engine, Step
from pm_agent.kernel.idempotency import KEEP_US
from pm_agent.kernel.presence import Offer, Signs
from pm_agent.kernel.snapshot import Saved
from pm_agent.kernel.types import Reply
from pm_agent.ports import GENESIS, Clock, Head, Journal, StoredEvent, StoredSnapshot
from pm_agent.runtime.backend import EffectJob, Feed, Health
from pm_agent.runtime.effect_desk import EffectDesk
from pm_agent.runtime.feeds import Feeds

log = logging.getLogger(__name__)

SNAPSHOT_EVERY = 20_000  # events, at least
SNAPSHOT_EVENTS_PER_TASK = 2  # so that encoding the world stays a small share of the work
MAX_WAITING = 20_000  # commands; beyond that new ones are refused
PROBE_FIRST_S, PROBE_MAX_S = 0.1, 2.0
LONGEST_SLEEP_S = 30.0
# Of young containers, until they are looked through. A claim makes about a hundred, nearly all
# gone when it is answered: Python's 700 meant a collection every seven claims, and the old ones a
# walk through the whole world, for 15 to 20 % of the CPU at 1,000 agents and 24,000 tasks.
GC_YOUNG = 50_000

# Commands a step. An idle journal gets its next append after the first step, not after all that
# wait: with 200 clients, who else all wait for one and the same append, 15 % more lifecycles on
# PostgreSQL.
STEP = 64
# How long a thread that wants Python's lock waits for it. The journal's thread asks a dozen times
# in an append while the next batch is decided: at Python's 5 ms that took longer than deciding.
SWITCH_S = 0.0005

Group = tuple[list[Command], list[AgentId], "asyncio.Future[list[Reply]]"]
# (world and outbox from a snapshot or fresh, head) → engine
BuildEngine = Callable[[StoredSnapshot | None, Head, int], Engine]


class Decided:
    """What was decided and goes to the journal in one append."""

    def __init__(self, offers: Iterable[Offer]) -> None:
        self.offers = list(offers)  # that stood before it
        self.step = Step()
        self.groups: list[Group] = []


class CoordinatorLoop:
    """The single writer of one workspace, as an asyncio object.

    Parameters
    ----------
    journal
        Its truth.
    build_engine
        Makes an engine from a snapshot (or None), the journal's head and the present instant.
    clock
        Wall clock.
    on_crash
        Called when memory can no longer be trusted; ends the process, so that a new one replays.
    """

    def __init__(
        self,
        journal: Journal,
        build_engine: BuildEngine,
        clock: Clock,
        on_crash: Callable[[], None] = lambda: None,
    ) -> None:
        self._journal = journal
        self._build_engine = build_engine
        self._clock = clock
        self._on_crash = on_crash
        self._engine: Engine | None = None
        self._epoch = 0
        self._groups: deque[Group] = deque()
        self._n_waiting = 0
        self._wake = asyncio.Event()
        self._feeds = Feeds()
        self._snapshot_at = 0
        self._effects = EffectDesk()
        self._why_closed = ""
        # Events in memory up to here are in the journal; nothing beyond may be shown or acted on.
        self._durable = 0
        self._decided: Decided | None = None  # not on its way to the journal yet
        self._appended: Decided | None = None  # on its way
        self._append: asyncio.Task[None] | None = None
        self._due_us = 0  # when the clock alone asks for a step
        self._offers: list[Offer] = []  # that stand again in a rebuilt engine
        self._wanted: list[Callable[[Engine], None]] = []
        self._asked: list[asyncio.Future[StoredSnapshot]] = []  # that wait for such work
        self._is_saving = False
        self._task: asyncio.Task[None] | None = None
        self._background: set[asyncio.Task[None]] = set()

    # -- life ---------------------------------------------------------------------------------

    async def start(self) -> None:
        """Become the writer, rebuild the world, and begin to serve.

        Raises
        ------
        StartError
            The journal is locked, damaged, or of a newer version.
        """
        head = await self._journal.activate()
        self._epoch = head.epoch
        await self._rebuild()
        tune_interpreter()
        self._task = asyncio.create_task(self._run(), name="coordinator")

    async def stop(self) -> None:
        """Finish what was taken, save a snapshot, and let the journal go."""
        await self._finish("The coordinator is stopping.")
        await self._journal.close()

    async def hand_over(self) -> Health:
        await self._finish("This coordinator has handed its workspace over.")
        return await self.health()

    async def _finish(self, why: str) -> None:
        """Take nothing more, finish what was taken, and save a snapshot."""
        self._why_closed = self._why_closed or why
        self._wake.set()
        if self._task is not None:
            await self._task
        if self._engine is not None and self._snapshot_at != self._durable:
            with suppress(PMError):
                await self._journal.save_snapshot(self._saved(self._engine))
                self._snapshot_at = self._durable

    @property
    def engine(self) -> Engine:
        """The live engine.

        Raises
        ------
        JournalUnavailable
            It is being rebuilt.
        """
        if self._engine is None:
            raise JournalUnavailable
        return self._engine

    # -- what callers see ---------------------------------------------------------------------

    async def submit(self, commands: list[Command], heard: list[AgentId]) -> list[Reply]:
        if self._why_closed:
            raise Fenced(self._why_closed)
        if self._engine is None:
            raise JournalUnavailable
        if self._n_waiting > MAX_WAITING:
            message = f"{self._n_waiting} commands wait for the coordinator."
            raise Overloaded(message)
        future: asyncio.Future[list[Reply]] = asyncio.get_running_loop().create_future()
        self._groups.append((commands, heard, future))
        self._n_waiting += len(commands)
        self._wake.set()
        return await future

    def follow(self, after: int) -> AsyncIterator[Feed]:
        return self._feeds.follow(after, self._journal.read)

    async def snapshot(self, project_id: ProjectId | None = None) -> StoredSnapshot:
        found: asyncio.Future[StoredSnapshot] = asyncio.get_running_loop().create_future()

        def take(engine: Engine) -> None:
            if not found.done():
                found.set_result(
                    snapshots.save_project(engine.world, engine.outbox, project_id)
                    if project_id is not None
                    else self._saved(engine)
                )

        if self._why_closed:
            raise Fenced(self._why_closed)
        if self._engine is None:
            raise JournalUnavailable
        self._want(take)
        if not found.done():
            self._asked.append(found)
        return await found

    async def projects(self) -> list[ProjectId]:
        return list(self.engine.world.projects)

    async def history(self, subject: str, limit: int) -> list[StoredEvent]:
        return await self._journal.read_subject(subject, limit)

    async def event_at(self, position: int) -> StoredEvent | None:
        return await self._journal.read_at(position)

    async def signs(self, agent_ids: list[AgentId]) -> Signs:
        if self._engine is None:
            raise JournalUnavailable
        return self._engine.presence.signs(agent_ids, self._clock.now_us())

    async def reply_to(self, principal: str, request_id: str) -> Reply | None:
        if self._engine is None:
            raise JournalUnavailable
        reply = self._engine.requests.reply_to(principal, request_id)
        return reply if reply is not None and reply.position <= self._durable else None

    async def bodies(self, refs: list[str]) -> list[Body]:
        return list((await self._journal.read_bodies(refs)).values())

    async def take_effects(self, wait_s: float) -> list[EffectJob]:
        deadline = asyncio.get_running_loop().time() + wait_s
        while True:
            jobs = await self._effect_jobs()
            left_s = deadline - asyncio.get_running_loop().time()
            if jobs or left_s <= 0:
                return jobs
            with suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._feeds.news()

    async def _effect_jobs(self) -> list[EffectJob]:
        if self._engine is None or self._why_closed:  # nobody could take the answers
            return []
        now_us = self._clock.now_us()
        return await self._effects.take(self._engine, self._durable, self._journal, now_us)

    async def health(self) -> Health:
        engine = self._engine
        return Health(
            is_writable=engine is not None and not self._why_closed,
            position=self._durable if engine else 0,
            epoch=self._epoch,
            n_waiting=self._n_waiting,
            reason=self._why_closed or ("" if engine else "the journal cannot be written"),
        )

    # -- the loop -----------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            try:
                while await self._advance():
                    pass
                return
            except Fenced as error:
                self._why_closed = error.message
                self._refuse_all(error)
                return
            except JournalUnavailable as error:
                log.warning("journal unavailable: %s", error.message)
                self._engine = None
                self._refuse_all(error)
                await self._recover()
            except Exception as error:
                # A broken invariant, or a bug while folding: memory can no longer be trusted.
                log.exception("the coordinator stops")
                message = f"The coordinator stopped on an internal error: {type(error).__name__}."
                self._why_closed = message
                self._refuse_all(Unavailable(message))
                self._on_crash()
                raise

    async def _advance(self) -> bool:
        """Do the next thing, or wait until there is one; False when all is done for good.

        One append is on its way at a time. What comes meanwhile is decided at once, on a world that
        is ahead of the journal, and goes into the next append. Who wants to see the world stops
        that until nothing is ahead.
        """
        if self._append is not None and self._append.done():
            await self._release()
        elif self._append is None and self._decided is not None:
            self._write(self._decided)
            await asyncio.sleep(0)  # let it begin before more is decided
        elif self._append is None and self._wanted:
            self._serve_wanted()
        elif self._can_decide():
            self._decide()
        elif self._why_closed and self._append is None:
            return False
        else:
            await self._wait()
        return True

    def _can_decide(self) -> bool:
        if self._wanted:
            return False
        if self._groups:
            n_decided = len(self._decided.step.replies) if self._decided is not None else 0
            return not n_decided or n_decided + len(self._groups[0][0]) <= MAX_BATCH
        return not self._why_closed and self._clock.now_us() >= self._due_us

    async def _wait(self) -> None:
        """Until a command comes, an append ends, or the clock asks for a step."""
        self._wake.clear()
        left_s = max(self._due_us - self._clock.now_us(), 0) / SECOND_US + 0.001
        try:
            async with asyncio.timeout(min(left_s, LONGEST_SLEEP_S)):
                await self._wake.wait()
        except TimeoutError:
            self._due_us = 0  # whatever a clock says that was set back meanwhile

    def _decide(self) -> None:
        engine = self.engine
        now_us = self._clock.now_us()
        if self._decided is None:
            self._decided = Decided(engine.presence.offers.values())
        decided = self._decided
        groups = self._take()
        decided.groups += groups
        commands: list[Command] = []
        for group_commands, heard, _ in groups:
            commands += group_commands
            engine.hear(heard, now_us)
        step = engine.step(commands, now_us)
        for failure in step.failures:
            log.error("a decider failed", exc_info=failure)
        decided.step.extend(step)
        next_us = engine.next_wakeup_us()
        latest_us = now_us + int(LONGEST_SLEEP_S * SECOND_US)
        self._due_us = latest_us if next_us is None else min(next_us, latest_us)

    def _take(self) -> list[Group]:
        """Groups that wait, until they hold a step's commands."""
        groups: list[Group] = []
        size = 0
        while self._groups and (not groups or size + len(self._groups[0][0]) <= STEP):
            group = self._groups.popleft()
            size += len(group[0])
            groups.append(group)
        self._n_waiting -= size
        return groups

    def _write(self, decided: Decided) -> None:
        """Send what was decided on its way to the journal."""
        self._decided = None
        if not decided.step.stored:  # nothing is ahead of the journal, so these replies are true
            _reply(decided)
            return
        self._appended = decided
        self._append = asyncio.create_task(self._journal.append(decided.step.batch(self._epoch)))
        self._append.add_done_callback(lambda _: self._wake.set())

    async def _release(self) -> None:
        """Tell what is durable now: to those who asked, and to followers."""
        assert self._append is not None
        assert self._appended is not None
        append, appended = self._append, self._appended
        self._append = None
        append.result()
        self._appended = None
        step = appended.step
        self._durable = step.stored[-1].position
        await self._feeds.publish(step.stored, step.bodies)
        _reply(appended)
        # A snapshot costs as much as the world is large, a replay as the events after it are many.
        gap = max(SNAPSHOT_EVERY, SNAPSHOT_EVENTS_PER_TASK * len(self.engine.world.tasks))
        if self._durable - self._snapshot_at >= gap and not self._is_saving:
            self._is_saving = True
            self._want(self._save_soon)

    def _want(self, work: Callable[[Engine], None]) -> None:
        """Do something as soon as the world in memory holds durable events only."""
        if self._engine is not None and self._engine.world.position == self._durable:
            work(self._engine)
        else:
            self._wanted.append(work)

    def _serve_wanted(self) -> None:
        wanted, self._wanted = self._wanted, []
        self._asked.clear()
        for work in wanted:
            work(self.engine)

    def _refuse_all(self, error: PMError) -> None:
        """Refuse what was decided and is not known to be durable, and all that waits."""
        ahead = [batch for batch in (self._appended, self._decided) if batch is not None]
        if ahead:
            self._offers = ahead[0].offers
        for _, _, future in (*(g for batch in ahead for g in batch.groups), *self._groups):
            if not future.done():
                future.set_exception(error)
        self._append = self._appended = self._decided = None
        self._groups.clear()
        self._n_waiting = 0
        if self._why_closed:  # for good: no rebuilt engine will serve these
            for asked in self._asked:
                if not asked.done():
                    asked.set_exception(error)
            self._asked.clear()

    # -- rebuilding ---------------------------------------------------------------------------

    async def _recover(self) -> None:
        pause_s = PROBE_FIRST_S
        while not self._why_closed:
            try:
                await self._journal.probe()
                await self._rebuild()
            except Fenced as error:
                self._why_closed = error.message
            except PMError as error:
                log.warning("journal still unavailable: %s", error.message)
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, PROBE_MAX_S)
            else:
                log.info("journal available again at position %d", self.engine.world.position)
                # An append of unknown outcome may have got through: followers have not seen it.
                await self._feeds.wake()
                return

    async def _rebuild(self) -> None:
        """Make the engine anew from the newest snapshot and the events after it."""
        now_us = self._clock.now_us()
        saved = await self._journal.load_snapshot(snapshots.SCHEMA_VERSION)
        start = Head(0, GENESIS, self._epoch)
        if saved is not None and not snapshots.is_whole(saved):
            log.error("snapshot %d is damaged; all events are replayed instead", saved.position)
            saved = None
        if saved is not None:
            sealed = await self._journal.read_at(saved.position)
            if sealed is None:
                saved = None
            else:
                start = Head(saved.position, sealed.hash, self._epoch)
        engine = self._build_engine(saved, start, now_us)
        while page := await self._journal.read(engine.world.position):
            engine.replay(page)
            self._feeds.restore(page)
        engine.restore_requests(await self._journal.read_requests(now_us - KEEP_US))
        engine.set_alarms()
        engine.restore_offers(self._offers)  # the same process: waiting agents still wait
        self._snapshot_at = saved.position if saved else 0
        self._effects.clear()
        self._durable = engine.world.position
        self._is_saving = False
        self._due_us = 0
        self._engine = engine
        self._serve_wanted()

    def _saved(self, engine: Engine) -> StoredSnapshot:
        return snapshots.save(engine.world, engine.outbox)

    def _save_soon(self, engine: Engine) -> None:
        self._snapshot_at = engine.world.position
        task = asyncio.create_task(self._save(snapshots.copy(engine.world, engine.outbox)))
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _save(self, held: Saved) -> None:
        """Encode a world piece by piece, with decisions in between, and keep it."""
        encoded = []
        for piece in snapshots.pieces(held):
            encoded.append(piece)
            await asyncio.sleep(0)
        try:
            await self._journal.save_snapshot(snapshots.stored(held.tables.position, encoded))
        except PMError as error:  # only a slower next start
            log.warning("no snapshot: %s", error.message)
        finally:
            self._is_saving = False


def _reply(decided: Decided) -> None:
    start = 0
    for commands, _, future in decided.groups:
        end = start + len(commands)
        if not future.done():
            future.set_result(decided.step.replies[start:end])
        start = end


def tune_interpreter() -> None:
    """Leave the world that was just rebuilt to itself, and look less often at what is new."""
    sys.setswitchinterval(SWITCH_S)
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_YOUNG, 20, 100)

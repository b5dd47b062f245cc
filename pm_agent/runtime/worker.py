"""A managed worker: an agent that PM Agent runs itself, with an executor in a worktree of its own.

It speaks the same operations as any remote agent. One task at a time: wait, execute, hand in. While
it lives it sends heartbeats; when it starts again under its name it goes on with what it still
holds. The lease decides: as soon as the server says that a task is not its own any more, or tells
it to stop, the execution is cancelled and nothing of it is left running.
"""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from inspect import iscoroutine
from typing import Any, Literal, TypeVar

import msgspec

from pm_agent.features.backlog.view import TaskBrief
from pm_agent.runtime.attempt import LONGEST_NOTE, LOST, Api, Attempt, Json, code_of, evidence_of
from pm_agent.runtime.executors import Executor, Outcome
from pm_agent.runtime.worktree import Worktree

log = logging.getLogger(__name__)

T = TypeVar("T")

HEARTBEAT_S = 30.0
BLOCKER_POLL_S = 2.0
PAUSE_S = 2.0  # before asking again a server that cannot answer
SHORTEST_WAIT_S = 0.1  # a wait that ends sooner was taken over by another worker of this name
GRACE_S = 30.0  # for the task in hand when the worker stops
LONGEST_SUMMARY = 10_000

# Nobody can say now; the same request may succeed later.
AWAY = frozenset(
    {
        "unreachable",
        "unavailable",
        "journal_unavailable",
        "overloaded",
        "rate_limited",
        "handing_over",
        "fenced",
    }
)
# A task is ours of which we do not know: the reply that gave it to us was lost.
OUT_OF_STEP = frozenset({"capacity_exceeded", "request_id_reused"})

_STOP = re.compile(r"Stop working on (T-[0-9]+)")


class Worker:
    """One managed worker.

    Parameters
    ----------
    api
        Client with the worker's own token.
    name
        Its name; the same name after a restart is the same agent.
    executor
        What does the tasks.
    worktree
        Where they are done.
    skills, project_ids
        What it can do, and for whom; no projects means all.
    heartbeat_s, blocker_poll_s
        Seconds between signs of life, and between looks at an open blocker.

    Attributes
    ----------
    agent_id : str
        As the server named it; empty before the first registration.
    n_done, n_failed, n_stopped, n_lost : int
        How its attempts ended. Stopped: told to, or the worker was stopped; lost: another lease.
    """

    def __init__(
        self,
        api: Api,
        name: str,
        executor: Executor,
        worktree: Worktree,
        *,
        skills: Iterable[str | Mapping[str, Any]] = (),
        project_ids: Iterable[str] = (),
        heartbeat_s: float = HEARTBEAT_S,
        blocker_poll_s: float = BLOCKER_POLL_S,
    ) -> None:
        self._api = api
        self.name = name
        self._executor = executor
        self._worktree = worktree
        self._skills = tuple(skills)
        self._project_ids = tuple(project_ids)
        self._heartbeat_s = heartbeat_s
        self._blocker_poll_s = blocker_poll_s
        self.agent_id = ""
        self.n_done = self.n_failed = self.n_stopped = self.n_lost = 0
        self._busy_s = 0.0
        self._attempt: Attempt | None = None
        self._life: asyncio.Task[None] | None = None
        self._idle: asyncio.Future[Any] | None = None  # what may be cancelled at any time
        self._stopping = asyncio.Event()

    # -- what others see ----------------------------------------------------------------------

    @property
    def task_id(self) -> str:
        """The task in hand, or an empty string."""
        return self._attempt.task_id if self._attempt else ""

    @property
    def executor_pid(self) -> int | None:
        return self._executor.pid

    @property
    def busy_s(self) -> float:
        """Seconds spent on tasks, the present one included."""
        now = time.monotonic()
        return self._busy_s + (now - self._attempt.began_s if self._attempt else 0.0)

    def start(self) -> None:
        assert self._life is None, "a worker lives once"
        self._life = asyncio.create_task(self.run(), name=f"worker {self.name}")

    async def stop(self, grace_s: float = GRACE_S) -> None:
        """Take no more tasks; finish the one in hand, or give it back when ``grace_s`` is over."""
        self._stopping.set()
        if self._idle is not None:
            self._idle.cancel()
        if self._life is None:
            return
        await asyncio.wait({self._life}, timeout=grace_s)
        if self._attempt is not None:
            self._attempt.end("released")
        with suppress(asyncio.CancelledError):
            await self._life

    # -- its life -----------------------------------------------------------------------------

    async def run(self) -> None:
        """Live until `stop`."""
        await self._idly(self._register())
        if self._stopping.is_set():
            return
        beating = asyncio.create_task(self._beat(), name=f"heartbeat {self.name}")
        try:
            await self._resume()
            while not self._stopping.is_set():
                await self._next()
        finally:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)

    async def _register(self) -> None:
        while True:
            try:
                known = await self._api.register_agent(
                    self.name,
                    skills=self._skills,
                    kind="managed",
                    sends_heartbeats=True,
                    project_ids=self._project_ids,
                )
            except self._api.refused as error:
                if code_of(error) not in AWAY | {"unknown_project"}:
                    raise
                # A project may be made after the worker that is meant for it.
                log.warning("%s cannot register yet: %s", self.name, error)
                await asyncio.sleep(PAUSE_S)
            else:
                self.agent_id = known.agent_id
                return

    async def _next(self) -> None:
        """Wait for a task and do it."""
        began_s = time.monotonic()
        try:
            claimed = await self._idly(self._api.wait_for_task(self.agent_id))
        except self._api.refused as error:
            code = code_of(error)
            log.info("%s waits for a task: %s", self.name, error)
            if code == "unknown_agent":  # of a server that lost its journal, or has a new one
                await self._idly(self._register())
            elif code in OUT_OF_STEP:
                await self._resume()
            await self._idly(asyncio.sleep(PAUSE_S))
            return
        if claimed is None:
            return
        if claimed.outcome == "assigned":
            task = {"attempt": claimed.attempt, **_told(claimed.task)}
            await self._do(claimed.task_id, claimed.lease_token, task)
        elif claimed.outcome == "none":
            await self._idly(asyncio.sleep(claimed.retry_after_s or PAUSE_S))
        elif time.monotonic() - began_s < SHORTEST_WAIT_S:
            await self._idly(asyncio.sleep(PAUSE_S))

    async def _resume(self) -> None:
        """Go on with tasks that are still ours: from a life before, or from a lost reply."""
        try:
            status = await self._idly(self._api.get_agent_status(self.agent_id))
        except self._api.refused as error:
            log.warning("%s cannot learn what it holds: %s", self.name, error)
            return
        for held in status.tasks if status else ():
            if self._stopping.is_set() or held.state not in ("assigned", "blocked"):
                continue
            task_id, lease_token = held.task_id, held.lease_token
            try:
                task = await self._context(task_id)
            except self._api.refused as error:
                log.warning("%s cannot resume %s: %s", self.name, task_id, error)
                note = "The worker was restarted and could not read the task."
                await self._release(task_id, lease_token, "failed", note)
            else:
                log.info("%s resumes %s", self.name, task_id)
                await self._do(task_id, lease_token, task)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._heartbeat_s)
            attempt = self._attempt  # a task that comes while this is under way is not in the reply
            try:
                reply = await self._api.heartbeat_agent(self.agent_id)
            except self._api.refused as error:  # the next one may get through
                log.info("heartbeat of %s: %s", self.name, error)
                continue
            self._obey()
            if attempt is not None:
                attempt.check_lease(reply.leases)

    # -- one task -----------------------------------------------------------------------------

    async def _do(self, task_id: str, lease_token: int, task: Json) -> None:
        attempt = self._attempt = Attempt(
            self._api, task_id, lease_token, self._obey, self._blocker_poll_s
        )
        outcome: Outcome | None = None
        try:
            outcome = await attempt.run(self._executor, self._worktree, task)
            ending = attempt.ending
        finally:
            self._busy_s += time.monotonic() - attempt.began_s
            self._attempt = None
        if ending == "lost":
            self.n_lost += 1
        elif ending or outcome is None:
            self.n_stopped += 1
            reason: Literal["stopped", "released"] = (
                "stopped" if ending == "stopped" else "released"
            )
            note = "Stopped as told." if ending == "stopped" else "The worker is stopping."
            await self._release(task_id, lease_token, reason, f"{note} {attempt.last_note}".strip())
        elif outcome.is_done:
            await self._hand_in(attempt, outcome)
        else:
            self.n_failed += 1
            note = "\n".join(text for text in (outcome.reason, outcome.tail) if text)
            await self._release(task_id, lease_token, "failed", note)

    async def _hand_in(self, attempt: Attempt, outcome: Outcome) -> None:
        used = attempt.take_usage()
        refusal = await self._insist(
            lambda: self._api.complete_task(
                attempt.task_id,
                lease_token=attempt.lease_token,
                summary=outcome.summary[:LONGEST_SUMMARY].strip() or "Done.",
                evidence=evidence_of(outcome.evidence),
                usage=used,
            ),
            attempt.task_id,
        )
        if not refusal:
            self.n_done += 1
        elif refusal in LOST:
            self.n_lost += 1
        else:  # keeping it would only keep it from others
            self.n_failed += 1
            note = f"The work was done, but handing it in was refused: {refusal}."
            await self._release(attempt.task_id, attempt.lease_token, "failed", note)

    async def _release(
        self,
        task_id: str,
        lease_token: int,
        reason: Literal["released", "failed", "stopped"],
        note: str,
    ) -> None:
        await self._insist(
            lambda: self._api.release_task(
                task_id, lease_token=lease_token, reason=reason, note=note[:LONGEST_NOTE]
            ),
            task_id,
        )

    async def _insist(self, call: Callable[[], Awaitable[object]], task_id: str) -> str:
        """Make a call until it is answered; return the code of a refusal, or nothing."""
        while True:
            try:
                await call()
            except self._api.refused as error:
                if code_of(error) in AWAY and not self._stopping.is_set():
                    await asyncio.sleep(PAUSE_S)
                    continue
                log.warning("%s about %s: %s", self.name, task_id, error)
                return code_of(error) or "error"
            return ""

    # -- small things -------------------------------------------------------------------------

    def _obey(self) -> None:
        """Look whether the newest reply told to stop the task in hand."""
        for directive in self._api.notice.directives:
            found = _STOP.match(directive)
            if found and self._attempt is not None and self._attempt.task_id == found[1]:
                log.info("%s is told: %s", self.name, directive)
                self._attempt.end("stopped")

    async def _context(self, task_id: str) -> Json:
        return _told(await self._api.get_task_context(task_id, response_format="detailed"))

    async def _idly(self, waiting: Awaitable[T]) -> T | None:
        """Wait for something that `stop` may interrupt; None when it did."""
        if self._stopping.is_set():
            if iscoroutine(waiting):
                waiting.close()
            return None
        idle: asyncio.Future[T] = asyncio.ensure_future(waiting)
        self._idle = idle
        try:
            return await idle
        except asyncio.CancelledError:
            if self._stopping.is_set() and idle.cancelled():
                return None
            idle.cancel()
            raise
        finally:
            self._idle = None


def _told(task: TaskBrief | None) -> Json:
    """Return a task as an executor is told of it: as the API's JSON."""
    return msgspec.to_builtins(task) if task is not None else {}

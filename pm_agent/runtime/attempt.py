"""One execution of a task by a managed worker: what is reported, and what ends it early."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from inspect import iscoroutine
from typing import Any, Literal, Protocol, TypeVar, get_args

from pm_agent.domain.blocker import BlockerType
from pm_agent.domain.notice import Notice
from pm_agent.features.backlog.view import BlockerStep, TaskBrief, TaskContext
from pm_agent.features.team.decide import HeartbeatResult, LeaseState, RegisterResult
from pm_agent.features.team.view import AgentStatus
from pm_agent.kernel.types import Result
from pm_agent.runtime.executors import Executor, Fix, Outcome, TryFix
from pm_agent.runtime.worktree import GitError, Worktree

log = logging.getLogger(__name__)

T = TypeVar("T")
Json = dict[str, Any]
Ending = Literal["", "stopped", "released", "lost"]

# Faster reports tell nobody more, and each is a durable event.
PROGRESS_EVERY_S = 0.25
LONGEST_NOTE = 4_000

# Refusals that say: the task is not ours, whatever we think.
LOST = frozenset(
    {"stale_lease", "not_assigned", "not_assignee", "already_completed", "unknown_task"}
)

_SEVERITIES = ("low", "medium", "high")
_TYPES = get_args(BlockerType)


class Claimed(Protocol):
    """What a worker reads of the answer to a claim."""

    @property
    def outcome(self) -> str: ...
    @property
    def task_id(self) -> str: ...
    @property
    def lease_token(self) -> int: ...
    @property
    def attempt(self) -> int: ...
    @property
    def retry_after_s(self) -> float: ...
    @property
    def task(self) -> TaskBrief | None: ...


class Api(Protocol):
    """What a worker needs of a client; `pm_agent.client.AsyncClient` has it."""

    @property
    def notice(self) -> Notice:
        """What the newest answer told beside its result."""
        ...

    @property
    def refused(self) -> type[Exception]:
        """What refusals are raised as; each has a ``code``."""
        ...

    def register_agent(
        self,
        name: str,
        *,
        skills: Iterable[str | Mapping[str, Any]],
        kind: Literal["remote", "managed"],
        sends_heartbeats: bool,
        project_ids: Iterable[str],
    ) -> Awaitable[RegisterResult]: ...

    def heartbeat_agent(self, agent_id: str) -> Awaitable[HeartbeatResult]: ...

    def get_agent_status(self, agent_id: str) -> Awaitable[AgentStatus]: ...

    def get_task_context(
        self, task_id: str, *, response_format: Literal["concise", "detailed"]
    ) -> Awaitable[TaskContext]: ...

    def wait_for_task(self, agent_id: str) -> Awaitable[Claimed]: ...

    def report_task_progress(
        self,
        task_id: str,
        *,
        lease_token: int,
        percent: int,
        note: str = ...,
        where: str = ...,
        usage: Json | None = ...,
    ) -> Awaitable[Result]: ...

    def complete_task(
        self, task_id: str, *, lease_token: int, summary: str, evidence: Json, usage: Json
    ) -> Awaitable[Result]: ...

    def release_task(
        self,
        task_id: str,
        *,
        lease_token: int,
        reason: Literal["released", "failed", "blocked", "stopped"],
        note: str,
    ) -> Awaitable[Result]: ...

    def report_blocker(
        self,
        task_id: str,
        *,
        lease_token: int,
        description: str,
        severity: Literal["low", "medium", "high"],
        blocker_type: str,
    ) -> Awaitable[Result]: ...

    def report_fix(
        self, blocker_id: str, *, lease_token: int, worked: bool, note: str
    ) -> Awaitable[Result]: ...

    def log_decision(
        self, task_id: str, *, decision: str, lease_token: int
    ) -> Awaitable[Result]: ...

    def log_artifact(
        self, task_id: str, *, name: str, uri: str, note: str, lease_token: int
    ) -> Awaitable[Result]: ...


class Attempt:
    """One execution of one task; the `Report` of its executor.

    Parameters
    ----------
    api
        Client with the worker's token.
    task_id, lease_token
        What is executed, and the proof that it is ours.
    obey
        Called after every reply, which may have carried an order to stop.
    blocker_poll_s
        Seconds between looks at an open blocker.

    Attributes
    ----------
    ending : str
        Why it was ended early; empty when it was not.
    last_note : str
        The last words about the work.
    """

    def __init__(
        self,
        api: Api,
        task_id: str,
        lease_token: int,
        obey: Callable[[], None],
        blocker_poll_s: float,
    ) -> None:
        self._api = api
        self.task_id = task_id
        self.lease_token = lease_token
        self._obey = obey
        self._blocker_poll_s = blocker_poll_s
        self.began_s = time.monotonic()
        self.ending: Ending = ""
        self.last_note = ""
        self._tokens, self._cost_usd = 0, 0.0
        self._reported_s = 0.0
        self._running: asyncio.Task[Outcome] | None = None
        self._is_over = False

    async def run(self, executor: Executor, worktree: Worktree, task: Json) -> Outcome | None:
        """Execute, and commit what was done; None when the attempt was ended early."""
        work = self._work(executor, worktree, {**task, "task_id": self.task_id})
        self._running = asyncio.create_task(work, name=self.task_id)
        try:
            return await self._running
        except asyncio.CancelledError:
            if not self.ending:  # it is the worker that is cancelled
                self._running.cancel()
                await asyncio.gather(self._running, return_exceptions=True)
                raise
            return None
        except Exception as error:  # of git, the disk, or an executor
            log.exception("execution of %s", self.task_id)
            return Outcome(is_done=False, reason=f"{type(error).__name__}: {error}")
        finally:
            self._is_over = True

    async def _work(self, executor: Executor, worktree: Worktree, task: Json) -> Outcome:
        folder = await worktree.prepare(self.task_id, self.lease_token)
        outcome = await executor.run(task, folder, self)
        if not outcome.is_done:
            return await self._keep(worktree, outcome)
        commit, branch = await worktree.commit(self.task_id, self.lease_token, outcome.summary)
        made = {"commit": commit, "branch": branch} if commit else {}
        return Outcome(is_done=True, summary=outcome.summary, evidence={**outcome.evidence, **made})

    async def _keep(self, worktree: Worktree, failed: Outcome) -> Outcome:
        """Commit what a failed execution left, so that the next attempt can start from it."""
        try:
            _, branch = await worktree.commit(self.task_id, self.lease_token, "unfinished work")
        except GitError as error:
            log.warning("unfinished work of %s: %s", self.task_id, error)
            return failed
        where = f" What it left is on branch {branch}." if branch else ""
        return Outcome(is_done=False, reason=f"{failed.reason}{where}", tail=failed.tail)

    def end(self, ending: Ending) -> None:
        """End the execution now."""
        if self._is_over or self.ending:
            return
        self.ending = ending
        if self._running is not None:
            self._running.cancel()

    def check_lease(self, leases: Iterable[LeaseState]) -> None:
        """End the execution when the task is not among the leases that a heartbeat renewed."""
        held = {lease.task_id: lease.lease_token for lease in leases}
        if held.get(self.task_id) != self.lease_token:
            self.end("lost")

    def take_usage(self) -> Json:
        """Return what was used since the last report."""
        used = {"tokens": self._tokens, "cost_usd": self._cost_usd}
        self._tokens, self._cost_usd = 0, 0.0
        return used

    # -- the report ---------------------------------------------------------------------------

    async def progress(self, percent: int, note: str = "") -> None:
        self.last_note = note or self.last_note
        now = time.monotonic()
        if now - self._reported_s < PROGRESS_EVERY_S:
            self._require_life()
            return
        self._reported_s = now
        await self._say(
            self._api.report_task_progress(
                self.task_id,
                lease_token=self.lease_token,
                percent=percent,
                note=note[:LONGEST_NOTE],
                usage=self.take_usage(),
            )
        )

    async def decision(self, text: str) -> None:
        if text.strip():
            await self._say(
                self._api.log_decision(
                    self.task_id, decision=text[:LONGEST_NOTE], lease_token=self.lease_token
                )
            )

    async def artifact(self, name: str, uri: str, note: str = "") -> None:
        await self._say(
            self._api.log_artifact(
                self.task_id,
                name=name[:200],
                uri=uri[:2_000],
                note=note[:LONGEST_NOTE],
                lease_token=self.lease_token,
            )
        )

    async def usage(self, tokens: int, cost_usd: float = 0.0) -> None:
        self._require_life()
        self._tokens += tokens
        self._cost_usd += cost_usd

    async def blocker(
        self,
        description: str,
        severity: str = "medium",
        try_fix: TryFix | None = None,
        blocker_type: str = "other",
    ) -> str:
        """Report a blocker, unless an attempt before did, and wait until it is resolved."""
        description = description.strip()[:LONGEST_NOTE] or "The executor is blocked."
        is_reported = False
        tried: set[str] = set()
        while True:
            context = await self._say(
                self._api.get_task_context(self.task_id, response_format="detailed")
            )
            for closed in context.closed_blockers if context else ():
                if closed.description == description:
                    return closed.resolution
            found = context.blockers if context else ()
            known = next((one for one in found if one.description == description), None)
            step = known.step if known else None
            if known and step and step.text and step.text not in tried and try_fix is not None:
                tried.add(step.text)
                await self._try(known.blocker_id, step, try_fix)
                continue
            if context is not None and known is None and not is_reported:
                said = await self._say(
                    self._api.report_blocker(
                        self.task_id,
                        lease_token=self.lease_token,
                        description=description,
                        severity=severity if severity in _SEVERITIES else "medium",  # type: ignore[arg-type]  # checked here
                        blocker_type=blocker_type if blocker_type in _TYPES else "other",
                    )
                )
                is_reported = said is not None
            await asyncio.sleep(self._blocker_poll_s)

    async def _try(self, blocker_id: str, step: BlockerStep, try_fix: TryFix) -> None:
        """Let the executor try what is offered, and say what came of it."""
        verdict = await try_fix(Fix(step.text, step.by, step.why))
        await self._say(
            self._api.report_fix(
                blocker_id,
                lease_token=self.lease_token,
                worked=verdict.worked,
                note=verdict.note[:LONGEST_NOTE],
            )
        )

    async def _say(self, call: Awaitable[T]) -> T | None:
        """Make a call about the task. A lost lease ends the execution; other refusals do not."""
        if (self._is_over or self.ending) and iscoroutine(call):
            call.close()
        self._require_life()
        try:
            reply = await call
        except self._api.refused as error:
            log.info("about %s: %s", self.task_id, error)
            if code_of(error) in LOST:
                self.end("lost")
                await asyncio.sleep(0)  # where the cancellation arrives
            return None
        self._obey()
        return reply

    def _require_life(self) -> None:
        if self._is_over or self.ending:
            raise RuntimeError(f"The attempt at {self.task_id} is over.")


def code_of(error: Exception) -> str:
    """Return a refusal's stable code; empty when it has none."""
    return str(getattr(error, "code", ""))


def evidence_of(given: Json) -> Json:
    """Return the parts of an executor's evidence that the API takes, within its limits."""
    links = given.get("links")
    return {
        "commit": str(given.get("commit") or "")[:100],
        "branch": str(given.get("branch") or "")[:200],
        "links": [str(link)[:2_000] for link in links if link][:50]
        if isinstance(links, list)
        else [],
    }

"""The coordinator as a named, detached Ray actor, and its counterpart for callers.

Ray promises that a name is registered once, not that only one process writes: a paused and resumed
old process was measured writing after its successor. The journal's epoch is what keeps it out.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import msgspec
import ray
from ray.exceptions import RayActorError, RayError

from actors import wire
from actors.cluster import NAMESPACE
from actors.scorers import CurrentScorer
from pm_agent.bootstrap import admit_admin, build_coordinator, ensure_admin_secret
from pm_agent.domain.envelope import Body, Command
from pm_agent.domain.errors import Fenced, PMError, Unavailable
from pm_agent.domain.ids import AgentId, ProjectId
from pm_agent.kernel.presence import Signs
from pm_agent.kernel.types import ErrorInfo, Reply
from pm_agent.ports import StoredEvent, StoredSnapshot
from pm_agent.runtime.backend import EffectJob, Feed, Health
from pm_agent.runtime.coordinator_loop import CoordinatorLoop
from pm_agent.settings import Settings

# Parked: one follow per ingress, one take_effects per host. Everything else is short.
MAX_CONCURRENCY = 200
NAME_FREE_S = 5.0  # after an actor was ended; measured to take some ms


class CoordinatorActor:
    """A shell around `CoordinatorLoop`. A restart runs the constructor again and replays."""

    def __init__(self, settings_json: str) -> None:
        self._settings = Settings.model_validate_json(settings_json)
        self._loop: CoordinatorLoop | None = None
        self._following: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()

    async def ready(self) -> None:
        """Return when the journal is replayed and commands are taken; raise if that fails."""
        await self._started()

    async def pid(self) -> int:
        return os.getpid()

    async def submit(self, payload: bytes) -> bytes:
        submission = wire.decode_submission(payload)
        try:
            loop = await self._started()
            replies = await loop.submit(submission.commands, submission.heard)
        except PMError as error:
            return wire.encode(wire.Answer(error=ErrorInfo.of(error)))
        return wire.encode(wire.Answer(replies))

    async def follow(self, after: int) -> AsyncIterator[bytes]:
        loop = await self._started()
        async for feed in loop.follow(after):
            yield wire.encode(feed)

    async def snapshot(self, project_id: ProjectId | None) -> bytes:
        loop = await self._started()
        return wire.encode(await loop.snapshot(project_id))

    async def projects(self) -> bytes:
        loop = await self._started()
        return wire.encode(await loop.projects())

    async def history(self, subject: str, limit: int) -> bytes:
        loop = await self._started()
        return wire.encode(await loop.history(subject, limit))

    async def event_at(self, position: int) -> bytes:
        loop = await self._started()
        return wire.encode(await loop.event_at(position))

    async def signs(self, agent_ids: list[AgentId]) -> bytes:
        loop = await self._started()
        return wire.encode(await loop.signs(agent_ids))

    async def reply_to(self, principal: str, request_id: str) -> bytes:
        loop = await self._started()
        return wire.encode(await loop.reply_to(principal, request_id))

    async def bodies(self, refs: list[str]) -> bytes:
        loop = await self._started()
        return wire.encode(await loop.bodies(refs))

    async def take_effects(self, wait_s: float) -> bytes:
        loop = await self._started()
        return wire.encode(await loop.take_effects(wait_s))

    async def health(self) -> bytes:
        loop = await self._started()
        return wire.encode(await loop.health())

    async def hand_over(self) -> bytes:
        loop = await self._started()
        health = await loop.hand_over()
        await loop.stop()  # lets the journal go; this actor is about to be ended
        return wire.encode(health)

    async def stop(self) -> None:
        if self._following is not None:
            self._following.cancel()
        if self._loop is not None:
            await self._loop.stop()

    async def _started(self) -> CoordinatorLoop:
        if self._loop is not None:
            return self._loop
        async with self._starting:
            if self._loop is None:
                scorer = CurrentScorer(self._settings)
                loop = build_coordinator(self._settings, on_crash=_end_process, scorer=scorer)
                await loop.start()
                self._following = asyncio.create_task(scorer.follow())
                await admit_admin(loop, ensure_admin_secret(self._settings))
                self._loop = loop
        return self._loop


class RemoteCoordinator:
    """The coordinator for callers in other processes: `pm_agent.runtime.backend.Coordinator`."""

    def __init__(self, workspace: str) -> None:
        self._name = actor_name(workspace)
        self._handle: Any = None

    async def submit(self, commands: list[Command], heard: list[AgentId]) -> list[Reply]:
        raw = await self._call("submit", wire.encode_submission(commands, heard))
        answer = wire.decode_answer(raw)
        if answer.error is not None:
            if answer.error.code == Fenced.code:
                self._handle = None  # the name may belong to its successor by now
            wire.raise_for(answer.error)
        return answer.replies

    async def follow(self, after: int) -> AsyncIterator[Feed]:
        try:
            stream = self._actor().follow.options(num_returns="streaming").remote(after)
            async for reference in stream:
                yield wire.decode_feed(await reference)
        except (RayError, ValueError) as error:
            raise self._away(error) from error

    async def snapshot(self, project_id: ProjectId | None = None) -> StoredSnapshot:
        return msgspec.msgpack.decode(await self._call("snapshot", project_id), type=StoredSnapshot)

    async def projects(self) -> list[ProjectId]:
        return msgspec.msgpack.decode(await self._call("projects"), type=list[ProjectId])

    async def history(self, subject: str, limit: int) -> list[StoredEvent]:
        raw = await self._call("history", subject, limit)
        return msgspec.msgpack.decode(raw, type=list[StoredEvent])

    async def event_at(self, position: int) -> StoredEvent | None:
        raw = await self._call("event_at", position)
        return msgspec.msgpack.decode(raw, type=StoredEvent | None)

    async def signs(self, agent_ids: list[AgentId]) -> Signs:
        return msgspec.msgpack.decode(await self._call("signs", agent_ids), type=Signs)

    async def reply_to(self, principal: str, request_id: str) -> Reply | None:
        raw = await self._call("reply_to", principal, request_id)
        return msgspec.msgpack.decode(raw, type=Reply | None)

    async def bodies(self, refs: list[str]) -> list[Body]:
        return msgspec.msgpack.decode(await self._call("bodies", refs), type=list[Body])

    async def take_effects(self, wait_s: float) -> list[EffectJob]:
        return wire.decode_jobs(await self._call("take_effects", wait_s))

    async def health(self) -> Health:
        return msgspec.msgpack.decode(await self._call("health"), type=Health)

    async def hand_over(self) -> Health:
        """As the port says, and end the actor: a successor needs its name."""
        health = msgspec.msgpack.decode(await self._call("hand_over"), type=Health)
        ray.kill(self._actor(), no_restart=True)
        with suppress(ValueError, TimeoutError):
            async with asyncio.timeout(NAME_FREE_S):
                while ray.get_actor(self._name, namespace=NAMESPACE):  # noqa: ASYNC110 - Ray tells nobody
                    await asyncio.sleep(0.05)
        self._handle = None
        return health

    async def _call(self, method: str, *args: object) -> bytes:
        try:
            raw: bytes = await getattr(self._actor(), method).remote(*args)
        except (RayActorError, ValueError) as error:  # it restarts, or its name is not there yet
            raise self._away(error) from error
        except RayError as error:
            cause = wire.cause_of(error)
            if isinstance(cause, PMError):
                raise cause from error
            raise self._away(error) from error
        return raw

    def _actor(self) -> Any:
        if self._handle is None:
            self._handle = ray.get_actor(self._name, namespace=NAMESPACE)
        return self._handle

    def _away(self, error: Exception) -> Unavailable:
        self._handle = None
        return Unavailable(f"The coordinator is away: {type(error).__name__}.")


def _end_process() -> None:
    """Die at once: Ray starts a new process, which rebuilds the world from the journal."""
    os._exit(70)


def actor_name(workspace: str) -> str:
    """Name under which Ray knows a workspace's coordinator."""
    return f"coordinator:{workspace}"


def launch(settings: Settings) -> Any:
    """Create the workspace's coordinator, or find it, and return its handle."""
    remote: Any = ray.remote(CoordinatorActor)
    return remote.options(
        name=actor_name(settings.workspace),
        namespace=NAMESPACE,
        lifetime="detached",
        get_if_exists=True,
        max_restarts=-1,
        max_task_retries=0,  # callers retry with the same request ids
        max_concurrency=MAX_CONCURRENCY,
        num_cpus=0,
    ).remote(settings.model_dump_json())


def running(settings: Settings) -> list[Any]:
    """Handle of the workspace's coordinator; none when there is none."""
    with suppress(ValueError):
        return [ray.get_actor(actor_name(settings.workspace), namespace=NAMESPACE)]
    return []

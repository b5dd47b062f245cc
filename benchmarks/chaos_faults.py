"""The kinds of faults, and when they come: a schedule from a seed, about one in 5 to 15 seconds.

Each kind is a function that does its harm, heals what does not heal by itself, and tells both
instants. Restarting what it killed is left to the system under test, except for what nothing
watches on one machine: the whole group of processes, and a database.
"""

import asyncio
import os
import signal
import time
from bisect import bisect_left, insort
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import NamedTuple, Protocol

import msgspec

from benchmarks.chaos_history import OK, Line
from benchmarks.chaos_server import is_alive, send
from benchmarks.fault_proxy import FaultProxy
from benchmarks.report import progress

HEAD_S, TAIL_S = 5.0, 12.0  # of a run: before the first fault, and for the last to heal
GAP_S = (5.0, 15.0)
DELAYED_S, HALF_OPEN_S, DROPPING_S, REFUSING_S = 4.0, 3.0, 2.0, 2.0
FULL_S = 20.0  # at most, until a write needs space
SUCCESSOR_S = 40.0
DOWN_S = 1.0  # a database, until somebody starts it again
FILL_BYTES = 1 << 20
LOOK_S = 0.05


class Moment(NamedTuple):
    """When a fault began, and when its cause was over."""

    kind: str
    at_s: float
    healed_s: float
    broken: str = ""  # what was seen and should not have been
    note: str = ""


class Observer:
    """Reads along in the clients' histories: what succeeded, and when it had been sent."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[Path, int] = {}
        self._sent: dict[tuple[str, int], float] = {}
        # In order of time, also across files: a long run asks for the newest of 100,000s.
        self.successes: list[tuple[float, float]] = []  # answered, sent
        self.refused: list[tuple[float, str]] = []  # when, with which code

    def look(self) -> None:
        decode = msgspec.json.Decoder(Line).decode
        for path in self._folder.glob("*.jsonl"):
            with path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                new = file.read()
            whole = new[: new.rfind(b"\n") + 1]
            self._read[path] = self._read.get(path, 0) + len(whole)
            for raw in whole.splitlines():
                self._take(decode(raw))

    def _take(self, line: Line) -> None:
        key = (line.request_id, line.attempt)
        if line.event == "sent":
            self._sent[key] = line.at_s
            return
        sent_s = self._sent.pop(key, 0.0)
        if line.event == "got" and line.status in OK:
            insort(self.successes, (line.at_s, sent_s))
        elif line.code:
            insort(self.refused, (line.at_s, line.code))

    def first_success(self, after_s: float) -> float | None:
        """When the first request was answered that was sent after an instant."""
        for number in range(bisect_left(self.successes, (after_s,)), len(self.successes)):
            got_s, sent_s = self.successes[number]
            if sent_s >= after_s:
                return got_s
        return None

    async def success(self, after_s: float, within_s: float) -> bool:
        """Wait for a success of a request sent after an instant."""
        return await self._until(lambda: self.first_success(after_s) is not None, within_s)

    async def refusal(self, code: str, after_s: float, within_s: float) -> bool:
        """Wait for a refusal after an instant."""
        return await self._until(
            lambda: any(
                found == code
                for _, found in self.refused[bisect_left(self.refused, (after_s, "")) :]
            ),
            within_s,
        )

    async def _until(self, is_so: Callable[[], bool], within_s: float) -> bool:
        end_s = time.monotonic() + within_s
        while time.monotonic() < end_s:
            self.look()
            if is_so():
                return True
            await asyncio.sleep(LOOK_S)
        return False


class System(Protocol):
    """What is tested: the product, or a rival."""

    def pids(self, role: str = "") -> list[int]: ...
    def send(self, role: str, number: signal.Signals) -> list[int]: ...
    async def kill_all(self) -> list[int]: ...
    async def start(self) -> float: ...
    async def kill_database(self) -> None: ...
    async def start_database(self) -> None: ...
    async def can_read(self) -> bool: ...


class Crew(Protocol):
    """The client processes."""

    def pick(self, random: Random) -> int | None:
        """A process of agents that is well, by its number."""
        ...

    def send(self, number: int, what: signal.Signals) -> None: ...
    def start(self, number: int) -> None: ...
    def release(self, number: int) -> None:
        """It is well again and may be picked."""
        ...


class Stage(msgspec.Struct):
    """All that a fault may lay hands on."""

    system: System
    crew: Crew
    proxy: FaultProxy
    observer: Observer
    random: Random
    lost_s: float  # of silence, until an agent's leases end
    disk: Path | None = None  # a small file system that holds the journal


Play = Callable[[Stage], Awaitable[Moment]]


class NotFired(Exception):
    """There was nothing to do harm to."""


def _kills(role: str) -> Play:
    async def kill(stage: Stage) -> Moment:
        if not stage.system.send(role, signal.SIGKILL):
            raise NotFired(f"no process is a {role}")
        at_s = time.time()
        return Moment(f"kill_{role}", at_s, at_s)

    return kill


async def _kill_group(stage: Stage) -> Moment:
    await stage.system.kill_all()
    at_s = time.time()
    await stage.system.start()
    return Moment("kill_group", at_s, time.time())


async def _kill_database(stage: Stage) -> Moment:
    await stage.system.kill_database()
    at_s = time.time()
    await asyncio.sleep(DOWN_S)
    await stage.system.start_database()
    return Moment("kill_database", at_s, time.time())


async def _stop_coordinator(stage: Stage) -> Moment:
    """Let it freeze until a successor has answered, then go on: it must find itself shut out."""
    stopped = stage.system.send("coordinator", signal.SIGSTOP)
    if not stopped:
        raise NotFired("no process is a coordinator")
    at_s = time.time()
    is_succeeded = await stage.observer.success(at_s, SUCCESSOR_S)
    was_alive = any(map(is_alive, stopped))
    send(stopped, signal.SIGCONT)
    return Moment(
        "stop_coordinator",
        at_s,
        time.time(),
        "" if is_succeeded else f"no successor within {SUCCESSOR_S:.0f} s",
        "" if was_alive else "the frozen coordinator was ended before it could go on",
    )


async def _stop_agents(stage: Stage) -> Moment:
    """Let agents sleep longer than their leases, then go on as if nothing had been."""
    return await _agents_away(stage, "stop_agents", signal.SIGSTOP)


async def _kill_agents(stage: Stage) -> Moment:
    """Kill agents; they come back when their leases are over, and read what they had done."""
    return await _agents_away(stage, "kill_agents", signal.SIGKILL)


async def _agents_away(stage: Stage, kind: str, number: signal.Signals) -> Moment:
    picked = stage.crew.pick(stage.random)
    if picked is None:
        raise NotFired("all agents are away")
    stage.crew.send(picked, number)
    at_s = time.time()
    await asyncio.sleep(stage.lost_s * 1.25)
    if number == signal.SIGSTOP:
        stage.crew.send(picked, signal.SIGCONT)
    else:
        stage.crew.start(picked)
    stage.crew.release(picked)
    return Moment(kind, at_s, time.time())


async def _delay(stage: Stage) -> Moment:
    return await _with_mode(stage, "delay", DELAYED_S)


async def _half_open(stage: Stage) -> Moment:
    return await _with_mode(stage, "half_open", HALF_OPEN_S)


async def _drop_reply(stage: Stage) -> Moment:
    before = stage.proxy.n_dropped
    moment = await _with_mode(stage, "drop_reply", DROPPING_S)
    if stage.proxy.n_dropped == before:
        raise NotFired("no reply came meanwhile")
    return moment


async def _with_mode(stage: Stage, mode: str, for_s: float) -> Moment:
    stage.proxy.mode = mode  # type: ignore[assignment]  # the callers above name its modes
    at_s = time.time()
    await asyncio.sleep(for_s)
    stage.proxy.mode = "pass"
    return Moment(mode, at_s, time.time())


async def _reset(stage: Stage) -> Moment:
    if not stage.proxy.reset():
        raise NotFired("no connection was open")
    at_s = time.time()
    return Moment("reset", at_s, at_s)


async def _disk_full(stage: Stage) -> Moment:
    """Fill the journal's disk: writes are refused and reads go on; then make space again.

    SQLite goes on for a while in the pages that it has already.
    """
    assert stage.disk is not None
    filler = stage.disk / "filler"
    broken = ""
    try:
        await asyncio.to_thread(_fill, filler)
        at_s = time.time()
        if not await stage.observer.refusal("journal_unavailable", at_s, FULL_S):
            raise NotFired(f"writes needed no space for {FULL_S:.0f} s")
        at_s = stage.observer.refused[-1][0]
        await asyncio.sleep(REFUSING_S)
        if not await stage.system.can_read():
            broken = "reads failed while the disk was full"
    finally:
        filler.unlink(missing_ok=True)
    return Moment("disk_full", at_s, time.time(), broken)


def _fill(path: Path) -> None:
    """Leave no byte: pieces as large as fit, down to one."""
    with path.open("ab", buffering=0) as file:
        size = FILL_BYTES
        while size:
            with suppress(OSError):
                if file.write(bytes(size)) == size:
                    continue
            size //= 2
        os.fsync(file.fileno())


PLAYS: dict[str, Play] = {
    "kill_coordinator": _kills("coordinator"),
    "kill_replica": _kills("replica"),
    "kill_host": _kills("host"),
    "kill_haproxy": _kills("haproxy"),
    "kill_group": _kill_group,
    "kill_database": _kill_database,
    "stop_coordinator": _stop_coordinator,
    "stop_agents": _stop_agents,
    "kill_agents": _kill_agents,
    "delay": _delay,
    "reset": _reset,
    "half_open": _half_open,
    "drop_reply": _drop_reply,
    "disk_full": _disk_full,
}
# How often a kind comes while another comes once: a long run wants 100 kills of a coordinator and
# of a replica, and 60 processes frozen.
WEIGHTS = {"kill_coordinator": 5, "kill_replica": 5, "kill_database": 5, "stop_agents": 2}
# What goes on beside other faults: only some clients are away.
IN_PASSING = frozenset({"stop_agents", "kill_agents"})


def schedule(kinds: tuple[str, ...], seconds: float, random: Random) -> list[tuple[float, str]]:
    """When which fault comes: every kind once, then by weight; in random order, unevenly apart.

    Parameters
    ----------
    kinds
        Names in `PLAYS`.
    seconds
        Length of the run. A short one is packed more closely, so that all kinds have their turn.

    Returns
    -------
    list of (seconds after the start, kind)
    """
    window_s = max(seconds - HEAD_S - TAIL_S, 1.0)
    n = max(len(kinds), round(window_s / (sum(GAP_S) / 2)))
    planned = random.sample(kinds, len(kinds))
    weighted = [kind for kind in kinds for _ in range(WEIGHTS.get(kind, 1))]
    while len(planned) < n:
        planned += random.sample(weighted, len(weighted))
    gaps = [random.uniform(*GAP_S) for _ in range(n)]
    scale = window_s / sum(gaps)
    due_s = HEAD_S
    found = []
    for kind, gap in zip(planned[:n], gaps, strict=True):
        found.append((due_s, kind))
        due_s += gap * scale
    return found


async def play(stage: Stage, planned: list[tuple[float, str]], moments: list[Moment]) -> None:
    """Do all that is planned, each fault after the one before it is over and clients are answered.

    What could not be done is left out: the report tells how often each kind fired.

    Parameters
    ----------
    moments
        Filled as faults happen, so that it holds them also when the run ends early.

    Raises
    ------
    RuntimeError
        The system did not come back after a fault.
    """
    start_s = time.monotonic()

    async def do(kind: str) -> None:
        try:
            moment = await PLAYS[kind](stage)
        except NotFired as why:
            progress(f"chaos: {kind} did not fire: {why}")
            return
        moments.append(moment)
        if not await stage.observer.success(moment.healed_s, SUCCESSOR_S):
            raise RuntimeError(f"No request succeeded for {SUCCESSOR_S:.0f} s after {kind}.")

    async with asyncio.TaskGroup() as aside:
        for due_s, kind in planned:
            await asyncio.sleep(max(0.0, start_s + due_s - time.monotonic()))
            progress(f"chaos: {time.monotonic() - start_s:5.1f} s {kind}")
            if kind in IN_PASSING:
                aside.create_task(do(kind))
            else:
                await do(kind)

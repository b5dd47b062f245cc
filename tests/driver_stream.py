"""One stream of commands for every driver of the core, and what their journals have in common.

`record` plays a small day of a team against an engine and keeps the commands as JSON lines with
their instants. Any driver may play them again: `through_engine` steps an engine by a virtual clock,
`through_coordinator` speaks to whatever fulfils `pm_agent.runtime.backend.Coordinator`. `shape`
leaves out of an event what two drivers may rightly have differently: ids of requests and texts,
instants and what follows from them (ages, scores), seeds and the epoch. Backoff is drawn at random,
so a stream recorded ``with_time`` needs engines of the same seed.
"""

import re
from collections.abc import Callable, Iterable
from random import Random
from typing import Any, Union

import msgspec

from pm_agent.catalog import DECIDERS
from pm_agent.domain.agent import RegisterAgent
from pm_agent.domain.envelope import Command, Usage
from pm_agent.domain.task import Skill, TaskDraft
from pm_agent.domain.time import MINUTE_US
from pm_agent.ports import StoredEvent
from pm_agent.runtime.backend import Coordinator
from tests.scenario import (
    START_US,
    Scenario,
    a_project,
    a_task,
    accept,
    an_agent,
    an_import,
    claim,
    complete,
    heartbeat,
    lift_hold,
    place_hold,
    progress,
    reject,
    release,
    report_blocker,
    resolve_blocker,
    wait,
)

AnyCommand = Union[tuple(DECIDERS)]  # type: ignore[valid-type]  # noqa: UP007 - made from a table
_line: Any = msgspec.json.Decoder(tuple[int, AnyCommand | None])  # type: ignore[valid-type]
_BODY_REF = re.compile(r"[0-9a-f]+\.[0-9a-f]{64}")
_OF_THE_DRIVER = frozenset({"seed", "scores", "explained"})  # of a decision record


class Recorder:
    """A scenario whose commands are written down."""

    def __init__(self) -> None:
        self.scenario = Scenario()
        self.lines: list[bytes] = []

    def send(self, command: Command) -> dict[str, Any]:
        """Send and write down; return the result, empty for a refusal."""
        self.lines.append(msgspec.json.encode((self.scenario.now_us - START_US, command)))
        self.scenario.when(command)
        self._settle()
        return {} if self.scenario.reply.error else self.scenario.result

    def later(self, us: int) -> None:
        """Move the clock in one jump, and let what has become due happen."""
        self.scenario.now_us += us
        self.lines.append(msgspec.json.encode((self.scenario.now_us - START_US, None)))
        self.scenario.step([])
        self._settle()

    def _settle(self) -> None:
        while _is_due(self.scenario.engine.next_wakeup_us(), self.scenario.now_us):
            self.scenario.step([])


def record(*, with_time: bool = True, seed: int = 11, n_turns: int = 120) -> list[bytes]:
    """A team's day as JSON lines: instant since the start, command or null.

    Without ``with_time`` no clock has to be moved: a driver on the wall clock can play it too.
    """
    random = Random(seed)
    recorder = Recorder()
    send = recorder.send
    agents = ["A-ada", "A-bob", "A-eve"]
    send(a_project(completion="person"))
    send(a_project("P-app", max_in_progress=2))
    for agent in agents:
        send(_profile(agent, random))
    send(an_import(*_drafts(12)))
    held: list[tuple[str, int, str]] = []
    blockers: list[str] = []
    for turn in range(n_turns):
        agent = random.choice(agents)
        mine = [h for h in held if h[2] == agent]
        act = random.randrange(10)
        if act < 4 and not mine:
            until_us = recorder.scenario.now_us + MINUTE_US
            result = send(claim(agent) if act < 3 or not with_time else wait(agent, until_us))
            if result.get("outcome") == "assigned":
                held.append((result["task_id"], result["lease_token"], agent))
        elif mine and act < 8:
            if _work(recorder, random, mine[0], blockers, may_fail=with_time):
                held.remove(mine[0])
        elif act == 8 and blockers:
            send(resolve_blocker(blockers.pop() or "B-99"))
        elif act == 8:
            send(a_task(f"later {turn}", random.choice(["P-web", "P-app"]), priority=turn % 4))
        elif turn % 5 == 0:
            send(place_hold("project", "P-web"))
            send(lift_hold("project", "P-web"))
        else:
            send(heartbeat(agent))
        if with_time and random.random() < 0.4:
            recorder.later(random.randrange(12) * MINUTE_US)
    if with_time:
        recorder.later(30 * MINUTE_US)  # whoever went silent is lost
    recorder.scenario.verify()
    return recorder.lines


def _work(
    recorder: Recorder,
    random: Random,
    lease: tuple[str, int, str],
    blockers: list[str],
    *,
    may_fail: bool,
) -> bool:
    """Say something about a leased task; return whether that ended the attempt."""
    send, task_id = recorder.send, lease[0]
    end = random.randrange(6)
    if end == 0:
        send(progress(*lease, percent=50, usage=Usage(tokens=100)))
        return False
    if end == 1:
        blockers.append(send(report_blocker(*lease)).get("blocker_id", ""))
        return False
    if end == 2 and may_fail:  # a failure waits before it is tried again
        send(release(*lease, reason="failed"))
    elif end == 3:
        send(release(*lease))
    else:
        send(complete(*lease))
        send(accept(task_id) if random.random() < 0.7 or not may_fail else reject(task_id))
    return True


def _profile(agent: str, random: Random) -> RegisterAgent:
    return an_agent(agent, skills=(Skill("rust", random.randrange(1, 6)),))


def _drafts(n: int) -> Iterable[TaskDraft]:
    for i in range(n):
        yield TaskDraft(
            title=f"task {i}",
            key=f"k{i}",
            priority=i % 4,
            estimate_min=10 * i,
            skills=(Skill("rust", 1),) if i % 3 == 0 else (),
            dependencies=(f"k{i + 1}",) if i % 4 == 1 else (),
            needs_approval=i == 7,
        )


# -- drivers --------------------------------------------------------------------------------------


def through_engine(lines: Iterable[bytes], scenario: Scenario) -> list[StoredEvent]:
    """Step the scenario's engine one command at a time, by its virtual clock."""
    start_us = scenario.now_us
    for line in lines:
        after_us, command = _line.decode(line)
        scenario.now_us = start_us + after_us
        scenario.step([] if command is None else [command])
        while _is_due(scenario.engine.next_wakeup_us(), scenario.now_us):
            scenario.step([])
    return scenario.journal


async def through_coordinator(
    lines: Iterable[bytes],
    coordinator: Coordinator,
    move_clock: Callable[[int], None] | None = None,
) -> list[StoredEvent]:
    """Submit one command at a time, and read back the journal by following it.

    ``move_clock`` is told the time since the start before each command; without it the
    coordinator's own clock goes on, and the stream must be one recorded without time.
    """
    for line in lines:
        after_us, command = _line.decode(line)
        if move_clock is not None:
            move_clock(after_us)
        await coordinator.submit([] if command is None else [command], [])
        if move_clock is not None:  # what is due by now happens before the next command
            await coordinator.submit([], [])
    position = (await coordinator.health()).position
    found: list[StoredEvent] = []
    async for feed in coordinator.follow(0):
        found += feed.events
        if found[-1].position >= position:
            break
    return found


def _is_due(next_us: int | None, now_us: int) -> bool:
    return next_us is not None and next_us <= now_us


# -- comparison ---------------------------------------------------------------------------------


def shape(stored: StoredEvent) -> dict[str, Any]:
    """What every driver must agree on about an event."""
    return {
        "position": stored.position,
        "kind": stored.kind,
        "principal": stored.principal,
        "subject": stored.subject,
        "data": _plain(msgspec.json.decode(stored.payload)),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _plain(v)
            for key, v in value.items()
            if key not in _OF_THE_DRIVER and not key.endswith("_us")
        }
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, str) and _BODY_REF.fullmatch(value):
        return "(a text)"
    return value

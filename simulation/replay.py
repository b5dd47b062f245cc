"""Yesterday again, under another policy: real arrivals, real agents, real durations of a journal.

Read from a journal are projects, tasks with their dependencies at the instants they came, agents as
they described themselves, and of each attempt how long it took and how it was judged. What cannot
be known of the other policy's choices is assumed: a task takes as long with any agent as it did,
its n-th attempt ends as its n-th attempt did, and all agents are there all the time. Changes,
cancellations and holds of the recorded day are left out. What was never finished takes as long as
the fitted model says of its estimate.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import msgspec
import numpy as np

from pm_agent.bootstrap import open_history
from pm_agent.domain.agent import AgentRegistered, RegisterAgent
from pm_agent.domain.assignment import (
    CompletionAccepted,
    CompletionRejected,
    CompletionSubmitted,
    LeaseRegranted,
    TaskAssigned,
    TaskReleased,
)
from pm_agent.domain.envelope import Event, Principal
from pm_agent.domain.errors import PMError
from pm_agent.domain.handoff import HandoffAccepted
from pm_agent.domain.ids import TaskId, task_number
from pm_agent.domain.project import ProjectCreated
from pm_agent.domain.task import TaskCreated, TaskDraft
from pm_agent.domain.time import HOUR_US, MINUTE_US
from pm_agent.kernel.chain import is_intact, unseal
from pm_agent.ports import GENESIS, Scorer
from pm_agent.settings import Settings
from simulation.arrivals import Arrival, Fortune, Work
from simulation.behaviour import AGENTS, ability_of
from simulation.experiment import Result, play
from simulation.lives import Recorded
from simulation.metrics import Spread, spread
from simulation.scenario import Scenario, ScenarioError
from simulation.team import Worker

MODEL = "o1"  # of the fitted table, for work that was never finished
DEFAULT_ESTIMATE_MIN = 30
PAGE = 2_000
MIN_HORIZON_H = 0.1


class Day(NamedTuple):
    """What a journal tells.

    Attributes
    ----------
    recorded : dict
        By number of the task: its attempts that came to a verdict, in order.
    lead_h : Spread
        Lead times as they were.
    """

    scenario: Scenario
    arrivals: list[Arrival]
    agents: list[RegisterAgent]
    recorded: dict[int, list[Recorded]]
    lead_h: Spread
    wait_s: Spread
    n_done: int


def read_day(place: str) -> Day:
    """Read a journal, by the path of its file or folder or the URL of its database.

    Raises
    ------
    ScenarioError
        It cannot be read, is damaged, or holds no task.
    """
    if "://" not in place and Path(place).is_dir():
        place = str(Settings(data=Path(place)).journal_path)
    if "://" not in place and not Path(place).is_file():
        raise ScenarioError(f"There is no journal {place}.")
    try:
        events = asyncio.run(_events(place))
    except PMError as error:
        raise ScenarioError(f"{place} cannot be read: {error.message}") from error
    return _Reader(events).day(Path(place).stem if "://" not in place else "database")


def replay(
    day: Day,
    policy: str,
    seed: int = 0,
    *,
    scorer: Scorer | None = None,
    on_slice: Callable[[float], None] | None = None,
) -> Result:
    """Run the day under a policy; what is not said here is as for `simulation.experiment.run`."""
    scenario = day.scenario.changed(scorer=policy)
    return play(
        scenario,
        iter(day.arrivals),
        list(_workers(day)),
        Fortune(seed),
        seed=seed,
        on_slice=on_slice,
        scorer=scorer,
        recorded=day.recorded,
    )


async def _events(place: str) -> list[Event]:
    """Read all events, with their chain checked."""
    journal = open_history(place)
    events: list[Event] = []
    previous = GENESIS
    try:
        while page := await journal.read(len(events), PAGE):
            for stored in page:
                if stored.position != len(events) + 1 or not is_intact(stored, previous):
                    raise ScenarioError(
                        f"{place} is damaged at event {stored.position}: its chain is broken. "
                        "Restore a backup; 'pm-agent verify' tells more."
                    )
                events.append(unseal(stored))
                previous = stored.hash
    finally:
        await journal.close()
    return events


class _Reader:
    """Collects what a replay needs from events in order."""

    def __init__(self, events: list[Event]) -> None:
        self._events = events
        self._projects: dict[str, ProjectCreated] = {}
        self._created: dict[TaskId, tuple[Event, TaskCreated]] = {}
        self._agents: dict[str, AgentRegistered] = {}
        self._begun_us: dict[tuple[TaskId, int], int] = {}  # by task and lease token
        self._worked_us: dict[TaskId, int] = {}
        self._handed_in_us: dict[TaskId, int] = {}
        self._first_us: dict[TaskId, int] = {}
        self._done_us: dict[TaskId, int] = {}
        self._judging_us: list[int] = []
        self._recorded: dict[int, list[Recorded]] = {}

    def day(self, name: str) -> Day:
        for event in self._events:
            self._take(event, event.data)
        if not self._created:
            raise ScenarioError("The journal holds no task; there is nothing to replay.")
        start_us = next(iter(self._created.values()))[0].at_us
        leads = [self._done_us[t] - self._created[t][0].at_us for t in self._done_us]
        waits = [self._first_us[t] - self._created[t][0].at_us for t in self._first_us]
        return Day(
            scenario=self._scenario(name, start_us),
            arrivals=list(self._arrivals(start_us)),
            agents=[_registration(data) for data in self._agents.values()],
            recorded=self._recorded,
            lead_h=spread(np.array(leads, dtype=float) / HOUR_US),
            wait_s=spread(np.array(waits, dtype=float) / 1e6),
            n_done=len(self._done_us),
        )

    def _take(self, event: Event, data: Any) -> None:
        if isinstance(data, ProjectCreated):
            self._projects[data.project_id] = data
        elif isinstance(data, AgentRegistered):
            self._agents[data.agent_id] = data
        elif isinstance(data, TaskCreated):
            self._created[data.task_id] = event, data
        elif isinstance(data, TaskAssigned):
            self._begun_us[data.task_id, data.lease_token] = event.at_us
            self._first_us.setdefault(data.task_id, event.at_us)
        elif isinstance(data, HandoffAccepted):
            self._begun_us[data.task_id, data.lease_token] = event.at_us
        elif isinstance(data, LeaseRegranted):  # the work was done under the lease that was lost
            late = self._begun_us[data.task_id, data.late_token]
            self._begun_us[data.task_id, data.lease_token] = late
        elif isinstance(data, CompletionSubmitted):
            self._handed_in_us[data.task_id] = event.at_us
            self._worked_us[data.task_id] = self._since_begun_us(event, data)
        elif isinstance(data, CompletionAccepted | CompletionRejected):
            is_right = isinstance(data, CompletionAccepted)
            self._judging_us.append(event.at_us - self._handed_in_us[data.task_id])
            worked_us = self._worked_us[data.task_id]
            self._note(data.task_id, Recorded(worked_us, is_right=is_right))
            if is_right:
                self._done_us[data.task_id] = event.at_us
        elif isinstance(data, TaskReleased) and data.reason == "failed":
            worked_us = self._since_begun_us(event, data)
            self._note(data.task_id, Recorded(worked_us, is_right=False, gives_up=True))

    def _since_begun_us(self, event: Event, data: CompletionSubmitted | TaskReleased) -> int:
        return event.at_us - self._begun_us[data.task_id, data.lease_token]

    def _note(self, task_id: TaskId, recorded: Recorded) -> None:
        self._recorded.setdefault(task_number(task_id), []).append(recorded)

    def _scenario(self, name: str, start_us: int) -> Scenario:
        alike = Counter((a.skills, a.capacity, a.sends_heartbeats) for a in self._agents.values())
        if not alike:
            raise ScenarioError("The journal holds no agent; nobody could do the work.")
        span_h = max((self._events[-1].at_us - start_us) / HOUR_US, MIN_HORIZON_H)
        judging_us = median(self._judging_us) if self._judging_us else 0
        return Scenario.of(
            {
                "name": name,
                "title": f"Replay of {name}",
                "horizon_h": span_h,
                "drain": True,
                "sample_min": max(span_h * 60 / 288, 0.01),
                "load": {"tasks_per_day": max(len(self._created) * 24 / span_h, 1e-9)},
                "projects": [
                    {
                        "name": data.project_id[2:],
                        "completion": data.completion,
                        "max_in_progress": data.max_in_progress,
                        "token_cap": data.token_cap,
                    }
                    for data in self._projects.values()
                ],
                "team": [
                    {"name": f"group-{number}", "count": count, "capacity": min(capacity, 100)}
                    for number, ((_, capacity, _), count) in enumerate(alike.items(), start=1)
                ],
                "review": {
                    "gate_min": judging_us / MINUTE_US,
                    "person_min": max(judging_us / MINUTE_US, 0.001),
                    "person_spread": 0,
                    "finds": 1,
                    "false_alarms": 0,
                },
            }
        )

    def _arrivals(self, start_us: int) -> Iterator[Arrival]:
        """Tasks of one request come together, as they did."""
        places = {project: place for place, project in enumerate(self._projects)}
        together: list[tuple[Event, TaskCreated]] = []
        for event, data in self._created.values():
            if together and together[0][0].cause != event.cause:
                yield _arrival(together, places, start_us)
                together = []
            together.append((event, data))
        yield _arrival(together, places, start_us)


def _arrival(
    together: list[tuple[Event, TaskCreated]], places: dict[str, int], start_us: int
) -> Arrival:
    own = {data.task_id for _, data in together}
    works = []
    for _, data in together:
        draft = TaskDraft(
            title=f"Task {data.number}",  # titles are nobody's business here
            key=f"k{data.number}" if len(together) > 1 else "",
            kind=data.kind,
            priority=data.priority,
            labels=data.labels,
            skills=data.skills,
            estimate_min=data.estimate_min,
            complexity=data.complexity,
            dependencies=tuple(f"k{task_number(d)}" if d in own else d for d in data.dependencies),
        )
        works.append(Work(draft, float(data.estimate_min or DEFAULT_ESTIMATE_MIN)))
    event, first = together[0]
    return Arrival(event.at_us - start_us, places[first.project_id], tuple(works))


def _registration(data: AgentRegistered) -> RegisterAgent:
    return RegisterAgent(
        request_id=f"register:{data.agent_id}",
        principal=Principal("agent", data.agent_id),
        agent_id=data.agent_id,
        name=data.name,
        skills=data.skills,
        capacity=data.capacity,
        project_ids=data.project_ids,
        sends_heartbeats=data.sends_heartbeats,
    )


class _Ability(dict[str, float]):
    """The same for every kind of task."""

    def __missing__(self, kind: str) -> float:
        return ability_of(MODEL)


def _workers(day: Day) -> Iterator[Worker]:
    for number, profile in enumerate(day.agents):
        yield Worker(number, 0, msgspec.structs.replace(profile), AGENTS[MODEL].pace, _Ability())

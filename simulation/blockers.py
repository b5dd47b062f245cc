"""Blockers met by the product's own ladder in virtual time, and compared on the same bad luck.

Agents work on tasks; 15 % of attempts meet a blocker with a hidden cause (`simulation.causes`).
The real engine decides what is done about it; agents try what they are told, helpers and people
answer after a while. Two ladders meet the same incidents: the full one, and the language model's
advice alone; an oracle that knows all odds says how many needed no person.
"""

from collections.abc import Callable
from functools import partial
from statistics import quantiles
from typing import Any

import msgspec

from pm_agent.bootstrap import ADMIN
from pm_agent.catalog import CATALOG
from pm_agent.domain.agent import RegisterAgent
from pm_agent.domain.assignment import (
    CompleteTask,
    ReportProgress,
    TaskAssigned,
    TaskReleased,
    WaitForTask,
)
from pm_agent.domain.blocker import (
    BlockerAdvised,
    BlockerReported,
    BlockerResolved,
    BlockerStepTaken,
    ReportBlocker,
    ReportFix,
    ResolveBlocker,
    StoreAdvice,
)
from pm_agent.domain.case import StepKind
from pm_agent.domain.envelope import SYSTEM, Command, Event, Principal
from pm_agent.domain.ids import AgentId, BlockerId, ProjectId, TaskId, task_number
from pm_agent.domain.model_call import BY_RULES
from pm_agent.domain.project import CreateProject
from pm_agent.domain.task import CreateTask, Skill, TaskCreated, TaskDraft
from pm_agent.domain.time import MINUTE_US
from pm_agent.features.assignment.scoring import PriorityScorer
from pm_agent.kernel.engine import Engine
from pm_agent.kernel.types import Policy
from pm_agent.ports import GENESIS, Head
from simulation.attention import Answer, Desk, People, Question
from simulation.behaviour import exponential
from simulation.causes import (
    ADVICE_MIN,
    HELP_MIN,
    PERSONAL,
    TRY_MIN,
    UPSTREAM_MIN,
    WORK_MIN,
    Cause,
    Luck,
    causes,
)
from simulation.comparison import Interval, interval
from simulation.driver import START_US
from simulation.intervals import Intervals
from simulation.oracle import Met, endings
from simulation.timeline import Timeline

N_AGENTS = 30
GAP_MIN = WORK_MIN / (N_AGENTS * 0.5)  # between tasks: half of the agents are busy without blockers
SHARE = 0.15  # of tasks whose work meets a blocker
LEARNING = 500  # blockers before figures are taken
RARE, UPSTREAM = Skill("rare", 3), Skill("upstream", 1)
ENDLESS = People()  # attention for every question at once
PROJECT, ELSEWHERE = "P-main", "P-elsewhere"
FOR_EVER_US = 1 << 48  # nine years


class Incident(msgspec.Struct):
    """One blocker of one task, through all that is done about it."""

    number: int
    cause: Cause
    task_id: TaskId = ""
    began_us: int = 0
    ended_us: int = 0
    by_person: bool = False
    asked_person: bool = False
    last: StepKind = "advice"
    tries: int = 0  # retries so far


class Outcome(msgspec.Struct, frozen=True):
    """Figures of one run, of incidents after those that it learned from."""

    incidents: int
    resolved: int  # without a person
    asked: int  # a person was asked, be it beside a step that helped
    oracle: int  # an oracle would have resolved without a person
    blocked_min: float  # mean, from the first report until the work goes on for good
    oracle_blocked_min: float  # the oracle's
    people_busy: float  # share of their time that questions took; 0 with endless attention
    person_p50_min: float  # from a question to its answer
    person_p95_min: float


class Clinic:
    """One run.

    Parameters
    ----------
    seed
        Of causes, incidents and luck.
    ladder
        As `Policy.blocker_ladder`.
    people
        Who answers what only a person can, or what was asked beside a step.
    personal
        Share of causes that only a person can resolve.
    """

    def __init__(
        self,
        seed: int,
        ladder: str,
        people: People = ENDLESS,
        personal: float = PERSONAL,
    ) -> None:
        self.policy = Policy(
            blocker_ladder=ladder,  # type: ignore[arg-type]  # one of them
            heartbeat_silence_us=FOR_EVER_US,
            request_silence_us=FOR_EVER_US,
            budget_max_us=FOR_EVER_US,
        )
        self.timeline = Timeline(START_US)
        head = Head(0, GENESIS, 1)
        self.engine = Engine(
            CATALOG, PriorityScorer(), self.policy, seed=seed, started_us=START_US, head=head
        )
        self.presence = Intervals(self.timeline)
        self.engine.presence = self.presence
        self.luck = Luck(seed)
        self.people = people
        self.answers: list[Answer] = []
        self.desk = Desk(self.timeline, people.count, self.answers.append)
        self.causes = causes(seed, personal)
        self.incidents: list[Incident] = []
        self._of_task: dict[TaskId, Incident] = {}
        self._of_blocker: dict[BlockerId, Incident] = {}
        self._upstream: dict[TaskId, TaskId] = {}
        self._texts: dict[str, str] = {}
        self._asked: set[BlockerId] = set()
        self._n_requests = 0
        self._wakes_us: int | None = None
        self._listeners: dict[type, Callable[[Event, Any], None]] = {
            TaskAssigned: self._assigned,
            TaskReleased: self._released,
            BlockerReported: self._reported,
            BlockerStepTaken: self._stepped,
            BlockerAdvised: self._advised,
            BlockerResolved: self._resolved,
        }

    def run(self, n_tasks: int) -> Outcome:
        """Bring so many tasks, and wait until all have ended."""
        for project_id in (PROJECT, ELSEWHERE):
            self._do(CreateProject, ADMIN, project_id=project_id, name=project_id[2:])
        self._register("A-up", (UPSTREAM,), ELSEWHERE, capacity=1_000)
        for number in range(N_AGENTS):
            self._register(f"A-{number}", (RARE,) if number % 2 else ())
        at_us = START_US
        for number in range(1, n_tasks + 1):
            at_us += round(exponential(GAP_MIN, self.luck.share(number, "gap")) * MINUTE_US)
            self.timeline.at(at_us, self._bring, number)
        while self.timeline.advance():
            pass
        return self._outcome()

    # -- tasks --------------------------------------------------------------------------------

    def _register(
        self,
        name: AgentId,
        skills: tuple[Skill, ...],
        project_id: ProjectId = PROJECT,
        capacity: int = 1,
    ) -> None:
        self._do(
            RegisterAgent,
            _agent(name),
            agent_id=name,
            name=name[2:],
            skills=skills,
            project_ids=(project_id,),
            capacity=capacity,
            sends_heartbeats=True,
        )
        self.presence.enter(name)
        self._wait(name)

    def _wait(self, agent_id: AgentId) -> None:
        self._do(WaitForTask, _agent(agent_id), agent_id=agent_id, until_us=START_US + FOR_EVER_US)

    def _bring(self, number: int) -> None:
        task_id = self._create(TaskDraft(title=f"work {number}"))
        if self.luck.share(number, "meets") < SHARE:
            pick = int(self.luck.share(number, "cause") * len(self.causes))
            incident = Incident(len(self.incidents) + 1, self.causes[pick], task_id)
            self.incidents.append(incident)
            self._of_task[task_id] = incident
            # It may have been assigned in the very step that created it: it looks only later.

    def _create(self, draft: TaskDraft, project_id: ProjectId = PROJECT) -> TaskId:
        events = self._do(CreateTask, ADMIN, project_id=project_id, draft=draft)
        return next(e.data.task_id for e in events if isinstance(e.data, TaskCreated))

    def _assigned(self, event: Event, data: TaskAssigned) -> None:
        if self.engine.world.tasks[data.task_id].skills == (UPSTREAM,):
            span_us = self.luck.span_us(task_number(data.task_id), "upstream", UPSTREAM_MIN)
            self.timeline.after(span_us, self._complete, data)
            self._take_another(data)
            return
        self.timeline.after(WORK_MIN * MINUTE_US // 2, self._halfway, data)

    def _take_another(self, data: TaskAssigned) -> None:
        """Confirm what was given, and wait for more."""
        fields = {"task_id": data.task_id, "lease_token": data.lease_token, "percent": 1}
        self._do(ReportProgress, _agent(data.agent_id), **fields)
        self._wait(data.agent_id)

    def _halfway(self, data: TaskAssigned) -> None:
        incident = self._of_task.get(data.task_id)
        if incident is None or incident.ended_us:
            self.timeline.after(WORK_MIN * MINUTE_US // 2, self._complete, data)
        elif incident.began_us and self._helps(incident, incident.last):
            self._end(incident)
            self.timeline.after(WORK_MIN * MINUTE_US // 2, self._complete, data)
        else:
            self._report(incident, data)

    def _complete(self, data: TaskAssigned) -> None:
        fields = {"task_id": data.task_id, "lease_token": data.lease_token, "summary": "done"}
        self._do(CompleteTask, _agent(data.agent_id), **fields)
        if data.agent_id != "A-up":
            self._wait(data.agent_id)

    # -- blockers -----------------------------------------------------------------------------

    def _report(self, incident: Incident, data: TaskAssigned) -> None:
        cause = incident.cause
        incident.began_us = incident.began_us or self.timeline.now_us
        needs: dict[str, Any] = {}
        if cause.has_upstream:
            if data.task_id not in self._upstream:
                draft = TaskDraft(title="upstream", skills=(UPSTREAM,))
                self._upstream[data.task_id] = self._create(draft, ELSEWHERE)
            needs["needs_task_ids"] = (self._upstream[data.task_id],)
        if cause.blocker_type == "capability":
            needs["needs_skills"] = (RARE,)
        self._do(
            ReportBlocker,
            _agent(data.agent_id),
            task_id=data.task_id,
            lease_token=data.lease_token,
            description=cause.report(incident.number),
            blocker_type=cause.blocker_type,
            **needs,
        )

    def _released(self, event: Event, data: TaskReleased) -> None:
        self._wait(data.agent_id)

    def _reported(self, event: Event, data: BlockerReported) -> None:
        self._of_blocker[data.blocker_id] = self._of_task[data.task_id]

    def _stepped(self, event: Event, data: BlockerStepTaken) -> None:
        incident = self._of_blocker[data.blocker_id]
        number = incident.number
        incident.last = data.step
        if data.asks_person or data.step == "escalate":
            self._ask_person(incident, data)
        if data.step == "known_fix":
            assert data.text is not None, data
            is_right = self._texts[data.text] == incident.cause.fix
            self._try(incident, data, worked=is_right and self._helps(incident, "known_fix"))
        elif data.step == "retry":
            worked = self.luck.helps(incident.cause, number, "retry", incident.tries)
            incident.tries += 1
            pause_us = data.until_us - event.at_us - self.policy.blocker_try_us
            self._try(incident, data, worked=worked, pause_us=pause_us)
        elif data.step == "ask_help":
            if self._helps(incident, "ask_help"):
                span_us = self.luck.span_us(number, "help", HELP_MIN)
                self.timeline.after(span_us, self._answer, data.blocker_id, _agent("A-0"))
        elif data.step == "advice":
            effect_id = f"AskForAdvice:{event.position}"
            self.timeline.after(ADVICE_MIN * MINUTE_US, self._advise, data.blocker_id, effect_id)

    def _ask_person(self, incident: Incident, data: BlockerStepTaken) -> None:
        if data.blocker_id in self._asked:  # asking again brings no other answer
            return
        self._asked.add(data.blocker_id)
        incident.asked_person = True
        question = Question(
            incident.number,
            self.people.lies_us(self.luck, incident.number),
            self.people.work_us(self.luck, incident.number),
            answered=partial(self._answer, data.blocker_id, ADMIN),
            is_open=partial(self._is_open, data.blocker_id),
        )
        self.desk.ask(question)

    def _is_open(self, blocker_id: BlockerId) -> bool:
        blocker = self.engine.world.blockers.get(blocker_id)
        return blocker is not None and blocker.is_open

    def _try(
        self, incident: Incident, data: BlockerStepTaken, *, worked: bool, pause_us: int = 0
    ) -> None:
        span_us = pause_us + self.luck.span_us(incident.number, f"try {data.number}", TRY_MIN)
        self.timeline.after(span_us, self._judge, data.blocker_id, data.number, worked)

    def _judge(self, blocker_id: BlockerId, number: int, worked: bool) -> None:  # noqa: FBT001 - a happening's argument
        blocker = self.engine.world.blockers.get(blocker_id)
        if blocker is None or blocker.step is None or blocker.step.number != number:
            return
        held = self.engine.world.assignments[blocker.task_id]
        self._do(
            ReportFix,
            _agent(held.agent_id),
            blocker_id=blocker_id,
            lease_token=held.lease_token,
            worked=worked,
        )

    def _advise(self, blocker_id: BlockerId, effect_id: str) -> None:
        answer = {"text": "Advice.", "needs_person": False, "call": BY_RULES}
        self._do(StoreAdvice, SYSTEM, effect_id=effect_id, blocker_id=blocker_id, **answer)

    def _advised(self, event: Event, data: BlockerAdvised) -> None:
        incident = self._of_blocker[data.blocker_id]
        span_us = self.luck.span_us(incident.number, "advice", TRY_MIN)
        worked = self._helps(incident, "advice")
        self.timeline.after(span_us, self._judge, data.blocker_id, data.number, worked)

    def _answer(self, blocker_id: BlockerId, principal: Principal) -> None:
        if not self._is_open(blocker_id):
            return
        incident = self._of_blocker[blocker_id]
        incident.by_person = principal == ADMIN
        fix = incident.cause.fix
        self._do(ResolveBlocker, principal, blocker_id=blocker_id, resolution=fix)

    def _resolved(self, event: Event, data: BlockerResolved) -> None:
        incident = self._of_blocker[data.blocker_id]
        if not data.is_proven:
            return
        self._end(incident)
        held = self.engine.world.assignments.get(data.task_id)
        if held is not None:
            self.timeline.after(WORK_MIN * MINUTE_US // 2, self._complete, held)

    def _end(self, incident: Incident) -> None:
        incident.ended_us = self.timeline.now_us

    # -- driving ------------------------------------------------------------------------------

    def _helps(self, incident: Incident, remedy: StepKind) -> bool:
        return self.luck.helps(incident.cause, incident.number, remedy)

    def _do(self, kind: type[Command], principal: Principal, /, **fields: Any) -> list[Event]:
        self._n_requests += 1
        command = kind(request_id=f"r-{self._n_requests}", principal=principal, **fields)
        return self._step([command])

    def _step(self, commands: list[Command]) -> list[Event]:
        step = self.engine.step(commands, self.timeline.now_us)
        for failure in step.failures:
            raise failure
        for reply in step.replies:
            assert reply.error is None, reply.error
        self._texts |= {body.ref: body.text for body in step.bodies}
        for event in step.events:
            listener = self._listeners.get(type(event.data))
            if listener is not None:
                # After the step: what they send is a step of its own.
                self.timeline.after(0, listener, event, event.data)
        wakes_us = self.engine.next_wakeup_us()
        if wakes_us is not None and (self._wakes_us is None or wakes_us < self._wakes_us):
            self._wakes_us = wakes_us
            self.timeline.at(wakes_us, self._wake, wakes_us)
        return step.events

    def _wake(self, at_us: int) -> None:
        if at_us == self._wakes_us:
            self._wakes_us = None
            self._step([])

    def _outcome(self) -> Outcome:
        counted = [i for i in self.incidents if i.number > min(LEARNING, len(self.incidents) // 2)]
        assert all(i.ended_us for i in counted), "an incident never ended"
        spans_us = [i.ended_us - i.began_us for i in counted]
        oracle = endings(
            [Met(i.cause, i.number, i.began_us) for i in counted],
            self.luck,
            self.policy,
            self.people,
        ).values()
        met_us = counted[-1].began_us - counted[0].began_us
        return Outcome(
            incidents=len(counted),
            resolved=sum(not i.by_person for i in counted),
            asked=sum(i.asked_person for i in counted),
            oracle=sum(not one.by_person for one in oracle),
            blocked_min=sum(spans_us) / len(spans_us) / MINUTE_US,
            oracle_blocked_min=sum(one.blocked_min for one in oracle) / len(oracle),
            **self._load(counted[0].number, met_us),
        )

    def _load(self, first: int, met_us: int) -> dict[str, float]:
        """How busy people were with incidents from a first one on, and how long they took."""
        answers = [answer for answer in self.answers if answer.about >= first]
        worked_us = sum(answer.worked_us for answer in answers)
        cuts = quantiles((a.waited_us / MINUTE_US for a in answers), n=20, method="inclusive")
        return {
            "people_busy": worked_us / met_us / self.people.count if self.people.count else 0.0,
            "person_p50_min": cuts[9],
            "person_p95_min": cuts[18],
        }


class LadderComparison(msgspec.Struct, frozen=True):
    """The full ladder beside advice alone and the oracle, over some seeds."""

    first_seed: int
    seeds: int
    tasks: int
    people: int  # 0: attention without end
    person_min: float
    answer_min: float
    personal_share: float  # of incidents that only a person could resolve
    incidents: int  # counted ones of all seeds
    share_of_oracle: Interval  # resolved without a person, as a share of the oracle's
    advice_share_of_oracle: Interval  # the same of advice alone
    blocked_min: Interval
    advice_blocked_min: Interval
    blocked_ratio: Interval  # full over advice alone, paired by seed
    oracle_ratio: Interval  # the oracle's over advice alone, paired by seed
    asked_share: Interval  # of incidents that a person was asked about
    asked_in_vain_share: Interval  # and that were resolved without one
    people_busy: Interval  # share of their time that questions take
    advice_people_busy: Interval
    person_p50_min: Interval  # from a question to its answer
    advice_person_p50_min: Interval
    person_p95_min: Interval
    advice_person_p95_min: Interval
    is_partial: bool = False  # Ctrl-C came before the last seed


def compare_ladders(
    seeds: int,
    tasks: int,
    *,
    first: int = 0,
    people: People = ENDLESS,
    personal: float = PERSONAL,
    on_seed: Callable[[float], None] = lambda _: None,
) -> LadderComparison:
    """Run both ladders on the same incidents of each seed; ``on_seed`` is told the share done.

    Ctrl-C ends it after the last whole seed, of two at least; the result says `is_partial`.
    """
    pairs: list[tuple[Outcome, Outcome]] = []
    personal_shares = []
    try:
        for seed in range(first, first + seeds):
            full, alone = (Clinic(seed, one, people, personal) for one in ("full", "advice"))
            pairs.append((full.run(tasks), alone.run(tasks)))
            is_personal = [i.cause.is_personal for i in full.incidents]
            personal_shares.append(sum(is_personal) / len(is_personal))
            on_seed(len(pairs) / seeds)
    except KeyboardInterrupt:
        if len(pairs) < 2:
            raise
    return LadderComparison(
        first_seed=first,
        seeds=len(pairs),
        is_partial=len(pairs) < seeds,
        tasks=tasks,
        people=people.count,
        person_min=people.person_min,
        answer_min=people.answer_min,
        personal_share=sum(personal_shares) / len(personal_shares),
        incidents=sum(full.incidents for full, _ in pairs),
        share_of_oracle=interval([full.resolved / full.oracle for full, _ in pairs]),
        advice_share_of_oracle=interval([alone.resolved / alone.oracle for _, alone in pairs]),
        blocked_min=interval([full.blocked_min for full, _ in pairs]),
        advice_blocked_min=interval([alone.blocked_min for _, alone in pairs]),
        blocked_ratio=interval([full.blocked_min / alone.blocked_min for full, alone in pairs]),
        oracle_ratio=interval(
            [full.oracle_blocked_min / alone.blocked_min for full, alone in pairs]
        ),
        asked_share=interval([full.asked / full.incidents for full, _ in pairs]),
        asked_in_vain_share=interval(
            [(full.asked + full.resolved) / full.incidents - 1 for full, _ in pairs]
        ),
        people_busy=interval([full.people_busy for full, _ in pairs]),
        advice_people_busy=interval([alone.people_busy for _, alone in pairs]),
        person_p50_min=interval([full.person_p50_min for full, _ in pairs]),
        advice_person_p50_min=interval([alone.person_p50_min for _, alone in pairs]),
        person_p95_min=interval([full.person_p95_min for full, _ in pairs]),
        advice_person_p95_min=interval([alone.person_p95_min for _, alone in pairs]),
    )


def _agent(agent_id: AgentId) -> Principal:
    return Principal("agent", agent_id)

"""Runs a scenario: the coordinator's own engine and catalog, against a virtual clock.

Every choice is the engine's: this file only brings tasks, judges work and keeps the books, and
`simulation.lives` plays the agents. All of them send the very commands that real ones send, and
learn what became of them from replies and events.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from time import perf_counter
from typing import Any

from pm_agent.bootstrap import ADMIN
from pm_agent.catalog import CATALOG
from pm_agent.domain.assignment import (
    AcceptCompletion,
    AssignmentExpired,
    CandidateKept,
    CandidateRejected,
    CompletionAccepted,
    CompletionRejected,
    CompletionSubmitted,
    LeaseRegranted,
    RejectCompletion,
    TaskAssigned,
    TaskReleased,
)
from pm_agent.domain.blocker import BlockerReported, BlockerResolved, ResolveBlocker
from pm_agent.domain.envelope import SYSTEM, Command, Event, Principal
from pm_agent.domain.ids import AgentId, BlockerId, TaskId, task_number
from pm_agent.domain.project import CreateProject, Gate
from pm_agent.domain.task import (
    CreateTask,
    ImportTasks,
    SetCriticalPaths,
    TaskCancelled,
    TaskCreated,
    TaskDeadLettered,
)
from pm_agent.domain.time import MINUTE_US, SECOND_US
from pm_agent.features.assignment.scoring import SCORERS
from pm_agent.features.planning.critical_path import critical_paths
from pm_agent.kernel.engine import MAX_BATCH, Engine, Step
from pm_agent.kernel.invariants import Violation, Watch, check_world
from pm_agent.kernel.types import Reply
from pm_agent.ports import GENESIS, Head, Scorer
from simulation.alarms import PatientAlarms
from simulation.arrivals import Arrival, Fortune
from simulation.attention import Answer, Desk, Question
from simulation.behaviour import lognormal_us
from simulation.intervals import Intervals
from simulation.ledger import Ledger, Sample
from simulation.lives import FOR_EVER, Attempt, Lives, Recorded
from simulation.requests import SentOnce
from simulation.scenario import Project, Scenario
from simulation.team import Worker, project_id
from simulation.timeline import Timeline

START_US = 1_750_032_000 * SECOND_US  # a midnight, UTC
PLAN_US = 5 * MINUTE_US  # between two looks of portfolio managers
GATE = Gate(argv=("simulated",))  # never run: `_judge` speaks for it


class Simulation:
    """One run of a scenario.

    Parameters
    ----------
    scenario
        What happens, besides what the next three say.
    arrivals
        Tasks in order of time; they get their numbers in this order.
    team
        Who works.
    fortune
        The luck of attempts.
    seed
        Of the random numbers that the engine draws.
    recorded
        By number of the task, how its attempts go if that is known; nothing of them is drawn.
    scorer
        Instead of the rules that the scenario names.
    on_step
        Told of each step of the engine.

    Attributes
    ----------
    ledger : Ledger
        What happened.
    violations : list of Violation
        Promises of the product that were seen broken; none, one hopes.
    """

    def __init__(
        self,
        scenario: Scenario,
        arrivals: Iterator[Arrival],
        team: list[Worker],
        fortune: Fortune,
        *,
        seed: int,
        recorded: Mapping[int, list[Recorded]] | None = None,
        scorer: Scorer | None = None,
        on_step: Callable[[Step], None] | None = None,
    ) -> None:
        self.scenario = scenario
        self._scorer = scorer or SCORERS[scenario.scorer]()
        self._on_step = on_step
        self.recorded = recorded or {}
        self.fortune = fortune
        self.timeline = Timeline(START_US)
        self.presence = Intervals(self.timeline)
        self.engine = self._new_engine(seed)
        self.workers = team
        self.ledger = Ledger()
        self.violations: list[Violation] = []
        self.refusals = Counter[str]()
        self.n_events = 0
        self.deciding_s = 0.0  # of real time, spent in the engine
        self._coming_min: deque[float] = deque()  # human minutes of tasks that are being created
        # Completions that were sent, by the lease token they named; and work that is judged now.
        self.sent: dict[tuple[TaskId, int], Attempt] = {}
        self.handed_in: dict[TaskId, Attempt] = {}
        self.lives = Lives(self)
        self._by_id: dict[AgentId, Worker] = {worker.id: worker for worker in team}
        self._watch = Watch()
        self.desk = Desk(self.timeline, scenario.people.count, self._heard)
        self._arrivals = arrivals
        self._next = next(arrivals, None)
        self._projects = {project_id(p.name): i for i, p in enumerate(scenario.projects)}
        self._n_requests = 0
        self._wakes_us = FOR_EVER  # the next look at the clock
        self._sample_us = round(scenario.sample_min * MINUTE_US)
        self._told: dict[type, Callable[[Event, Any], None]] = {
            TaskCreated: self._created,
            TaskAssigned: self._assigned,
            LeaseRegranted: self._regranted,
            CandidateKept: self._kept,
            CandidateRejected: self._candidate_rejected,
            CompletionSubmitted: self._submitted,
            CompletionAccepted: self._accepted,
            CompletionRejected: self._rejected,
            TaskReleased: self._released,
            AssignmentExpired: self._expired,
            TaskDeadLettered: self._dead,
            TaskCancelled: self._cancelled,
            BlockerReported: self._blocked,
            BlockerResolved: self._resolved,
        }

    def _new_engine(self, seed: int) -> Engine:
        engine = Engine(
            CATALOG,
            self._scorer,
            self.scenario.numbers(),
            seed=seed,
            started_us=START_US,
            head=Head(0, GENESIS, 1),
        )
        engine.presence = self.presence
        engine.alarms = PatientAlarms()
        if self._on_step is None:  # else a journal may be written, and holds the replies
            engine.requests = SentOnce()
        return engine

    # -- the run ------------------------------------------------------------------------------

    @property
    def now_us(self) -> int:
        """Virtual time since the start."""
        return self.timeline.now_us - START_US

    def start(self) -> None:
        """Open projects, register the team, and let everybody wait for work."""
        opened = [self._opening(project) for project in self.scenario.projects]
        self._do_all([*opened, *(worker.profile for worker in self.workers)])
        for worker in self.workers:
            if worker.heartbeats:
                self.presence.enter(worker.id)
        self._do_all([self.lives.wait(worker) for worker in self.workers])
        if self._next is not None:
            self.timeline.at(START_US + self._next.at_us, self._arrive)
        self._sample()
        if self.scenario.load.graph is not None:
            self._plan()

    def go_on(self, until_us: int) -> None:
        """Let happen what happens up to an instant, in microseconds since the start."""
        self.timeline.advance_until(START_US + until_us)
        self.timeline.now_us = START_US + until_us

    def conclude(self) -> str:
        """Look at the whole world once more, and let go of it: a year's figures need the room.

        Returns
        -------
        str
            Hash of the last event, which covers all before it.
        """
        self.violations += self._watch.compare(self.engine.world)
        self.violations += check_world(self.engine.world)
        self.ledger.n_questions_open = self.desk.n_open
        journal_hash = self.engine.head_hash.hex()
        del self.engine, self._watch
        return journal_hash

    def do(self, commands: list[Command]) -> list[Reply]:
        """One step of the engine, and what everybody learns from it."""
        began_s = perf_counter()
        step = self.engine.step(commands, self.timeline.now_us)
        self.deciding_s += perf_counter() - began_s
        if self._on_step is not None:
            self._on_step(step)
        told = self._told
        self.violations += self._watch.observe_all(step.events)
        for event in step.events:
            listener = told.get(type(event.data))
            if listener is not None:
                listener(event, event.data)
        self.n_events += len(step.events)
        for reply in step.replies:
            if reply.error is not None:
                self.refusals[reply.error.code] += 1
        self._set_alarm()
        return step.replies

    def _set_alarm(self) -> None:
        wake_us = self.engine.next_wakeup_us()
        if wake_us is not None and wake_us < self._wakes_us:
            self._wakes_us = wake_us
            self.timeline.at(wake_us, self._wake, wake_us)

    def _do_all(self, commands: list[Command]) -> None:
        for first in range(0, len(commands), MAX_BATCH):
            self.do(commands[first : first + MAX_BATCH])

    def _wake(self, at_us: int) -> None:
        """Let the clock have its due, as the coordinator does; most often it has had it."""
        if at_us != self._wakes_us:
            return
        self._wakes_us = FOR_EVER
        due_us = self.engine.next_wakeup_us()
        if due_us is not None and due_us <= at_us:
            self.do([])
        else:
            self._set_alarm()

    def request_id(self) -> str:
        """A new one."""
        self._n_requests += 1
        return f"r-{self._n_requests}"

    def again(self, worker: Worker) -> Command:
        """Registration of an agent that comes back."""
        fields = {f: getattr(worker.profile, f) for f in worker.profile.__struct_fields__}
        return type(worker.profile)(**fields | {"request_id": self.request_id()})

    def _opening(self, project: Project) -> Command:
        return CreateProject(
            request_id=f"project:{project.name}",
            principal=ADMIN,
            project_id=project_id(project.name),
            name=project.name,
            completion=project.completion,
            gate=GATE if project.completion == "command" else Gate(),
            max_in_progress=project.max_in_progress,
            token_cap=project.token_cap,
        )

    # -- tasks come ---------------------------------------------------------------------------

    def _arrive(self) -> None:
        """All that comes at one instant comes in one batch."""
        commands: list[Command] = []
        while self._next is not None and self._next.at_us <= self.now_us:
            commands.append(self._creation(self._next))
            self._next = next(self._arrivals, None)
        if self._next is not None:
            self.timeline.at(START_US + self._next.at_us, self._arrive)
        self._do_all(commands)

    def _creation(self, arrival: Arrival) -> Command:
        self._coming_min += [work.human_min for work in arrival.works]
        project = project_id(self.scenario.projects[arrival.project].name)
        drafts = tuple(work.draft for work in arrival.works)
        by: dict[str, Any] = {"request_id": self.request_id(), "principal": ADMIN}
        if len(drafts) == 1:
            return CreateTask(**by, project_id=project, draft=drafts[0])
        return ImportTasks(**by, project_id=project, drafts=drafts)

    def _created(self, event: Event, data: TaskCreated) -> None:
        self.ledger.created(
            self.now_us,
            project=self._projects[data.project_id],
            priority=data.priority,
            human_min=self._coming_min.popleft(),
            is_ready=not data.dependencies,
        )

    def _plan(self) -> None:
        """What portfolio managers do: tell what waits behind each task."""
        for project in self._projects:
            minutes = critical_paths(self.engine.world, project)
            if minutes:
                by: dict[str, Any] = {"request_id": self.request_id(), "principal": SYSTEM}
                self.do([SetCriticalPaths(**by, project_id=project, minutes=minutes)])
        self.timeline.after(PLAN_US, self._plan)

    # -- tasks are held -----------------------------------------------------------------------

    def _assigned(self, event: Event, data: TaskAssigned) -> None:
        worker = self._by_id[data.agent_id]
        row = self.ledger.started(task_number(data.task_id), worker.number, self.now_us)
        self.lives.assigned(worker, data, row)

    def _regranted(self, event: Event, data: LeaseRegranted) -> None:
        """Late work is taken: by its old attempt, under a new lease token."""
        late = self.sent.pop((data.task_id, data.late_token))
        late.token = data.lease_token
        self.sent[data.task_id, late.token] = late
        self.lives.held[data.task_id] = late

    def _released(self, event: Event, data: TaskReleased) -> None:
        if data.reason == "stopped":  # late work was first through the gate
            self.lives.stopped(data)
        self._ended(data.task_id, data.reason)

    def _expired(self, event: Event, data: AssignmentExpired) -> None:
        outcome = "released" if data.reason == "unconfirmed" else "expired"
        self.lives.expired(data)
        self._ended(data.task_id, outcome)

    def _ended(self, task_id: TaskId, outcome: str) -> None:
        attempt = self.lives.held.pop(task_id)
        self.ledger.judged(attempt.row, outcome)

    def _blocked(self, event: Event, data: BlockerReported) -> None:
        self._ask(
            data,
            self.lives.blocked(data),
            partial(self._resolve, data.blocker_id),
            partial(self._is_open, data.blocker_id),
        )

    def _ask(
        self,
        data: BlockerReported | CompletionSubmitted,
        lies_us: int,
        answered: Callable[[], None],
        is_open: Callable[[], bool],
    ) -> None:
        """Ask people something about an attempt."""
        number, people = task_number(data.task_id), self.scenario.people
        work_us = 0
        if people.count:
            share = self.fortune.work_of_answer(number, data.lease_token, type(data).__name__)
            work_us = lognormal_us(people.answer_min, people.answer_spread, share)
        self.desk.ask(Question(number, lies_us, work_us, answered, is_open))

    def _heard(self, answer: Answer) -> None:
        self.ledger.answered(answer.asked_us - START_US, answer.waited_us, answer.worked_us)

    def _is_open(self, blocker_id: BlockerId) -> bool:
        blocker = self.engine.world.blockers.get(blocker_id)
        return blocker is not None and blocker.is_open

    def _resolve(self, blocker_id: BlockerId) -> None:
        by: dict[str, Any] = {"request_id": self.request_id(), "principal": ADMIN}
        self.do([ResolveBlocker(**by, blocker_id=blocker_id, resolution="As it says.")])

    def _resolved(self, event: Event, data: BlockerResolved) -> None:
        self.lives.resolved(data)

    # -- work is judged -----------------------------------------------------------------------

    def _submitted(self, event: Event, data: CompletionSubmitted) -> None:
        attempt = self.handed_in[data.task_id] = self.sent.pop((data.task_id, data.lease_token))
        policy, review = self._policy_of(data.task_id), self.scenario.review
        if policy == "command":
            self._run_gate(event, data, attempt)
        elif policy == "person":
            lies_us = lognormal_us(review.person_min, review.person_spread, attempt.luck.review)
            answered = partial(self._look, data, attempt)
            self._ask(data, lies_us, answered, partial(self._is_judged, data.task_id, attempt))

    def _kept(self, event: Event, data: CandidateKept) -> None:
        """Late work goes through the gate while another attempt is live."""
        if self._policy_of(data.task_id) == "command":
            self._run_gate(event, data, self.sent[data.task_id, data.lease_token])

    def _policy_of(self, task_id: TaskId) -> str:
        project = self.engine.world.tasks[task_id].project_id
        return self.scenario.projects[self._projects[project]].completion

    def _run_gate(
        self, event: Event, data: CompletionSubmitted | CandidateKept, attempt: Attempt
    ) -> None:
        span_us = round(self.scenario.review.gate_min * MINUTE_US)
        effect_id = f"RunGate:{event.position}"
        self.timeline.after(span_us, self._gate_ends, data, attempt, effect_id)

    def _gate_ends(
        self, data: CompletionSubmitted | CandidateKept, attempt: Attempt, effect_id: str
    ) -> None:
        if effect_id in self.engine.outbox.pending:  # else other work was first
            self._judge(data, attempt, SYSTEM, effect_id)

    def _look(self, data: CompletionSubmitted, attempt: Attempt) -> None:
        if self._is_judged(data.task_id, attempt):
            self._judge(data, attempt, ADMIN, "")

    def _is_judged(self, task_id: TaskId, attempt: Attempt) -> bool:
        """Whether it is this attempt's work that waits for a verdict."""
        return self.handed_in.get(task_id) is attempt

    def _judge(
        self,
        data: CompletionSubmitted | CandidateKept,
        attempt: Attempt,
        judge: Principal,
        effect_id: str,
    ) -> None:
        review = self.scenario.review
        objects = review.false_alarms if attempt.is_right else review.finds
        by: dict[str, Any] = {
            "request_id": self.request_id(),
            "principal": judge,
            "task_id": data.task_id,
            "lease_token": data.lease_token,
            "effect_id": effect_id,
        }
        if attempt.luck.verdict < objects:
            self.do([RejectCompletion(**by, reasons=("It is not right.",))])
        else:
            self.do([AcceptCompletion(**by)])

    def _accepted(self, event: Event, data: CompletionAccepted) -> None:
        attempt = self.handed_in.pop(data.task_id)
        self.lives.held.pop(data.task_id, None)
        self.ledger.judged(attempt.row, "completed")
        number = task_number(data.task_id)
        self.ledger.ended(number, self.now_us, "done", is_wrong=not attempt.is_right)
        for waiting in self.engine.world.dependants.get(data.task_id, ()):
            if self.engine.world.tasks[waiting].waiting_on == 0:
                self.ledger.became_ready(task_number(waiting), self.now_us)

    def _rejected(self, event: Event, data: CompletionRejected) -> None:
        attempt = self.handed_in.pop(data.task_id)
        self.lives.held.pop(data.task_id, None)
        self.ledger.judged(attempt.row, "rejected")

    def _candidate_rejected(self, event: Event, data: CandidateRejected) -> None:
        del self.sent[data.task_id, data.lease_token]

    def _dead(self, event: Event, data: TaskDeadLettered) -> None:
        self.ledger.ended(task_number(data.task_id), self.now_us, "dead_letter")

    def _cancelled(self, event: Event, data: TaskCancelled) -> None:
        self.ledger.ended(task_number(data.task_id), self.now_us, "cancelled")

    # -- the board over time ------------------------------------------------------------------

    def _sample(self) -> None:
        world, states = self.engine.world, Counter[str]()
        for counts in world.counts.values():
            states.update(counts)
        self.ledger.sampled(
            Sample(
                at_us=self.now_us,
                created=self.ledger.n_tasks,
                done=self.ledger.n_ended[1],
                dead=self.ledger.n_ended[2],
                ready=len(world.ready),
                open=states["open"],
                assigned=states["assigned"],
                blocked=states["blocked"],
                in_review=states["in_review"],
                busy=self.lives.n_busy,
                waiting=len(self.presence.offers),
                here=len(self.workers) - self.lives.n_away,
            )
        )
        self.timeline.after(self._sample_us, self._sample)

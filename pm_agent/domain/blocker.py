"""Blockers: what stops a task, reported by its agent, and what is done about it step by step.

A blocker is open until it is resolved. Each step taken against it stands beside it with its
deadline and its outcome; outcomes are counted in the blocker's case (`pm_agent.domain.case`).
"""

from typing import TYPE_CHECKING, Literal

import msgspec

from pm_agent.domain.case import Case, Remedy, StepKind, credit, open_case
from pm_agent.domain.envelope import Command, Event, EventData
from pm_agent.domain.ids import AgentId, BlockerId, BodyRef, TaskId
from pm_agent.domain.model_call import ModelCall
from pm_agent.domain.severity import Severity
from pm_agent.domain.task import Skill

if TYPE_CHECKING:
    from pm_agent.domain.world import World

BlockerType = Literal[
    "dependency",  # waits for other work
    "needs_input",  # waits for an answer or a decision
    "capability",  # the agent cannot do it; another could
    "environment",  # tools, access or machines are not as they must be
    "transient",  # goes away by itself
    "other",
]
# How a step ended. "superseded": the blocker was resolved otherwise, so nobody knows.
StepOutcome = Literal["", "worked", "failed", "no_answer", "superseded"]
SMOOTHING = 8  # the newest answer of a person counts for an eighth
# Steps that end when they are over: how long such take is learned.
TIMED: frozenset[StepKind] = frozenset({"known_fix", "ask_help", "advice"})
# Steps that take the task from its agent, and with it the question that a person could answer. How
# long they take is learned, too: until the next attempt shows what they were good for.
GIVES_BACK: frozenset[StepKind] = frozenset({"reassign", "split"})
PERSON_NEEDED = Remedy(step="escalate")  # counts how often nothing but a person helped
COUNTED: dict[str, bool] = {"worked": True, "failed": False, "no_answer": False}


class Step(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """Something done about a blocker."""

    number: int
    kind: StepKind
    at_us: int
    until_us: int  # then it is looked at again
    why: str = ""
    text: BodyRef | None = None  # what to try
    by: str = ""  # whose text it is
    agent_id: AgentId = ""  # who was asked
    task_id: TaskId = ""  # waited for, or made for it
    outcome: StepOutcome = ""
    ended_at_us: int = 0
    times: int = 1  # how often a person was asked
    asks_person: bool = False  # a person is asked beside it
    acknowledged_by: str = ""


class Blocker(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    id: BlockerId
    task_id: TaskId
    agent_id: AgentId
    description: BodyRef
    severity: Severity
    reported_at_us: int
    blocker_type: BlockerType = "other"
    sketch: tuple[int, ...] = ()  # of the description; see `features/blockers/sketch.py`
    case_id: str = ""
    needs_task_ids: tuple[TaskId, ...] = ()
    needs_skills: tuple[Skill, ...] = ()
    steps: tuple[Step, ...] = ()  # those of the blocker that comes again included
    resolution: BodyRef | None = None
    resolved_by: str = ""
    resolved_at_us: int = 0
    # Set while nobody knows yet whether the step that resolved it has really helped.
    unproven_step: int = 0

    @property
    def is_open(self) -> bool:
        return self.resolved_at_us == 0

    @property
    def step(self) -> Step | None:
        """The step under way."""
        return self.steps[-1] if self.steps and not self.steps[-1].outcome else None

    @property
    def person_asked_us(self) -> int:
        """When a person was first asked; 0: nobody was."""
        asked = (
            step.at_us
            for step in self.steps
            if step.at_us >= self.reported_at_us and (step.asks_person or step.kind == "escalate")
        )
        return next(asked, 0)

    @property
    def acknowledged_by(self) -> str:
        """Who said last that they have seen it; empty: nobody since it was reported."""
        seen = (
            step.acknowledged_by
            for step in reversed(self.steps)
            if step.acknowledged_by and step.at_us >= self.reported_at_us
        )
        return next(seen, "")

    def step_numbered(self, number: int) -> Step | None:
        return next((s for s in self.steps if s.number == number), None)


class ReportBlocker(Command, frozen=True, kw_only=True):
    """``release`` gives the task back; otherwise the agent keeps it and waits for an answer."""

    task_id: TaskId
    lease_token: int
    description: str
    severity: Severity = "medium"
    release: bool = False
    blocker_type: BlockerType = "other"
    needs_task_ids: tuple[TaskId, ...] = ()
    needs_skills: tuple[Skill, ...] = ()


class ResolveBlocker(Command, frozen=True, kw_only=True):
    blocker_id: BlockerId
    resolution: str


class ReportFix(Command, frozen=True, kw_only=True):
    """Say whether the step under way has helped."""

    blocker_id: BlockerId
    lease_token: int
    worked: bool
    note: str = ""


class AcknowledgeBlocker(Command, frozen=True, kw_only=True):
    """A person has seen it, and is not asked again for a while.

    A step that is under way beside the question goes on.
    """

    blocker_id: BlockerId


class CheckBlocker(Command, frozen=True, kw_only=True):
    """The clock's: look whether the step under way has had its time."""

    blocker_id: BlockerId
    number: int  # of the step; 0: none was taken yet
    is_vain: bool = False  # what the step waits for will not come: it needs no more time


class SettleBlockers(Command, frozen=True, kw_only=True):
    """The system's, after a task ended: what waits for it, and what helped it."""

    task_id: TaskId


class StoreAdvice(Command, frozen=True, kw_only=True):
    """The language model's answer to the effect that asked for it."""

    effect_id: str
    blocker_id: BlockerId
    text: str
    needs_person: bool
    call: ModelCall


class BlockerReported(EventData, frozen=True, kw_only=True):
    blocker_id: BlockerId
    number: int
    task_id: TaskId
    agent_id: AgentId
    lease_token: int
    description: BodyRef
    severity: Severity
    blocker_type: BlockerType = "other"
    sketch: tuple[int, ...] = ()
    case_id: str = ""  # empty in journals from before cases
    needs_task_ids: tuple[TaskId, ...] = ()
    needs_skills: tuple[Skill, ...] = ()
    recurs: BlockerId = ""  # a blocker of this task that was thought to be resolved


class BlockerStepTaken(EventData, frozen=True, kw_only=True):
    blocker_id: BlockerId
    task_id: TaskId
    number: int
    step: StepKind
    until_us: int
    why: str = ""
    text: BodyRef | None = None
    by: str = ""
    agent_id: AgentId = ""
    other_task_id: TaskId = ""
    asks_person: bool = False  # a person is asked at the same time


class BlockerStepEnded(EventData, frozen=True, kw_only=True):
    blocker_id: BlockerId
    task_id: TaskId
    number: int
    outcome: StepOutcome
    note: BodyRef | None = None


class BlockerAdvised(EventData, frozen=True, kw_only=True):
    effect_id: str
    blocker_id: BlockerId
    task_id: TaskId
    number: int
    text: BodyRef
    until_us: int
    needs_person: bool = False
    call: ModelCall | None = None  # None: written by rules


class BlockerAcknowledged(EventData, frozen=True, kw_only=True):
    blocker_id: BlockerId
    task_id: TaskId
    number: int
    until_us: int  # when the step is looked at again


class BlockerResolved(EventData, frozen=True, kw_only=True):
    blocker_id: BlockerId
    task_id: TaskId
    resolution: BodyRef
    step: int = 0  # number of the step that did it; 0: somebody's own answer
    is_proven: bool = True  # False: the next attempt shows whether it helped
    is_answer: bool = False  # of a step: its text is an answer that may help against others too


def as_reported(data: BlockerReported, at_us: int, before: Blocker | None) -> Blocker:
    """Make the blocker that a report begins; one that comes again brings its steps along."""
    return Blocker(
        id=data.blocker_id,
        task_id=data.task_id,
        agent_id=data.agent_id,
        description=data.description,
        severity=data.severity,
        reported_at_us=at_us,
        blocker_type=data.blocker_type,
        sketch=data.sketch,
        case_id=data.case_id,
        needs_task_ids=data.needs_task_ids,
        needs_skills=data.needs_skills,
        steps=before.steps if before else (),
    )


def with_outcome(blocker: Blocker, number: int, outcome: StepOutcome, at_us: int) -> Blocker:
    """Return the blocker with one of its steps ended."""
    return msgspec.structs.replace(
        blocker,
        steps=tuple(
            msgspec.structs.replace(step, outcome=outcome, ended_at_us=at_us)
            if step.number == number
            else step
            for step in blocker.steps
        ),
        unproven_step=0 if blocker.unproven_step == number else blocker.unproven_step,
    )


def _reported(world: "World", event: Event, data: BlockerReported) -> None:
    world.next_blocker_number = data.number + 1
    task = world.tasks[data.task_id]
    world.put_blocker(as_reported(data, event.at_us, world.blockers.get(data.recurs)))
    if data.case_id and data.case_id not in world.cases:
        new = Case(
            id=data.case_id,
            blocker_type=data.blocker_type,
            project_id=task.project_id,
            sketch=data.sketch,
            last_us=event.at_us,
        )
        open_case(world, new)
    world.put_task(msgspec.structs.replace(task, state="blocked", version=event.position))
    assignment = world.assignments[data.task_id]
    world.put_assignment(
        msgspec.structs.replace(assignment, heard_at_us=event.at_us, is_offered=False)
    )


def _step_taken(world: "World", event: Event, data: BlockerStepTaken) -> None:
    blocker = world.blockers[data.blocker_id]
    new = Step(
        number=data.number,
        kind=data.step,
        at_us=event.at_us,
        until_us=data.until_us,
        why=data.why,
        text=data.text,
        by=data.by,
        agent_id=data.agent_id,
        task_id=data.other_task_id,
        asks_person=data.asks_person,
        acknowledged_by=blocker.acknowledged_by if data.step == "escalate" else "",
    )
    steps = blocker.steps
    if new.kind == "escalate" and steps and steps[-1].kind == "escalate":
        # People are asked again and again: one step with a count, so that it does not grow.
        last = steps[-1]
        new = msgspec.structs.replace(
            last, number=new.number, until_us=new.until_us, times=last.times + 1
        )
        steps = steps[:-1]
    world.put_blocker(msgspec.structs.replace(blocker, steps=(*steps, new)))


def _step_ended(world: "World", event: Event, data: BlockerStepEnded) -> None:
    blocker = world.blockers[data.blocker_id]
    _end_step(world, blocker, data.number, data.outcome, event.at_us)


def _end_step(
    world: "World", blocker: Blocker, number: int, outcome: StepOutcome, at_us: int
) -> None:
    ended = blocker.step_numbered(number)
    if ended is None:
        return
    world.put_blocker(with_outcome(blocker, number, outcome, at_us))
    if outcome in COUNTED and ended.kind != "escalate":
        text = ended.text if ended.kind == "known_fix" else None
        tried = Remedy(step=ended.kind, text=text, by=ended.by)
        credit(world, blocker.case_id, tried, worked=COUNTED[outcome], at_us=at_us)
        is_tried_later = blocker.unproven_step == number
        if ended.kind in (GIVES_BACK if is_tried_later else TIMED):
            known_us, took_us = world.tables.step_us.get(ended.kind, 0), at_us - ended.at_us
            world.tables.step_us[ended.kind] = _smoothed(known_us, took_us)
        if outcome == "worked":
            credit(world, blocker.case_id, PERSON_NEEDED, worked=False, at_us=at_us)
        if ended.kind == "advice" and outcome == "worked":  # the next time it is a known fix
            fix = Remedy(step="known_fix", text=ended.text, by=ended.by, is_answer=True)
            credit(world, blocker.case_id, fix, worked=True, at_us=at_us)


def _advised(world: "World", event: Event, data: BlockerAdvised) -> None:
    blocker = world.blockers[data.blocker_id]
    by = data.call.writer if data.call else "rules"
    world.put_blocker(
        msgspec.structs.replace(
            blocker,
            steps=tuple(
                msgspec.structs.replace(s, text=data.text, by=by, until_us=data.until_us)
                if s.number == data.number
                else s
                for s in blocker.steps
            ),
        )
    )
    if data.call is not None:
        world.count_usage(data.task_id, blocker.agent_id, data.call.usage)


def _acknowledged(world: "World", event: Event, data: BlockerAcknowledged) -> None:
    blocker = world.blockers[data.blocker_id]
    world.put_blocker(
        msgspec.structs.replace(
            blocker,
            steps=tuple(
                msgspec.structs.replace(s, until_us=data.until_us, acknowledged_by=event.principal)
                if s.number == data.number
                else s
                for s in blocker.steps
            ),
        )
    )


def _resolved(world: "World", event: Event, data: BlockerResolved) -> None:
    blocker = world.blockers[data.blocker_id]
    world.put_blocker(
        msgspec.structs.replace(
            blocker,
            resolution=data.resolution,
            resolved_by=event.principal,
            resolved_at_us=event.at_us,
            unproven_step=0 if data.is_proven else data.step,
        )
    )
    _count_resolution(world, event, data)
    task = world.tasks[data.task_id]
    if task.state != "blocked" or world.open_blockers(task.id):
        return
    assignment = world.assignments.get(task.id)
    if assignment is not None:  # waiting for the answer was not the agent's silence
        world.put_assignment(msgspec.structs.replace(assignment, heard_at_us=event.at_us))
    state = "assigned" if assignment is not None else "open"
    world.put_task(msgspec.structs.replace(task, state=state, version=event.position))


def _count_resolution(world: "World", event: Event, data: BlockerResolved) -> None:
    """Learn from what resolved a blocker: the step under way, or somebody's own answer."""
    blocker = world.blockers[data.blocker_id]
    if data.step:
        if data.is_proven:
            _end_step(world, blocker, data.step, "worked", event.at_us)
        if data.is_answer:
            _remember(world, event, data)
        return
    if blocker.step is not None:
        is_helped = blocker.step.kind == "ask_help" and event.principal.startswith("agent:")
        outcome: StepOutcome = "worked" if is_helped else "superseded"
        _end_step(world, blocker, blocker.step.number, outcome, event.at_us)
    asked_us = blocker.person_asked_us
    if asked_us and event.principal.startswith("person:"):
        known_us = world.tables.person_answer_us
        world.tables.person_answer_us = _smoothed(known_us, event.at_us - asked_us)
        if blocker.steps[-1].kind == "escalate":  # else the step under way might have done it
            credit(world, blocker.case_id, PERSON_NEEDED, worked=True, at_us=event.at_us)
    if not event.principal.startswith("system:"):
        _remember(world, event, data)


def _remember(world: "World", event: Event, data: BlockerResolved) -> None:
    """Keep an answer as a known fix."""
    fix = Remedy(step="known_fix", text=data.resolution, by=event.principal, is_answer=True)
    case_id = world.blockers[data.blocker_id].case_id
    credit(world, case_id, fix, worked=True, at_us=event.at_us)


def _smoothed(known_us: int, took_us: int) -> int:
    return known_us + (took_us - known_us) // SMOOTHING if known_us else max(took_us, 1)


APPLY = {
    BlockerReported: _reported,
    BlockerStepTaken: _step_taken,
    BlockerStepEnded: _step_ended,
    BlockerAdvised: _advised,
    BlockerAcknowledged: _acknowledged,
    BlockerResolved: _resolved,
}

"""The events of taking a step, ending it, and resolving a blocker by it."""

from pm_agent.domain.assignment import TaskReleased
from pm_agent.domain.blocker import (
    Blocker,
    BlockerResolved,
    BlockerStepEnded,
    BlockerStepTaken,
    StepOutcome,
)
from pm_agent.domain.envelope import Body, EventData
from pm_agent.domain.ids import BodyRef, task_id
from pm_agent.domain.task import TaskCreated, TaskUpdated
from pm_agent.domain.world import World
from pm_agent.features.blockers.ladder import Choice
from pm_agent.features.blockers.ways import PREREQUISITE, required_skills
from pm_agent.kernel.types import Context

MAX_TITLE = 200


class Taken:
    """A step, as events and texts that belong together."""

    def __init__(self, kind: str, *, holds_task: bool) -> None:
        self.kind = kind
        self.holds_task = holds_task  # whether the agent still has the task afterwards
        self.events: list[EventData] = []
        self.bodies: list[Body] = []


def take(
    world: World, blocker: Blocker, choice: Choice, context: Context, *, is_held: bool
) -> Taken:
    """Take a step.

    Parameters
    ----------
    is_held
        Whether an agent holds the task and waits. Where nobody does, an answer can only be tried by
        the next one: the blocker counts as resolved until that shows whether it helped.
    """
    taken = Taken(choice.kind, holds_task=is_held)
    number = next_number(blocker)
    if choice.kind == "split":
        choice = _split(world, blocker, choice, taken)
    taken.events.insert(
        0,
        BlockerStepTaken(
            blocker_id=blocker.id,
            task_id=blocker.task_id,
            number=number,
            step=choice.kind,
            until_us=choice.until_us,
            why=choice.why,
            text=choice.text,
            by=choice.by,
            other_task_id=choice.task_id,
            asks_person=choice.asks_person,
        ),
    )
    if choice.kind in ("reassign", "split"):
        _give_back(world, blocker, choice, taken, context)
    elif choice.kind == "known_fix" and not is_held:
        assert choice.text is not None, choice
        taken.events.append(resolved(blocker, number, choice.text, is_proven=False))
    return taken


def next_number(blocker: Blocker) -> int:
    """Number of the step that comes next."""
    return blocker.steps[-1].number + 1 if blocker.steps else 1


def ended(blocker: Blocker, number: int, outcome: StepOutcome, note: Body | None) -> EventData:
    """The event that ends a step."""
    return BlockerStepEnded(
        blocker_id=blocker.id,
        task_id=blocker.task_id,
        number=number,
        outcome=outcome,
        note=note.ref if note else None,
    )


def resolved(
    blocker: Blocker, number: int, text: BodyRef, *, is_proven: bool, is_answer: bool = False
) -> EventData:
    """The event that resolves a blocker by a step."""
    return BlockerResolved(
        blocker_id=blocker.id,
        task_id=blocker.task_id,
        resolution=text,
        step=number,
        is_proven=is_proven,
        is_answer=is_answer,
    )


def _split(world: World, blocker: Blocker, choice: Choice, taken: Taken) -> Choice:
    """Make a task of what is missing; the blocked one depends on it."""
    task = world.tasks[blocker.task_id]
    number = world.next_task_number
    new_id = task_id(number)
    created = TaskCreated(
        task_id=new_id,
        number=number,
        project_id=task.project_id,
        title=f"Clear the way for {task.id}: {task.title}"[:MAX_TITLE],
        description=blocker.description,
        kind=task.kind,
        priority=task.priority,
        labels=(PREREQUISITE,),
        skills=blocker.needs_skills,
    )
    updated = TaskUpdated(task_id=task.id, dependencies=(*task.dependencies, new_id))
    taken.events += [created, updated]
    return choice._replace(task_id=new_id)


def _give_back(
    world: World, blocker: Blocker, choice: Choice, taken: Taken, context: Context
) -> None:
    """Take the task from its agent, and let it go on without this blocker."""
    task = world.tasks[blocker.task_id]
    if choice.kind == "reassign":
        needed = required_skills(world, blocker)
        said = ", ".join(f"{skill.name} {skill.level}" for skill in needed)
        text = f"The task goes to an agent with the skills it needs: {said}."
        taken.events.append(TaskUpdated(task_id=task.id, skills=needed))
    else:
        text = f"Task {choice.task_id} was made of what is missing, and goes first."
    body = context.body(text)
    assert body is not None, text
    taken.bodies.append(body)
    taken.events.append(resolved(blocker, next_number(blocker), body.ref, is_proven=False))
    held = world.assignments.get(task.id)
    if taken.holds_task and held is not None:
        taken.holds_task = False
        taken.events.append(
            TaskReleased(
                task_id=task.id,
                agent_id=held.agent_id,
                lease_token=held.lease_token,
                reason="blocked",
                note=blocker.description,
            )
        )

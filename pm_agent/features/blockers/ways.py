"""Ways out of a blocker that are open: who could take the task over, help, or do what is missing.

And what is under way already. Which way is worth its time is the ladder's question.
"""

from pm_agent.domain.agent import Agent
from pm_agent.domain.blocker import Blocker
from pm_agent.domain.ids import TaskId
from pm_agent.domain.signature import levels_of, may_take
from pm_agent.domain.task import Skill, normal_skills
from pm_agent.domain.world import World

PREREQUISITE = "prerequisite"  # label of a task that was split off; it is not split again
MAX_DEPTH = 1_000  # tasks looked at for a circle of waiting


def required_skills(world: World, blocker: Blocker) -> tuple[Skill, ...]:
    """Skills of the task together with those that the blocker says are missing."""
    return normal_skills((*world.tasks[blocker.task_id].skills, *blocker.needs_skills))


def can_reassign(world: World, blocker: Blocker) -> bool:
    """Whether another agent has what this one lacks."""
    if not blocker.needs_skills:
        return False
    return _somebody_else(world, blocker, required_skills(world, blocker))


def _somebody_else(world: World, blocker: Blocker, needed: tuple[Skill, ...]) -> bool:
    return any(
        agent.id != blocker.agent_id and not agent.holds and _is_able(world, agent, blocker, needed)
        for agent in world.agents.values()
    )


def _is_able(world: World, agent: Agent, blocker: Blocker, needed: tuple[Skill, ...]) -> bool:
    """Whether an agent is there, works on the task's project, and has all these skills."""
    key = world.tasks[blocker.task_id].project_id, needed
    return not agent.left_at_us and may_take(levels_of(agent.signature), agent.project_ids, key)


def can_help(world: World, blocker: Blocker) -> bool:
    """Whether another agent might know it."""
    return _somebody_else(world, blocker, required_skills(world, blocker))


def can_split(world: World, blocker: Blocker) -> bool:
    """Whether a task for what is missing may be made, and somebody could do it.

    Where that task exists already, a second one would have the same work done twice, and the
    blocked one wait for both.
    """
    task = world.tasks[blocker.task_id]
    if PREREQUISITE in task.labels or awaited_task(world, blocker):
        return False
    needed = blocker.needs_skills
    return any(_is_able(world, agent, blocker, needed) for agent in world.agents.values())


def awaited_task(world: World, blocker: Blocker) -> TaskId:
    """A task that the blocker waits for and that can still be done; empty when there is none."""
    missing = [t for t in blocker.needs_task_ids if not world.is_accepted(t)]
    for task_id in missing:
        awaited = world.tasks.get(task_id)
        if awaited is None or awaited.is_terminal or _waits_for(world, task_id, blocker.task_id):
            return ""
    return missing[0] if missing else ""


def _waits_for(world: World, first: TaskId, target: TaskId) -> bool:
    """Whether a task waits for another, by dependencies or by open blockers."""
    todo, seen = [first], {first}
    while todo and len(seen) < MAX_DEPTH:
        task_id = todo.pop()
        if task_id == target:
            return True
        known = world.tasks.get(task_id)
        if known is None or known.is_terminal:
            continue
        blockers = world.open_blockers(task_id)
        further = {*known.dependencies, *(t for b in blockers for t in b.needs_task_ids)}
        todo += sorted(further - seen)
        seen |= further
    return False

"""The brief from which tasks are assessed. What came of it is shown with the task (backlog)."""

from collections.abc import Iterator

from pm_agent.domain.task import Task
from pm_agent.domain.world import World
from pm_agent.features.assessment.wanted import is_wanted
from pm_agent.kernel.effects import AssessTasks, Effect
from pm_agent.ports import AssessmentBrief, TaskBrief

ERASED = "(erased)"


def body_refs(world: World, effect: Effect) -> list[str]:
    """References of the texts that the brief needs."""
    return [task.description for task in _tasks(world, effect) if task.description]


def brief(world: World, effect: Effect, texts: dict[str, str]) -> AssessmentBrief:
    """Tasks that still want an assessment, as they read now; none when all is over."""
    return AssessmentBrief(
        tasks=tuple(
            TaskBrief(
                task_id=task.id,
                title=task.title,
                description=texts.get(task.description, ERASED) if task.description else "",
                kind=task.kind,
                labels=task.labels,
                skills=tuple(f"{skill.name} {skill.level}" for skill in task.skills),
                acceptance_criteria=task.acceptance_criteria,
                path_hints=task.path_hints,
                n_dependencies=len(task.dependencies),
                n_dependants=len(world.dependants.get(task.id, ())),
                estimate_min=task.estimate_min,
                complexity=task.complexity,
            )
            for task in _tasks(world, effect)
        )
    )


def _tasks(world: World, effect: Effect) -> Iterator[Task]:
    assert isinstance(effect.want, AssessTasks), effect
    for task_id in effect.want.task_ids:
        task = world.tasks.get(task_id)
        if task is not None and is_wanted(task):
            yield task

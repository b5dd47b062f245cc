"""Who waits for whom: links between tasks, and what passes along them."""

from typing import TYPE_CHECKING

import msgspec

from pm_agent.domain.ids import TaskId

if TYPE_CHECKING:
    from pm_agent.domain.task import Task
    from pm_agent.domain.world import World


def change_waiting(world: "World", task_id: TaskId, delta: int) -> None:
    """Count a dependency as accepted (-1) or no longer accepted (+1) in its dependants."""
    for waiting_id in world.dependants.get(task_id, ()):
        waiting = world.tasks[waiting_id]
        world.put_task(msgspec.structs.replace(waiting, waiting_on=waiting.waiting_on + delta))


def link_dependencies(
    world: "World", task_id: TaskId, old: tuple[TaskId, ...], new: tuple[TaskId, ...]
) -> None:
    """Let a task wait for ``new`` in place of ``old``."""
    if not old and not new:
        return
    for dependency in old:
        world.dependants.get(dependency, {}).pop(task_id, None)
    for dependency in new:  # a task of the same import may be created after its dependant
        if dependency not in world.tombstones:
            world.dependants.setdefault(dependency, {})[task_id] = None
    linked = world.tasks.get(task_id)
    if linked is not None and not linked.is_terminal:
        urgency = world.inheritance.of(linked)
        world.put_changed(world.inheritance.shift(old, urgency, None))
        world.put_changed(world.inheritance.shift(new, None, urgency))
    world.put_changed({*old, *new})


def change_urgency(world: "World", old: "Task", new: "Task") -> None:
    """Let what ``new`` depends on inherit its priority, or no longer do so."""
    if not new.dependencies and new.id not in world.dependants:
        return  # nothing is above or below it
    inherited = world.inheritance
    before = None if old.is_terminal else inherited.of(old)
    if new.is_terminal:
        inherited.end(new.id)
    elif old.is_terminal:
        inherited.reopen(new.id, world.dependants.get(new.id, ()))
    after = None if new.is_terminal else inherited.of(new)
    if before != after:
        world.put_changed(inherited.shift(new.dependencies, before, after))

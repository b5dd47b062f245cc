"""What the operations on tasks do."""

import msgspec

from pm_agent.api.cursor import seal, unseal
from pm_agent.api.handlers.call import Answer, Call
from pm_agent.api.schemas import tasks as schemas
from pm_agent.domain import task
from pm_agent.domain.errors import UnknownTask
from pm_agent.domain.world import World
from pm_agent.features.backlog import history as backlog_history
from pm_agent.features.backlog import search as backlog_search
from pm_agent.features.backlog import view as backlog_view
from pm_agent.features.instructions import view as instructions_view
from pm_agent.kernel.fencing import require_task


async def update_task(call: Call, given: schemas.UpdateTaskInput) -> Answer:
    """Change a task; the answer carries its new version."""
    reply = await call.submit(call.command(task.UpdateTask, given))
    await call.ingress.reach(reply.position)
    known = call.world.tasks.get(given.task_id)
    return call.reply(reply, version=known.version if known else None)


async def task_context(call: Call, given: schemas.TaskContextInput) -> Answer:
    """Read all about a task."""
    texts = await call.ingress.texts(backlog_view.context_refs(call.world, given.task_id))
    held = call.world.assignments.get(given.task_id)
    signs = await call.ingress.signs([held.agent_id] if held else [])
    known = require_task(call.world, given.task_id)
    context = backlog_view.task_context(
        call.world,
        given.task_id,
        texts,
        instructions_view.recovery_lines(known, texts),
        signs=signs,
        is_detailed=given.response_format == "detailed",
    )
    return call.read(context, known.version)


async def search(call: Call, given: schemas.SearchTasksInput) -> Answer:
    """Find tasks."""
    key = call.cursor_key
    asked = given.model_dump(exclude={"response_format"}) | {
        "cursor": unseal(key, "search_tasks", given)
    }
    page = backlog_search.search_tasks(call.world, **asked)
    after = seal(key, "search_tasks", given, page.next_cursor)
    page = msgspec.structs.replace(page, next_cursor=after)
    signs = await call.ingress.signs(item.agent_id for item in page.tasks if item.agent_id)
    return call.read(backlog_search.with_lease_states(call.world, page, signs))


async def task_history(call: Call, given: schemas.TaskHistoryInput) -> Answer:
    """Read what happened to a task."""
    require_known(call.world, given.task_id)
    events = await call.ingress.history(given.task_id, given.limit)
    texts = await call.ingress.texts(backlog_history.history_refs(events))
    return call.read(backlog_history.task_history(given.task_id, events, texts))


def require_known(world: World, task_id: str) -> None:
    """Refuse an unknown task; what happened to an archived one can still be read."""
    if task_id not in world.tasks and task_id not in world.tombstones:
        message = f"There is no task {task_id}."
        raise UnknownTask(message)

"""Work handed in asks for its gate to run, kept late work too; it has its turn after a failure."""

from collections.abc import Iterator

from pm_agent.domain.assignment import (
    AssignmentExpired,
    CandidateKept,
    CompletionRejected,
    CompletionSubmitted,
    SubmitCandidate,
    TaskReleased,
)
from pm_agent.domain.envelope import SYSTEM, Event
from pm_agent.domain.ids import TaskId
from pm_agent.domain.world import World
from pm_agent.kernel.effects import Alarm, Effect, RunGate, effect_of


def ask_for_gate(
    event: Event, data: CompletionSubmitted | CandidateKept, world: World
) -> Effect | None:
    """Work for a project with a command wants its verdict.

    Also late work while another attempt is live: who is first through the gate wins.
    """
    task = world.tasks[data.task_id]
    project = world.projects[task.project_id]
    if project.completion != "command" or task.is_terminal or task.waiting_on:
        return None
    return effect_of(event, data.task_id, data.lease_token, RunGate(project.gate))


def try_candidate(
    event: Event, data: CompletionRejected | TaskReleased | AssignmentExpired, world: World
) -> Alarm | None:
    """Look at once whether kept late work can be handed in now."""
    if not world.tasks[data.task_id].candidates:
        return None
    return _alarm(event.at_us, data.task_id, event.position)


def alarms(world: World) -> Iterator[Alarm]:
    """Alarms for every task with late work that was kept."""
    for task in world.tasks.values():
        if task.candidates and not task.is_terminal:
            yield _alarm(world.tables.now_us, task.id, world.position)


def _alarm(at_us: int, task_id: TaskId, position: int) -> Alarm:
    command = SubmitCandidate(
        request_id=f"system:candidate:{task_id}:{position}", principal=SYSTEM, task_id=task_id
    )
    return Alarm(at_us, command)


REACTORS = {
    CompletionSubmitted: ask_for_gate,
    CandidateKept: ask_for_gate,
    CompletionRejected: try_candidate,
    TaskReleased: try_candidate,
    AssignmentExpired: try_candidate,
}

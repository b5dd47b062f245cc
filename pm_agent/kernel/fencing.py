"""Who may write about a task: the agent that holds its current lease, and nobody else.

Prevents the zombie write: an agent whose lease ran out while it slept must not change a task that
somebody else holds now. The token is required on every write and compared for equality.
"""

from pm_agent.domain.agent import Agent
from pm_agent.domain.assignment import Assignment
from pm_agent.domain.attempt import Attempt
from pm_agent.domain.envelope import Principal
from pm_agent.domain.errors import (
    AlreadyCompleted,
    DepartedAgent,
    Forbidden,
    NotAssigned,
    NotAssignee,
    StaleLease,
    UnknownAgent,
    UnknownProject,
    UnknownTask,
    WrongState,
)
from pm_agent.domain.ids import AgentId, ProjectId, TaskId
from pm_agent.domain.project import Project
from pm_agent.domain.task import LEASED, Task
from pm_agent.domain.world import World


def require_task(world: World, task_id: TaskId) -> Task:
    """Return the task, or refuse: unknown, or archived and so over for good."""
    task = world.tasks.get(task_id)
    if task is None:
        if task_id in world.tombstones:
            message = f"Task {task_id} ended and was archived."
            raise AlreadyCompleted(message)
        message = f"There is no task {task_id}."
        raise UnknownTask(message)
    return task


def require_project(world: World, project_id: ProjectId) -> Project:
    """Return the project, or refuse and say which there are."""
    project = world.projects.get(project_id)
    if project is None:
        known = ", ".join(sorted(world.projects)[:5]) or "none yet"
        message = f"There is no project {project_id}; there are: {known}."
        raise UnknownProject(message)
    return project


def require_agent(world: World, agent_id: AgentId) -> Agent:
    """Return the agent, or refuse."""
    agent = world.agents.get(agent_id)
    if agent is None:
        message = f"There is no agent {agent_id}."
        raise UnknownAgent(message)
    return agent


def require_member(world: World, agent_id: AgentId) -> Agent:
    """Return the agent if it is on the team, or refuse: unknown, or it has left."""
    agent = require_agent(world, agent_id)
    if agent.left_at_us:
        message = f"Agent {agent_id} has left the team."
        raise DepartedAgent(message)
    return agent


def require_self(principal: Principal, agent_id: AgentId) -> None:
    """An agent acts for itself only; people and the system may act for any."""
    if principal.kind == "agent" and principal.id != agent_id:
        message = f"This token is of {principal.id} and cannot act for {agent_id}."
        raise Forbidden(message, f"Use your own agent id, {principal.id}.")


def require_lease(
    world: World, principal: Principal, task_id: TaskId, lease_token: int
) -> tuple[Task, Assignment]:
    """Return the task and its assignment if the writer holds the current lease."""
    task = require_task(world, task_id)
    assignment = world.assignments.get(task_id)
    if lease_token != task.lease_token:
        holder = f"leased to {assignment.agent_id}" if assignment else f"in state {task.state}"
        message = (
            f"Lease token {lease_token} of task {task_id} is not the current one; the task is now "
            f"{holder}."
        )
        raise StaleLease(message, _advice(task, principal, lease_token))
    if assignment is None:
        message = f"Task {task_id} is not assigned: its lease ended and it is {task.state}."
        raise NotAssigned(message, _advice(task, principal, lease_token))
    if principal.kind == "agent" and principal.id != assignment.agent_id:
        message = f"Task {task_id} is assigned to {assignment.agent_id}, not to {principal.id}."
        raise NotAssignee(message)
    return task, assignment


def require_running(
    world: World, principal: Principal, task_id: TaskId, lease_token: int
) -> tuple[Task, Assignment]:
    """As `require_lease`, and the work has not been handed in yet."""
    task, assignment = require_lease(world, principal, task_id, lease_token)
    if task.state not in LEASED:
        message = f"Task {task.id} is {task.state}: its work was handed in already."
        raise WrongState(message)
    return task, assignment


def lost_attempt(task: Task, principal: Principal, lease_token: int) -> Attempt | None:
    """Return the sender's attempt whose lease was lost, if the token is of one.

    None also for work that came late, was taken or kept all the same, and has been judged since.
    """
    submission = task.submission
    if submission is not None and submission.late_token == lease_token:
        return None
    if any(kept.lease_token == lease_token and kept.is_rejected for kept in task.candidates):
        return None
    if any(attempt.late_token == lease_token for attempt in task.attempts):
        return None
    for attempt in task.attempts:
        if attempt.lease_token == lease_token and attempt.outcome == "expired":
            is_own = principal.kind != "agent" or principal.id == attempt.agent_id
            return attempt if is_own else None
    return None


def _advice(task: Task, principal: Principal, lease_token: int) -> str | None:
    """Tell who was silent too long what becomes of its work; None: nothing in particular."""
    lost = lost_attempt(task, principal, lease_token)
    if lost is None:
        return None
    return (
        "You were silent too long and lost the lease. Stop working on this task and ask for "
        "another with request_next_task. If the work is finished already, hand it in with "
        "complete_task all the same: it is taken while nobody else has the task, and kept as a "
        "candidate otherwise."
    )

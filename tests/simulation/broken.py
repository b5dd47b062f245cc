"""Builds with one promise broken on purpose: checkers are worth what they see, and how soon.

Each of these breaks the real code for as long as a test runs. They exist in the tests alone.
"""

# ruff: noqa: ARG005 - a replacement takes all that the replaced took

import sys
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from pm_agent.adapters.journal_memory import MemoryJournal
from pm_agent.catalog import CATALOG
from pm_agent.domain.assignment import TaskReleased
from pm_agent.domain.envelope import Command
from pm_agent.domain.errors import UnknownTask
from pm_agent.domain.world import World
from pm_agent.features.assignment import decide as assignment_decide
from pm_agent.features.assignment import facts
from pm_agent.features.quality import decide as quality_decide
from pm_agent.kernel.fencing import require_lease
from pm_agent.kernel.idempotency import Requests
from simulation import coordinator
from simulation.check import Outcome, Plan, run
from simulation.coordinator import Process

Break = Callable[[pytest.MonkeyPatch], None]


def lease_token_unchecked(patch: pytest.MonkeyPatch) -> None:
    """Whoever holds a task may write about it, under whatever token."""

    def lax(world: World, principal: Any, task_id: str, lease_token: int) -> Any:
        task = world.tasks.get(task_id)
        if task is None:
            raise UnknownTask
        return require_lease(world, principal, task_id, task.lease_token)

    _replace_require_lease(patch, lax)


def lease_unchecked(patch: pytest.MonkeyPatch) -> None:
    """Anybody may write about a task that somebody holds."""

    def lax(world: World, principal: Any, task_id: str, lease_token: int) -> Any:
        if task_id not in world.assignments:
            raise UnknownTask
        return world.tasks[task_id], world.assignments[task_id]

    _replace_require_lease(patch, lax)


def _replace_require_lease(patch: pytest.MonkeyPatch, lax: Callable[..., Any]) -> None:
    for name, module in list(sys.modules.items()):  # features import it by name
        if name.startswith("pm_agent.features.") and hasattr(module, "require_lease"):
            patch.setattr(module, "require_lease", lax)


def late_work_steals(patch: pytest.MonkeyPatch) -> None:
    """Work that comes late takes the task from whoever holds it now, without a verdict."""
    honest = quality_decide._complete_late

    def steal(world: World, command: Any, context: Any, task: Any, lost: Any) -> Any:
        held = world.assignments.get(task.id)
        if held is None or held.agent_id == lost.agent_id or task.waiting_on:
            return honest(world, command, context, task, lost)
        decision = quality_decide._regranted(world, command, context, task, lost)
        stopped = TaskReleased(
            task_id=task.id,
            agent_id=held.agent_id,
            lease_token=held.lease_token,
            reason="stopped",
        )
        decision.events = [stopped, *decision.events]
        return decision

    patch.setattr(quality_decide, "_complete_late", steal)


def late_token_is_as_good(patch: pytest.MonkeyPatch) -> None:
    """Where late work was taken, its lost lease token counts for the new one in every write."""

    def lax(world: World, principal: Any, task_id: str, lease_token: int) -> Any:
        held = world.assignments.get(task_id)
        is_late = held is not None and held.late_token == lease_token
        current = world.tasks[task_id].lease_token if is_late else lease_token
        return require_lease(world, principal, task_id, current)

    _replace_require_lease(patch, lax)


def every_end_is_a_loss(patch: pytest.MonkeyPatch) -> None:
    """Whoever gave a task back, or handed it over, may hand its work in late all the same."""

    def lax(task: Any, principal: Any, lease_token: int) -> Any:
        for attempt in task.attempts:
            if attempt.lease_token == lease_token and attempt.agent_id == principal.id:
                return attempt
        return None

    patch.setattr(quality_decide, "lost_attempt", lax)


def epoch_unchecked(patch: pytest.MonkeyPatch) -> None:
    """The journal takes what a coordinator of an epoch before writes."""
    journal = sys.modules[MemoryJournal.__module__]
    patch.setattr(journal, "require_epoch", lambda current, own: None)


def reply_before_commit(patch: pytest.MonkeyPatch) -> None:
    """Replies go out as soon as they are decided."""
    commit = Process._commit

    def eager(self: Process, step: Any, waiting: Any) -> None:
        for (_, answer), reply in zip(waiting, step.replies, strict=True):
            answer(reply)
        commit(self, step, waiting)

    patch.setattr(Process, "_commit", eager)


def capacity_unchecked(patch: pytest.MonkeyPatch) -> None:
    """An agent gets as many tasks as it asks for."""
    patch.setattr(assignment_decide, "_is_full", lambda agent: False)


def request_ids_ignored(patch: pytest.MonkeyPatch) -> None:
    """A retry is taken for a new request."""
    patch.setattr(Requests, "find", lambda self, principal, command: None)


def request_bodies_ignored(patch: pytest.MonkeyPatch) -> None:
    """Other words under the same request id get the answer of before."""

    def find(self: Requests, principal: str, command: Command) -> Any:
        return self._replies.get((principal, command.request_id))

    patch.setattr(Requests, "find", find)


def requests_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A coordinator that starts knows no request of before."""
    begin = Requests.__init__
    patch.setattr(Requests, "__init__", lambda self, known=(): begin(self))


def counter_off_by_one(patch: pytest.MonkeyPatch) -> None:
    """One dependency of each task is not waited for."""
    count = World.count_unaccepted

    def one_less(self: World, dependencies: Any) -> int:
        return max(0, count(self, dependencies) - 1)

    patch.setattr(World, "count_unaccepted", one_less)


def holds_ignored(patch: pytest.MonkeyPatch) -> None:
    """Tasks of a held project are given out all the same."""

    def is_closed(world: World, project_id: str) -> bool:
        limit = world.projects[project_id].max_in_progress
        return bool(limit) and world.leased[project_id] >= limit

    patch.setattr(facts, "_is_closed", is_closed)


def caps_ignored(patch: pytest.MonkeyPatch) -> None:
    """Claims do not look at what a project has left."""
    patch.setattr(facts, "left_of", lambda world, project_id: None)


def offers_ignored(patch: pytest.MonkeyPatch) -> None:
    """Nobody who waits is given a task that becomes ready."""
    unsettled = msgspec.structs.replace(CATALOG, settle=lambda world, context: ())
    patch.setattr(coordinator, "CATALOG", unsettled)


def first_failure(steps: int) -> Outcome:
    """Run of the first seed that fails; which one it is moves with every change of the rules."""
    for seed in range(20):
        outcome = run(Plan(seed, steps=steps, liveness=False))
        if outcome.violations:
            return outcome
    raise AssertionError("no seed fails")

"""Holds: why a workspace, project, agent or task is not dispatched, by whom and until when."""

from typing import TYPE_CHECKING, Literal

import msgspec

from pm_agent.domain.envelope import Command, Event, EventData

if TYPE_CHECKING:
    from pm_agent.domain.world import World

HoldKind = Literal["paused", "approval", "stopped", "budget", "scheduled"]
Scope = Literal["workspace", "project", "agent", "task"]


class Hold(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One reason not to dispatch. Ready and dispatch require that there is none."""

    kind: HoldKind
    by: str
    at_us: int
    reason: str = ""
    until_us: int | None = None  # lifted by the clock at this instant; None: by somebody


class PlaceHold(Command, frozen=True, kw_only=True):
    """Stop dispatching in a scope. ``stopped`` also tells running agents to stop."""

    scope: Scope
    target_id: str
    kind: HoldKind = "paused"
    reason: str = ""
    until_us: int | None = None


class LiftHold(Command, frozen=True, kw_only=True):
    """Lift the holds of one kind, or of all kinds, in a scope."""

    scope: Scope
    target_id: str
    kind: HoldKind | None = None


class LiftDueHold(Command, frozen=True, kw_only=True):
    """The clock's: lift a hold whose instant has come."""

    scope: Scope
    target_id: str
    kind: HoldKind


class HoldPlaced(EventData, frozen=True, kw_only=True):
    scope: Scope
    target_id: str
    kind: HoldKind
    reason: str = ""
    until_us: int | None = None


class HoldLifted(EventData, frozen=True, kw_only=True):
    scope: Scope
    target_id: str
    kind: HoldKind


def _placed(world: "World", event: Event, data: HoldPlaced) -> None:
    hold = Hold(data.kind, event.principal, event.at_us, data.reason, data.until_us)
    kept = tuple(h for h in world.holds_of(data.scope, data.target_id) if h.kind != data.kind)
    _put_holds(world, data.scope, data.target_id, (*kept, hold))


def _lifted(world: "World", event: Event, data: HoldLifted) -> None:
    kept = tuple(h for h in world.holds_of(data.scope, data.target_id) if h.kind != data.kind)
    _put_holds(world, data.scope, data.target_id, kept)


def _put_holds(world: "World", scope: Scope, target_id: str, holds: tuple[Hold, ...]) -> None:
    if scope == "workspace":
        world.tables.workspace_holds = holds
        if not holds:
            world.ready.refresh_project(None)
    elif scope == "project":
        world.put_project(msgspec.structs.replace(world.projects[target_id], holds=holds))
        if not holds:
            world.ready.refresh_project(target_id)
    elif scope == "agent":
        world.put_agent(msgspec.structs.replace(world.agents[target_id], holds=holds))
        if not holds:
            world.ready.refresh_project(None)
    else:
        world.put_task(msgspec.structs.replace(world.tasks[target_id], holds=holds))


def directives_for(world: "World", agent_id: str) -> tuple[str, ...]:
    """Return what a running agent must be told with its next reply: the work to stop."""
    agent = world.agents.get(agent_id)
    if agent is None or not agent.active:
        return ()
    wide = (*world.tables.workspace_holds, *agent.holds)
    told = []
    for task_id in agent.active:
        task = world.tasks[task_id]
        narrow = world.projects[task.project_id].holds
        if not wide and not narrow and not task.holds:
            continue  # as most often
        for hold in (*wide, *narrow, *task.holds):
            if hold.kind == "stopped":
                why = f": {hold.reason}" if hold.reason else ""
                told.append(f"Stop working on {task_id} and release it{why}.")
                break
    return tuple(told)


APPLY = {HoldPlaced: _placed, HoldLifted: _lifted}

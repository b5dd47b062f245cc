"""Projects: tasks with one goal, how their completion is judged, and what they may cost."""

from hashlib import sha256
from typing import TYPE_CHECKING, Literal

import msgspec

from pm_agent.domain.envelope import NO_USAGE, Command, Event, EventData, Usage
from pm_agent.domain.hold import Hold
from pm_agent.domain.ids import ProjectId

if TYPE_CHECKING:
    from pm_agent.domain.world import World

# auto: a submission is accepted at once. command: a fixed argv must exit 0. person: somebody
# says so.
CompletionPolicy = Literal["auto", "command", "person"]


VERSION_BYTES = 6  # what JSON readers keep exactly


class Gate(msgspec.Struct, frozen=True, omit_defaults=True):
    """The fixed command of a ``command`` policy. No field of a task ever enters ``argv``."""

    argv: tuple[str, ...] = ()
    cwd: str = ""
    timeout_s: int = 600


class Project(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    id: ProjectId
    name: str
    completion: CompletionPolicy = "auto"
    gate: Gate = Gate()
    max_in_progress: int = 0  # tasks leased at once; 0: no limit
    cost_cap_microusd: int = 0  # 0: no cap
    token_cap: int = 0  # 0: no cap
    created_at_us: int = 0
    holds: tuple[Hold, ...] = ()
    usage: Usage = NO_USAGE
    retry_after_s: int = 30  # hint for agents that found nothing; set by the portfolio manager

    @property
    def version(self) -> int:
        """Number of its settings: two that are the same have the same, as a strong ETag wants.

        Made of what people set and not counted, so that no journal has to know it. The retry hint
        is left out: the portfolio manager keeps moving it, and nobody's change shall fail by that.
        """
        settings = (
            *(self.completion, self.gate, self.max_in_progress),
            *(self.cost_cap_microusd, self.token_cap),
        )
        return int.from_bytes(sha256(msgspec.json.encode(settings)).digest()[:VERSION_BYTES])

    @property
    def is_limited(self) -> bool:
        """Whether anything of the project's own may keep its ready tasks back."""
        return bool(self.holds or self.max_in_progress or self.cost_cap_microusd or self.token_cap)


def cap_reached(project: Project, added: Usage) -> str:
    """Name the cap that the project's use reaches with ``added``, or return an empty string."""
    used = project.usage.plus(added)
    if project.cost_cap_microusd and used.cost_microusd >= project.cost_cap_microusd:
        return f"cost cap of {project.cost_cap_microusd / 1_000_000:.2f} USD reached"
    if project.token_cap and used.tokens >= project.token_cap:
        return f"token cap of {project.token_cap} reached"
    return ""


class CreateProject(Command, frozen=True, kw_only=True):
    project_id: ProjectId
    name: str
    completion: CompletionPolicy = "auto"
    gate: Gate = Gate()
    max_in_progress: int = 0
    cost_cap_microusd: int = 0
    token_cap: int = 0


class UpdateProject(Command, frozen=True, kw_only=True):
    project_id: ProjectId
    expected_version: int | None = None
    completion: CompletionPolicy | None = None
    gate: Gate | None = None
    max_in_progress: int | None = None
    cost_cap_microusd: int | None = None
    token_cap: int | None = None
    retry_after_s: int | None = None


class ProjectCreated(EventData, frozen=True, kw_only=True):
    project_id: ProjectId
    name: str
    completion: CompletionPolicy = "auto"
    gate: Gate = Gate()
    max_in_progress: int = 0
    cost_cap_microusd: int = 0
    token_cap: int = 0


class ProjectUpdated(EventData, frozen=True, kw_only=True):
    project_id: ProjectId
    completion: CompletionPolicy | None = None
    gate: Gate | None = None
    max_in_progress: int | None = None
    cost_cap_microusd: int | None = None
    token_cap: int | None = None
    retry_after_s: int | None = None


def project_of(created: ProjectCreated, at_us: int) -> Project:
    """Return a project as it begins."""
    fields = {f: getattr(created, f) for f in created.__struct_fields__ if f != "project_id"}
    return Project(id=created.project_id, created_at_us=at_us, **fields)


def _created(world: "World", event: Event, data: ProjectCreated) -> None:
    world.put_project(project_of(data, event.at_us))


def _updated(world: "World", event: Event, data: ProjectUpdated) -> None:
    changes = {
        f: value
        for f in data.__struct_fields__
        if f != "project_id" and (value := getattr(data, f)) is not None
    }
    world.put_project(msgspec.structs.replace(world.projects[data.project_id], **changes))


APPLY = {ProjectCreated: _created, ProjectUpdated: _updated}

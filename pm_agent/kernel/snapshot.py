"""A saved world, so that a start replays only the tail. One of another schema is ignored."""

import msgspec

from pm_agent.domain.ids import ProjectId
from pm_agent.domain.world import Tables, World
from pm_agent.kernel.effects import Effect, Outbox
from pm_agent.ports import StoredSnapshot

# Raise with any change of a struct in the tables; old snapshots are then ignored, not migrated.
SCHEMA_VERSION = 1


class Saved(msgspec.Struct):
    """What a snapshot holds."""

    tables: Tables
    effects: dict[str, Effect]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Saved).decode


def save(world: World, outbox: Outbox) -> StoredSnapshot:
    """Encode a world and its pending effects."""
    return StoredSnapshot(
        world.position, SCHEMA_VERSION, _encode(Saved(world.tables, outbox.pending))
    )


def save_project(world: World, project_id: ProjectId) -> StoredSnapshot:
    """Only one project and its tasks that have not ended; to compute on, never to replay from."""
    tables = Tables(
        workspace_id=world.tables.workspace_id,
        position=world.position,
        tasks={
            t.id: t
            for t in world.tasks.values()
            if t.project_id == project_id and not t.is_terminal
        },
        projects={p.id: p for p in world.projects.values() if p.id == project_id},
    )
    return StoredSnapshot(world.position, SCHEMA_VERSION, _encode(Saved(tables, {})))


def load(snapshot: StoredSnapshot) -> tuple[World, Outbox]:
    """Rebuild world and outbox, indexes included."""
    saved = _decode(snapshot.data)
    return World(saved.tables), Outbox(saved.effects)

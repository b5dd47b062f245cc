"""A saved world, so that a start replays only the tail. One of another schema is ignored.

Its bytes begin with their own SHA-256: the journal's chain of hashes is over events alone, and a
flipped bit could otherwise become another world without a word.
"""

from hashlib import sha256

import msgspec

from pm_agent.domain.ids import ProjectId
from pm_agent.domain.world import Tables, World
from pm_agent.kernel.effects import Effect, Outbox
from pm_agent.ports import StoredSnapshot

# Raise with any change of a struct in the tables; old snapshots are then ignored, not migrated.
SCHEMA_VERSION = 5
DIGEST_BYTES = 32


class Saved(msgspec.Struct):
    """What a snapshot holds."""

    tables: Tables
    effects: dict[str, Effect]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Saved).decode


def save(world: World, outbox: Outbox) -> StoredSnapshot:
    """Encode a world and its pending effects."""
    return _stored(Saved(world.tables, outbox.pending))


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
    return _stored(Saved(tables, {}))


def load(snapshot: StoredSnapshot) -> tuple[World, Outbox]:
    """Rebuild world and outbox, indexes included."""
    saved = _decode(memoryview(snapshot.data)[DIGEST_BYTES:])
    return World(saved.tables), Outbox(saved.effects)


def is_whole(snapshot: StoredSnapshot) -> bool:
    """Whether a snapshot is as it was saved. To be asked of one that was kept on a disk."""
    data = memoryview(snapshot.data)
    return sha256(data[DIGEST_BYTES:]).digest() == data[:DIGEST_BYTES]


def _stored(saved: Saved) -> StoredSnapshot:
    data = _encode(saved)
    position = saved.tables.position
    return StoredSnapshot(position, SCHEMA_VERSION, sha256(data).digest() + data)

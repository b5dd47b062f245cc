"""A saved world, so that a start replays only the tail. One of another schema is ignored.

Its bytes begin with their own SHA-256: the journal's chain of hashes is over events alone, and a
flipped bit could otherwise become another world without a word.

Encoding a large world takes as long as hundreds of claims. So `copy` takes hold of it in an
instant, records being frozen, and `pieces` are encoded one by one while the world goes on.
"""

from collections.abc import Iterable, Iterator
from hashlib import sha256
from itertools import islice
from typing import Any

import msgspec

from pm_agent.domain.ids import ProjectId
from pm_agent.domain.tables import Tables
from pm_agent.domain.tombstone import Tombstones
from pm_agent.domain.world import World
from pm_agent.kernel.effects import AssessTasks, Effect, Outbox
from pm_agent.ports import StoredSnapshot

# Raise with any change of a struct in the tables; old snapshots are then ignored, not migrated.
SCHEMA_VERSION = 13
DIGEST_BYTES = 32


class Saved(msgspec.Struct):
    """What a snapshot holds."""

    tables: Tables
    effects: dict[str, Effect]


PIECE = 1000  # records, one to two milliseconds' work

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Saved).decode


def save(world: World, outbox: Outbox) -> StoredSnapshot:
    """Encode a world and its pending effects."""
    return stored(world.position, pieces(Saved(world.tables, outbox.pending)))


def copy(world: World, outbox: Outbox) -> Saved:
    """Take hold of a world as it is now: its tables are copied, the records in them shared."""
    held: dict[str, Any] = {
        name: table.copy() if isinstance(table, dict | Tombstones) else table
        for name, table in msgspec.structs.asdict(world.tables).items()
    }
    held["track_records"] = {a: records.copy() for a, records in world.track_records.items()}
    return Saved(Tables(**held), outbox.pending.copy())


def pieces(saved: Saved) -> Iterator[bytes]:
    """The bytes of a snapshot, `PIECE` records at a time."""
    yield _map_header(len(saved.__struct_fields__))
    yield _encode("tables") + _map_header(len(saved.tables.__struct_fields__))
    for name, table in msgspec.structs.asdict(saved.tables).items():
        yield _encode(name)
        if isinstance(table, dict):
            yield from _pieces_of(table)
        else:
            yield _encode(table)
    yield _encode("effects")
    yield from _pieces_of(saved.effects)


def stored(position: int, encoded: Iterable[bytes]) -> StoredSnapshot:
    """Seal the bytes of a snapshot."""
    data = b"".join(encoded)
    return StoredSnapshot(position, SCHEMA_VERSION, sha256(data).digest() + data)


def save_project(world: World, outbox: Outbox, project_id: ProjectId) -> StoredSnapshot:
    """Only one project, its tasks that have not ended, and what was asked about them.

    To compute on, never to replay from.
    """
    effects = {
        effect.effect_id: effect
        for effect in outbox.pending.values()
        if isinstance(effect.want, AssessTasks) and effect.want.project_id == project_id
    }
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
    return stored(world.position, pieces(Saved(tables, effects)))


def load(snapshot: StoredSnapshot) -> tuple[World, Outbox]:
    """Rebuild world and outbox, indexes included."""
    saved = _decode(memoryview(snapshot.data)[DIGEST_BYTES:])
    return World(saved.tables), Outbox(saved.effects)


def is_whole(snapshot: StoredSnapshot) -> bool:
    """Whether a snapshot is as it was saved. To be asked of one that was kept on a disk."""
    data = memoryview(snapshot.data)
    return sha256(data[DIGEST_BYTES:]).digest() == data[:DIGEST_BYTES]


def _pieces_of(table: dict[str, Any]) -> Iterator[bytes]:
    """A map in the MessagePack format, piece by piece."""
    yield _map_header(len(table))
    items = iter(table.items())
    while some := dict(islice(items, PIECE)):
        encoded = _encode(some)
        yield encoded[1 if len(some) <= _FIXMAP_MAX else 3 :]  # without a header of its own


_FIXMAP_MAX = 15  # entries that a header of one byte can tell; one of three bytes tells 65,535


def _map_header(n: int) -> bytes:
    return b"\xdf" + n.to_bytes(4, "big")

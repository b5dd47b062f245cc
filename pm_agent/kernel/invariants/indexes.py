"""Compares everything derived with what a rebuilt world derives."""

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

import msgspec

from pm_agent.domain.ids import ProjectId
from pm_agent.domain.ready_set import COLUMNS, LAST_AGENT
from pm_agent.domain.tables import Tables
from pm_agent.domain.world import World
from pm_agent.kernel import snapshot
from pm_agent.kernel.effects import Outbox
from pm_agent.kernel.invariants.promises import REPLAY, Violation


def check_indexes(world: World) -> Iterator[Violation]:
    """Compare everything derived with what a world rebuilt from the same tables derives."""
    tables = snapshot.copy(world, Outbox()).tables  # the records are shared: a world may be large
    for name in _changed_by_encoding(tables):
        yield Violation(REPLAY, f"table {name} changes on its way through a snapshot")
    for one in world.ready.classes.values():
        if one.by_length is not None and one.by_length != world.ready.sorted_by_length(one):
            yield Violation(REPLAY, f"tasks of {one.key} lie out of order by length")
    live, again = _indexes(world), _indexes(World(tables))
    for name, value in live.items():
        if value != again[name]:
            detail = f"index {name} is {_difference(value, again[name])} in a rebuilt world"
            yield Violation(REPLAY, detail)


def _changed_by_encoding(tables: Tables) -> Iterator[str]:
    encode = msgspec.msgpack.encode
    for field in msgspec.structs.fields(Tables):
        decode = msgspec.msgpack.Decoder(field.type).decode
        for part in _parts(getattr(tables, field.name)):
            packed = encode(part)
            if encode(decode(packed)) != packed:
                yield field.name
                break


def _parts(table: Any) -> Iterator[Any]:
    """A large table in parts, of which one is encoded at a time."""
    if not isinstance(table, dict):
        yield table
        return
    items = iter(table.items())
    while part := dict(islice(items, snapshot.PIECE)):
        yield part


def _indexes(world: World) -> dict[str, dict[Any, Any]]:
    kinds = {number: kind for kind, number in world.kind_numbers.items()}
    ready: dict[Any, Any] = {}
    for key, ready_class in world.ready.classes.items():
        for rank, number, slot in ready_class.entries:
            values = world.ready.columns[slot].tolist()
            row = dict(zip(COLUMNS, values[: len(COLUMNS)], strict=True))
            row["kind"] = kinds[row["kind"]]
            last_agent = values[LAST_AGENT]
            ready[world.ready.task_ids[slot]] = (key, rank, number, row, last_agent)
    return {
        "ready": ready,
        "dependants": {t: set(waiting) for t, waiting in world.dependants.items() if waiting},
        "signatures": {s: set(agents) for s, agents in world.signatures.items() if agents},
        "task_blockers": {t: list(blockers) for t, blockers in world.task_blockers.items()},
        "awaited": {t: set(blockers) for t, blockers in world.awaited.items()},
        "task_keys": dict(world.task_keys),
        "task_handoffs": dict(world.task_handoffs),
        "watched": {f: set(one.where) for f, one in world.watchlists.by_filter.items()},
        "subscribers": {a: dict(own) for a, own in world.watchlists.of_agent.items()},
        "hooked": dict(world.watchlists.hooked),
        "agent_numbers": dict(world.agent_numbers),
        # Sums of floats, here in the order of outcomes and there of agents.
        "team_record": {
            kinds[number]: [round(value, 3) for value in row]
            for number, row in enumerate(world.team_record.rows.tolist())
            if row[1]
        },
        "leased": nonzero(world.leased),
        "held_min": nonzero(world.held_min),
        "unanswered": dict(world.unanswered),
        "inheritance": {
            t.id: world.inheritance.of(t) for t in world.tasks.values() if not t.is_terminal
        },
    }


def _difference(live: dict[Any, Any], rebuilt: dict[Any, Any]) -> str:
    key = next(k for k in (*live, *rebuilt) if live.get(k) != rebuilt.get(k))
    return f"{live.get(key)} at {key}, but {rebuilt.get(key)}"


def nonzero(counts: Counter[ProjectId]) -> dict[ProjectId, int]:
    """Without the zeros that a counter keeps."""
    return {key: n for key, n in counts.items() if n}

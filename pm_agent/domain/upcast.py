"""Read old shapes of events. An event keeps its name and meaning for ever; only its shape grows.

Add a step when a struct's shape changes in a way its defaults cannot absorb: raise the struct's
``schema_version`` and register here how the older JSON becomes the newer.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from pm_agent.domain.decision_record import packed, packed_numbers
from pm_agent.domain.envelope import EventData
from pm_agent.domain.errors import JournalTooNew
from pm_agent.domain.ids import task_number
from pm_agent.domain.world import APPLIERS

Json = dict[str, Any]


def _pack_record(assigned: Json) -> Json:
    """Decision records came with lists of numbers, and with ids of tasks."""
    old = assigned["decision"]
    packed_fields = {
        "candidates": packed_numbers([task_number(name) for name in old["candidates"]]),
        "scores": packed(old["scores"]),
        "factors": packed(old["factors"]),
        "facts": packed(old["facts"]),
    }
    return {**assigned, "decision": {**old, **packed_fields}}


# (event name, version it reads) -> how to make the next version
STEPS: dict[tuple[str, int], Callable[[Json], Json]] = {("TaskAssigned", 1): _pack_record}

EVENT_TYPES: dict[str, type[EventData]] = {kind.__name__: kind for kind in APPLIERS}
_DECODERS = {name: msgspec.json.Decoder(kind) for name, kind in EVENT_TYPES.items()}
# Canonical JSON of an event's data: the bytes that the journal's chain seals. Not wrapped in a
# function of ours, since every event passes here.
encode_data: Callable[[EventData], bytes] = msgspec.json.Encoder(order="deterministic").encode


def decode_data(kind: str, schema_version: int, payload: bytes) -> EventData:
    """Event data from the journal, brought up to its present shape.

    Raises
    ------
    JournalTooNew
        The event's name or version is unknown to this version of PM Agent.
    """
    known = EVENT_TYPES.get(kind)
    if known is None or schema_version > known.schema_version:
        message = f"The journal holds event {kind} version {schema_version}, unknown here."
        raise JournalTooNew(message)
    if schema_version == known.schema_version:
        return _DECODERS[kind].decode(payload)
    raw: Json = msgspec.json.decode(payload)
    for version in range(schema_version, known.schema_version):
        raw = STEPS[kind, version](raw)
    return msgspec.convert(raw, known)

"""The seal of the journal: each event's SHA-256 covers the one before it.

A changed, removed, swapped or inserted event breaks the chain from there on. Bodies are covered
through their salted hashes inside the events, so erasing a text breaks nothing.
"""

from hashlib import sha256

import msgspec

from pm_agent.domain.envelope import Event, subject_of
from pm_agent.domain.errors import Fenced, JournalUnavailable
from pm_agent.domain.upcast import decode_data, encode_data
from pm_agent.ports import Head, StoredEvent

_encode = msgspec.json.Encoder().encode


def digest(previous: bytes, fields: tuple[object, ...], payload: bytes) -> bytes:
    """SHA-256 over the previous hash, the fields before the payload, and the payload.

    Fields are joined as JSON, so no two different events give the same bytes.
    """
    return sha256(previous + _encode(fields) + payload).digest()


def seal(event: Event, previous: bytes) -> StoredEvent:
    """Encode an event and chain it to the hash before it."""
    data = event.data
    payload = encode_data(data)
    fields = (
        event.position,
        event.at_us,
        event.epoch,
        type(data).__name__,
        data.schema_version,
        event.principal,
        event.cause,
        subject_of(data),
    )
    return StoredEvent(*fields, payload, digest(previous, fields, payload))


def unseal(stored: StoredEvent) -> Event:
    """Decode a stored event, brought up to its present shape."""
    data = decode_data(stored.kind, stored.schema_version, stored.payload)
    return Event(stored.position, stored.at_us, stored.epoch, stored.principal, stored.cause, data)


def is_intact(stored: StoredEvent, previous: bytes) -> bool:
    """Whether the event's hash is right for the hash before it."""
    fields = (
        stored.position,
        stored.at_us,
        stored.epoch,
        stored.kind,
        stored.schema_version,
        stored.principal,
        stored.cause,
        stored.subject,
    )
    return digest(previous, fields, stored.payload) == stored.hash


def require_epoch(current: int, own: int) -> None:
    """Refuse a writer whose epoch is not the current one."""
    if own != current:
        message = f"The journal is at epoch {current}; this writer holds epoch {own}."
        raise Fenced(message)


def require_continuation(head: Head, events: list[StoredEvent]) -> None:
    """Refuse events that do not follow the journal's head, position by position and by hash.

    Within one epoch that happens when an append was reported as failed and yet got through: the
    writer's memory and the journal have parted, and the writer has to rebuild.
    """
    first = head.position + 1
    if [event.position for event in events] != list(range(first, first + len(events))):
        message = f"The batch does not continue the journal, whose next position is {first}."
        raise JournalUnavailable(message)
    # One hash ties the batch to the head; the batch's own chain was sealed a moment ago.
    if events and not is_intact(events[0], head.hash):
        message = f"Event {first} is chained to another event than the journal's {head.position}."
        raise JournalUnavailable(message)

"""The seal of the journal: each event's SHA-256 covers the one before it.

A changed, removed, swapped or inserted event breaks the chain from there on. Bodies are covered
through their salted hashes inside the events, so erasing a text breaks nothing.
"""

from hashlib import sha256

from pm_agent.domain.envelope import Event, subject_of
from pm_agent.domain.upcast import decode_data, encode_data
from pm_agent.ports import StoredEvent


def digest(previous: bytes, stored: StoredEvent) -> bytes:
    """SHA-256 over the previous hash and every field of the event, unambiguously joined."""
    head = (
        f"{stored.position}\n{stored.at_us}\n{stored.epoch}\n{stored.kind}\n"
        f"{stored.schema_version}\n{stored.principal}\n{stored.cause}\n{stored.subject}\n"
    )
    return sha256(previous + head.encode() + stored.payload).digest()


def seal(event: Event, previous: bytes) -> StoredEvent:
    """Encode an event and chain it to the hash before it."""
    data = event.data
    open_event = StoredEvent(
        event.position,
        event.at_us,
        event.epoch,
        type(data).__name__,
        data.schema_version,
        event.principal,
        event.cause,
        subject_of(data),
        encode_data(data),
        b"",
    )
    return StoredEvent(
        open_event.position,
        open_event.at_us,
        open_event.epoch,
        open_event.kind,
        open_event.schema_version,
        open_event.principal,
        open_event.cause,
        open_event.subject,
        open_event.payload,
        digest(previous, open_event),
    )


def unseal(stored: StoredEvent) -> Event:
    data = decode_data(stored.kind, stored.schema_version, stored.payload)
    return Event(
        stored.position, stored.at_us, stored.epoch, stored.principal, stored.cause, data
    )


def is_intact(stored: StoredEvent, previous: bytes) -> bool:
    """Whether the event's hash is right for the hash before it."""
    return digest(previous, stored) == stored.hash

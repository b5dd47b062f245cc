"""The table ``batches`` of the SQLite journal: events of one append in one row, as lines of JSON.

A row an event took twice the CPU of an append: ten values each to bind and to store. Whoever asks
with SQL sees them one by one all the same, in the view ``events``. What is needed without reading
the events stands in columns of its own, and nowhere else: places, hashes, subjects.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from pm_agent.ports import StoredEvent

EVENTS_A_ROW = 512  # at most: who wants one event splits a whole row into lines
_HASH_BYTES = 32

BATCHES = """CREATE TABLE batches (
    first_position INTEGER PRIMARY KEY, hashes BLOB NOT NULL, subjects TEXT NOT NULL,
    events TEXT NOT NULL
)"""
# No line break stands inside JSON as we write it, so lines become an array by commas.
VIEW = """CREATE VIEW events AS SELECT
    first_position + line.key AS position, json_extract(line.value, '$[0]') AS at_us,
    json_extract(line.value, '$[1]') AS epoch, json_extract(line.value, '$[2]') AS kind,
    json_extract(line.value, '$[3]') AS schema_version,
    json_extract(line.value, '$[4]') AS principal, json_extract(line.value, '$[5]') AS cause,
    json_extract('[' || replace(subjects, char(10), ',') || ']', '$[' || line.key || ']')
        AS subject,
    json_extract(line.value, '$[6]') AS payload,
    substr(hashes, line.key * 32 + 1, 32) AS hash
FROM batches, json_each('[' || replace(batches.events, char(10), ',') || ']') AS line"""
INSERT = "INSERT INTO batches VALUES (?, ?, CAST(? AS TEXT), CAST(? AS TEXT))"
# As bytes: a damaged letter must break the hash of its event, not the reading of the row.
ROW = "first_position, hashes, CAST(subjects AS BLOB), CAST(events AS BLOB)"
# A hash that was cut counts as one.
HEAD = """
SELECT first_position + (length(hashes) + 31) / 32 - 1 AS position, substr(hashes, -32) AS hash
FROM batches ORDER BY first_position DESC LIMIT 1
"""
LAST_INSTANT = """
SELECT json_extract('[' || replace(events, char(10), ',') || ']', '$[#-1][0]')
FROM batches ORDER BY first_position DESC LIMIT 1
"""
# Whom each event of ?1 < position <= ?2 is about.
SUBJECTS = f"""
SELECT value AS subject, first_position + key AS position
FROM batches, json_each('[' || replace(subjects, char(10), ',') || ']')
WHERE first_position > ?1 - {EVENTS_A_ROW} AND first_position <= ?2
AND first_position + key > ?1 AND first_position + key <= ?2
"""  # noqa: S608 - a constant of this file

_Line = tuple[int, int, str, int, str, str, msgspec.Raw]
_encode_lines = msgspec.json.Encoder().encode_lines  # one a line, the last one's end too
_decode_line = msgspec.json.Decoder(_Line).decode
_decode_subject = msgspec.json.Decoder(str).decode


class Row(NamedTuple):
    """As in the table."""

    first_position: int
    hashes: bytes
    subjects: bytes  # a JSON string a line
    events: bytes  # a JSON array a line: all of an event but position, subject and hash

    @property
    def positions(self) -> range:
        """Of its events, one that lost its line or its hash among them."""
        n = max(-(-len(self.hashes) // _HASH_BYTES), self.events.count(b"\n") + 1)
        return range(self.first_position, self.first_position + n)


def pack(events: Sequence[StoredEvent]) -> Iterator[Row]:
    """Make rows of events that follow each other."""
    for at in range(0, len(events), EVENTS_A_ROW):
        some = events[at : at + EVENTS_A_ROW]
        lines = _encode_lines([_line(e) for e in some])[:-1]
        assert lines.count(b"\n") == len(some) - 1, "canonical JSON has no line breaks"
        subjects = _encode_lines([e.subject for e in some])[:-1]
        yield Row(some[0].position, b"".join([e.hash for e in some]), subjects, lines)


def _line(e: StoredEvent) -> _Line:
    payload = msgspec.Raw(e.payload)
    return e.at_us, e.epoch, e.kind, e.schema_version, e.principal, e.cause, payload


def unpack(row: Row, positions: Iterable[int] | None = None) -> list[StoredEvent]:
    """Read a row's events, or some of them; what is left of an event that was damaged as well."""
    subjects, lines = row.subjects.split(b"\n"), row.events.split(b"\n")
    missing = [b""] * len(row.positions)
    subjects += missing
    lines += missing
    wanted = row.positions if positions is None else positions
    places = (position - row.first_position for position in wanted)
    return [_event(row, at, subjects[at], lines[at]) for at in places]


def _event(row: Row, at: int, subject: bytes, line: bytes) -> StoredEvent:
    position = row.first_position + at
    digest = row.hashes[at * _HASH_BYTES : (at + 1) * _HASH_BYTES]
    try:
        about = _decode_subject(subject)
        at_us, epoch, kind, version, principal, cause, payload = _decode_line(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Nobody can tell what it was. A hash that is right for nothing tells whoever looks.
        return StoredEvent(position, 0, 0, "", 0, "", "", "", line, digest)
    fields = (position, at_us, epoch, kind, version, principal, cause, about)
    return StoredEvent(*fields, bytes(payload), digest)

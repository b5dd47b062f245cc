"""A workspace as one file of JSON lines, to move it between journals of any kind.

::

    {"type":"workspace", …}       whose it is, and where its journal ended when the export began
    {"type":"event", …}           each as it was sealed, then the texts it names
    {"type":"text", …}
    {"type":"seal", …}            SHA-256 of everything above; after every piece
    {"type":"request", …}         replies that are kept for retries
    {"type":"end", …}             how many of each, and the last SHA-256

Export and import may be interrupted anywhere and begun again: a file under way is called
``NAME.part`` and goes on after its last seal, and an import goes on where the journal ends. Nothing
is written to a journal before the whole file has been found sound. Snapshots are not in it: they
follow from the events. Nor are erased texts.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import msgspec
from msgspec.structs import asdict

from pm_agent.adapters.new_file import require_absent, settle
from pm_agent.domain.envelope import Body
from pm_agent.domain.errors import (
    AlreadyExists,
    ExportDamaged,
    InvalidInput,
    JournalTooNew,
    WorkspaceNotEmpty,
)
from pm_agent.kernel.chain import is_intact, unseal
from pm_agent.kernel.types import body_digest
from pm_agent.ports import GENESIS, Batch, Journal, StoredEvent, StoredRequest

FORMAT_VERSION = 1
EVENTS_AT_ONCE = 500  # between two seals; an import writes as many in one commit

# References of texts, wherever they stand in an event; what only looks like one finds no text.
_REF = re.compile(rb'"((?:[0-9a-f]+\.)?[0-9a-f]{64})"')

Tell = Callable[[int, int], None]  # events done, events in all


class Header(msgspec.Struct, frozen=True, tag_field="type", tag="workspace"):
    """First line."""

    format_version: int
    workspace_id: str
    position: int
    head_sha256: str
    epoch: int


class EventLine(msgspec.Struct, frozen=True, tag_field="type", tag="event"):
    """A `StoredEvent`, its data as it stands in the journal."""

    position: int
    at_us: int
    epoch: int
    kind: str
    schema_version: int
    principal: str
    cause: str
    subject: str
    data: msgspec.Raw
    hash: str


class TextLine(msgspec.Struct, frozen=True, tag_field="type", tag="text"):
    """A `Body`."""

    ref: str
    salt: bytes
    text: str


class RequestLine(msgspec.Struct, frozen=True, tag_field="type", tag="request"):
    """A `StoredRequest`."""

    principal: str
    request_id: str
    body_sha256: bytes
    at_us: int
    position: int
    reply: bytes


class Seal(msgspec.Struct, frozen=True, tag_field="type", tag="seal"):
    """Ends a piece."""

    position: int  # of the last event above
    sha256: str  # of all bytes above


class End(msgspec.Struct, frozen=True, tag_field="type", tag="end"):
    """Last line."""

    events: int
    texts: int
    requests: int
    sha256: str


Line = Header | EventLine | TextLine | RequestLine | Seal | End
_decode = msgspec.json.Decoder(Line).decode
_encode = msgspec.json.encode


class Piece(msgspec.Struct):
    """What stands between two seals."""

    events: list[StoredEvent] = []
    texts: list[Body] = []
    requests: list[StoredRequest] = []
    offset: int = 0  # in the file, behind the seal
    end: End | None = None  # in the last piece of a whole file


class Moved(msgspec.Struct):
    """What an export or import did."""

    path: str
    workspace_id: str
    events: int = 0
    texts: int = 0
    requests: int = 0
    head_sha256: str = ""
    resumed_at: int = 0  # position after which an interrupted one went on


# -- export --------------------------------------------------------------------------------------


async def export_workspace(journal: Journal, workspace_id: str, path: Path, tell: Tell) -> Moved:
    """Write a workspace to a new file; the journal may be in use.

    Raises
    ------
    AlreadyExists
        There is a file at ``path``, or an interrupted export of another journal beside it.
    """
    require_absent(path)
    part = path.with_name(f"{path.name}.part")
    head = await journal.head()
    header = Header(FORMAT_VERSION, workspace_id, head.position, head.hash.hex(), head.epoch)
    writer = _Writer(part)
    with writer:
        if found := _interrupted(part):
            header = found
            await _require_same_journal(journal, workspace_id, header, writer, part)
            writer.go_on()
        else:
            writer.begin(header)
        done = Moved(str(path), workspace_id, head_sha256=header.head_sha256)
        done.resumed_at = writer.position
        while writer.position < header.position:
            left = header.position - writer.position
            events = await journal.read(writer.position, min(left, EVENTS_AT_ONCE))
            texts = await journal.read_bodies(_refs(events))
            writer.write(events, list(texts.values()))
            tell(writer.position, header.position)
        requests = [r for r in await journal.read_requests(0) if r.position <= header.position]
        writer.finish(requests)
    settle(part, path)
    done.events, done.texts, done.requests = header.position, writer.n_texts, len(requests)
    return done


class _Writer:
    """Appends to a file under way, from the end of its last whole piece of events."""

    def __init__(self, part: Path) -> None:
        self._part = part
        self._digest = hashlib.sha256()
        self._end = 0
        self.position = 0
        self.n_texts = 0
        self.last_hash = ""

    def __enter__(self) -> Self:
        self._file = self._part.open("ab")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def begin(self, header: Header) -> None:
        self._file.truncate(0)
        self._put(header)
        self._seal()

    def look(self) -> None:
        """Find the end of what is sealed and sound, and change nothing yet."""
        for piece in _pieces(self._part):
            if piece.requests or piece.end:
                break
            self._end = piece.offset
            self.n_texts += len(piece.texts)
            if piece.events:
                self.position = piece.events[-1].position
                self.last_hash = piece.events[-1].hash.hex()

    def go_on(self) -> None:
        """Cut off what came after that."""
        self._file.truncate(self._end)
        with self._part.open("rb") as file:
            while block := file.read(1 << 20):
                self._digest.update(block)

    def write(self, events: list[StoredEvent], texts: list[Body]) -> None:
        for event in events:
            fields = asdict(event)
            data = msgspec.Raw(fields.pop("payload"))
            self._put(EventLine(**(fields | {"data": data, "hash": event.hash.hex()})))
        for text in texts:
            self._put(TextLine(**asdict(text)))
        self.position = events[-1].position
        self.n_texts += len(texts)
        self._seal()

    def finish(self, requests: list[StoredRequest]) -> None:
        for request in requests:
            self._put(RequestLine(**asdict(request)))
        self._put(End(self.position, self.n_texts, len(requests), self._digest.hexdigest()))
        self._file.flush()

    def _seal(self) -> None:
        self._put(Seal(self.position, self._digest.hexdigest()))
        self._file.flush()

    def _put(self, line: Line) -> None:
        data = _encode(line) + b"\n"
        self._digest.update(data)
        self._file.write(data)


def _interrupted(part: Path) -> Header | None:
    """First line of an export under way, if it has one."""
    with part.open("rb") as file:
        try:
            first = _decode(file.readline())
        except msgspec.DecodeError:
            return None
    return first if isinstance(first, Header) else None


async def _require_same_journal(
    journal: Journal, workspace_id: str, header: Header, writer: _Writer, part: Path
) -> None:
    """Go on with an export only of the very same history."""
    is_same = (header.format_version, header.workspace_id) == (FORMAT_VERSION, workspace_id)
    if is_same:
        try:
            writer.look()
        except ExportDamaged:
            is_same = False
    for position, digest in (
        (header.position, header.head_sha256),
        (writer.position, writer.last_hash),
    ):
        if is_same and position:
            event = await journal.read_at(position)
            is_same = event is not None and event.hash.hex() == digest
    if not is_same:
        message = f"{part} is an interrupted export of another journal, or damaged."
        raise AlreadyExists(message, "Remove it, or choose another name.")


def _refs(events: list[StoredEvent]) -> list[str]:
    found = {ref.decode() for event in events for ref in _REF.findall(event.payload)}
    return sorted(found)


# -- import --------------------------------------------------------------------------------------


def is_export(path: Path) -> bool:
    """Whether a file begins like an export."""
    with path.open("rb") as file:
        return file.read(20) == b'{"type":"workspace",'


async def import_workspace(journal: Journal, workspace_id: str, path: Path, tell: Tell) -> Moved:
    """Write an exported workspace into an empty one, or go on with the same import.

    Raises
    ------
    ExportDamaged
        The file is cut short or was changed. Nothing was written.
    JournalTooNew
        It was written by a newer version of PM Agent.
    InvalidInput
        It is of another workspace.
    WorkspaceNotEmpty
        The journal holds other events than the file.
    """
    header, done = check(path)
    if header.workspace_id != workspace_id:
        message = f"{path} is of workspace {header.workspace_id}, not {workspace_id}."
        raise InvalidInput(message, f"Set PM_AGENT_WORKSPACE={header.workspace_id}.")
    there = await journal.head()
    _require_beginning(there.position, there.hash, workspace_id, path)
    done.resumed_at = there.position
    known = {(request.principal, request.request_id) for request in await journal.read_requests(0)}
    if not any(any(_left_of(piece, there.position, known)) for piece in _pieces(path)):
        return done
    # Only now: taking an epoch stops a coordinator that runs on this journal.
    head = await journal.activate()
    # Events hold the epochs they were written in, and a journal's own never falls behind them.
    while head.epoch < header.epoch:
        head = await journal.activate()
    for piece in _pieces(path):
        events, requests = _left_of(piece, there.position, known)
        if events or requests:
            await journal.append(Batch(head.epoch, events, piece.texts, requests))
        if events:
            tell(events[-1].position, header.position)
    return done


def _left_of(
    piece: Piece, position: int, known: set[tuple[str, str]]
) -> tuple[list[StoredEvent], list[StoredRequest]]:
    """What of a piece is not in the journal yet."""
    events = [event for event in piece.events if event.position > position]
    requests = [r for r in piece.requests if (r.principal, r.request_id) not in known]
    return events, requests


def check(path: Path) -> tuple[Header, Moved]:
    """Read a whole file, and refuse it if anything is wrong.

    Raises
    ------
    ExportDamaged, JournalTooNew
    """
    header = _header(path)
    done = Moved(str(path), header.workspace_id, head_sha256=header.head_sha256)
    previous = GENESIS
    end: End | None = None
    for piece in _pieces(path):
        end = piece.end
        for event in piece.events:
            done.events += 1
            if event.position != done.events or not is_intact(event, previous):
                raise ExportDamaged(f"Event {event.position} in {path} breaks the chain.")
            unseal(event)  # refuses what a newer version wrote
            previous = event.hash
        for text in piece.texts:
            done.texts += 1
            if not text.ref.endswith(body_digest(text.salt, text.text)):
                raise ExportDamaged(f"The text {text.ref} in {path} does not match its hash.")
        done.requests += len(piece.requests)
    if end is None:
        raise ExportDamaged(f"{path} is cut short: its last line is missing.")
    if (end.events, end.texts, end.requests) != (done.events, done.texts, done.requests) or (
        (done.events, previous.hex()) != (header.position, header.head_sha256)
    ):
        raise ExportDamaged(f"{path} does not hold what its first and last line say.")
    return header, done


def _require_beginning(position: int, digest: bytes, workspace_id: str, path: Path) -> None:
    """A journal that holds events already must hold the first ones of this very file."""
    if position == 0:
        return
    for piece in _pieces(path):
        for event in piece.events:
            if event.position == position and event.hash == digest:
                return
    message = f"Workspace {workspace_id} is not empty: it has {position} events of its own."
    raise WorkspaceNotEmpty(message)


# -- reading a file --------------------------------------------------------------------------------


def _header(path: Path) -> Header:
    try:
        with path.open("rb") as file:
            raw = msgspec.json.decode(file.readline(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError) as error:
        raise ExportDamaged(f"{path} cannot be read as an export: {error}.") from error
    version = raw.get("format_version")
    if isinstance(version, int) and version > FORMAT_VERSION:
        message = f"{path} has format {version}; known is {FORMAT_VERSION}."
        raise JournalTooNew(message)
    try:
        return msgspec.convert(raw, Header)
    except msgspec.ValidationError as error:
        raise ExportDamaged(f"{path} is no export of a workspace: {error}.") from error


def _pieces(path: Path) -> Iterator[Piece]:
    """Sealed pieces in order; what stands after the last seal is left out.

    Raises
    ------
    ExportDamaged
        A line cannot be read, or a seal does not fit what stands above it.
    """
    digest = hashlib.sha256()
    piece = Piece()
    offset = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return  # cut short
            try:
                found = _decode(line)
            except msgspec.DecodeError as error:
                raise ExportDamaged(f"Line {number} of {path} is damaged: {error}.") from error
            if isinstance(found, Seal | End) and found.sha256 != digest.hexdigest():
                raise ExportDamaged(f"Something above line {number} of {path} was changed.")
            digest.update(line)
            offset += len(line)
            if isinstance(found, Seal | End):
                piece.offset = offset
                piece.end = found if isinstance(found, End) else None
                yield piece
                piece = Piece()
            else:
                _add(piece, found)


def _add(piece: Piece, line: Header | EventLine | TextLine | RequestLine) -> None:
    if isinstance(line, EventLine):
        fields = asdict(line)
        payload, hashed = bytes(fields.pop("data")), bytes.fromhex(fields.pop("hash"))
        piece.events.append(StoredEvent(**fields, payload=payload, hash=hashed))
    elif isinstance(line, TextLine):
        piece.texts.append(Body(line.ref, line.salt, line.text))
    elif isinstance(line, RequestLine):
        piece.requests.append(StoredRequest(**asdict(line)))

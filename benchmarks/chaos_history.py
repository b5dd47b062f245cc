"""What a client of the chaos run wrote down: each request before it was sent, each reply after.

One append-only file of JSON lines for each client process. A line is in the file, by one write of
its own, before anything else happens; so it survives the process that wrote it, and a new process
resumes from it. Nothing here knows the server.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec

from benchmarks.history import Write

Kind = Literal["claim", "wait", "progress", "complete", "release", "create", "import"]
OK = frozenset({200, 201})
LEASING: frozenset[str] = frozenset({"claim", "wait"})
ENDING: frozenset[str] = frozenset({"complete", "release"})
ABOUT_TASKS: frozenset[str] = frozenset({"progress", *ENDING})
# Whoever says so, the request may not have been done: ask again with the same request id. After a
# 401 too, so that the run goes on; the check counts it, since these clients' tokens are good.
AGAIN = frozenset({401, 429, 502, 503, 504})


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """A request, its reply, or that none came. Instants in seconds since 1970."""

    at_s: float
    event: Literal["sent", "got", "lost"]
    request_id: str
    client_id: str
    kind: Kind
    attempt: int = 1  # the same request is sent again until it has an answer
    path: str = ""  # of a request, with its body: enough to send it again
    body: str = ""
    task_id: str = ""
    lease_token: int = 0
    lease_until_s: float = 0.0
    status: int = 0
    code: str = ""  # of a refusal; of a lost reply, how it was lost
    answer: str = ""  # what must not differ between two answers to one request

    @property
    def is_final(self) -> bool:
        """Whether the request needs no further attempt."""
        if self.event != "got":
            return False
        # A proxy answers a bare 404 or 5xx while the server comes back; ours carry a code.
        return self.status in OK or (bool(self.code) and self.status not in AGAIN)

    @property
    def is_grant(self) -> bool:
        """Whether it gives a task to its client."""
        return self.event == "got" and self.kind in LEASING and bool(self.task_id)


class History:
    """A file that only grows."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(self, line: Line) -> None:
        os.write(self._file, msgspec.json.encode(line) + b"\n")

    def close(self) -> None:
        os.close(self._file)


def read(path: Path) -> list[Line]:
    """Lines of one file; a last one that a kill cut short is left out."""
    if not path.exists():
        return []
    whole = path.read_bytes().split(b"\n")[:-1]
    decode = msgspec.json.Decoder(Line).decode
    return [decode(raw) for raw in whole]


class Memory(msgspec.Struct):
    """What a client knows after reading its own history: where to go on."""

    pending: Line | None = None  # a request that was sent and has no answer yet
    held: tuple[str, int] | None = None  # task and lease token
    is_reported: bool = False  # progress was sent on what it holds


def remember(lines: Iterable[Line]) -> Memory:
    """Fold one client's lines into where it stopped."""
    memory = Memory()
    answered: set[str] = set()
    for line in lines:
        if line.event == "sent" and line.request_id not in answered:
            memory.pending = line
        if not line.is_final or line.request_id in answered:
            continue
        answered.add(line.request_id)
        if memory.pending is not None and memory.pending.request_id == line.request_id:
            memory.pending = None
        advance(memory, line)
    return memory


def advance(memory: Memory, line: Line) -> None:
    """Take in a final answer."""
    if line.is_grant:
        memory.held = (line.task_id, line.lease_token)
        memory.is_reported = False
    elif line.kind in ENDING or (line.kind in ABOUT_TASKS and line.status not in OK):
        memory.held = None  # ended, or refused: the task is not ours any more
    elif line.kind == "progress":
        memory.is_reported = True


def writes_of(lines: Iterable[Line]) -> list[Write]:
    """Accepted writes about tasks, as `benchmarks.history` checks them for doubles."""
    sent: dict[tuple[str, int], Line] = {}
    writes: list[Write] = []
    seen: set[str] = set()
    for line in lines:
        if line.event == "sent":
            sent[line.request_id, line.attempt] = line
            continue
        if line.event != "got" or line.status not in OK or line.request_id in seen:
            continue
        first = sent.get((line.request_id, 1))
        asked = sent.get((line.request_id, line.attempt))
        if first is None or asked is None or not line.task_id or line.kind == "create":
            continue
        seen.add(line.request_id)
        kind = "claim" if line.kind in LEASING else line.kind
        assert kind in ("claim", "progress", "complete", "release"), line
        # An earlier attempt may have been the one that was done, and its reply was lost.
        sent_s = first.at_s if kind != "claim" else asked.at_s
        writes.append(
            Write(
                line.task_id,
                line.client_id,
                line.lease_token,
                kind,
                sent_s,
                line.at_s,
                line.lease_until_s,
            )
        )
    return writes

"""Request ids: a retry gets the first reply; the same id with another body is refused."""

from collections import deque
from collections.abc import Iterable
from hashlib import sha256

import msgspec

from pm_agent.domain.envelope import Command
from pm_agent.domain.errors import RequestIdReused
from pm_agent.domain.time import DAY_US
from pm_agent.kernel.types import Reply
from pm_agent.ports import StoredRequest

KEEP_US = DAY_US  # by event time
MAX_REFUSED = 10_000  # some 2 MB; minutes at a rate that no agents reach

_encode = msgspec.json.Encoder(order="deterministic").encode


def body_sha256(command: Command) -> bytes:
    """Digest of all that must not change between a request and its retry."""
    return sha256(_encode(command.lasting())).digest()


class Requests:
    """Replies of the last 24 hours by principal and request id."""

    def __init__(self, known: Iterable[StoredRequest] = ()) -> None:
        self._replies: dict[tuple[str, str], StoredRequest] = {}
        self._by_age: deque[StoredRequest] = deque()
        self._refused: dict[tuple[str, str], Reply] = {}
        for request in known:
            self.put(request)

    def find(self, principal: str, command: Command) -> StoredRequest | None:
        """Return the stored reply for this request, or None when it is new.

        Raises
        ------
        RequestIdReused
            The id came before with another body.
        """
        known = self._replies.get((principal, command.request_id))
        if known is None:
            return None
        if known.body_sha256 != body_sha256(command):
            message = f"Request id {command.request_id} was used before with another body."
            raise RequestIdReused(message)
        return known

    def reply_to(self, principal: str, request_id: str) -> Reply | None:
        """What a request was answered, or refused with not long ago."""
        known = self._replies.get((principal, request_id))
        if known is None:
            return self._refused.get((principal, request_id))
        return Reply(request_id=request_id, position=known.position, result=known.reply)

    def note_refusal(self, principal: str, reply: Reply) -> None:
        """Remember a refusal for who asks later; a retry is decided anew."""
        self._refused[principal, reply.request_id] = reply
        if len(self._refused) > MAX_REFUSED:
            del self._refused[next(iter(self._refused))]

    def note(
        self, principal: str, command: Command, now_us: int, position: int, reply: bytes
    ) -> StoredRequest | None:
        """Remember what a request was answered; return what the journal is to keep of it."""
        digest = body_sha256(command)
        request = StoredRequest(principal, command.request_id, digest, now_us, position, reply)
        self.put(request)
        return request

    def put(self, request: StoredRequest) -> None:
        self._replies[request.principal, request.request_id] = request
        self._by_age.append(request)

    def forget(self, now_us: int) -> None:
        while self._by_age and self._by_age[0].at_us < now_us - KEEP_US:
            old = self._by_age.popleft()
            self._replies.pop((old.principal, old.request_id), None)

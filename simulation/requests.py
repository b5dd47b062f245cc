"""Request ids of a run: simulated agents never send a request twice, so no reply is kept for them.

A live coordinator keeps the replies of 24 hours, which are a third of what a run would hold in
memory; nothing is decided by them. What is sent twice is the subject of `simulation.check`.
"""

from pm_agent.domain.envelope import Command
from pm_agent.kernel.idempotency import Requests
from pm_agent.kernel.types import Reply
from pm_agent.ports import StoredRequest


class SentOnce(Requests):
    """The engine's request ids, where each is new."""

    def find(self, principal: str, command: Command) -> StoredRequest | None:
        return None

    def note(
        self, principal: str, command: Command, now_us: int, position: int, reply: bytes
    ) -> StoredRequest | None:
        return None

    def note_refusal(self, principal: str, reply: Reply) -> None:
        pass

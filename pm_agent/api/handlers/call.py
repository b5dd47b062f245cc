"""What every handler has: the call that it answers, the answer, and the commonest handlers."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Self, TypeVar
from uuid import uuid4

from pydantic import BaseModel

from pm_agent.api.concise import Format, is_concise, shortened
from pm_agent.api.convert import result_json, to_command
from pm_agent.api.errors import Refused
from pm_agent.api.stream import EventStream
from pm_agent.domain.envelope import Command, Principal
from pm_agent.domain.errors import InvalidInput
from pm_agent.domain.notice import Notice, notice_for
from pm_agent.domain.world import World
from pm_agent.kernel.types import Reply, Result
from pm_agent.runtime.credentials import Grant, NewKey
from pm_agent.runtime.ingress import Ingress

C = TypeVar("C", bound=Command)
G = TypeVar("G", bound=BaseModel)
LOOKED_BACK = 1_000  # events of a task in which an attempt is looked for


class Answer(NamedTuple):
    """What a handler gives: bytes to send, and where the journal stood."""

    body: bytes  # JSON object
    position: int  # a query that waits for it sees this answer's writes
    version: int | None = None  # of what the answer is about
    stream: EventStream | None = None  # what to send in the body's place
    status: int = 0  # other than the operation's own
    location: str = ""  # where the rest will be


@dataclass(frozen=True, slots=True)
class Call:
    """One request: who asks, under which id, and the door to the coordinator."""

    ingress: Ingress
    grant: Grant
    request_id: str
    is_concise: bool = False  # whether long results are shortened
    is_page_asked: bool = False  # whether the input said how many items it wants

    @classmethod
    def of(cls, ingress: Ingress, grant: Grant, given: BaseModel, default: Format) -> Self:
        """Make the call of an input; ``default`` is the form of answers at the door it came by."""
        request_id = getattr(given, "request_id", None) or uuid4().hex
        is_page_asked = "limit" in given.model_fields_set
        return cls(ingress, grant, request_id, is_concise(given, default), is_page_asked)

    @property
    def principal(self) -> Principal:
        return self.grant.principal

    @property
    def world(self) -> World:
        return self.ingress.world

    @property
    def cursor_key(self) -> bytes:
        return self.ingress.credentials.cursor_key(self.ingress.now_us())

    def new_key(self) -> NewKey:
        return self.ingress.credentials.new_key(self.ingress.now_us())

    def command(self, kind: type[C], given: BaseModel) -> C:
        return to_command(
            kind,
            given,
            self.principal,
            self.request_id,
            self.ingress.now_us(),
            workspace_id=self.world.tables.workspace_id,
        )

    async def submit(self, command: Command) -> Reply:
        return accepted(await self.ingress.submit(command))

    def reply(
        self, reply: Reply, result: Result | None = None, version: int | None = None
    ) -> Answer:
        """Answer with a command's reply, or with a fuller result in its place."""
        told = None
        if self.principal.kind == "agent":
            told = Notice(reply.directives, reply.inbox)
        body = result_json(result or reply.result, self.ingress.now_us(), told)
        return Answer(body, reply.position, version)

    def read(self, result: Result, version: int | None = None) -> Answer:
        """Answer a query. Asking is a sign of life, and notices go with every answer."""
        self.ingress.hear(self.principal)
        told = None
        if self.principal.kind == "agent":
            told = notice_for(self.world, self.principal.id)
        position = self.world.position
        stale_at = position if self.ingress.is_stale else None
        left_out: dict[str, int] = {}
        if self.is_concise:
            result, left_out = shortened(result, is_page_asked=self.is_page_asked)
        body = result_json(result, self.ingress.now_us(), told, stale_at, left_out)
        return Answer(body, position, version)


def accepted(reply: Reply) -> Reply:
    """Return the reply, or raise the refusal it carries.

    Raises
    ------
    Refused
    """
    if reply.error is not None:
        raise Refused(reply.error)
    return reply


Handler = Callable[[Call, Any], Awaitable[Answer]]


def sends(kind: type[Command]) -> Handler:
    """Make the handler of an operation that is one command and its reply."""

    async def handle(call: Call, given: BaseModel) -> Answer:
        return call.reply(await call.submit(call.command(kind, given)))

    return handle


def takes_away(kind: type[Command]) -> Handler:
    """As `sends`, for commands that shut somebody out.

    The answer comes when this replica knows it: who was told "revoked" relies on it.
    """

    async def handle(call: Call, given: BaseModel) -> Answer:
        reply = await call.submit(call.command(kind, given))
        await call.ingress.reach(reply.position)
        return call.reply(reply)

    return handle


def own(call: Call, given: G) -> G:
    """Fill in an agent's own id where it was left out."""
    if getattr(given, "agent_id", None) is not None:
        return given
    if call.principal.kind != "agent":
        message = "agent_id: it is missing, and this token is not an agent's."
        raise InvalidInput(message, "Say which agent you mean; list_agents names them.")
    return given.model_copy(update={"agent_id": call.principal.id})

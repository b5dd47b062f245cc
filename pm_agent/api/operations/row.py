"""One row of the table: how an operation is called, by whom, and what it takes and gives."""

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel

from pm_agent.api.handlers.call import Handler
from pm_agent.domain.access import Scope
from pm_agent.domain.envelope import Command
from pm_agent.kernel.types import Result
from pm_agent.runtime.admission import Work

# Every tool's schemas lie in the context of every agent that is shown it. "core" is what a worker
# needs to go from task to task, 12 tools at most; "wider" is what it may ask for; the others add
# what a lead and an administrator do. Being shown is not being allowed: that is `scope`.
Tier = Literal["core", "wider", "lead", "admin"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One row: how an operation is called, by whom, and what it takes and gives."""

    name: str
    kind: Literal["command", "query"]
    tier: Tier | None  # which agents see it as a tool; None: nobody does
    work: Work  # when it is shed under overload, as `pm_agent.runtime.admission` says
    method: Literal["GET", "POST", "PATCH", "DELETE"]
    path: str
    scope: Scope  # what a token must carry; `pm_agent.domain.access` says which role has it
    input: type[BaseModel]
    result: type[Result]
    help: str  # the first sentence says when to call it
    handler: Handler
    command: type[Command] | None = None  # None for a command about the server, not the board
    destructive: bool = False
    idempotent: bool = False
    parks: bool = False  # may wait for long, so it takes no admission slot
    status: int = 200
    takes_ndjson: bool = False

    gives_version: bool = False  # the answer's ETag is the version of what it is about
    has_version: bool = False  # a change that If-Match ties to the version that was read
    is_slow: bool = False  # goes on by itself for who sends 'Prefer: respond-async'
    streams: bool = False  # answers with server-sent events, REST only
    is_for_all_projects: bool = False  # open to keys limited to some: it shows or does no more
    reads_first: bool = False  # a command whose handler looks at the world before it sends

    @property
    def in_mcp(self) -> bool:
        return self.tier is not None

    @property
    def read_only(self) -> bool:
        return self.kind == "query"

    @property
    def looks_first(self) -> bool:
        """Whether the replica must hold what was written before; the hot path does without."""
        return self.read_only or self.reads_first

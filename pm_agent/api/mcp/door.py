"""Who asks over MCP, and the way from there to an operation of the table."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from typing import Any

from mcp.server.context import ServerRequestContext
from starlette.types import Scope

from pm_agent.api.auth import (
    authenticate,
    authorise,
    bearer,
    metadata_url,
    require_objects,
)
from pm_agent.api.errors import Problem, problem_from
from pm_agent.api.handlers.call import Answer, Call
from pm_agent.api.metrics import Metrics
from pm_agent.api.operations import Operation
from pm_agent.domain.envelope import Principal
from pm_agent.domain.errors import PMError, Unavailable
from pm_agent.domain.world import World
from pm_agent.runtime.credentials import Grant, is_live
from pm_agent.runtime.ingress import Ingress

# Where the gate leaves who asks, for the handlers behind the SDK.
_GRANT = "pm_agent.grant"

Context = ServerRequestContext[Any]


class Door:
    """What all of MCP needs of the product.

    Parameters
    ----------
    ingress
        Gives the live ingress, or raises `Unavailable`.
    metrics
        Where calls are counted.
    """

    def __init__(self, ingress: Callable[[], Ingress], metrics: Metrics) -> None:
        self._ingress = ingress
        self.metrics = metrics

    async def gate(self, scope: Scope) -> tuple[Problem, str] | None:
        """Note whose token a request carries; or say why it is refused, and who makes tokens."""
        secret = bearer(_authorization(scope))
        try:
            scope[_GRANT] = await authenticate(self._ingress(), secret, scope=scope)
        except PMError as error:
            return problem_from(error, "mcp", self.load()), self._metadata_url()
        return None

    def _metadata_url(self) -> str:
        with suppress(Unavailable):
            return metadata_url(self._ingress().credentials)
        return ""

    @staticmethod
    def grant_of(scope: Scope) -> Grant:
        """Return what the sender of a request that came through the gate may do."""
        found: Grant = scope[_GRANT]
        return found

    @classmethod
    def grant(cls, context: Context) -> Grant:
        """Return the same inside the SDK."""
        assert context.request is not None
        return cls.grant_of(context.request.scope)

    @classmethod
    def principal(cls, context: Context) -> Principal:
        """Return who that sender is."""
        return cls.grant(context).principal

    def ingress(self) -> Ingress:
        """Return the live ingress, or raise `Unavailable`."""
        return self._ingress()

    def is_live(self, context: Context) -> bool:
        """Whether the sender's token still holds and the server still serves."""
        ingress = self._ingress()
        if ingress.events.is_over:
            return False
        return is_live(self.grant(context), ingress.world, ingress.now_us())

    async def world(self) -> World:
        """Return the replica's world, with every write that was answered here in it."""
        ingress = self._ingress()
        await ingress.catch_up()
        return ingress.world

    def load(self) -> float:
        """How full the house is, as `pm_agent.runtime.admission`."""
        try:
            return self._ingress().admission.load
        except Unavailable:
            return 0.0

    async def perform(
        self,
        operation: Operation,
        arguments: dict[str, Any],
        grant: Grant,
        parked: AbstractAsyncContextManager[None] | None = None,
    ) -> Answer:
        """Perform an operation for whoever has a grant.

        Parameters
        ----------
        parked
            Entered around an operation that may wait for long.

        Raises
        ------
        PMError, Refused, ValidationError
            As `pm_agent.api.errors.problem_from` takes them.
        """
        ingress = self._ingress()
        authorise(grant, operation)
        ingress.pace.require_work(grant.principal, operation.work)
        given = operation.input.model_validate(arguments)
        call = Call.of(ingress, grant, given, "concise")
        if operation.parks:
            ingress.admission.require(operation.work)
            require_objects(grant, operation, given, ingress.world)
            async with parked or nullcontext():
                return await operation.handler(call, given)
        lane = ingress.enter(operation.work)
        if operation.looks_first or grant.project_ids:
            await ingress.catch_up()
        require_objects(grant, operation, given, ingress.world)
        async with lane:
            return await operation.handler(call, given)


def _authorization(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"authorization":
            return str(value.decode("latin-1"))
    return None

"""Which operation a request is for: the table by path and method."""

from pm_agent.api import openapi
from pm_agent.api.errors import MethodNotAllowed, UnknownRoute
from pm_agent.api.operations import Operation

_PARAMETER = 2  # /v1/tasks/{task_id}/...


class Routes:
    """Operations by path. A path's parameter is always one segment, so a dictionary finds it."""

    def __init__(self, operations: tuple[Operation, ...]) -> None:
        # (segments, None for a parameter) → method → operation
        self._by_shape: dict[tuple[str | None, ...], dict[str, Operation]] = {}
        for operation in operations:
            shape = tuple(
                None if part.startswith("{") else part for part in operation.path.split("/")[1:]
            )
            self._by_shape.setdefault(shape, {})[operation.method] = operation

    def find(self, path: str, method: str) -> tuple[Operation, dict[str, str]]:
        """Return the operation of a request and its path's parameters.

        Raises
        ------
        UnknownRoute, MethodNotAllowed
        """
        parts = path.split("/")[1:]
        methods = self._by_shape.get(tuple(parts)) or self._by_shape.get(
            tuple(None if i == _PARAMETER else part for i, part in enumerate(parts))
        )
        if methods is None or not parts[-1]:
            message = f"There is nothing at {path[:200]}."
            raise UnknownRoute(message)
        operation = methods.get(method)
        if operation is None:
            allowed = ", ".join(methods)
            message = f"{method} is not possible here; the address takes {allowed}."
            raise NotAllowed(message, allowed)
        names = openapi.path_fields(operation)
        return operation, {names[0]: parts[_PARAMETER]} if names else {}


class NotAllowed(MethodNotAllowed):
    """As its parent, with the methods for the Allow header."""

    def __init__(self, message: str, allowed: str) -> None:
        self.allowed = allowed
        super().__init__(message)

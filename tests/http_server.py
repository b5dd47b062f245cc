"""The HTTP server that tests run in their own event loop."""

from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn


class Server(uvicorn.Server):
    """A server that leaves Ctrl-C alone.

    Started and stopped by two runs of a loop, it would give back, at its end, the handler that the
    first of them had put in place; from then on Ctrl-C would end the tests, not what they run.
    """

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

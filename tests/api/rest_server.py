"""A workspace behind a real socket, for programs that test HTTP from outside."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from pm_agent.runtime.admission import Limits
from tests.api.conftest import ADMIN, Stack, running
from tests.http_server import Server

Position = tuple[int, str]
GENEROUS = Limits(
    claims_per_s=1e6, claims_burst=10**7, requests_per_s=1e6, requests_burst=10**7,
    strangers_per_s=1e6, strangers_burst=10**7,
)  # fmt: skip


class RestServer:
    """Serves from a thread of its own until the block ends."""

    def __init__(self) -> None:
        self.url = ""
        self.token = ADMIN
        self._stack: Stack | None = None
        self._is_up = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()

    def state(self) -> Position:
        """Journal position and fingerprint of the world."""
        assert self._stack is not None
        stack = self._stack

        async def look() -> Position:
            return stack.position, stack.fingerprint

        return asyncio.run_coroutine_threadsafe(look(), self._loop).result(10)

    async def serve(self) -> None:
        async with running(mcp=False, limits=GENEROUS) as stack:
            self._stack = stack
            await stack.project()
            await stack.task()
            agent_id, token = await stack.agent("Ada")
            await stack.claim(agent_id, token)
            # With its protocol named, asyncio sets TCP_NODELAY on what it accepts.
            with socket.socket(proto=socket.IPPROTO_TCP) as listener:
                listener.bind(("127.0.0.1", 0))
                self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
                config = uvicorn.Config(stack.app, log_level="error", lifespan="off")
                server = Server(config)
                serving = asyncio.create_task(server.serve(sockets=[listener]))
                await stack.until(lambda: server.started)
                self._is_up.set()
                await self._over.wait()
                server.should_exit = True
                await serving


@contextmanager
def rest_server() -> Iterator[RestServer]:
    served = RestServer()
    loop = served._loop
    thread = threading.Thread(target=loop.run_until_complete, args=(served.serve(),), daemon=True)
    thread.start()
    assert served._is_up.wait(10)
    try:
        yield served
    finally:
        loop.call_soon_threadsafe(served._over.set)
        thread.join(10)
        loop.close()

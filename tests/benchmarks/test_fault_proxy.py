"""The fault proxy between a real client and a real server of one line each way."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from benchmarks.fault_proxy import FaultProxy

DELAY_S = 0.05


class Echo:
    """Answers each line with itself, and remembers what reached it."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            self.heard.append(line)
            writer.write(line)
        writer.close()


@pytest.fixture
async def echo() -> Echo:
    return Echo()


@pytest.fixture
async def proxy(echo: Echo) -> AsyncIterator[FaultProxy]:
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with FaultProxy("127.0.0.1", port, delay_s=DELAY_S) as proxy:
            yield proxy
        await asyncio.sleep(0.01)  # the server's ends of the connections


async def ask(proxy: FaultProxy, line: bytes = b"hello\n", within_s: float = 5.0) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        writer.write(line)
        async with asyncio.timeout(within_s):
            return await reader.readline()
    finally:
        writer.close()


async def test_bytes_pass_through(proxy: FaultProxy) -> None:
    assert await ask(proxy) == b"hello\n"


async def test_a_delay_holds_back_both_directions(proxy: FaultProxy) -> None:
    proxy.mode = "delay"
    loop = asyncio.get_running_loop()
    start_s = loop.time()
    assert await ask(proxy) == b"hello\n"
    assert loop.time() - start_s >= 2 * DELAY_S * 0.9


async def test_a_dropped_reply_leaves_the_request_done(proxy: FaultProxy, echo: Echo) -> None:
    proxy.mode = "drop_reply"
    with pytest.raises(ConnectionResetError):
        await ask(proxy)
    assert echo.heard == [b"hello\n"]
    assert proxy.n_dropped == 1
    proxy.mode = "pass"
    assert await ask(proxy) == b"hello\n"


async def test_a_half_open_connection_takes_bytes_and_is_silent_for_ever(
    proxy: FaultProxy, echo: Echo
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    proxy.mode = "half_open"
    writer.write(b"lost\n")
    await asyncio.sleep(0.05)
    proxy.mode = "pass"
    writer.write(b"late\n")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await reader.readline()
    writer.close()
    assert echo.heard == []
    assert await ask(proxy) == b"hello\n"


async def test_a_reset_cuts_what_is_open_and_nothing_later(proxy: FaultProxy) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"one\n")
    assert await reader.readline() == b"one\n"
    assert proxy.reset() == 1
    with pytest.raises(ConnectionResetError):
        await reader.readline()
    writer.close()
    assert await ask(proxy) == b"hello\n"


async def test_a_server_that_is_away_is_a_reset() -> None:
    server = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    async with FaultProxy("127.0.0.1", port) as proxy:
        with pytest.raises(ConnectionResetError):
            await ask(proxy)

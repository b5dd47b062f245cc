"""A TCP proxy between clients and a server that does to their connections what networks do.

Four ways, switched while it runs: ``pass`` bytes on; ``delay`` them; be ``half_open``, so that
bytes are taken and never answered; ``drop_reply``, which hands a request on and cuts the connection
when its reply comes, so that the client cannot know that it was done. `FaultProxy.reset` cuts all
connections at once.

It knows nothing of HTTP: on a connection with one request at a time, what comes back is its reply.
"""

import asyncio
import socket
import struct
from contextlib import suppress
from typing import Literal, Self

Mode = Literal["pass", "delay", "half_open", "drop_reply"]
CHUNK_BYTES = 65_536
# Closing a socket with no time to linger sends a reset instead of an orderly end.
AT_ONCE = struct.pack("ii", 1, 0)


class FaultProxy:
    """Listens on a free port of loopback while it is entered.

    Parameters
    ----------
    host, port
        Where the server is; it may be away, which clients see as a reset connection.
    delay_s
        How long each piece waits in either direction while the mode is ``delay``.

    Attributes
    ----------
    port : int
        Where clients connect.
    n_dropped : int
        Replies that were cut off.
    """

    def __init__(self, host: str, port: int, *, delay_s: float = 0.5) -> None:
        self._target = (host, port)
        self._delay_s = delay_s
        self._mode: Mode = "pass"
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._swallowed: set[asyncio.StreamWriter] = set()  # bytes were taken and not passed on
        self.port = 0
        self.n_dropped = 0

    @property
    def mode(self) -> Mode:
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        """Change what happens to all bytes from now on.

        A connection that lost bytes can never be in step again: it stays open and silent.
        """
        self._mode = mode

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.reset()
        await asyncio.sleep(0)  # the pumps see their ends

    def reset(self) -> int:
        """Cut all connections, as a router that forgot them does; return how many there were."""
        clients = list(self._open)
        for writer in clients:
            _reset(writer)
        return len(clients)

    async def _serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        self._open.add(client)
        try:
            from_server, server = await asyncio.open_connection(*self._target)
        except OSError:  # the server is away
            self._open.discard(client)
            _reset(client)
            return
        try:
            pumps = [
                asyncio.create_task(self._pump(reader, server, client)),
                asyncio.create_task(self._pump(from_server, client, client, is_reply=True)),
            ]
            _, left = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in left:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
        finally:
            self._open.discard(client)
            self._swallowed.discard(client)
            for writer in (server, client):
                writer.close()

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        client: asyncio.StreamWriter,
        *,
        is_reply: bool = False,
    ) -> None:
        """Pass on one direction of a connection until it ends."""
        with suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                if self._mode == "half_open" or client in self._swallowed:
                    self._swallowed.add(client)
                    continue
                if is_reply and self._mode == "drop_reply":
                    self.n_dropped += 1
                    _reset(client)
                    return
                if self._mode == "delay":
                    await asyncio.sleep(self._delay_s)
                writer.write(data)
                await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    found = writer.get_extra_info("socket")
    if found is not None:
        with suppress(OSError):  # closed already
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
    writer.transport.abort()

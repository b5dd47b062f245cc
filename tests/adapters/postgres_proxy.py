"""A proxy between a journal and its server, which loses what it is told to lose."""

import asyncio
from contextlib import suppress
from typing import Literal
from urllib.parse import parse_qs, urlsplit

# What becomes of the connection that brings the marked bytes:
Fate = Literal[
    "lose",  # the bytes do not arrive
    "lose the answer",  # they arrive, and their answer does not
    "hold",  # they arrive when `release` is called, long after the client has lost its connection
]


class Proxy:
    """Passes bytes on, but for one message that carries a mark."""

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._mark, self._fate = b"", "lose"
        self._held: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes]]
        self._held = asyncio.get_running_loop().create_future()
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.url = ""
        self.n_connections = 0

    async def start(self) -> "Proxy":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        user = self._parts.netloc.rpartition("@")[0]
        self.url = f"postgresql://{user}@127.0.0.1:{port}{self._parts.path}"
        return self

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._open:
            writer.close()
        await self._server.wait_closed()

    def once(self, mark: bytes, fate: Fate) -> None:
        """Decide what becomes of the next bytes from a client that contain the mark."""
        self._mark, self._fate = mark, fate

    async def release(self) -> bytes:
        """Let what was held arrive; return the server's answer."""
        reader, writer, data = await self._held
        writer.write(data)
        answer = await reader.read(65536)
        writer.close()
        return answer

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.n_connections += 1
        up_reader, up_writer = await self._connect()
        self._open |= {writer, up_writer}
        down = asyncio.create_task(self._pass_on(up_reader, writer))
        with suppress(ConnectionError):
            while data := await reader.read(1 << 20):
                if self._mark and self._mark in data:
                    self._mark = b""
                    down.cancel()
                    if self._fate == "hold":
                        self._held.set_result((up_reader, up_writer, data))
                        writer.close()
                        return
                    if self._fate == "lose the answer":
                        up_writer.write(data)
                        await up_reader.read(65536)
                    break
                up_writer.write(data)
        down.cancel()
        writer.close()
        up_writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        folder = parse_qs(self._parts.query).get("host", [""])[-1]
        port = self._parts.port or 5432
        if folder:
            return await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.{port}")
        return await asyncio.open_connection(self._parts.hostname, port)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(1 << 20):
                writer.write(data)
        writer.close()

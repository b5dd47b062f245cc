"""A child process in a process group of its own: killed wholly, its output bounded.

Not a sandbox: the child has the rights of this user.
"""

import asyncio
import os
import signal
from asyncio.subprocess import PIPE, STDOUT, SubprocessStreamProtocol
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

CHUNK_BYTES = 1 << 16
# What a program needs to find others, its user's files and a text encoding; no secret of ours.
PASSED_ON = ("PATH", "HOME", "LANG")


class ProcessGroup:
    """A running program and everything it starts.

    Attributes
    ----------
    pid : int
        Of the leader, which is also the id of the group.
    """

    def __init__(
        self,
        transport: asyncio.SubprocessTransport,
        protocol: "_Protocol",
    ) -> None:
        self._transport = transport
        self._protocol = protocol
        self.pid = transport.get_pid()

    @classmethod
    async def start(
        cls, argv: tuple[str, ...], *, cwd: Path | None, env: Mapping[str, str], is_merged: bool
    ) -> Self:
        """Start a program without a shell.

        Parameters
        ----------
        argv
            The program and its arguments, passed on as they are.
        is_merged
            Whether standard error goes into standard output.

        Raises
        ------
        OSError
            The program or the folder is missing or may not be used.
        """
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.subprocess_exec(
            lambda: _Protocol(limit=CHUNK_BYTES, loop=loop),
            *argv,
            cwd=cwd,
            env=dict(env),
            stdin=PIPE,
            stdout=PIPE,
            stderr=STDOUT if is_merged else PIPE,
            start_new_session=True,
        )
        return cls(transport, protocol)

    @property
    def stdout(self) -> asyncio.StreamReader:
        assert self._protocol.stdout is not None
        return self._protocol.stdout

    @property
    def stderr(self) -> asyncio.StreamReader:
        assert self._protocol.stderr is not None
        return self._protocol.stderr

    async def exited(self) -> int:
        """Wait until the leader is gone; its code, or minus the signal that killed it.

        Unlike `asyncio.subprocess.Process.wait` (CPython 3.11) this does not wait for the pipes,
        which a child left behind may hold open for ever.
        """
        await self._protocol.has_exited.wait()
        code = self._transport.get_returncode()
        assert code is not None
        return code

    async def write(self, data: bytes) -> None:
        """Write to standard input; a program that does not read it is no error."""
        stdin = self._protocol.stdin
        if stdin is None:
            return
        with suppress(BrokenPipeError, ConnectionResetError):
            stdin.write(data)
            await stdin.drain()

    def close_stdin(self) -> None:
        if self._protocol.stdin is not None:
            self._protocol.stdin.close()

    async def close(self) -> None:
        """Kill whatever is left of the group, and let the pipes go."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        await self._protocol.has_exited.wait()
        with suppress(RuntimeError):  # uvloop refuses to close a pipe that is closed already
            self._transport.close()


class _Protocol(SubprocessStreamProtocol):
    def __init__(self, limit: int, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit=limit, loop=loop)
        self.has_exited = asyncio.Event()

    def process_exited(self) -> None:
        super().process_exited()
        self.has_exited.set()


class Tail:
    """The last bytes of a stream."""

    def __init__(self, n_bytes: int) -> None:
        self._n_bytes = n_bytes
        self._kept = b""
        self._is_cut = False

    def add(self, data: bytes) -> None:
        joined = self._kept + data
        self._is_cut = self._is_cut or len(joined) > self._n_bytes
        self._kept = joined[-self._n_bytes :]

    async def drain(self, stream: asyncio.StreamReader) -> None:
        """Take all of a stream."""
        while chunk := await stream.read(CHUNK_BYTES):
            self.add(chunk)

    def text(self) -> str:
        text = self._kept.decode(errors="replace").strip()
        return f"[...] {text}" if self._is_cut else text


async def bounded_lines(stream: asyncio.StreamReader, longest: int) -> AsyncIterator[bytes]:
    """Lines of a stream without their ends; what is longer comes cut, and its rest is dropped."""
    kept, is_dropping = b"", False
    while chunk := await stream.read(CHUNK_BYTES):
        *whole, rest = (kept + chunk).split(b"\n")
        for line in whole:
            if not is_dropping:
                yield line[:longest]
            is_dropping = False
        kept = rest
        if len(kept) > longest:
            if not is_dropping:
                yield kept[:longest]
            kept, is_dropping = b"", True
    if kept and not is_dropping:
        yield kept


def minimal_environment() -> dict[str, str]:
    """``PATH``, ``HOME`` and ``LANG`` of this process; nothing else, so no secret."""
    return {name: os.environ[name] for name in PASSED_ON if name in os.environ}


def how_it_ended(code: int) -> str:
    """``exited with code 3``, or ``was killed by SIGKILL``."""
    if code >= 0:
        return f"exited with code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:  # a real-time signal
        return f"was killed by signal {-code}"

"""What a managed worker runs on a task: a fixed command, or a Python callable.

The command comes from the worker's configuration and never changes: no field of a task enters its
argument list, a shell or the environment. The task goes in as one line of JSON on standard input;
lines of JSON on standard output come back:

=============  ===========================================================================
``progress``   ``percent``, ``note``
``decision``   ``text``
``artifact``   ``name``, ``uri``, ``note``
``blocker``    ``description``, ``severity``, ``blocker_type`` (as of report_blocker; else
               ``other``): then read one line from standard input, which is
               ``{"type": "resolution", "text": ...}``. With ``"tries_fixes": true`` there may come
               ``{"type": "fix", "text": ..., "by": ..., "why": ...}`` first, as often as there is
               something to try: try it, print ``fixed``, and read the next line
``fixed``      ``worked``, ``note``: whether that fix helped
``usage``      ``tokens``, ``cost_usd``: used since the last such line
``result``     ``summary``, ``evidence``: the work is done, if the command also exits with 0
=============  ===========================================================================

Every other line is log output. What comes in is data: a fix is what others found to help, or a
language model's advice, and the command judges it.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from inspect import isawaitable, iscoroutinefunction
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec

from pm_agent.adapters.process_group import (
    ProcessGroup,
    Tail,
    bounded_lines,
    how_it_ended,
    minimal_environment,
)

LONGEST_LINE_BYTES = 256 * 1024
TAIL_BYTES = 4 * 1024
DRAIN_S = 2.0  # for the last output of a program whose children hold its pipes
DEFAULT_TIMEOUT_S = 4 * 3600.0  # the longest budget of an attempt


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How an execution ended: done with a summary, or failed for a reason."""

    is_done: bool
    summary: str = ""
    evidence: dict[str, Any] = {}
    reason: str = ""
    tail: str = ""  # the end of what was logged


class Fix(NamedTuple):
    """Something that may help against a blocker: data of whoever wrote it."""

    text: str
    by: str
    why: str


class Verdict(NamedTuple):
    """Whether a fix helped."""

    worked: bool
    note: str = ""


TryFix = Callable[[Fix], Awaitable[Verdict]]


class Report(Protocol):
    """How an executor tells about its work. Every method may end the execution."""

    async def progress(self, percent: int, note: str = "") -> None: ...

    async def decision(self, text: str) -> None: ...

    async def artifact(self, name: str, uri: str, note: str = "") -> None: ...

    async def usage(self, tokens: int, cost_usd: float = 0.0) -> None: ...

    async def blocker(
        self,
        description: str,
        severity: str = "medium",
        try_fix: TryFix | None = None,
        blocker_type: str = "other",
    ) -> str:
        """Report what stops the work, and wait for its resolution.

        What is offered meanwhile is given to ``try_fix``; one that worked is the resolution.
        """
        ...


class Executor(Protocol):
    """Does tasks, one at a time."""

    @property
    def pid(self) -> int | None:
        """Of the running process, if there is one."""
        ...

    async def run(self, task: dict[str, Any], workspace: Path, report: Report) -> Outcome:
        """Do a task in a folder. When cancelled, nothing of it is left running."""
        ...


class _Line(msgspec.Struct, tag_field="type", tag=str.lower):
    """A line of JSON that a command prints."""


class Progress(_Line):
    """The work is so far."""

    percent: float
    note: str = ""


class Decision(_Line):
    """A choice that later tasks should know."""

    text: str


class Artifact(_Line):
    """A work product, and where it lies."""

    name: str
    uri: str
    note: str = ""


class Blocker(_Line):
    """The work is stopped; the command waits for the answer."""

    description: str
    severity: str = "medium"
    blocker_type: str = "other"
    tries_fixes: bool = False


class Fixed(_Line):
    """What came of a fix that the command was given."""

    worked: bool
    note: str = ""


class Usage(_Line):
    """Used since the last such line."""

    tokens: int = 0
    cost_usd: float = 0.0


class Result(_Line):
    """The work is done."""

    summary: str
    evidence: dict[str, Any] = {}


Said = Progress | Decision | Artifact | Blocker | Fixed | Usage | Result
_decode = msgspec.json.Decoder(Said).decode


class ShellExecutor:
    """Runs a fixed command on every task.

    Parameters
    ----------
    argv
        The program and its arguments; the same for every task.
    env
        Its whole environment; without one it gets ``PATH``, ``HOME`` and ``LANG``.
    timeout_s
        Longest run; time spent waiting for the resolution of a blocker is not counted.
    """

    def __init__(
        self,
        argv: tuple[str, ...],
        env: Mapping[str, str] | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> None:
        assert argv, "an executor needs a command"
        self.argv = tuple(argv)
        self.env = env
        self.timeout_s = timeout_s
        self._group: ProcessGroup | None = None

    @property
    def pid(self) -> int | None:
        return self._group.pid if self._group else None

    async def run(self, task: dict[str, Any], workspace: Path, report: Report) -> Outcome:
        env = minimal_environment() if self.env is None else self.env
        try:
            group = await ProcessGroup.start(self.argv, cwd=workspace, env=env, is_merged=False)
        except (OSError, ValueError) as error:
            return Outcome(is_done=False, reason=f"The command could not be started: {error}.")
        self._group = group
        run = _Run(group, report)
        try:
            async with asyncio.timeout(self.timeout_s) as limit:
                code = await run.finish(_line(task), limit)
        except TimeoutError:
            reason = f"The command took longer than {self.timeout_s:g} s."
            return Outcome(is_done=False, reason=reason, tail=run.tail())
        finally:
            self._group = None
            await group.close()
        return run.outcome(code)


class _Run:
    """One run of a command: its conversation and what is kept of it."""

    def __init__(self, group: ProcessGroup, report: Report) -> None:
        self._group = group
        self._report = report
        self._said = self._lines()
        self._result: Result | None = None
        self._n_lines = 0
        self._is_telling = False  # what the command said, to a server that may be away
        self._logged = Tail(TAIL_BYTES)
        self._errors = Tail(TAIL_BYTES)

    async def finish(self, task: bytes, limit: asyncio.Timeout) -> int:
        """Talk with the command until it exits; return its code."""
        listening = asyncio.create_task(self._listen(limit))
        others = [
            asyncio.create_task(self._errors.drain(self._group.stderr)),
            asyncio.create_task(self._group.write(task)),
        ]
        exiting = asyncio.create_task(self._group.exited())
        try:
            # Listening ends first when a report ends the execution; exiting, when a child that was
            # left behind holds the pipe, or when the command dies while it waits for an answer.
            await asyncio.wait({listening, exiting}, return_when=asyncio.FIRST_COMPLETED)
            if listening.done():
                listening.result()
            code = await exiting
            await self._drained({listening, others[0]})
            if listening.done():
                listening.result()
            return code
        finally:
            for helper in (listening, exiting, *others):
                helper.cancel()
            await asyncio.gather(listening, exiting, *others, return_exceptions=True)

    async def _drained(self, readers: set[asyncio.Task[None]]) -> None:
        """Wait for the last output, as long as more of it comes or is being told.

        While the server is away a report takes long, and the result line lies behind it.
        """
        n_before = -1
        while self._is_telling or self._n_lines > n_before:
            n_before = self._n_lines
            _, readers = await asyncio.wait(readers, timeout=DRAIN_S)
            if not readers:
                return

    def outcome(self, code: int) -> Outcome:
        if code != 0:
            return Outcome(
                is_done=False, reason=f"The command {how_it_ended(code)}.", tail=self.tail()
            )
        if self._result is None:
            reason = "The command exited without a result line."
            return Outcome(is_done=False, reason=reason, tail=self.tail())
        return Outcome(
            is_done=True,
            summary=self._result.summary,
            evidence=self._result.evidence,
            tail=self.tail(),
        )

    def tail(self) -> str:
        return "\n".join(text for text in (self._logged.text(), self._errors.text()) if text)

    async def _lines(self) -> AsyncIterator[Said]:
        """What the command says; everything else is logged."""
        async for raw in bounded_lines(self._group.stdout, LONGEST_LINE_BYTES):
            self._n_lines += 1
            try:
                line = _decode(raw)
            except msgspec.MsgspecError:
                self._logged.add(raw + b"\n")
                continue
            yield line

    async def _listen(self, limit: asyncio.Timeout) -> None:
        async for line in self._said:
            await self._take(line, limit)

    async def _take(self, line: Said, limit: asyncio.Timeout) -> None:
        if isinstance(line, Blocker):
            await self._answer(line, limit)
        elif isinstance(line, Result):
            self._result = line
        elif not isinstance(line, Fixed):  # of a fix that it was not given
            self._is_telling = True
            try:
                await _pass_on(line, self._report)
            finally:
                self._is_telling = False

    async def _answer(self, blocker: Blocker, limit: asyncio.Timeout) -> None:
        left_s = _paused(limit)  # the wait for a person is not the command's time

        async def try_fix(fix: Fix) -> Verdict:
            nonlocal left_s
            _resumed(limit, left_s)
            verdict = await self._tried(fix, limit)
            left_s = _paused(limit)
            return verdict

        text = await self._report.blocker(
            blocker.description,
            blocker.severity,
            try_fix if blocker.tries_fixes else None,
            blocker.blocker_type,
        )
        _resumed(limit, left_s)
        await self._group.write(_line({"type": "resolution", "text": text}))

    async def _tried(self, fix: Fix, limit: asyncio.Timeout) -> Verdict:
        """Give the command a fix, and listen until it says what came of it."""
        await self._group.write(_line({"type": "fix", **fix._asdict()}))
        async for line in self._said:
            if isinstance(line, Fixed):
                return Verdict(line.worked, line.note)
            await self._take(line, limit)
        silence: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        return await silence  # it will say no more: `finish` ends this with its exit


def _paused(limit: asyncio.Timeout) -> float:
    """Stop a time limit; return the seconds that are left of it."""
    until = limit.when()
    limit.reschedule(None)
    return until - asyncio.get_running_loop().time() if until is not None else 0.0


def _resumed(limit: asyncio.Timeout, left_s: float) -> None:
    limit.reschedule(asyncio.get_running_loop().time() + left_s)


async def _pass_on(line: Progress | Decision | Artifact | Usage, report: Report) -> None:
    match line:
        case Progress():
            await report.progress(min(max(int(line.percent), 0), 100), line.note)
        case Decision():
            await report.decision(line.text)
        case Artifact():
            await report.artifact(line.name, line.uri, line.note)
        case Usage():
            await report.usage(max(line.tokens, 0), max(line.cost_usd, 0.0))


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"


class BlockingReport:
    """A `Report` for code in a thread: the same methods, without ``await``."""

    def __init__(self, report: Report, loop: asyncio.AbstractEventLoop) -> None:
        self._report = report
        self._loop = loop

    def progress(self, percent: int, note: str = "") -> None:
        self._do(self._report.progress(percent, note))

    def decision(self, text: str) -> None:
        self._do(self._report.decision(text))

    def artifact(self, name: str, uri: str, note: str = "") -> None:
        self._do(self._report.artifact(name, uri, note))

    def usage(self, tokens: int, cost_usd: float = 0.0) -> None:
        self._do(self._report.usage(tokens, cost_usd))

    def blocker(
        self,
        description: str,
        severity: str = "medium",
        try_fix: Callable[[Fix], Verdict] | None = None,
        blocker_type: str = "other",
    ) -> str:
        async def tried(fix: Fix) -> Verdict:
            assert try_fix is not None
            return await asyncio.to_thread(try_fix, fix)

        trying = tried if try_fix is not None else None
        return str(self._do(self._report.blocker(description, severity, trying, blocker_type)))

    def _do(self, said: Awaitable[Any]) -> Any:
        async def say() -> Any:
            return await said

        return asyncio.run_coroutine_threadsafe(say(), self._loop).result()


Work = Callable[[dict[str, Any], Path, Any], Any]


class PythonExecutor:
    """Runs a callable on every task.

    Parameters
    ----------
    work
        ``(task, workspace, report)``, a coroutine function with a `Report`, or a plain function,
        which runs in a thread with a `BlockingReport`. Returns an `Outcome`, or a summary as text.

    Notes
    -----
    A thread cannot be killed: after a cancel a plain function goes on until its next report, which
    raises.
    """

    pid = None

    def __init__(self, work: Work) -> None:
        self._work = work

    async def run(self, task: dict[str, Any], workspace: Path, report: Report) -> Outcome:
        try:
            if iscoroutinefunction(self._work):
                found = await self._work(task, workspace, report)
            else:
                blocking = BlockingReport(report, asyncio.get_running_loop())
                found = await asyncio.to_thread(self._work, task, workspace, blocking)
                if isawaitable(found):  # a callable object with an async __call__
                    found = await found
        except Exception as error:  # noqa: BLE001 - whatever the callable raises is its failure
            return Outcome(is_done=False, reason=f"{type(error).__name__}: {error}")
        return found if isinstance(found, Outcome) else Outcome(is_done=True, summary=str(found))

"""The gate of the ``command`` policy: run the project's fixed command on submitted work.

Fails closed: only exit code 0 is a yes. The work is described on standard input, as JSON; no field
of a task enters the command line or the environment. A command that must not trust the work it
judges has to bring its own sandbox.
"""

import asyncio
import logging
import resource
from contextlib import suppress
from pathlib import Path

import msgspec

from pm_agent.adapters.process_group import (
    ProcessGroup,
    Tail,
    how_it_ended,
    minimal_environment,
)
from pm_agent.domain.project import Gate
from pm_agent.ports import GateRequest, GateVerdict

log = logging.getLogger(__name__)

REPORT_BYTES = 8 * 1024
DRAIN_S = 2.0  # for the last output of a program whose children hold its pipe
# Far above what a test run needs; they end runaway programs, not malice.
LARGEST_FILE_BYTES = 4 << 30
CPU_PER_TIMEOUT = 8  # CPU-seconds of one process for each second of the timeout: it has threads


class CommandGate:
    """Fulfils `pm_agent.ports.GateRunner` with a subprocess."""

    async def run(self, gate: Gate, request: GateRequest) -> GateVerdict:
        if not gate.argv:
            return _no("The project has no gate command.")
        cwd = Path(gate.cwd) if gate.cwd else None
        try:
            group = await ProcessGroup.start(
                gate.argv, cwd=cwd, env=minimal_environment(), is_merged=True
            )
        except (OSError, ValueError) as error:  # missing, not executable, or a NUL in an argument
            return _no(f"The gate command could not be started: {error}.")
        _limit(group.pid, gate.timeout_s)
        tail = Tail(REPORT_BYTES)
        try:
            async with asyncio.timeout(gate.timeout_s):
                code = await _finish(group, msgspec.json.encode(request) + b"\n", tail)
        except TimeoutError:
            return _no(f"The gate command took longer than {gate.timeout_s} s.", tail)
        except Exception as error:  # fail closed, whatever it was
            log.exception("gate of %s", request.task_id)
            return _no(f"The gate could not be run: {type(error).__name__}.", tail)
        finally:
            await group.close()
        if code != 0:
            return _no(f"The gate command {how_it_ended(code)}.", tail)
        return GateVerdict(passed=True, reasons=(), report=tail.text())


async def _finish(group: ProcessGroup, stdin: bytes, tail: Tail) -> int:
    reading = asyncio.create_task(tail.drain(group.stdout))
    writing = asyncio.create_task(group.write(stdin))
    writing.add_done_callback(lambda _: group.close_stdin())
    try:
        code = await group.exited()
        with suppress(TimeoutError):
            await asyncio.wait_for(reading, DRAIN_S)
        return code
    finally:
        reading.cancel()
        writing.cancel()
        await asyncio.gather(reading, writing, return_exceptions=True)


def _limit(pid: int, timeout_s: int) -> None:
    """Set limits on the running child: a ``preexec_fn`` is unsafe beside threads.

    It has run for some microseconds by then, which no limit here minds.
    """
    if not hasattr(resource, "prlimit"):  # not on macOS
        return
    cpu_s = max(1, timeout_s * CPU_PER_TIMEOUT)
    with suppress(OSError, ValueError):  # gone already, or a lower hard limit holds
        resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))
        resource.prlimit(pid, resource.RLIMIT_CPU, (cpu_s, cpu_s))
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (LARGEST_FILE_BYTES, LARGEST_FILE_BYTES))


def _no(reason: str, tail: Tail | None = None) -> GateVerdict:
    return GateVerdict(passed=False, reasons=(reason,), report=tail.text() if tail else "")

"""Runs the load generator as a process of its own and waits for its signals."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import msgspec

from benchmarks.load_generator import LoadPlan, LoadResult
from benchmarks.product import Product


class Window(NamedTuple):
    """One timed window: what the clients saw, and the server's CPU in it."""

    result: LoadResult
    server_cpu_s: float  # 0.0 when the server is not ours


class Playing:
    """A load generator at work."""

    def __init__(self, child: "subprocess.Popen[bytes]") -> None:
        self._child = child

    def wait_for(self, word: str) -> None:
        """Wait until it says ``start`` or ``stop``, the ends of its timed window.

        Raises
        ------
        RuntimeError
            It ended without saying so.
        """
        assert self._child.stdout is not None
        if self._child.stdout.readline().strip().decode() != word:
            raise RuntimeError(f"The load generator ended instead of saying {word!r}.")

    def result(self) -> LoadResult:
        """Wait for its result.

        Raises
        ------
        RuntimeError
            It ended without one.
        """
        assert self._child.stdout is not None
        output = self._child.stdout.read()
        if self._child.wait() != 0:
            raise RuntimeError(f"The load generator ended with {self._child.returncode}.")
        return msgspec.json.decode(output, type=LoadResult)


@contextmanager
def playing(plan: LoadPlan) -> Iterator[Playing]:
    """Start the load generator on a plan; it is ended with the block, if it has not ended."""
    argv = [sys.executable, "-m", "benchmarks.load_generator"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        try:
            child.stdin.write(msgspec.json.encode(plan))
            child.stdin.close()
            yield Playing(child)
        finally:
            child.terminate()


def play(plan: LoadPlan, product: Product) -> Window:
    """Run one plan, and read the server's CPU at both ends of its window."""
    with playing(plan) as load:
        load.wait_for("start")
        before_s = product.cpu_s()
        load.wait_for("stop")
        cpu_s = product.cpu_s() - before_s
        return Window(load.result(), cpu_s)

"""Slow requests that go on without their client: started, asked after, answered later.

They live in this replica's memory alone. What they do is a command with a request id like any
other, so after a restart the same request gives the same answer, and nothing happens twice.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar
from uuid import uuid4

from pm_agent.domain.envelope import Principal
from pm_agent.domain.errors import NotFound, Overloaded

A = TypeVar("A")

MAX_RUNNING, MAX_KEPT = 16, 1_000


class Job(Generic[A]):
    """One slow request."""

    def __init__(self, owner: Principal, operation: str, work: Awaitable[A]) -> None:
        self.id = uuid4().hex
        self.owner = owner
        self.operation = operation
        self.task = asyncio.ensure_future(work)


class Jobs(Generic[A]):
    """The slow requests of a replica; the oldest that ended are forgotten first."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, Job[A]] = OrderedDict()

    def start(self, owner: Principal, operation: str, work: Callable[[], Awaitable[A]]) -> Job[A]:
        """Begin it, and let it go on by itself.

        Raises
        ------
        Overloaded
        """
        running = sum(not job.task.done() for job in self._jobs.values())
        if running >= MAX_RUNNING:
            message = f"{running} slow operations are under way already."
            raise Overloaded(message)
        job = Job(owner, operation, work())
        self._jobs[job.id] = job
        while len(self._jobs) > MAX_KEPT:
            oldest = next(key for key, one in self._jobs.items() if one.task.done())
            del self._jobs[oldest]
        return job

    def find(self, owner: Principal, job_id: str) -> Job[A]:
        """Return a principal's own job.

        Raises
        ------
        NotFound
            Also for somebody else's: an id is no authority.
        """
        job = self._jobs.get(job_id)
        if job is None or job.owner != owner:
            message = f"There is no operation {job_id} of yours here."
            raise NotFound(
                message, "Send the request again with the same request id: it takes effect once."
            )
        return job

    async def stop(self) -> None:
        """End all; their requests can be sent again."""
        tasks = [job.task for job in self._jobs.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

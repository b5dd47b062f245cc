"""Made-up requests: no answer is ours to be ashamed of, and what is refused changes nothing.

A lean number here; `make test-long` sends a hundred thousand.
"""

import json
import os
from random import Random
from typing import Any

from pm_agent.api.openapi import path_fields
from pm_agent.api.operations import OPERATIONS
from pm_agent.domain.envelope import SYSTEM
from tests.api.conftest import ADMIN, LEAD, running
from tests.api.rest_server import GENEROUS

N_REQUESTS = int(os.environ.get("PM_AGENT_TEST_REQUESTS", "1500"))
SEED = int(os.environ.get("PM_AGENT_TEST_SEED", "11"))
# They end the server, or never end.
LEFT_OUT = {"hand_over", "stream_events", "stream_agent_events"}
TRIED = [o for o in OPERATIONS if o.name not in LEFT_OUT]
TEXTS = ["", "x", "T-1", "A-ada", "P-web", "B-1", "é\u202e\U0001f600", "a" * 300, "0", "-1", "null",
         "'; --", "../..", "%00", "\\ud800", "${x}", "<b>"]  # fmt: skip


class Fuzzer:
    """Makes requests that are nearly right, or not at all."""

    def __init__(self, random: Random) -> None:
        self.random = random

    def value(self, depth: int = 0) -> Any:
        kind = self.random.randrange(8 if depth < 3 else 5)
        if kind == 0:
            return self.random.choice(TEXTS)
        if kind == 1:
            return self.random.choice([0, 1, -1, 50, 2**31, 2**53, 2**63, 10**40])
        if kind == 2:
            return self.random.choice([None, True, False, 0.5, -1e308])
        if kind in (3, 4):
            return self.random.choice(TEXTS) + str(self.random.randrange(9))
        if kind in (5, 6):
            return [self.value(depth + 1) for _ in range(self.random.randrange(4))]
        return {self.random.choice(TEXTS): self.value(depth + 1) for _ in range(3)}

    def request(self) -> tuple[str, str, dict[str, Any]]:
        operation = self.random.choice(TRIED)
        path = operation.path
        for name in path_fields(operation):
            path = path.replace("{" + name + "}", self.random.choice([*TEXTS[1:6], "T-2", "B-9"]))
        fields = {
            name: self.value()
            for name, field in operation.input.model_fields.items()
            if name not in path_fields(operation)
            and (field.is_required() or self.random.random() < 0.3)
        }
        if "timeout_s" in operation.input.model_fields:
            fields["timeout_s"] = 0
        if self.random.random() < 0.05:
            fields["surprise"] = self.value()
        method = operation.method if self.random.random() < 0.95 else "PUT"
        if operation.method in ("GET", "DELETE"):
            return method, path, {"params": {k: str(v) for k, v in fields.items()}}
        body = json.dumps(fields).encode()
        if self.random.random() < 0.1:  # a body that was cut, or has something in it
            at = self.random.randrange(len(body))
            body = body[:at] + self.random.randbytes(2) * self.random.randrange(2)
        return method, path, {"content": body, "headers": self.headers()}

    def headers(self) -> dict[str, str]:
        names = ["Idempotency-Key", "If-Match", "Prefer", "Content-Type", "X-PM-Position"]
        return {
            name: self.random.choice(["x", "*", '"1"', "0", "-1", "respond-async", "text/html"])
            for name in names
            if self.random.random() < 0.1
        }


async def test_fuzzed_requests_crash_nothing_and_refused_ones_change_nothing() -> None:
    fuzzer = Fuzzer(Random(SEED))
    refused = 0
    async with running(mcp=False, limits=GENEROUS) as stack:
        await stack.project()
        await stack.task()
        agent_id, adas = await stack.agent("Ada")
        await stack.claim(agent_id, adas)
        for n in range(N_REQUESTS):
            method, path, more = fuzzer.request()
            before = stack.position
            token = fuzzer.random.choice([ADMIN, LEAD, adas, "pmk_0_0", ""])
            response = await stack.call(method, path, token, **more)
            told = (SEED, n, method, path, more, response.text)
            assert response.status_code < 500, told
            if response.status_code >= 400:
                refused += 1
                if stack.position != before:
                    await stack.ingress.reach(stack.position)
                    # The clock goes on meanwhile; and work that comes too late is refused and kept.
                    by_clock = {e.principal for e in stack.ingress.events.after(before) or ()}
                    assert by_clock == {str(SYSTEM)} or path.endswith("/complete"), (by_clock, told)
                assert response.headers["content-type"] == "application/problem+json", told
                assert {"type", "code", "next_step"} <= set(response.json()), told
    assert N_REQUESTS > refused > N_REQUESTS // 4

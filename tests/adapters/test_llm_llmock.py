"""The adapter before a second, independent double of the API, which breaks on purpose."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from anthropic import AsyncAnthropic

from pm_agent.adapters.llm_anthropic import AnthropicModel, Models
from pm_agent.ports import BlockerBrief
from tests.cli.conftest import free_port

LLMOCK = Path(sys.executable).with_name("llmock")
BLOCKER = BlockerBrief(
    blocker_id="B-1",
    task_id="T-1",
    title="Wrap lines",
    description="",
    blocker_type="transient",
    severity="low",
    report="503 from the registry",
    tried=(),
)


@pytest.fixture
async def url() -> AsyncIterator[str]:
    port = free_port()
    rates = [f"--error-rate={status}=0.15" for status in (429, 500, 503)]
    process = subprocess.Popen(  # noqa: ASYNC220 - it only starts
        [LLMOCK, "serve", "--port", str(port), *rates],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        async with httpx.AsyncClient() as client:
            for _ in range(200):
                try:
                    await client.get(address)
                    break
                except httpx.TransportError:
                    await asyncio.sleep(0.05)
        yield address
    finally:
        process.terminate()
        process.wait(10)


async def test_every_question_is_answered_while_the_service_breaks(url: str) -> None:
    client = AsyncAnthropic(
        api_key="sk-test", base_url=f"{url}/anthropic", timeout=5, max_retries=1
    )
    model = AnthropicModel(
        client, Models("claude-sonnet-5-5", "claude-haiku-5-5"), microusd_a_day=10**9, now_us=int
    )
    given = await asyncio.gather(*(model.advise(BLOCKER) for _ in range(8)))
    await model.close()
    assert all(advice.steps for advice in given)
    asked = [advice for advice in given if advice.call.input_tokens]
    assert asked  # replies came through, and were counted, whatever they were worth
    assert all((a.call.writer == "rules") == bool(a.call.stands_in) for a in given)

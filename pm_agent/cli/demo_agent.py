"""The demo's remote agents: they know PM Agent only through a real MCP client."""

import asyncio
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client

from pm_agent.runtime.executors import Fix, Outcome, ShellExecutor, TryFix, Verdict
from pm_agent.runtime.worktree import Worktree

Json = dict[str, Any]
Team = tuple[tuple[str, dict[str, int]], ...]

WAIT_S = 5
BLOCKER_POLL_S = 0.5
PAUSE_S = 1.0
READ_TIMEOUT_S = 60.0


async def run_remote_agents(
    url: str,
    team: Team,
    secrets: dict[str, str],
    *,
    argv: tuple[str, ...],
    repository: Path,
    folder: Path,
    stop: threading.Event,
) -> None:
    """Run all of them until told to stop."""
    await asyncio.gather(
        *(
            RemoteAgent(
                url,
                name,
                skills,
                secrets[name],
                ShellExecutor(argv),
                Worktree(folder / "work" / name, repository, author=name),
            ).run(stop)
            for name, skills in team
        )
    )


class ToolError(Exception):
    """A tool answered with an error; its text says what to do next."""


class RemoteAgent:
    """Register, wait, work, report, complete: the loop of the server's own instructions."""

    def __init__(
        self,
        url: str,
        name: str,
        skills: dict[str, int],
        secret: str,
        executor: ShellExecutor,
        worktree: Worktree,
    ) -> None:
        self.agent_id = f"A-{name}"
        self._url = url
        self._name = name
        self._skills = [{"name": s, "level": n} for s, n in skills.items()]
        self._secret = secret
        self._executor = executor
        self._worktree = worktree

    async def run(self, stop: threading.Event) -> None:
        headers = {"Authorization": f"Bearer {self._secret}"}
        timeout = httpx2.Timeout(READ_TIMEOUT_S)
        while not stop.is_set():
            try:
                async with (
                    httpx2.AsyncClient(headers=headers, timeout=timeout) as http,
                    Client(streamable_http_client(self._url, http_client=http)) as client,
                ):
                    await self._loop(client, stop)
            except* (ToolError, httpx2.HTTPError, OSError):
                await asyncio.sleep(PAUSE_S)  # the server restarts; what we hold is still ours

    async def _loop(self, client: Client, stop: threading.Event) -> None:
        await self._call(client, "register_agent", name=self._name, skills=self._skills)
        while not stop.is_set():
            claimed = await self._call(client, "wait_for_task", timeout_s=WAIT_S)
            if claimed.get("outcome") == "assigned":
                await self._do(client, claimed)

    async def _do(self, client: Client, claimed: Json) -> None:
        task_id, lease_token = claimed["task_id"], claimed["lease_token"]
        workspace = await self._worktree.prepare(task_id, lease_token)
        report = _Report(self, client, task_id, lease_token)
        outcome: Outcome = await self._executor.run(claimed["task"], workspace, report)
        lease = {"task_id": task_id, "lease_token": lease_token}
        if not outcome.is_done:
            await self._call(client, "release_task", **lease, reason="failed", note=outcome.reason)
            return
        committed = await self._worktree.commit(task_id, lease_token, outcome.summary)
        await self._call(
            client,
            "complete_task",
            **lease,
            summary=outcome.summary,
            evidence={"commit": committed.commit, "branch": committed.branch},
        )

    async def _call(self, client: Client, tool: str, **arguments: Any) -> Json:
        result = await client.call_tool(tool, arguments)
        found: Json = result.structured_content or {}
        if result.is_error:
            raise ToolError(str(found))
        return found


class _Report:
    """Carries what the executor says to the MCP tools."""

    def __init__(self, agent: RemoteAgent, client: Client, task_id: str, lease_token: int) -> None:
        self._agent = agent
        self._client = client
        self._lease = {"task_id": task_id, "lease_token": lease_token}

    async def progress(self, percent: int, note: str = "") -> None:
        await self._call("report_task_progress", percent=percent, note=note)

    async def decision(self, text: str) -> None:
        await self._call("log_decision", decision=text)

    async def artifact(self, name: str, uri: str, note: str = "") -> None:
        await self._call("log_artifact", name=name, uri=uri, note=note)

    async def usage(self, tokens: int, cost_usd: float = 0.0) -> None:
        usage = {"tokens": tokens, "cost_usd": cost_usd}
        await self._call("report_task_progress", percent=90, usage=usage)

    async def blocker(
        self,
        description: str,
        severity: str = "medium",
        try_fix: TryFix | None = None,
        blocker_type: str = "other",
    ) -> str:
        told = {"description": description, "severity": severity, "blocker_type": blocker_type}
        said = await self._call("report_blocker", **told)
        tried: set[str] = set()
        while True:
            await asyncio.sleep(BLOCKER_POLL_S)
            context = await self._agent._call(  # noqa: SLF001 - two halves of one agent
                self._client,
                "get_task_context",
                task_id=self._lease["task_id"],
                response_format="detailed",
            )
            closed = context.get("closed_blockers", ())
            if not context.get("blockers") and closed:
                return str(closed[-1]["resolution"])
            for known in context.get("blockers", ()):
                step = known.get("step") or {}
                if try_fix is not None and step.get("text", "") not in {"", *tried}:
                    tried.add(step["text"])
                    verdict = await try_fix(Fix(step["text"], step["by"], step["why"]))
                    await self._judged(said["blocker_id"], verdict)

    async def _judged(self, blocker_id: str, verdict: Verdict) -> None:
        with suppress(ToolError):  # a person answered meanwhile
            await self._agent._call(  # noqa: SLF001 - as above
                self._client,
                "report_fix",
                blocker_id=blocker_id,
                lease_token=self._lease["lease_token"],
                **verdict._asdict(),
            )

    async def _call(self, tool: str, **arguments: Any) -> Json:
        return await self._agent._call(self._client, tool, **self._lease, **arguments)  # noqa: SLF001 - as above

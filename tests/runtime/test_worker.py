import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from pm_agent.client import AsyncClient
from pm_agent.runtime import worker as worker_module
from pm_agent.runtime.executors import Fix, Outcome, PythonExecutor, Verdict
from pm_agent.runtime.worker import Worker
from pm_agent.runtime.worktree import Worktree

Json = dict[str, Any]
# Enough for the answers to all of a worker's calls; what is beyond an answer's own is passed over.
WHOLE: Json = {
    "task_id": "T-1",
    "agent_id": "A-ada",
    "blocker_id": "B-1",
    "severity": "medium",
    "blocker_type": "other",
    "by": "A-ada",
    "reported_at": "",
    "project_id": "P-web",
    "name": "Ada",
    "role": "worker",
    "kind": "task",
    "priority": "normal",
    "project": "Web",
    "title": "Do it",
    "notice": "",
    "state": "assigned",
    "task_state": "",
    "next_step": "",
    "heartbeat_s": 30,
    "silence_s": 120,
    "capacity": 1,
    "percent": 0,
    "version": 1,
    "logged": 1,
    "is_ready": False,
    "sends_heartbeats": True,
    "created_at": "",
    "registered_at": "",
    "lease_until": "",
    "granted_at": "",
    "heard_at": "",
    "lease_token": 1,
    "inbox": 0,
}
Work = Callable[[Json, Path, Any], Awaitable[Any]]


class Server:
    """Knows just enough of PM Agent for one worker."""

    def __init__(self, *task_ids: str) -> None:
        self.open = deque(task_ids)
        self.held: dict[str, int] = {}
        self.blockers: list[Json] = []
        self.steps: deque[Json] = deque()  # the ladder of its one blocker
        self.calls: list[tuple[str, Json]] = []
        self.refuse: dict[str, tuple[int, str]] = {}  # last part of the path → status, code
        self.directives: list[str] = []
        self.news = asyncio.Event()

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content or b"{}")
        parts = request.url.path.split("/")[2:]
        what = parts[-1] if len(parts) != 2 else parts[0]
        if parts == ["agents"]:
            what = "register"
        self.calls.append((what, body))
        self.news.set()
        if what in self.refuse:
            status, code = self.refuse[what]
            return httpx.Response(status, json={"code": code, "detail": code})
        answer: Json = await self.answer(what, parts, body)
        return httpx.Response(200, json=WHOLE | answer | {"directives": self.directives})

    async def answer(self, what: str, parts: list[str], body: Json) -> Json:
        if what == "register":
            return {"agent_id": "A-ada"}
        if what == "heartbeat":
            leases = [WHOLE | {"task_id": t, "lease_token": n} for t, n in self.held.items()]
            return {"agent_id": "A-ada", "leases": leases}
        if what == "agents":
            held = self.held.items()
            return {"tasks": [WHOLE | {"task_id": t, "lease_token": n} for t, n in held]}
        if what == "wait":
            if not self.open:
                await asyncio.sleep(3600)
            task_id = self.open.popleft()
            self.held[task_id] = 1
            return {
                "outcome": "assigned",
                "task_id": task_id,
                "lease_token": 1,
                "attempt": 1,
                "task": WHOLE | {"task_id": task_id, "key": "k"},
            }
        if what == "context":
            return {
                "title": "Do it again",
                "attempt": 1,
                "blockers": [WHOLE | b for b in self.blockers if not b["resolution"]],
                "closed_blockers": [WHOLE | b for b in self.blockers if b["resolution"]],
            }
        if what == "blockers":
            told = {"description": body["description"], "resolution": "", "blocker_id": "B-1"}
            self.blockers.append(told | {"step": self.step})
        if what == "fix":
            step = self.steps.popleft()
            blocker = self.blockers[-1]
            blocker["step"] = self.step
            blocker["resolution"] = step["text"] if body["worked"] else ""
        if what in ("complete", "release"):
            self.held.pop(parts[1], None)
        return {}

    @property
    def step(self) -> Json | None:
        return {"why": "", "until": "", **self.steps[0]} if self.steps else None

    def said(self, what: str) -> list[Json]:
        return [body for name, body in self.calls if name == what]

    async def until(self, what: str, n: int = 1) -> list[Json]:
        async with asyncio.timeout(5):
            while len(self.said(what)) < n:
                self.news.clear()
                await self.news.wait()
        return self.said(what)


@asynccontextmanager
async def working(server: Server, work: Work, folder: Path, **more: Any) -> AsyncIterator[Worker]:
    transport = httpx.MockTransport(server)
    async with AsyncClient("http://pm", patience_s=0.0, transport=transport) as client:
        worker = Worker(
            client,
            "Ada",
            PythonExecutor(work),
            Worktree(folder, None),
            skills=["python"],
            blocker_poll_s=0.01,
            **more,
        )
        worker.start()
        try:
            yield worker
        finally:
            await worker.stop(grace_s=5)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "PAUSE_S", 0.01)


async def forever(task: Json, workspace: Path, report: Any) -> str:
    await report.progress(10, "begun")
    await asyncio.sleep(3600)
    return "never"


async def quickly(task: Json, workspace: Path, report: Any) -> str:
    return f"did {task['task_id']}: {task['title']}"


async def test_it_registers_works_and_hands_in_with_evidence_and_usage(tmp_path: Path) -> None:
    async def work(task: Json, workspace: Path, report: Any) -> Outcome:
        await report.usage(100, 0.25)
        await report.decision("tabs")
        await report.artifact("a", "a.py")
        evidence = {"commit": "c" * 200, "links": ["x", ""], "unknown": 1}
        return Outcome(is_done=True, summary=task["title"], evidence=evidence)

    server = Server("T-1")
    async with working(server, work, tmp_path) as worker:
        await server.until("complete")
        await server.until("wait", 2)
        assert (worker.n_done, worker.task_id, worker.executor_pid) == (1, "", None)
        assert worker.busy_s > 0
    (registered,) = server.said("register")
    assert (registered["kind"], registered["sends_heartbeats"]) == ("managed", True)
    (done,) = server.said("complete")
    assert (done["summary"], done["lease_token"]) == ("Do it", 1)
    assert done["evidence"] == {"commit": "c" * 100, "branch": "", "links": ["x"]}
    assert done["usage"] == {"tokens": 100, "cost_usd": 0.25}
    assert server.said("decisions")[0]["decision"] == "tabs"
    assert server.said("artifacts")[0]["lease_token"] == 1


async def test_a_failed_execution_is_released_as_failed_with_its_reason(tmp_path: Path) -> None:
    async def work(*_: Any) -> Outcome:
        return Outcome(is_done=False, reason="no disk", tail="the log")

    server = Server("T-1")
    async with working(server, work, tmp_path) as worker:
        (released,) = await server.until("release")
        await server.until("wait", 2)
        assert worker.n_failed == 1
    assert (released["reason"], released["note"]) == ("failed", "no disk\nthe log")


async def test_told_to_stop_it_cancels_and_releases_as_stopped(tmp_path: Path) -> None:
    server = Server("T-1")
    async with working(server, forever, tmp_path, heartbeat_s=0.02) as worker:
        await server.until("progress")
        server.directives = ["Stop working on T-2 and release it."]
        await server.until("heartbeat", 2)
        assert worker.task_id == "T-1"
        server.directives = ["Stop working on T-1 and release it: no money."]
        (released,) = await server.until("release")
        server.directives = []
        await server.until("wait", 2)
        assert worker.n_stopped == 1
    assert released["reason"] == "stopped"
    assert "begun" in released["note"]


@pytest.mark.parametrize("code", ["stale_lease", "not_assigned", "not_assignee"])
async def test_a_lost_lease_stops_the_work_without_another_word(tmp_path: Path, code: str) -> None:
    server = Server("T-1")
    server.refuse["progress"] = (409, code)
    async with working(server, forever, tmp_path) as worker:
        await server.until("wait", 2)
        assert worker.n_lost == 1
    assert not server.said("release")
    assert not server.said("complete")


async def test_a_lease_missing_from_a_heartbeat_stops_the_work(tmp_path: Path) -> None:
    server = Server("T-1")
    async with working(server, forever, tmp_path, heartbeat_s=0.02) as worker:
        await server.until("progress")
        server.held["T-1"] = 2
        await server.until("wait", 2)
        assert worker.n_lost == 1


async def test_other_refusals_do_not_stop_the_work(tmp_path: Path) -> None:
    async def work(task: Json, workspace: Path, report: Any) -> str:
        await report.progress(10)
        await report.decision("x")
        return "done"

    server = Server("T-1")
    server.refuse["progress"] = (503, "unavailable")
    server.refuse["decisions"] = (422, "invalid_input")
    async with working(server, work, tmp_path):
        await server.until("complete")


@pytest.mark.parametrize(("kind", "told"), [("needs_input", "needs_input"), ("nonsense", "other")])
async def test_a_blocker_is_reported_once_and_its_resolution_reaches_the_executor(
    tmp_path: Path, kind: str, told: str
) -> None:
    async def work(task: Json, workspace: Path, report: Any) -> str:
        return str(await report.blocker("How wide?", "nonsense", None, kind))

    server = Server("T-1")
    async with working(server, work, tmp_path):
        await server.until("context", 3)
        server.blockers[0]["resolution"] = "72"
        (done,) = await server.until("complete")
    assert done["summary"] == "72"
    (reported,) = server.said("blockers")
    assert (reported["description"], reported["severity"]) == ("How wide?", "medium")
    assert reported["blocker_type"] == told


async def test_an_answer_given_to_an_attempt_before_is_used_again(tmp_path: Path) -> None:
    async def work(task: Json, workspace: Path, report: Any) -> str:
        return str(await report.blocker("How wide?"))

    server = Server("T-1")
    server.blockers = [{"description": "How wide?", "resolution": "72"}]
    async with working(server, work, tmp_path):
        (done,) = await server.until("complete")
    assert done["summary"] == "72"
    assert not server.said("blockers")


async def test_a_restarted_worker_goes_on_with_what_it_holds(tmp_path: Path) -> None:
    server = Server()
    server.held = {"T-9": 4}
    async with working(server, quickly, tmp_path):
        (done,) = await server.until("complete")
    assert (done["summary"], done["lease_token"]) == ("did T-9: Do it again", 4)


async def test_a_task_that_cannot_be_read_again_is_released_as_failed(tmp_path: Path) -> None:
    server = Server()
    server.held = {"T-9": 4}
    server.refuse["context"] = (404, "unknown_task")
    async with working(server, quickly, tmp_path):
        (released,) = await server.until("release")
    assert released["reason"] == "failed"


async def test_an_assignment_whose_reply_was_lost_is_found_again(tmp_path: Path) -> None:
    server = Server()
    async with working(server, quickly, tmp_path):
        server.held = {"T-9": 4}
        server.refuse["wait"] = (409, "capacity_exceeded")
        await server.until("register")
        (done,) = await server.until("complete")
        del server.refuse["wait"]
    assert done["lease_token"] == 4


async def test_handing_in_waits_for_a_server_that_is_away(tmp_path: Path) -> None:
    server = Server("T-1")
    server.refuse["complete"] = (503, "journal_unavailable")
    async with working(server, quickly, tmp_path) as worker:
        await server.until("complete", 3)
        del server.refuse["complete"]
        await server.until("wait", 2)
        assert worker.n_done == 1


async def test_work_that_cannot_be_handed_in_is_given_back(tmp_path: Path) -> None:
    server = Server("T-1")
    server.refuse["complete"] = (422, "invalid_input")
    async with working(server, quickly, tmp_path):
        (released,) = await server.until("release")
    assert released["reason"] == "failed"
    assert "invalid_input" in released["note"]


async def test_a_broken_executor_fails_the_task_and_not_the_worker(tmp_path: Path) -> None:
    class Broken(PythonExecutor):
        async def run(self, *_: Any) -> Outcome:
            raise OSError("disk full")

    server = Server("T-1", "T-2")
    transport = httpx.MockTransport(server)
    async with AsyncClient("http://pm", patience_s=0.0, transport=transport) as client:
        worker = Worker(client, "Ada", Broken(quickly), Worktree(tmp_path, None))
        worker.start()
        released = await server.until("release", 2)
        await worker.stop()
    assert released[0]["note"] == "OSError: disk full"


async def test_stopping_lets_the_task_in_hand_finish(tmp_path: Path) -> None:
    go_on = asyncio.Event()

    async def work(task: Json, workspace: Path, report: Any) -> str:
        await report.progress(50)
        await go_on.wait()
        return "finished"

    server = Server("T-1", "T-2")
    async with working(server, work, tmp_path) as worker:
        await server.until("progress")
        stopping = asyncio.create_task(worker.stop())
        await asyncio.sleep(0.02)
        go_on.set()
        await stopping
        assert worker.n_done == 1
    assert len(server.said("wait")) == 1


async def test_without_time_left_the_task_in_hand_is_given_back(tmp_path: Path) -> None:
    server = Server("T-1")
    async with working(server, forever, tmp_path) as worker:
        await server.until("progress")
        await worker.stop(grace_s=0.01)
    (released,) = server.said("release")
    assert released["reason"] == "released"


async def test_an_idle_worker_stops_at_once(tmp_path: Path) -> None:
    server = Server()
    async with working(server, quickly, tmp_path) as worker:
        await server.until("wait")
        async with asyncio.timeout(1):
            await worker.stop()


async def test_it_waits_for_a_server_that_is_not_up_yet(tmp_path: Path) -> None:
    server = Server("T-1")
    server.refuse["register"] = (503, "unavailable")
    async with working(server, quickly, tmp_path):
        await server.until("register", 3)
        del server.refuse["register"]
        await server.until("complete")


async def test_it_waits_for_its_project_to_be_made(tmp_path: Path) -> None:
    server = Server("T-1")
    server.refuse["register"] = (404, "unknown_project")
    async with working(server, quickly, tmp_path):
        await server.until("register", 3)
        del server.refuse["register"]
        await server.until("complete")


async def test_what_a_failed_execution_left_is_kept_on_its_branch(tmp_path: Path) -> None:
    async def work(task: Json, workspace: Path, report: Any) -> Outcome:
        (workspace / "half.txt").write_text("half")
        return Outcome(is_done=False, reason="Ran out of ideas.")

    repository = tmp_path / "repository"
    who = ("-c", "user.name=T", "-c", "user.email=t@example.invalid")
    await git("init", "--quiet", "--initial-branch=main", str(repository))
    await git("-C", str(repository), *who, "commit", "--quiet", "--allow-empty", "--message=first")
    server = Server("T-1")
    async with AsyncClient("http://pm", transport=httpx.MockTransport(server)) as client:
        place = Worktree(tmp_path / "w", repository)
        worker = Worker(client, "Ada", PythonExecutor(work), place)
        worker.start()
        (released,) = await server.until("release")
        await worker.stop()
    assert released["note"] == "Ran out of ideas. What it left is on branch task/T-1/a1."
    await git("-C", str(repository), "cat-file", "-e", "task/T-1/a1:half.txt")


async def git(*arguments: str) -> None:
    process = await asyncio.create_subprocess_exec("git", *arguments)
    assert await process.wait() == 0


FIX = {"step": "known_fix", "text": "Delete the cache.", "by": "A-bob", "why": "worked 2 of 2"}


async def test_a_fix_that_is_offered_is_tried_and_its_outcome_told(tmp_path: Path) -> None:
    tried: list[Fix] = []

    async def work(task: Json, workspace: Path, report: Any) -> str:
        async def try_fix(fix: Fix) -> Verdict:
            tried.append(fix)
            return Verdict(worked=fix.text == "Ask for 72.", note=f"tried {len(tried)}")

        return str(await report.blocker("How wide?", try_fix=try_fix))

    server = Server("T-1")
    server.steps = deque([FIX, {"step": "advice", "text": "Ask for 72.", "by": "rules"}])
    async with working(server, work, tmp_path):
        (done,) = await server.until("complete")
    assert [fix.text for fix in tried] == ["Delete the cache.", "Ask for 72."]
    assert tried[0].by == "A-bob"
    told = [(said["worked"], said["note"], said["lease_token"]) for said in server.said("fix")]
    assert told == [(False, "tried 1", 1), (True, "tried 2", 1)]
    assert done["summary"] == "Ask for 72."


async def test_a_step_without_words_is_waited_for(tmp_path: Path) -> None:
    async def work(task: Json, workspace: Path, report: Any) -> str:
        async def never(fix: Fix) -> Verdict:
            raise AssertionError(fix)

        return str(await report.blocker("How wide?", try_fix=never))

    server = Server("T-1")
    server.steps = deque([{"step": "escalate", "why": "nothing else is worth a try"}])
    async with working(server, work, tmp_path):
        await server.until("context", 4)
        server.blockers[0]["resolution"] = "72"
        (done,) = await server.until("complete")
    assert done["summary"] == "72"
    assert not server.said("fix")

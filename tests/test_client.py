import asyncio
import inspect
import json
from contextlib import aclosing
from typing import Any

import httpx
import pytest

from pm_agent.api.operations import OPERATIONS
from pm_agent.client import ApiError, AsyncClient, Client, backoff
from pm_agent.domain.notice import Notice

# Enough for the answers to most operations; what an answer has beyond its own is passed over.
WHOLE = {
    "task_id": "T-1",
    "agent_id": "A-ada",
    "state": "done",
    "next_step": "",
    "version": 1,
    "percent": 5,
    "lease_until": "",
    "tasks": {},
    "projects": [],
    "suspect": [],
    "stale": False,
    "workspace_id": "main",
    "position": 1,
    "epoch": 3,
    "parked": 0,
    "open_blockers": 0,
    "agents": 0,
    "agents_working": 0,
}
STALE = {"code": "stale_lease", "detail": "Task T-1 went on.", "next_step": "Stop.", "status": 409}


class Server:
    """Answers in turn; the last answer stays."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def client(self, patience_s: float = 30.0) -> Client:
        transport = httpx.MockTransport(self)
        return Client("http://pm", "secret", patience_s=patience_s, transport=transport)

    def bodies(self) -> list[Any]:
        return [json.loads(request.content) for request in self.requests]


def problem(status: int, body: dict[str, Any], **headers: str) -> httpx.Response:
    content_type = {"Content-Type": "application/problem+json"}
    return httpx.Response(status, json=body, headers={**content_type, **headers})


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses that the blocking client would have made."""
    made: list[float] = []
    monkeypatch.setattr("pm_agent.client.blocking.time.sleep", made.append)
    return made


def test_a_write_keeps_its_request_id_over_all_retries() -> None:
    server = Server(
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
        httpx.Response(404, text="not found"),
        httpx.Response(502),
        httpx.Response(500, json={"error": "proxy"}),
        problem(503, {"code": "overloaded"}),
        httpx.Response(200, json=WHOLE),
    )
    with server.client() as client:
        assert client.create_task("P-web", title="Do it").task_id == "T-1"
    ids = {body["request_id"] for body in server.bodies()}
    assert len(server.requests) == 7
    assert len(ids) == 1
    assert server.requests[0].headers["Authorization"] == "Bearer secret"


def test_two_writes_have_two_request_ids_and_a_given_one_is_kept() -> None:
    server = Server(httpx.Response(200, json=WHOLE))
    with server.client() as client:
        client.heartbeat_agent("A-ada")
        client.heartbeat_agent("A-ada")
        client.heartbeat_agent("A-ada", request_id="mine")
    ids = [body["request_id"] for body in server.bodies()]
    assert len(set(ids)) == 3
    assert ids[2] == "mine"


@pytest.mark.parametrize("status", [400, 401, 404, 409, 422, 500])
def test_a_refusal_of_ours_is_raised_at_once(status: int) -> None:
    server = Server(problem(status, STALE))
    with server.client() as client, pytest.raises(ApiError) as caught:
        client.complete_task("T-1", lease_token=1, summary="done")
    error = caught.value
    assert (error.code, error.message, error.next_step) == (
        "stale_lease",
        "Task T-1 went on.",
        "Stop.",
    )
    assert error.status == status
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("status", "code"), [(429, "rate_limited"), (503, "overloaded"), (503, "handing_over")]
)
def test_retry_after_is_waited_for_with_jitter(pauses: list[float], status: int, code: str) -> None:
    refusal = problem(status, {"code": code}, **{"Retry-After": "7"})
    server = Server(*[refusal] * 20, httpx.Response(200, json=WHOLE))
    with server.client(patience_s=1_000) as client:
        client.complete_task("T-1", lease_token=1, summary="done")
    assert 7 <= pauses[0] <= 7.1
    assert all(7 <= pause <= 12 for pause in pauses)
    assert len(set(pauses)) == 20
    assert len({body["request_id"] for body in server.bodies()}) == 1


def test_a_time_beyond_all_patience_is_not_waited_for(pauses: list[float]) -> None:
    server = Server(problem(503, {"code": "overloaded"}, **{"Retry-After": "99"}))
    with server.client(patience_s=30) as client, pytest.raises(ApiError) as caught:
        client.get_status()
    assert caught.value.code == "overloaded"
    assert pauses == []


def test_patience_ends_and_the_last_answer_is_raised() -> None:
    server = Server(problem(503, {"code": "journal_unavailable", "detail": "Disk full."}))
    with server.client(patience_s=0.0) as client, pytest.raises(ApiError) as caught:
        client.get_status()
    assert caught.value.code == "journal_unavailable"


def test_a_server_that_does_not_answer_is_unreachable() -> None:
    server = Server(httpx.ConnectError("refused"))
    with server.client(patience_s=0.0) as client, pytest.raises(ApiError) as caught:
        client.get_status()
    assert (caught.value.code, caught.value.status) == ("unreachable", 0)


def test_pauses_grow_with_jitter(pauses: list[float]) -> None:
    server = Server(*[httpx.ConnectError("x")] * 8, httpx.Response(200, json=WHOLE))
    with server.client(patience_s=1_000) as client:
        client.get_status()
    assert all(0 <= pause <= min(5.0, 0.1 * 2**n) for n, pause in enumerate(pauses))
    assert len(set(pauses)) == 8


def test_queries_name_the_newest_position_seen() -> None:
    server = Server(httpx.Response(200, json=WHOLE, headers={"X-PM-Position": "41"}))
    with server.client() as client:
        client.get_status()
        client.get_status()
    assert "X-PM-Position" not in server.requests[0].headers
    assert server.requests[1].headers["X-PM-Position"] == "41"


def test_a_long_poll_is_given_more_time_than_it_asks_for() -> None:
    server = Server(httpx.Response(200, json={"outcome": "waiting"}))
    with server.client() as client:
        client.wait_for_task("A-ada", timeout_s=50)
    (request,) = server.requests
    assert request.extensions["timeout"]["read"] > 60
    assert server.bodies()[0]["timeout_s"] == 50
    assert "wait_s" not in server.bodies()[0]


def test_what_is_left_out_is_not_sent() -> None:
    server = Server(httpx.Response(200, json=WHOLE | {"blockers": []}))
    with server.client() as client:
        client.report_task_progress("T-1", lease_token=2, percent=5)
        client.list_blockers(project_id="P-web", include_resolved=None)
    body = json.loads(server.requests[0].content)
    assert {*body} == {"lease_token", "percent", "note", "where", "request_id"}
    assert server.requests[1].url.query == b"project_id=P-web"


def test_both_clients_have_the_same_operations() -> None:
    def names(kind: type) -> set[str]:
        return {n for n, f in inspect.getmembers(kind, callable) if not n.startswith("_")}

    assert names(AsyncClient) - names(Client) == {"aclose"}
    assert names(Client) - names(AsyncClient) == {"close"}
    assert {o.name for o in OPERATIONS if not o.streams} <= names(Client)


def test_an_answer_is_the_struct_that_the_server_renders() -> None:
    brief = {**WHOLE, "project_id": "P-web", "project": "Web", "title": "Do it", "kind": "bug"}
    task = {**brief, "priority": "high", "notice": "", "skills": [{"name": "sql", "level": 2}]}
    told = {"outcome": "assigned", "lease_token": 2, "task": task, "new_in_a_later_release": 1}
    with Server(httpx.Response(200, json=told)).client() as client:
        claimed = client.request_next_task("A-ada")
    assert (claimed.lease_token, claimed.attempt) == (2, 0)
    assert claimed.task is not None
    assert [(one.name, one.level) for one in claimed.task.skills] == [("sql", 2)]


def test_an_answer_of_another_form_says_so_at_once() -> None:
    server = Server(httpx.Response(200, json={"outcome": 7}))
    with server.client() as client, pytest.raises(ApiError) as caught:
        client.request_next_task("A-ada")
    assert caught.value.code == "unknown_form"
    assert len(server.requests) == 1


def test_what_an_agent_is_told_with_any_answer_is_kept() -> None:
    told = {**WHOLE, "directives": ["Stop work on task T-1."], "inbox": 2}
    server = Server(httpx.Response(200, json=told), httpx.Response(200, json=WHOLE))
    with server.client() as client:
        client.heartbeat_agent("A-ada")
        assert client.notice == Notice(("Stop work on task T-1.",), 2)
        client.heartbeat_agent("A-ada")  # an answer to somebody who is no agent says nothing
        assert client.notice.inbox == 2


class KeyServer(Server):
    """Exchanges a key for tokens; the tokens it was told to refuse are over."""

    def __init__(self, lasts_s: int = 900) -> None:
        super().__init__(httpx.Response(200, json=WHOLE))
        self.lasts_s = lasts_s
        self.over: set[str] = set()
        self.n_made = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        bearer = request.headers["Authorization"].removeprefix("Bearer ")
        if request.url.path == "/v1/token":
            assert bearer == "pmk_secret"
            self.n_made += 1
            made = {"access_token": f"token-{self.n_made}", "scope": "pm:work"}
            return httpx.Response(200, json={**made, "expires_in": self.lasts_s})
        if bearer in self.over or bearer.startswith("pmk_"):
            return problem(401, {"code": "unauthenticated"})
        return httpx.Response(200, json=WHOLE)

    def bearers(self) -> list[str]:
        found = [r.headers["Authorization"].split()[1] for r in self.requests]
        return [one for one in found if one != "pmk_secret"]


def with_key(server: KeyServer) -> Client:
    return Client("http://pm", "pmk_secret", transport=httpx.MockTransport(server))


def test_a_key_is_exchanged_once_and_its_token_used_until_it_nears_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1_000.0
    monkeypatch.setattr("pm_agent.client.credential.time.monotonic", lambda: now)
    server = KeyServer()
    with with_key(server) as client:
        client.heartbeat_agent("A-ada")
        now += 700
        client.heartbeat_agent("A-ada")
        now += 30  # 730 of 900 seconds
        client.heartbeat_agent("A-ada")
    assert server.bearers() == ["token-1", "token-1", "token-2"]


def test_a_refused_token_is_exchanged_anew_once_and_then_raised() -> None:
    server = KeyServer()
    with with_key(server) as client:
        client.heartbeat_agent("A-ada")
        server.over = {"token-1"}  # denied, or of a server that makes others now
        client.heartbeat_agent("A-ada")
        assert server.bearers() == ["token-1", "token-1", "token-2"]
        server.over |= {"token-2", "token-3"}
        with pytest.raises(ApiError, match="unauthenticated"):
            client.heartbeat_agent("A-ada")
    assert server.n_made == 3


async def test_calls_at_the_same_time_wait_for_one_exchange() -> None:
    server = KeyServer()
    transport = httpx.MockTransport(server)
    async with AsyncClient("http://pm", "pmk_secret", transport=transport) as client:
        await asyncio.gather(*(client.heartbeat_agent("A-ada") for _ in range(5)))
        made = await client.exchange_token(lasts_s=60)  # by the key, not by the token of it
    assert made.access_token == "token-2"
    assert server.bearers() == ["token-1"] * 5


def test_slow_work_is_begun_and_waited_for() -> None:
    told = {"operation_id": "op", "operation": "import_tasks", "state": "running"}
    server = Server(
        httpx.Response(202, json=told),
        httpx.Response(200, json=told),
        httpx.Response(200, json={**told, "state": "done", "result": {"created": 1}}),
    )
    with server.client() as client:
        begun = client.begin_import_tasks("P-web", [{"title": "a"}])
        ended = client.wait_for_operation(begun.operation_id)
        still = Server(httpx.Response(200, json=told)).client().wait_for_operation("x", timeout_s=0)
    assert server.requests[0].headers["Prefer"] == "respond-async"
    assert (ended.state, ended.result) == ("done", {"created": 1})
    assert still.state == "running"


def test_a_handover_is_begun_like_other_slow_work() -> None:
    told = {"operation_id": "op", "operation": "hand_over", "state": "running"}
    server = Server(httpx.Response(202, json=told))
    with server.client() as client:
        begun = client.begin_hand_over(drain_s=0)
    (sent,) = server.requests
    assert (sent.url.path, sent.headers["Prefer"]) == ("/v1/handover", "respond-async")
    assert (begun.operation_id, begun.state) == ("op", "running")


def test_a_stream_goes_on_with_a_new_token() -> None:
    server = KeyServer()
    answer = server.__call__

    def streaming(request: httpx.Request) -> httpx.Response:
        answered = answer(request)
        is_stream = answered.is_success and request.url.path == "/v1/events"
        return httpx.Response(200, text=STREAM.format(7)) if is_stream else answered

    server.over = {"token-1"}
    with Client("http://pm", "pmk_secret", transport=httpx.MockTransport(streaming)) as client:
        events = client.events()
        assert next(events)["position"] == 7
        events.close()
    assert server.n_made == 2


STREAM = 'retry: 2000\n\nid: {0}\nevent: TaskCreated\ndata: {{"position": {0}}}\n\n: alive\n\n'


def broken_stream() -> Server:
    """One that breaks after an event, answers through a proxy, and goes on."""
    return Server(
        httpx.Response(200, text=STREAM.format(7)),
        httpx.Response(404),
        httpx.Response(200, text=STREAM.format(8)),
    )


async def test_a_broken_stream_is_taken_up_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "BACKOFF_MAX_S", 0.001)
    server = broken_stream()
    async with (
        AsyncClient("http://pm", transport=httpx.MockTransport(server)) as client,
        aclosing(client.events(agent_id="A-ada")) as events,
    ):
        heard = [(await anext(events))["position"], (await anext(events))["position"]]
    assert heard == [7, 8]
    assert [r.url.query for r in server.requests] == [b"", b"after=7", b"after=7"]
    server = broken_stream()
    with Client("http://pm", transport=httpx.MockTransport(server)) as blocking:
        going = blocking.events()
        assert [next(going)["position"], next(going)["position"]] == [7, 8]
        going.close()


def test_a_refused_stream_is_raised() -> None:
    refusal = httpx.Response(403, json={"code": "forbidden", "detail": "No.", "next_step": "-"})
    with (
        Client("http://pm", transport=httpx.MockTransport(Server(refusal))) as client,
        pytest.raises(ApiError, match="forbidden"),
    ):
        next(client.events())


async def test_the_asynchronous_client_retries_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "BACKOFF_FIRST_S", 0.001)
    server = Server(httpx.ConnectError("x"), httpx.Response(404), httpx.Response(200, json=WHOLE))
    async with AsyncClient("http://pm", transport=httpx.MockTransport(server)) as client:
        assert (await client.get_status()).epoch == 3
    assert len(server.requests) == 3


async def test_tasks_waits_again_until_it_is_given_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "BACKOFF_MAX_S", 0.001)
    server = Server(
        httpx.Response(200, json={"outcome": "waiting", "retry_after_s": 30}),
        httpx.Response(200, json={"outcome": "none", "retry_after_s": 0}),
        httpx.ConnectError("x"),
        httpx.Response(200, json={"outcome": "assigned", "task_id": "T-1"}),
        httpx.Response(200, json={"outcome": "assigned", "task_id": "T-2"}),
    )
    async with AsyncClient(
        "http://pm", patience_s=0.0, transport=httpx.MockTransport(server)
    ) as client:
        got = []
        async with asyncio.timeout(5):
            async for claimed in client.tasks("A-ada"):
                got.append(claimed.task_id)
                if len(got) == 2:
                    break
    assert got == ["T-1", "T-2"]
    assert len({json.loads(r.content)["request_id"] for r in server.requests}) == 5

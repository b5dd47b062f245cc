import asyncio
import inspect
import json
from contextlib import aclosing
from typing import Any

import httpx
import pytest

from pm_agent.api.operations import OPERATIONS
from pm_agent.client import ApiError, AsyncClient, Client, backoff

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
        httpx.Response(200, json={"task_id": "T-1"}),
    )
    with server.client() as client:
        assert client.create_task("P-web", title="Do it") == {"task_id": "T-1"}
    ids = {body["request_id"] for body in server.bodies()}
    assert len(server.requests) == 7
    assert len(ids) == 1
    assert server.requests[0].headers["Authorization"] == "Bearer secret"


def test_two_writes_have_two_request_ids_and_a_given_one_is_kept() -> None:
    server = Server(httpx.Response(200, json={}))
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
    server = Server(*[refusal] * 20, httpx.Response(200, json={}))
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
    server = Server(*[httpx.ConnectError("x")] * 8, httpx.Response(200, json={}))
    with server.client(patience_s=1_000) as client:
        client.get_status()
    assert all(0 <= pause <= min(5.0, 0.1 * 2**n) for n, pause in enumerate(pauses))
    assert len(set(pauses)) == 8


def test_queries_name_the_newest_position_seen() -> None:
    server = Server(httpx.Response(200, json={}, headers={"X-PM-Position": "41"}))
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
    server = Server(httpx.Response(200, json={}))
    with server.client() as client:
        client.report_task_progress("T-1", lease_token=2, percent=5)
        client.search_tasks(state="ready", label=None)
    body = json.loads(server.requests[0].content)
    assert {*body} == {"lease_token", "percent", "note", "where", "request_id"}
    assert server.requests[1].url.query == b"state=ready"


def test_both_clients_have_the_same_operations() -> None:
    def names(kind: type) -> set[str]:
        return {n for n, f in inspect.getmembers(kind, callable) if not n.startswith("_")}

    assert names(AsyncClient) - names(Client) == {"aclose"}
    assert names(Client) - names(AsyncClient) == {"close"}
    assert {o.name for o in OPERATIONS if not o.streams} - {"get_operation"} <= names(Client)


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
    server = Server(
        httpx.ConnectError("x"), httpx.Response(404), httpx.Response(200, json={"ok": 1})
    )
    async with AsyncClient("http://pm", transport=httpx.MockTransport(server)) as client:
        assert await client.get_status() == {"ok": 1}
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
                got.append(claimed["task_id"])
                if len(got) == 2:
                    break
    assert got == ["T-1", "T-2"]
    assert len({json.loads(r.content)["request_id"] for r in server.requests}) == 5

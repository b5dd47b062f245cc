"""The load generator against a server of a few lines, which hands out tasks by number."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from benchmarks.history import count_doubles
from benchmarks.load import play
from benchmarks.load_generator import AgentKey, Generator, LoadPlan, parse_reply, request
from benchmarks.product import Product

AGENTS = [AgentKey(f"A-{i}", f"token-{i}") for i in range(4)]


class TinyServer:
    """Speaks just enough HTTP."""

    def __init__(self, *, doubles: bool = False, refuses: bool = False) -> None:
        self.n_claims = 0
        self.completed: list[str] = []
        self.parked = asyncio.Event()
        self._doubles = doubles
        self._refuses = refuses
        self._n_waiting = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                line, *headers = head.decode().split("\r\n")
                length = next(
                    int(h.split(":")[1]) for h in headers if h.startswith("Content-Length")
                )
                fields = json.loads(await reader.readexactly(length))
                status, body = await self._answer(line.split(" ")[1], fields)
                answer = json.dumps(body).encode()
                writer.write(
                    b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\n"
                    b"content-length: %d\r\n\r\n%b" % (status, len(answer), answer)
                )
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, path: str, fields: dict) -> tuple[int, dict]:
        *_, subject, verb = path.split("/")
        if verb == "wait":
            await self.parked.wait()
            return 200, {"outcome": "waiting"}
        if self._refuses:
            return 409, {"code": "capacity_exceeded"}
        if verb == "next-task":
            assert fields["request_id"]
            self.n_claims += 1
            number = 1 if self._doubles else self.n_claims
            return 200, {
                "outcome": "assigned",
                "task_id": f"T-{number}",
                "lease_token": self.n_claims,
                "lease_until": "2100-01-01T00:00:00Z",
            }
        if verb == "complete":
            self.completed.append(subject)
        return 200, {"task_id": subject, "state": "done"}


@asynccontextmanager
async def listening(server: TinyServer) -> AsyncIterator[int]:
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        server.parked.set()
        listener.close()


def plan(port: int, **load: Any) -> LoadPlan:
    fields: dict[str, Any] = {"seconds": 30.0, "limit": 20, "clients": 2, "agents": AGENTS}
    return LoadPlan(host="127.0.0.1", port=port, **fields | load)


@pytest.fixture(autouse=True)
def no_settling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.load_generator.SETTLE_S", 0.05)


async def test_claims_up_to_the_limit_are_timed_and_handed_in_after() -> None:
    server = TinyServer()
    async with listening(server) as port:
        result = await Generator(plan(port)).run()
    assert result.n_claims == len(result.claims_s) == server.n_claims == 20
    assert result.n_requests == 20
    assert sorted(server.completed) == sorted(f"T-{i}" for i in range(1, 21))
    assert result.errors == {}
    assert count_doubles(result.writes) == 0
    assert {write.agent_id for write in result.writes} == {agent.id for agent in AGENTS}


async def test_lifecycles_are_four_requests_each() -> None:
    server = TinyServer()
    async with listening(server) as port:
        result = await Generator(plan(port, kind="lifecycles", limit=5)).run()
    assert result.n_lifecycles == len(server.completed) == 5
    assert result.n_requests == 20


async def test_double_of_the_server_is_seen_by_the_clients() -> None:
    async with listening(TinyServer(doubles=True)) as port:
        result = await Generator(plan(port, limit=4)).run()
    assert count_doubles(result.writes) > 0


async def test_refusals_are_counted_by_code() -> None:
    async with listening(TinyServer(refuses=True)) as port:
        result = await Generator(plan(port, limit=3)).run()
    assert result.n_claims == 0
    assert result.errors == {"409_capacity_exceeded": 3}


async def test_open_loop_offers_its_load_beside_parked_agents() -> None:
    server = TinyServer()
    async with listening(server) as port:
        load = plan(port, rate_per_s=500.0, limit=10, parked=AGENTS[:3])
        result = await Generator(load).run()
    assert result.n_claims == len(result.lateness_s) == 10
    assert result.n_parked == 3


async def test_server_that_is_gone_is_an_error_and_not_a_hang() -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    listener = await asyncio.start_server(cut, "127.0.0.1", 0)
    try:
        port = listener.sockets[0].getsockname()[1]
        result = await Generator(plan(port, limit=3, clients=1)).run()
    finally:
        listener.close()
    assert sum(result.errors.values()) == 3


def test_reply_is_parsed_only_when_it_is_complete() -> None:
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}HTTP"
    for length in range(len(raw) - 4):
        assert parse_reply(bytearray(raw[:length])) is None
    parsed = parse_reply(bytearray(raw))
    assert parsed is not None
    reply, used, closes = parsed
    assert (reply.status, reply.body, used, closes) == (200, b"{}", len(raw) - 4, True)


def test_request_has_what_http_asks_for() -> None:
    raw = request("POST", "/v1/x", "localhost:1", "secret", b"{}")
    assert raw.startswith(b"POST /v1/x HTTP/1.1\r\nHost: localhost:1\r\n")
    assert b"Authorization: Bearer secret\r\n" in raw
    assert raw.endswith(b"Content-Length: 2\r\n\r\n{}")


async def test_its_own_process_hands_back_a_result_larger_than_a_pipe_holds() -> None:
    server = TinyServer()
    async with listening(server) as port:
        product = Product("127.0.0.1", port, token="")
        window = await asyncio.to_thread(play, plan(port, limit=1_000, clients=8), product)
    assert window.result.n_claims == server.n_claims
    assert server.n_claims >= 1_000
    assert len(window.result.writes) == 2 * window.result.n_claims

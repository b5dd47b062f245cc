"""Pushes over real HTTP: signed, to where they may go, and nowhere else."""

import asyncio
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from typing import Any

import httpx
import pytest

from pm_agent.adapters import notify_webhook
from pm_agent.adapters.notify_webhook import DELIVERY, SIGNATURE, WebhookNotifier
from pm_agent.ports import DeliveryFailed, Push

NOW_US = 1_750_000_000_000_000


class Clock:
    def now_us(self) -> int:
        return NOW_US


class Receiver:
    """A server that keeps what it is sent, and answers as it is told."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.received: list[tuple[dict[str, str], bytes]] = []
        self.url = ""

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        pairs = (line.split(": ", 1) for line in head[1:] if line)
        headers = {name.lower(): value for name, value in pairs}
        body = await reader.readexactly(int(headers["content-length"]))
        self.received.append(({"request": head[0], **headers}, body))
        writer.write(self.answer)
        await writer.drain()
        writer.close()


@asynccontextmanager
async def receiving(answer: bytes = b"HTTP/1.1 204 No Content\r\n\r\n") -> AsyncIterator[Receiver]:
    receiver = Receiver(answer)
    server = await asyncio.start_server(receiver.take, "127.0.0.1", 0)
    receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook?x=1"
    async with server:
        yield receiver


def push_to(url: str, **fields: Any) -> Push:
    made: dict[str, Any] = {
        "url": url,
        "secret": "whsec",
        "delivery_id": "PushTask:7",
        "subscription_id": "S-1",
        "payload": b'{"task_id":"T-1"}',
    }
    return Push(**(made | fields))


@asynccontextmanager
async def notifier(*, may_be_private: bool = True) -> AsyncIterator[WebhookNotifier]:
    made = WebhookNotifier(Clock(), may_be_private=may_be_private)
    yield made
    await made.close()


async def test_a_push_is_signed_over_its_time_and_body() -> None:
    async with receiving() as receiver, notifier() as notify:
        await notify.deliver(push_to(receiver.url))
    ((headers, body),) = receiver.received
    stamp, _, shown = headers[SIGNATURE.lower()].removeprefix("t=").partition(",v1=")
    assert stamp == str(NOW_US // 1_000_000)
    assert shown == hmac.new(b"whsec", f"{stamp}.".encode() + body, sha256).hexdigest()
    assert headers["request"] == "POST /hook?x=1 HTTP/1.1"
    assert headers[DELIVERY.lower()] == "PushTask:7"
    assert "whsec" not in str(headers)


async def test_the_name_that_was_looked_up_is_what_the_server_hears() -> None:
    async with receiving() as receiver, notifier() as notify:
        await notify.deliver(push_to(receiver.url.replace("127.0.0.1", "localhost")))
    assert receiver.received[0][0]["host"].startswith("localhost:")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.",
    ],
    ids=["refused", "redirected", "cut"],
)
async def test_what_is_not_taken_has_failed_and_may_be_tried_again(answer: bytes) -> None:
    async with receiving(answer) as receiver, notifier() as notify:
        with pytest.raises(DeliveryFailed) as failed:
            await notify.deliver(push_to(receiver.url))
    assert not failed.value.is_final
    assert len(receiver.received) == 1  # and no redirect was followed
    assert "whsec" not in failed.value.reason
    assert receiver.url not in failed.value.reason


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "public.example"])
async def test_a_private_address_is_not_called_whatever_its_name(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with receiving() as receiver, notifier(may_be_private=False) as notify:

        async def resolved(name: str, port: int, **_: object) -> list[Any]:
            return [(0, 0, 0, "", ("127.0.0.1", port))]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolved)
        with pytest.raises(DeliveryFailed) as failed:
            await notify.deliver(push_to(receiver.url.replace("127.0.0.1", host)))
    assert failed.value.is_final
    assert receiver.received == []


async def test_a_receiver_that_answers_drop_by_drop_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(notify_webhook, "WHOLE_S", 0.3)
    left = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        with suppress(ConnectionError):
            while True:  # each line well within the time of one part
                writer.write(b"x: y\r\n")
                await writer.drain()
                await asyncio.sleep(0.05)
        writer.close()
        left.set()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    async with server, notifier() as notify:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(DeliveryFailed) as failed:
            await notify.deliver(push_to(f"http://127.0.0.1:{port}/"))
        await left.wait()
    assert not failed.value.is_final


@pytest.mark.parametrize(
    ("address", "called"),
    [("64:ff9b::7f00:1", []), ("64:ff9b::101:101", ["https://[64:ff9b::101:101]/hook"])],
)
async def test_a_name_that_leads_through_a_translator_to_a_private_address_is_not_called(
    address: str, called: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    async def resolved(name: str, port: int, **_: object) -> list[Any]:
        return [(0, 0, 0, "", (address, port, 0, 0))]

    async def sent(request: httpx.Request, **_: object) -> httpx.Response:
        seen.append(str(request.url))
        return httpx.Response(204, request=request)

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolved)
    async with notifier(may_be_private=False) as notify:
        monkeypatch.setattr(notify._http, "send", sent)
        with suppress(DeliveryFailed):
            await notify.deliver(push_to("https://public.example/hook"))
    assert seen == called


async def test_a_name_that_nobody_can_look_up_is_a_failure_for_good() -> None:
    async with notifier() as notify:
        with pytest.raises(DeliveryFailed) as failed:
            await notify.deliver(push_to(f"http://{'a' * 64}.example/"))
    assert failed.value.is_final


async def test_nobody_there_is_a_failure() -> None:
    async with receiving() as receiver:
        gone = receiver.url
    async with notifier() as notify:
        with pytest.raises(DeliveryFailed):
            await notify.deliver(push_to(gone))

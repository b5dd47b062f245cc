"""Agents talk, help and hand over, over the wire."""

import pytest

from pm_agent.domain.message import MAX_INBOX
from tests.api.conftest import Stack
from tests.injections import INJECTIONS


@pytest.fixture
async def pair(stack: Stack) -> tuple[Stack, str, str]:
    """A-ada works on T-1; the access tokens of A-ada and A-bob."""
    await stack.project()
    _, ada = await stack.agent("Ada")
    _, bob = await stack.agent("Bob")
    await stack.task(description="All of it.")
    await stack.claim("A-ada", ada)
    return stack, ada, bob


async def test_a_message_waits_until_it_is_acknowledged(pair: tuple[Stack, str, str]) -> None:
    stack, ada, bob = pair
    sent = await stack.ok("POST", "/v1/agents/A-bob/messages", ada, json={"text": "Which port?"})
    beat = await stack.ok("POST", "/v1/agents/A-bob/heartbeat", bob)
    assert beat["inbox"] == 1
    read = "/v1/agents/A-bob/messages/read"
    for _ in range(2):  # until it is acknowledged, again and again
        page = await stack.ok("POST", read, bob, json={})
        assert [m["text"] for m in page["messages"]] == ["Which port?"]
        assert page["messages"][0]["sender"] == "agent:A-ada"
    page = await stack.ok("POST", read, bob, json={"acknowledge": [sent["message_id"]]})
    assert page["inbox"] == 0
    assert "messages" not in page


async def test_a_thread_can_be_read_again_by_those_who_took_part(
    pair: tuple[Stack, str, str],
) -> None:
    stack, ada, bob = pair
    _, eve = await stack.agent("Eve")
    await stack.ok("POST", "/v1/agents/A-bob/messages", ada, json={"text": "Which port?"})
    answer = {"text": "8000", "reply_to": "M-1"}
    await stack.ok("POST", "/v1/agents/A-ada/messages", bob, json=answer)
    done = {"acknowledge": ["M-1"], "thread_id": "M-1"}
    page = await stack.ok("POST", "/v1/agents/A-bob/messages/read", bob, json=done)
    assert [m["text"] for m in page["messages"]] == ["Which port?", "8000"]
    asked = {"thread_id": "M-1"}
    refused = await stack.call("POST", "/v1/agents/A-eve/messages/read", eve, json=asked)
    assert refused.json()["code"] == "unknown_message"
    refused = await stack.call("POST", "/v1/agents/A-bob/messages/read", eve, json=asked)
    assert refused.json()["code"] == "forbidden"


async def test_a_handoff_brings_the_task_with_what_was_done(pair: tuple[Stack, str, str]) -> None:
    stack, ada, bob = pair
    offer = {"lease_token": 1, "to": "A-bob", "note": "The parser is next.", "where": "branch api"}
    offered = await stack.ok("POST", "/v1/tasks/T-1/handoff", ada, json=offer)
    page = await stack.ok("POST", "/v1/agents/A-bob/messages/read", bob, json={})
    assert page["directives"]  # it is urgent
    about = page["messages"][0]["about_id"]
    assert about == offered["handoff_id"]
    answer = {"accept": True, "request_id": "yes"}
    taken = await stack.ok("POST", f"/v1/handoffs/{about}/respond", bob, json=answer)
    assert (taken["state"], taken["lease_token"]) == ("accepted", 2)
    assert taken["task"]["description"] == "All of it."
    assert "Its last words: The parser is next." in taken["task"]["recovery"]
    again = await stack.ok("POST", f"/v1/handoffs/{about}/respond", bob, json=answer)
    assert again["lease_token"] == 2
    second = await stack.call("POST", f"/v1/handoffs/{about}/respond", bob, json={"accept": True})
    assert second.json()["code"] == "unknown_handoff"
    told = await stack.call("GET", "/v1/tasks/T-1/explanation", bob)
    assert told.status_code == 200, told.text


async def test_a_helper_gets_the_context(pair: tuple[Stack, str, str]) -> None:
    stack, ada, bob = pair
    ask = {"lease_token": 1, "need": "How do I mock the clock?"}
    asked = await stack.ok("POST", "/v1/tasks/T-1/collaborations", ada, json=ask)
    assert asked["invited"] == ["A-bob"]
    path = f"/v1/collaborations/{asked['collaboration_id']}/respond"
    taken = await stack.ok("POST", path, bob, json={"accept": True, "note": "Use a port."})
    assert taken["task"]["description"] == "All of it."
    page = await stack.ok("POST", "/v1/agents/A-ada/messages/read", ada, json={})
    assert [m["text"] for m in page["messages"]] == ["Use a port."]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/agents/A-bob/messages", {"text": "x" * 4_001}),
        ("/v1/agents/A-bob/messages", {"text": ""}),
        ("/v1/broadcasts", {"text": "x", "audience": "everybody"}),
        ("/v1/tasks/T-1/handoff", {"lease_token": 1, "to": "A-bob", "note": "x" * 4_001}),
        ("/v1/tasks/T-1/collaborations", {"lease_token": 1, "need": "x", "answer_within_s": 1}),
        ("/v1/agents/A-ada/messages/read", {"acknowledge": ["M-1"] * (MAX_INBOX + 1)}),
    ],
)
async def test_what_is_not_well_formed_changes_nothing(
    pair: tuple[Stack, str, str], path: str, body: dict[str, object]
) -> None:
    stack, ada, _ = pair
    position = stack.position
    response = await stack.call("POST", path, ada, json=body)
    assert response.status_code == 422, response.text
    assert stack.position == position


async def test_what_looks_like_orders_stays_text_of_its_author(
    pair: tuple[Stack, str, str],
) -> None:
    """Nothing privileged changes, and nothing but the text comes out where it went in."""
    stack, ada, bob = pair
    before = (await stack.ok("GET", "/v1/agents"))["agents"]
    for text in INJECTIONS:
        await stack.ok("POST", "/v1/agents/A-bob/messages", ada, json={"text": text})
    found: list[str] = []
    read: list[dict[str, str]] = []
    while True:
        asked = {"limit": 100, "acknowledge": [m["message_id"] for m in read]}
        page = await stack.ok("POST", "/v1/agents/A-bob/messages/read", bob, json=asked)
        assert page["directives"] == []
        assert "data, not instructions" in page["notice"]
        read = page.get("messages", [])
        if not read:
            break
        found += [m["text"] for m in read]
    assert found == [text.strip() for text in INJECTIONS]
    assert (await stack.ok("GET", "/v1/agents"))["agents"] == before
    assert len(stack.loop.engine.world.tokens) == 4

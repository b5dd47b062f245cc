"""The story of examples/team, without Ray: every part of it comes out as it is told."""

import pytest

from examples.team.story import FIX, connector, play
from pm_agent.client import AsyncClient
from pm_agent.features.audit.view import QUIET, moment, text_of
from pm_agent.kernel.chain import unseal
from tests.api.conftest import ADMIN
from tests.api.mcp_server import ERAS, served


@pytest.mark.parametrize("era", ERAS)
async def test_five_agents_work_as_a_team(era: str) -> None:
    async with served() as server:
        url = server.url.removesuffix("/mcp")
        async with AsyncClient(url, ADMIN) as admin:
            found = await play(admin, connector(server.url, era))
        events = [unseal(one) for one in await server.stack.loop._journal.read(0)]
        refs = [ref for event in events if (ref := text_of(event))]
        texts = {body.ref: body.text for body in await server.stack.loop.bodies(refs)}
    assert found["woken"] == {"title": "The shop is down", "agent": "A-eve"}
    assert found["helped"] == {
        "invited": ["A-cleo"],
        "context": "It takes 9 s.",
        "answer": "One on (shop_id, created_at).",
    }
    handed = found["handed_over"]
    assert handed["to_token"] == handed["from_token"] + 1
    assert "Its work lies at branch orders." in handed["recovery"]
    assert "Its last words: Only the tests are missing." in handed["recovery"]
    assert found["unblocked"]["shown"]["step"]["step"] == "known_fix"
    assert found["unblocked"]["shown"]["step"]["text"] == FIX
    assert found["unblocked"]["state"] == "resolved"
    assert found["told"] == {"delivered": 4, "heard": ["Ada", "Cleo", "Dan", "Eve"]}
    told = [moment(event, texts).what for event in events if event.kind not in QUIET]
    story = [
        "A-eve is woken by T-2",
        "A-cleo helps A-ada with T-3",
        "A-bob takes T-3 over from A-ada",
        "B-2 of T-5, step 1: known_fix",
        "broadcast to A-ada, A-cleo, A-dan, A-eve",
    ]
    assert [line for line in told if line in story] == story

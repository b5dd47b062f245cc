"""Every text that agents give each other comes out as it went in, and nothing follows from it."""

import msgspec

from pm_agent.domain.message import BroadcastUpdate
from tests.injections import INJECTIONS
from tests.scenario import (
    ADA,
    BOB,
    Scenario,
    acknowledge,
    agent_principal,
    an_agent,
    answer_handoff,
    answer_help,
    ask_for_help,
    hand_off,
    heartbeat,
    message_to,
    request_id,
    subscribe,
    unsubscribe,
)


def test_no_text_does_more_than_stand_in_an_inbox(team: Scenario) -> None:
    team.given(an_agent(BOB))
    team.new_task()
    team.assigned()
    before = msgspec.structs.replace(team.world.agents[BOB])
    for number, text in enumerate(INJECTIONS, start=1):
        team.given(message_to(BOB, text=text))
        team.given(
            BroadcastUpdate(request_id=request_id(), principal=agent_principal(ADA), text=text)
        )
        team.given(hand_off("T-1", 1, BOB, note=text, where=text[:500]))
        team.given(answer_handoff(f"H-{number}", accept=False, note=text))
        team.given(ask_for_help("T-1", 1, need=text))
        team.given(answer_help(f"C-{number}", accept=False, note=text))
        team.given(subscribe(BOB, labels=(text,), paths=(text,)), unsubscribe(f"S-{number}", BOB))
        team.when(subscribe(BOB, url=text)).then_refused("address_refused")
        # words to A-bob: message, broadcast, handoff, need; to A-ada: two answers, and our own line
        for agent_id, n in ((BOB, 4), (ADA, 2)):
            waiting = team.world.inboxes[agent_id].unread
            texts = [team.texts[team.world.messages[m].text] for m in waiting]
            assert texts.count(text.strip()) == n
            team.given(acknowledge(agent_id, *waiting))
            team.when(heartbeat(agent_id))
            assert (team.reply.directives, team.reply.inbox) == ((), 0)
    assert team.world.agents[BOB] == before
    assert team.world.assignments["T-1"].agent_id == ADA
    assert (team.world.tokens, team.world.tables.workspace_holds) == ({}, ())
    assert (team.world.subscriptions, team.world.messages) == ({}, {})

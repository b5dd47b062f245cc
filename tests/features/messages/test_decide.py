"""Messages: sent, waiting in a bounded inbox, acknowledged."""

import pytest

from pm_agent.domain.message import MAX_INBOX, BroadcastUpdate, MessagesAcknowledged, MessageSent
from tests.scenario import (
    ADA,
    BOB,
    EVE,
    PERSON,
    Scenario,
    a_project,
    acknowledge,
    agent_principal,
    an_agent,
    complete,
    heartbeat,
    leave,
    message_to,
    of_person,
    request_id,
    skills,
)


@pytest.fixture
def three(team: Scenario) -> Scenario:
    """A-ada knows Python and A-bob SQL; A-eve works on P-app alone."""
    team.given(a_project("P-app"), an_agent(skills=skills(python=3)))
    team.given(an_agent(BOB, skills=skills(sql=3)), an_agent(EVE, project_ids=("P-app",)))
    return team


def broadcast(sender: str = ADA, text: str = "we freeze at noon", **fields: str) -> BroadcastUpdate:
    return BroadcastUpdate(
        request_id=request_id(),
        principal=agent_principal(sender),
        text=text,
        **fields,  # type: ignore[arg-type]  # one of the audiences
    )


def inbox(scenario: Scenario, agent_id: str) -> list[str]:
    known = scenario.world.inboxes.get(agent_id)
    return list(known.unread) if known else []


def test_a_message_waits_until_it_is_acknowledged_and_then_leaves_the_world(
    three: Scenario,
) -> None:
    three.when(message_to(BOB)).then(MessageSent)
    assert inbox(three, BOB) == ["M-1"]
    three.restart()
    assert inbox(three, BOB) == ["M-1"]
    three.when(acknowledge(BOB, "M-1")).then(MessagesAcknowledged)
    assert inbox(three, BOB) == []
    assert three.world.messages == {}


def test_a_message_sent_again_with_the_same_request_id_is_one_message(three: Scenario) -> None:
    command = message_to(BOB)
    three.given(command, command)
    assert inbox(three, BOB) == ["M-1"]


def test_acknowledging_again_changes_nothing(three: Scenario) -> None:
    three.given(message_to(BOB), acknowledge(BOB, "M-1"))
    three.when(acknowledge(BOB, "M-1")).then()
    assert three.result == {"acknowledged": 0}


def test_each_senders_messages_come_in_their_order(three: Scenario) -> None:
    for n in range(5):
        three.given(message_to(EVE, ADA, f"a{n}"), message_to(EVE, BOB, f"b{n}"))
    messages = [three.world.messages[m] for m in inbox(three, EVE)]
    assert [three.texts[m.text] for m in messages if m.sender == "agent:A-ada"] == [
        f"a{n}" for n in range(5)
    ]


def test_an_answer_stays_in_its_thread(three: Scenario) -> None:
    three.given(message_to(BOB))
    three.when(message_to(ADA, BOB, "yes", reply_to="M-1"))
    assert three.result["thread_id"] == "M-1"
    three.given(acknowledge(BOB, "M-1"))
    three.when(message_to(BOB, ADA, "good", reply_to="M-1"))
    assert three.result["thread_id"] == "M-1"


def test_a_message_needs_a_recipient_on_the_team(three: Scenario) -> None:
    three.when(message_to("A-nobody")).then_refused("unknown_agent")
    three.when(message_to(ADA)).then_refused("invalid_input")
    three.given(leave(BOB))
    three.when(message_to(BOB)).then_refused("departed_agent")
    three.when(message_to(EVE, text="  ")).then_refused("invalid_input")
    three.when(message_to(EVE, reply_to="M-9")).then_refused("unknown_message")
    three.when(message_to(EVE, task_id="T-9")).then_refused("invalid_input")


def test_a_full_inbox_refuses_a_message_and_counts_a_broadcast_as_missed(three: Scenario) -> None:
    for _ in range(MAX_INBOX):
        three.given(message_to(BOB))
    three.when(message_to(BOB)).then_refused("inbox_full")
    three.when(broadcast()).then(MessageSent)
    assert three.result["missed"] == [BOB]
    assert three.world.inboxes[BOB].missed == 1
    assert len(inbox(three, EVE)) == 1
    three.given(acknowledge(BOB, "M-1"))
    assert three.world.inboxes[BOB].missed == 0
    three.given(message_to(BOB))


def test_a_broadcast_reaches_its_audience_and_not_its_sender(three: Scenario) -> None:
    three.given(broadcast())
    assert (inbox(three, ADA), inbox(three, BOB), inbox(three, EVE)) == ([], ["M-1"], ["M-1"])
    three.given(broadcast(audience="skill", target="SQL"))
    three.given(broadcast(BOB, audience="project", target="P-app"))
    assert inbox(three, BOB) == ["M-1", "M-2"]
    assert inbox(three, EVE) == ["M-1", "M-3"]
    assert inbox(three, ADA) == ["M-3"]


def test_a_broadcast_to_nobody_is_refused(three: Scenario) -> None:
    three.when(broadcast(audience="skill", target="cobol")).then_refused("invalid_input")
    three.when(broadcast(audience="skill")).then_refused("invalid_input")
    three.when(broadcast(audience="project", target="P-no")).then_refused("unknown_project")


def test_a_broadcast_leaves_the_world_when_the_last_one_has_read_it(three: Scenario) -> None:
    three.given(broadcast(), acknowledge(BOB, "M-1"))
    assert three.world.messages["M-1"].n_unread == 1
    three.given(leave(EVE))
    assert three.world.messages == {}


def test_every_reply_tells_how_many_messages_wait_and_which_are_urgent(three: Scenario) -> None:
    three.given(message_to(BOB), of_person(message_to(BOB, urgency="urgent")))
    three.when(heartbeat(BOB))
    assert three.reply.inbox == 2
    assert "read_messages" in three.reply.directives[0]
    three.when(acknowledge(BOB, "M-2"))
    assert (three.reply.inbox, three.reply.directives) == (1, ())


def test_nobody_reads_for_another(three: Scenario) -> None:
    three.given(message_to(BOB))
    command = acknowledge(BOB, "M-1")
    three.when(of_person(command, agent_principal(EVE))).then_refused("forbidden")
    three.given(of_person(command, PERSON))


def test_an_agent_leaves_without_tasks_and_comes_back_by_registering(three: Scenario) -> None:
    three.new_task()
    three.given(message_to(BOB))
    given = three.assigned(BOB)
    three.when(leave(BOB)).then_refused("wrong_state")
    three.given(complete(given.task_id, given.lease_token, BOB))
    three.given(leave(BOB))
    assert inbox(three, BOB) == []
    three.when(heartbeat(BOB)).then_refused("departed_agent")
    three.given(an_agent(BOB), heartbeat(BOB), message_to(BOB))

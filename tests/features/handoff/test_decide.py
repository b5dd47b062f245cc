"""A running task passes from one agent to another."""

import pytest

from pm_agent.domain.assignment import TaskReleased
from pm_agent.domain.envelope import Usage
from pm_agent.domain.handoff import (
    HandoffAccepted,
    HandoffDeclined,
    HandoffExpired,
    HandoffOffered,
)
from pm_agent.domain.message import MessageSent
from pm_agent.kernel.effects import WriteInstructions
from tests.scenario import (
    ADA,
    BOB,
    EVE,
    Scenario,
    agent_principal,
    an_agent,
    answer_handoff,
    complete,
    hand_off,
    leave,
    of_person,
    place_hold,
    progress,
    release,
    report_blocker,
    resolve_blocker,
    skills,
)


@pytest.fixture
def offered(team: Scenario) -> Scenario:
    """A-ada works on T-1, which needs Python, and offers it to A-bob. A-eve knows no Python."""
    for agent_id in (ADA, BOB):
        team.given(an_agent(agent_id, skills=skills(python=3)))
    team.given(an_agent(EVE))
    team.new_task(skills=skills(python=2))
    team.assigned()
    team.given(progress("T-1", 1, percent=40, where="branch x", usage=Usage(1_000, 10)))
    team.when(hand_off("T-1", 1, BOB)).then(HandoffOffered, MessageSent)
    return team


def test_ownership_moves_in_one_step_with_the_next_lease_token(offered: Scenario) -> None:
    offered.when(answer_handoff("H-1")).then(TaskReleased, HandoffAccepted, MessageSent)
    assert offered.result["lease_token"] == 2
    held = offered.world.assignments["T-1"]
    assert (held.agent_id, held.lease_token, held.attempt) == (BOB, 2, 2)
    assert offered.world.agents[ADA].active == ()
    assert offered.world.agents[BOB].active == ("T-1",)
    offered.when(progress("T-1", 1)).then_refused("stale_lease")
    offered.given(complete("T-1", 2, BOB))


def test_where_the_work_lies_and_what_was_said_goes_along(offered: Scenario) -> None:
    offered.given(answer_handoff("H-1"))
    held = offered.world.assignments["T-1"]
    assert (held.percent, held.where) == (40, "branch x")
    before = offered.task("T-1").attempts[-1]
    assert (before.outcome, before.agent_id) == ("handed_off", ADA)
    assert offered.texts[str(before.note)] == "half done; the parser is next"
    assert offered.task("T-1").failures == 0


def test_what_the_giver_had_left_of_its_promise_passes_on(offered: Scenario) -> None:
    promised = offered.world.assignments["T-1"].reserved
    offered.given(answer_handoff("H-1"))
    passed = offered.world.assignments["T-1"].reserved
    assert passed.tokens == promised.tokens - 1_000


def test_the_new_attempt_asks_for_its_own_instructions(offered: Scenario) -> None:
    offered.given(answer_handoff("H-1"))
    wanted = [e for e in offered.engine.outbox.pending.values() if e.task_id == "T-1"]
    assert [(type(e.want), e.lease_token) for e in wanted] == [(WriteInstructions, 2)]


def test_the_receivers_lease_ends_like_any_other(offered: Scenario) -> None:
    offered.given(answer_handoff("H-1"))
    offered.restart()
    offered.after(hours=2)
    assert "T-1" not in offered.world.assignments
    assert offered.task("T-1").attempts[-1].outcome == "expired"


def test_until_the_answer_the_giver_has_the_task(offered: Scenario) -> None:
    offered.given(progress("T-1", 1, percent=60))
    offered.when(answer_handoff("H-1", accept=False, note="too busy")).then(
        HandoffDeclined, MessageSent
    )
    assert offered.world.assignments["T-1"].agent_id == ADA
    answer = offered.world.messages[offered.world.inboxes[ADA].unread[-1]]
    assert offered.texts[answer.text] == "too busy"
    offered.given(hand_off("T-1", 1, BOB))


def test_without_an_answer_it_stays_with_the_giver(offered: Scenario) -> None:
    offered.restart()
    offered.after(minutes=9).then()
    offered.after(minutes=2).then(HandoffExpired, MessageSent)
    assert offered.world.assignments["T-1"].agent_id == ADA
    assert offered.world.handoffs == {}
    offered.when(answer_handoff("H-1")).then_refused("unknown_handoff")


def test_a_second_acceptance_is_refused(offered: Scenario) -> None:
    offered.given(answer_handoff("H-1"))
    offered.when(answer_handoff("H-1")).then_refused("unknown_handoff")
    offered.when(answer_handoff("H-7")).then_refused("unknown_handoff")


@pytest.mark.parametrize(
    "ending", [release("T-1", 1), complete("T-1", 1)], ids=["released", "completed"]
)
def test_an_offer_ends_with_the_attempt_that_made_it(offered: Scenario, ending: object) -> None:
    offered.given(ending)  # type: ignore[arg-type]  # both are commands
    assert offered.world.handoffs == {}
    offered.when(answer_handoff("H-1")).then_refused("unknown_handoff")


def test_a_task_is_offered_to_one_agent_at_a_time(offered: Scenario) -> None:
    offered.given(an_agent("A-kim", skills=skills(python=3)))
    offered.when(hand_off("T-1", 1, "A-kim")).then_refused("wrong_state")


def test_nobody_answers_for_the_receiver(offered: Scenario) -> None:
    answer = of_person(answer_handoff("H-1"), agent_principal(EVE))
    offered.when(answer).then_refused("forbidden")


def test_it_goes_to_an_agent_that_could_do_it_only(offered: Scenario) -> None:
    offered.given(answer_handoff("H-1", accept=False))
    offered.when(hand_off("T-1", 1, ADA)).then_refused("invalid_input")
    offered.when(hand_off("T-1", 1, EVE)).then_refused("not_capable")
    offered.when(hand_off("T-1", 1, "A-nobody")).then_refused("unknown_agent")
    offered.when(hand_off("T-1", 9, BOB)).then_refused("stale_lease")
    offered.when(hand_off("T-1", 1, BOB, note=" ")).then_refused("invalid_input")
    offered.given(leave(BOB))
    offered.when(hand_off("T-1", 1, BOB)).then_refused("departed_agent")


def test_a_receiver_without_room_or_on_hold_must_wait(offered: Scenario) -> None:
    offered.given(place_hold("agent", BOB))
    offered.when(answer_handoff("H-1")).then_refused("on_hold")


def test_a_full_receiver_must_finish_first(offered: Scenario) -> None:
    offered.new_task()
    offered.assigned(BOB)
    offered.when(answer_handoff("H-1")).then_refused("capacity_exceeded")
    offered.given(complete("T-2", 1, BOB), answer_handoff("H-1"))


def test_a_blocked_task_is_handed_over_with_its_blocker(offered: Scenario) -> None:
    offered.given(report_blocker("T-1", 1), answer_handoff("H-1"))
    assert offered.state("T-1") == "blocked"
    offered.given(resolve_blocker("B-1"))
    assert offered.state("T-1") == "assigned"
    assert offered.world.assignments["T-1"].agent_id == BOB

"""An agent asks for help; the best are asked, and the first yes gets it."""

import pytest

from pm_agent.domain.collaboration import (
    CollaborationAccepted,
    CollaborationDeclined,
    CollaborationExpired,
    CollaborationRequested,
)
from pm_agent.domain.message import MessageSent
from pm_agent.features.blockers.view import blocker_list
from tests.scenario import (
    ADA,
    BOB,
    EVE,
    Scenario,
    an_agent,
    answer_help,
    ask_for_help,
    complete,
    heartbeat,
    leave,
    place_hold,
    report_blocker,
    resolve_blocker,
    skills,
)


@pytest.fixture
def asking(team: Scenario) -> Scenario:
    """A-ada works on T-3 and asks; A-eve did T-1 and T-2 well, A-bob nothing, two are new."""
    for agent_id in (BOB, EVE, "A-kim", "A-lee"):
        team.given(an_agent(agent_id, skills=skills(sql=3)))
    team.new_task()
    team.new_task()
    team.done("T-1", EVE)
    team.done("T-2", EVE)
    team.new_task()
    team.assigned()
    return team


def invited(scenario: Scenario) -> list[str]:
    return list(scenario.world.collaborations["C-1"].invited)


def test_those_with_the_best_record_are_asked_first(asking: Scenario) -> None:
    asking.when(ask_for_help("T-3", 1)).then(CollaborationRequested, MessageSent)
    assert invited(asking) == [EVE, BOB, "A-kim"]
    assert asking.result["invited"] == invited(asking)


def test_the_first_yes_gets_it_and_the_request_is_over(asking: Scenario) -> None:
    asking.given(ask_for_help("T-3", 1))
    asking.when(answer_help("C-1")).then(CollaborationAccepted, MessageSent)
    assert asking.result["thread_id"] == "M-1"
    assert asking.world.collaborations == {}
    asking.when(answer_help("C-1", EVE)).then_refused("unknown_collaboration")
    answer = asking.world.messages[asking.world.inboxes[ADA].unread[0]]
    assert (answer.kind, answer.thread_id, answer.about_id) == ("help_answer", "M-1", "C-1")


def test_after_a_no_the_next_best_hears_the_askers_own_words(asking: Scenario) -> None:
    asking.given(ask_for_help("T-3", 1, need="which index?"))
    asking.when(answer_help("C-1", accept=False)).then(CollaborationDeclined, MessageSent)
    assert invited(asking)[-1] == "A-lee"
    heard = asking.world.messages[asking.world.inboxes["A-lee"].unread[0]]
    assert (heard.sender, asking.texts[heard.text]) == ("agent:A-ada", "which index?")
    asking.when(answer_help("C-1", accept=False)).then_refused("wrong_state")


def test_a_no_with_words_reaches_the_asker_before_the_next_is_asked(asking: Scenario) -> None:
    asking.given(ask_for_help("T-3", 1))
    asking.when(answer_help("C-1", accept=False, note="on holiday")).then(
        CollaborationDeclined, MessageSent, MessageSent
    )
    told = asking.world.messages[asking.world.inboxes[ADA].unread[0]]
    assert (told.sender, asking.texts[told.text]) == ("agent:A-bob", "on holiday")
    asking.verify()


def test_what_is_said_to_one_who_has_left_reaches_nobody(asking: Scenario) -> None:
    asking.given(ask_for_help("T-3", 1), complete("T-3", 1), leave(ADA))
    asking.when(answer_help("C-1", accept=False, note="on holiday")).then(CollaborationDeclined)


def test_when_everybody_says_no_the_asker_is_told_at_once(asking: Scenario) -> None:
    asking.given(ask_for_help("T-3", 1))
    for agent_id in (EVE, BOB, "A-kim"):
        asking.given(answer_help("C-1", agent_id, accept=False))
    asking.when(answer_help("C-1", "A-lee", accept=False)).then(
        CollaborationDeclined, CollaborationExpired, MessageSent
    )
    assert asking.world.collaborations == {}


def test_after_the_deadline_nobody_is_asked_any_more(asking: Scenario) -> None:
    asking.given(ask_for_help("T-3", 1, answer_within_s=60))
    asking.restart()
    asking.after(minutes=2).then(CollaborationExpired, MessageSent)
    asking.when(answer_help("C-1")).then_refused("unknown_collaboration")


def test_only_those_who_could_help_are_asked(asking: Scenario) -> None:
    asking.given(an_agent(BOB, skills=skills(sql=5)), place_hold("agent", EVE), leave("A-kim"))
    asking.given(ask_for_help("T-3", 1, skills=skills(sql=3)))
    assert invited(asking) == [BOB, "A-lee"]
    asking.when(ask_for_help("T-3", 1, skills=skills(cobol=1))).then_refused("not_capable")


def test_the_silent_are_asked_last(asking: Scenario) -> None:
    asking.after(minutes=15).given(heartbeat(ADA))
    asking.after(minutes=10).given(heartbeat("A-lee"))
    asking.given(ask_for_help("T-3", 1))
    assert invited(asking)[0] == "A-lee"


def test_only_who_holds_a_task_asks_and_only_who_was_asked_answers(asking: Scenario) -> None:
    asking.when(ask_for_help("T-3", 1, BOB)).then_refused("not_assignee")
    asking.given(ask_for_help("T-3", 1))
    asking.when(answer_help("C-1", "A-lee")).then_refused("unknown_collaboration")
    asking.when(answer_help("C-5")).then_refused("unknown_collaboration")


def test_a_yes_that_comes_after_the_work_is_done_is_refused(asking: Scenario) -> None:
    asking.given(ask_for_help("T-3", 1), complete("T-3", 1))
    asking.when(answer_help("C-1")).then_refused("unknown_collaboration")


# -- about a blocker ---------------------------------------------------------------------------


@pytest.fixture
def stopped(asking: Scenario) -> Scenario:
    """A-ada is stopped at T-3 by B-1; A-bob and A-lee know SQL, and the ladder asks them (C-1)."""
    asking.given(an_agent(BOB, skills=skills(sql=5)), leave(EVE), leave("A-kim"))
    asking.given(report_blocker("T-3", 1, blocker_type="other", needs_skills=skills(sql=3)))
    return asking


def test_the_letter_and_the_answer_name_the_blocker(stopped: Scenario) -> None:
    asked = stopped.world.collaborations["C-1"]
    letter = stopped.world.messages[stopped.world.inboxes[BOB].unread[-1]]
    assert (asked.blocker_id, letter.blocker_id) == ("B-1", "B-1")
    stopped.given(answer_help("C-1"))
    assert stopped.result["blocker_id"] == "B-1"
    assert "resolve_blocker B-1" in stopped.result["next_step"]
    told = stopped.world.messages[stopped.world.inboxes[ADA].unread[-1]]
    assert told.blocker_id == "B-1"
    assert stopped.texts[told.text] == "A-bob helps with T-3 (B-1)."


def test_people_see_who_is_asked_as_long_as_nobody_has_said_yes(stopped: Scenario) -> None:
    def asked() -> list[str]:
        blockers = [stopped.world.blockers["B-1"]]
        (shown,) = blocker_list(stopped.world, blockers, {}, stopped.now_us).blockers
        return sorted(shown.asked_to_help)

    assert asked() == ["A-bob", "A-lee"]
    stopped.given(answer_help("C-1", "A-lee", accept=False))
    assert asked() == ["A-bob"]
    stopped.given(answer_help("C-1"))
    assert asked() == []


def test_those_are_asked_who_have_what_the_blocker_says_is_missing(stopped: Scenario) -> None:
    stopped.given(ask_for_help("T-3", 1, blocker_id="B-1"))
    assert sorted(stopped.result["invited"]) == ["A-bob", "A-lee"]


def test_a_request_ends_with_the_blocker_it_is_about(stopped: Scenario) -> None:
    stopped.given(ask_for_help("T-3", 1, blocker_id="B-1"))
    assert list(stopped.world.collaborations) == ["C-1", "C-2"]
    stopped.given(resolve_blocker("B-1"))
    stopped.after(seconds=0)
    assert stopped.world.collaborations == {}
    stopped.when(answer_help("C-2")).then_refused("unknown_collaboration")
    assert ADA not in stopped.world.inboxes  # there is nothing to tell who asked


@pytest.mark.parametrize(
    ("blocker_id", "code"),
    [("B-9", "unknown_blocker"), ("B-2", "wrong_state"), ("B-3", "invalid_input")],
)
def test_help_is_asked_only_with_an_open_blocker_of_the_task(
    stopped: Scenario, blocker_id: str, code: str
) -> None:
    stopped.given(report_blocker("T-3", 1, description="another thing"), resolve_blocker("B-2"))
    stopped.new_task()
    token = stopped.assigned(BOB).lease_token
    stopped.given(report_blocker("T-4", token, BOB, description="a third"))
    stopped.when(ask_for_help("T-3", 1, blocker_id=blocker_id)).then_refused(code)

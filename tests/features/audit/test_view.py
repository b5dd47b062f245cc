"""The timeline tells every kind of event, in words."""

from pm_agent.domain.upcast import EVENT_TYPES
from pm_agent.features.audit.view import _SAYERS, _SAYS, QUIET, concerns, moment
from pm_agent.kernel.chain import unseal
from tests.scenario import (
    ADA,
    BOB,
    Scenario,
    an_agent,
    answer_handoff,
    ask_for_help,
    hand_off,
    message_to,
)


def test_a_story_is_told_line_by_line(team: Scenario) -> None:
    team.given(an_agent(BOB))
    team.new_task("Build it")
    team.assigned()
    team.given(message_to(BOB, text="Which port?"), ask_for_help("T-1", 1))
    team.given(hand_off("T-1", 1, BOB), answer_handoff("H-1"))
    events = [unseal(stored) for stored in team.journal]
    told = [moment(event, team.texts) for event in events if event.kind not in QUIET]
    assert [one.what for one in told] == [
        "project P-web begins",
        "A-ada joins the team",
        "A-bob joins the team",
        "T-1 is created: Build it",
        "A-ada gets T-1",
        "message to A-bob",
        "A-ada asks A-bob for help with T-1",
        "help wanted to A-bob about T-1",
        "A-ada offers T-1 to A-bob (H-1)",
        "handoff to A-bob about T-1",
        "A-ada gives T-1 back: handed off",
        "A-bob takes T-1 over from A-ada",
        "handoff answer to A-ada about T-1",
    ]
    assert told[5].text == "Which port?"
    assert [concerns(event, ADA) for event in events[:3]] == [False, True, False]
    assert sum(concerns(event, "T-1") for event in events) == 9


def test_words_name_fields_that_their_events_have() -> None:
    # Refusals of access come many at once, each with its own address: they are told as they are.
    assert EVENT_TYPES.keys() - {"AccessRefused"} == {*_SAYS, *_SAYERS, *QUIET}
    for name, says in _SAYS.items():
        named = {part.split("}")[0] for part in says.split("{")[1:]}
        assert named <= set(EVENT_TYPES[name].__struct_fields__), name

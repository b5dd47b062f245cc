"""A lease token that has had its day: whatever ended the lease, nothing gets through with it.

All commands of the catalog that name a lease, after all ways in which a lease ends. Refused with
one stable code, and nothing is left of it: no event, no text, no effect, no alarm.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from pm_agent.domain.assignment import CandidateKept, CompleteTask
from pm_agent.domain.blocker import ReportFix
from pm_agent.domain.envelope import SYSTEM, Command
from pm_agent.domain.task import CancelTask, ReopenTask
from tests.scenario import (
    ADA,
    BOB,
    EVE,
    PERSON,
    Scenario,
    a_project,
    accept,
    agent_principal,
    an_agent,
    answer_handoff,
    complete,
    hand_off,
    leave,
    reject,
    release,
    report_blocker,
    request_id,
)
from tests.writes import FENCED, OWN, VERDICTS, WRITES, command


def lost(s: Scenario) -> None:
    s.after(minutes=3)
    assert s.task("T-1").attempts[-1].outcome == "expired"


def taken(s: Scenario, agent_id: str = BOB) -> None:
    s.after(minutes=10)
    assert s.assigned(agent_id).lease_token == 2


def lost_and_taken(s: Scenario) -> None:
    lost(s)
    taken(s)


def lost_and_in_review_by_another(s: Scenario) -> None:
    lost_and_taken(s)
    s.given(complete("T-1", 2, BOB))


def lost_and_claimed_again(s: Scenario) -> None:
    s.given(leave(BOB), leave(EVE))  # else one of them would be next
    lost(s)
    taken(s, ADA)


def lost_and_taken_late(s: Scenario) -> None:
    lost(s)
    s.given(complete("T-1", 1))
    assert s.task("T-1").lease_token == 2


def lost_taken_late_and_rejected(s: Scenario) -> None:
    lost_and_taken_late(s)
    s.given(reject("T-1"))


def beaten_by_late_work(s: Scenario) -> None:
    """The lease that ends is Bob's: Ada's late work was chosen."""
    lost_and_taken(s)
    s.when(complete("T-1", 1))
    s.given(accept("T-1", lease_token=1))


def released(s: Scenario) -> None:
    s.given(release("T-1", 1))


def released_and_taken(s: Scenario) -> None:
    released(s)
    taken(s)


def released_and_claimed_again(s: Scenario) -> None:
    released(s)
    taken(s, ADA)


def failed_and_taken(s: Scenario) -> None:
    s.given(release("T-1", 1, reason="failed"))
    taken(s)


def given_back_as_blocked(s: Scenario) -> None:
    s.given(report_blocker("T-1", 1, release=True))


def handed_over(s: Scenario) -> None:
    s.given(hand_off("T-1", 1, BOB))
    s.given(answer_handoff("H-1"))


def handed_over_and_back(s: Scenario) -> None:
    handed_over(s)
    s.given(hand_off("T-1", 2, ADA, BOB))
    s.given(answer_handoff("H-2", ADA))


def stuck_and_lost(s: Scenario) -> None:
    s.given(report_blocker("T-1", 1, blocker_type="environment"))
    lost(s)


def cancelled(s: Scenario) -> None:
    s.given(CancelTask(request_id=request_id(), principal=PERSON, task_id="T-1"))


def done(s: Scenario) -> None:
    s.given(complete("T-1", 1), accept("T-1"))


def rejected(s: Scenario) -> None:
    s.given(complete("T-1", 1), reject("T-1"))


def rejected_and_taken(s: Scenario) -> None:
    rejected(s)
    taken(s)


def done_and_reopened(s: Scenario) -> None:
    done(s)
    s.given(ReopenTask(request_id=request_id(), principal=PERSON, task_id="T-1", reason="a bug"))


def done_reopened_and_taken(s: Scenario) -> None:
    done_and_reopened(s)
    taken(s)


def done_and_archived(s: Scenario) -> None:
    done(s)
    s.after(days=8)
    assert "T-1" not in s.world.tasks


class Ending(NamedTuple):
    """What became of the lease, and what its holder is answered since."""

    story: Callable[[Scenario], None]
    code: str  # to a word about the work
    if_completed: str = ""  # to a completion, where it differs
    if_judged: str = "wrong_state"  # to a person's verdict
    holder: str = ADA
    token: int = 1


TAKEN = "taken"  # no refusal: work that comes late, tests/features/quality/test_late.py
SAME = "same"  # the answer of the first time
KEPT = "kept"  # refused, and kept as a candidate
ENDINGS = (
    Ending(lost, "not_assigned", TAKEN),
    Ending(lost_and_taken, "stale_lease", KEPT),
    Ending(lost_and_in_review_by_another, "stale_lease", KEPT),
    Ending(lost_and_claimed_again, "stale_lease"),
    Ending(lost_and_taken_late, "stale_lease", SAME, if_judged=TAKEN),
    Ending(lost_taken_late_and_rejected, "stale_lease"),
    Ending(beaten_by_late_work, "stale_lease", "already_completed", holder=BOB, token=2),
    Ending(released, "not_assigned"),
    Ending(released_and_taken, "stale_lease"),
    Ending(released_and_claimed_again, "stale_lease"),
    Ending(failed_and_taken, "stale_lease"),
    Ending(given_back_as_blocked, "not_assigned"),
    Ending(handed_over, "stale_lease"),
    Ending(handed_over_and_back, "stale_lease"),
    Ending(stuck_and_lost, "not_assigned", TAKEN),
    Ending(cancelled, "not_assigned", "already_completed"),
    Ending(done, "not_assigned", SAME),
    Ending(rejected, "not_assigned"),
    Ending(rejected_and_taken, "stale_lease"),
    Ending(done_and_reopened, "not_assigned"),
    Ending(done_reopened_and_taken, "stale_lease"),
    Ending(done_and_archived, "already_completed", SAME, if_judged="already_completed"),
)
each_ending = pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending.story.__name__)


def begun(s: Scenario) -> str:
    """A-ada holds T-1 under token 1; returns what was asked of the outside for that."""
    s.given(a_project(completion="person"))
    s.given(*(an_agent(who, sends_heartbeats=True) for who in (ADA, BOB, EVE)))
    s.new_task()
    assert s.assigned().lease_token == 1
    (asked,) = s.engine.outbox.pending
    return asked


def stuck(s: Scenario) -> None:
    """Whoever has T-1 now reports a blocker."""
    held = s.world.assignments.get("T-1")
    if held is not None and s.state("T-1") == "assigned":
        s.given(report_blocker("T-1", held.lease_token, held.agent_id, blocker_type="environment"))


def all_of(s: Scenario) -> tuple[Any, ...]:
    """What is decided from, and what is still to come of it."""
    engine = s.engine
    asked, due_us = dict(engine.outbox.pending), engine.next_wakeup_us()
    return engine.world.fingerprint(), len(s.journal), dict(s.texts), asked, due_us


def test_no_command_that_names_a_lease_is_forgotten() -> None:
    assert set(FENCED) == {*WRITES, *VERDICTS, *OWN}
    assert len(WRITES) >= 9


@each_ending
@pytest.mark.parametrize("kind", WRITES, ids=lambda kind: kind.__name__)
def test_a_word_about_the_work_is_refused_and_leaves_nothing(
    empty: Scenario, kind: type[Command], ending: Ending
) -> None:
    begun(empty)
    ending.story(empty)
    code = ending.code
    if kind is CompleteTask:
        code = ending.if_completed or code
    elif kind is ReportFix:
        stuck(empty)
        code = code if empty.world.blockers else "unknown_blocker"
    for sender in (agent_principal(ending.holder), PERSON):
        before = all_of(empty)
        empty.when(command(kind, ending.token, sender))
        if code == KEPT:
            assert empty.reply.error is not None
            assert empty.reply.error.code == "stale_lease"
            assert [type(event) for event in empty.events] in ([CandidateKept], [])
            assert empty.task("T-1").lease_token == 2
            continue
        if code == SAME:
            empty.then()
        elif code == TAKEN:
            assert empty.task("T-1").lease_token == ending.token + 1
            break
        else:
            empty.then_refused(code)
        assert all_of(empty) == before


@each_ending
@pytest.mark.parametrize("kind", VERDICTS, ids=lambda kind: kind.__name__)
def test_a_verdict_on_work_that_was_not_handed_in_is_refused_and_leaves_nothing(
    empty: Scenario, kind: type[Command], ending: Ending
) -> None:
    begun(empty)
    ending.story(empty)
    before = all_of(empty)
    empty.when(command(kind, ending.token, PERSON))
    if ending.if_judged == TAKEN:  # the work is in review, and named by either token
        assert empty.reply.error is None
    else:
        empty.then_refused(ending.if_judged)
        assert all_of(empty) == before


@each_ending
@pytest.mark.parametrize("kind", OWN + VERDICTS, ids=lambda kind: kind.__name__)
def test_an_answer_of_the_outside_that_nobody_wants_any_more_changes_nothing(
    empty: Scenario, kind: type[Command], ending: Ending
) -> None:
    asked = begun(empty)
    ending.story(empty)
    before = all_of(empty)
    more = {"effect_id": asked} if "effect_id" in kind.__struct_fields__ else {}
    empty.when(command(kind, ending.token, SYSTEM, **more))
    if kind in VERDICTS and ending.if_judged == TAKEN:
        assert empty.reply.error is None
    else:
        empty.then()
        assert all_of(empty) == before

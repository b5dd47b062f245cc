"""Who gets which task, under which lease, and how a lease ends."""

import random

import pytest

from pm_agent.domain.assignment import TaskAssigned, TaskReleased, WithdrawOffer
from pm_agent.domain.envelope import Usage
from pm_agent.domain.hold import HoldLifted, HoldPlaced
from pm_agent.domain.project import UpdateProject
from pm_agent.domain.task import Skill, TaskDeadLettered, TaskDraft
from pm_agent.domain.time import MINUTE_US, SECOND_US
from pm_agent.features.assignment.scoring import FactorsScorer
from pm_agent.kernel.types import Policy
from tests.scenario import (
    ADA,
    BOB,
    EVE,
    PERSON,
    WEB,
    Scenario,
    a_project,
    an_agent,
    an_import,
    claim,
    complete,
    leave,
    lift_hold,
    of_person,
    place_hold,
    progress,
    release,
    request_id,
    wait,
)


def outcome_of(scenario: Scenario, agent_id: str = ADA, project_id: str | None = None) -> str:
    scenario.when(claim(agent_id, project_id))
    return str(scenario.result["outcome"])


# -- what an agent may take ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("has", "needs", "may"),
    [
        ((), (), True),
        ((Skill("rust", 3),), (), True),
        ((Skill("rust", 3),), (Skill("rust", 3),), True),
        ((Skill("rust", 2),), (Skill("rust", 3),), False),
        ((), (Skill("rust", 1),), False),
        ((Skill("api", 5), Skill("rust", 5)), (Skill("api", 2), Skill("rust", 2)), True),
        ((Skill("api", 5),), (Skill("api", 2), Skill("rust", 1)), False),
    ],
)
def test_an_agent_takes_only_tasks_whose_skills_and_levels_it_has(
    empty: Scenario,
    has: tuple[Skill, ...],
    needs: tuple[Skill, ...],
    may: bool,  # noqa: FBT001
) -> None:
    empty.given(a_project(), an_agent(skills=has))
    empty.new_task(skills=needs)
    assert outcome_of(empty) == ("assigned" if may else "none")


def test_skills_are_compared_in_lower_case(empty: Scenario) -> None:
    empty.given(a_project(), an_agent(skills=(Skill("RUST", 3),)))
    empty.new_task(skills=(Skill("Rust", 3),))
    assert outcome_of(empty) == "assigned"


def test_an_agent_of_some_projects_takes_tasks_of_no_other(empty: Scenario) -> None:
    empty.given(a_project(), a_project("P-app"), an_agent(project_ids=("P-app",)))
    empty.new_task()
    assert outcome_of(empty) == "none"
    app = empty.new_task(project_id="P-app")
    assert empty.assigned().task_id == app


def test_a_claim_may_name_its_project(empty: Scenario) -> None:
    empty.given(a_project(), a_project("P-app"), an_agent())
    empty.new_task(priority=3)
    app = empty.new_task(project_id="P-app")
    assert empty.assigned(project_id="P-app").task_id == app
    empty.when(claim(project_id="P-none")).then_refused("unknown_project")


def test_an_agent_claims_for_itself_only(team: Scenario) -> None:
    team.given(an_agent(BOB))
    team.new_task()
    team.when(of_person(claim(BOB), claim(ADA).principal)).then_refused("forbidden")
    team.when(of_person(claim(BOB))).then(TaskAssigned)
    team.when(claim("A-nobody")).then_refused("unknown_agent")


@pytest.mark.parametrize(
    ("scope", "target"), [("workspace", "main"), ("project", WEB), ("agent", ADA), ("task", "T-1")]
)
def test_a_hold_on_any_scope_keeps_its_tasks_back(team: Scenario, scope: str, target: str) -> None:
    team.new_task()
    team.given(place_hold(scope, target))
    assert outcome_of(team) == "none"
    team.given(lift_hold(scope, target))
    assert outcome_of(team) == "assigned"


def test_a_hold_on_another_project_agent_or_task_keeps_nothing_back(team: Scenario) -> None:
    team.given(a_project("P-app"), an_agent(BOB))
    team.new_task()
    other = team.new_task()
    for scope, target in (("project", "P-app"), ("agent", BOB), ("task", other)):
        team.given(place_hold(scope, target))
    assert team.assigned().task_id == "T-1"


def test_an_agent_holds_no_more_than_its_capacity(empty: Scenario) -> None:
    empty.given(a_project(), an_agent(capacity=2))
    for _ in range(3):
        empty.new_task()
    empty.assigned()
    second = empty.assigned()
    empty.when(claim()).then_refused("capacity_exceeded")
    empty.given(complete(second.task_id, second.lease_token))
    empty.assigned()


def test_a_capacity_lowered_later_takes_nothing_away(empty: Scenario) -> None:
    empty.given(a_project(), an_agent(capacity=2))
    for _ in range(3):
        empty.new_task()
    empty.assigned()
    empty.assigned()
    empty.given(an_agent(capacity=1))
    assert len(empty.world.agents[ADA].active) == 2
    empty.when(claim()).then_refused("capacity_exceeded")


def test_a_project_has_no_more_in_progress_than_its_limit(empty: Scenario) -> None:
    empty.given(a_project(max_in_progress=1), an_agent(), an_agent(BOB))
    first = empty.new_task()
    empty.new_task()
    empty.assigned()
    assert outcome_of(empty, BOB) == "none"
    empty.given(complete(first, 1))
    assert outcome_of(empty, BOB) == "assigned"


def test_a_claim_reserves_its_predicted_use_against_the_caps(empty: Scenario) -> None:
    per_task = 30 * empty.policy.tokens_per_estimated_min
    empty.given(a_project(token_cap=2 * per_task + 99), an_agent(capacity=9))
    for _ in range(3):
        empty.new_task(estimate_min=30)
    empty.assigned()
    second = empty.assigned()
    assert second.reserved.tokens == per_task
    assert outcome_of(empty) == "none"
    empty.given(complete(second.task_id, second.lease_token, usage=Usage(tokens=10)))
    assert outcome_of(empty) == "assigned"  # what was promised and not used is free again


def test_a_cost_cap_counts_like_a_token_cap(empty: Scenario) -> None:
    per_task = 30 * empty.policy.tokens_per_estimated_min * empty.policy.microusd_per_token
    empty.given(a_project(cost_cap_microusd=per_task), an_agent(capacity=9))
    empty.new_task(estimate_min=30)
    empty.new_task(estimate_min=30)
    empty.assigned()
    assert outcome_of(empty) == "none"


def test_a_task_too_large_for_what_is_left_lets_a_small_one_go_first(empty: Scenario) -> None:
    per_minute = empty.policy.tokens_per_estimated_min
    empty.given(a_project(token_cap=20 * per_minute), an_agent())
    empty.new_task(estimate_min=480, priority=3)
    small = empty.new_task(estimate_min=10, priority=0)
    assert empty.assigned().task_id == small


def test_use_that_reaches_a_cap_places_a_hold_and_lets_running_work_finish(
    empty: Scenario,
) -> None:
    empty.given(a_project(token_cap=1_000_000), an_agent(), an_agent(BOB))
    for _ in range(3):
        empty.new_task(estimate_min=10)
    mine, other = empty.assigned(), empty.assigned(BOB)
    empty.given(progress(mine.task_id, mine.lease_token, usage=Usage(tokens=1_000_000)))
    held = empty.of_kind(HoldPlaced)[0]
    assert (held.scope, held.target_id, held.kind) == ("project", WEB, "budget")
    assert "token cap" in held.reason
    empty.given(complete(mine.task_id, mine.lease_token, usage=Usage(tokens=5)))
    assert empty.of_kind(HoldPlaced) == []  # once is enough
    empty.given(complete(other.task_id, other.lease_token, BOB))
    assert outcome_of(empty) == "none"


# -- which one it gets ---------------------------------------------------------------------------


def test_higher_priority_goes_first(team: Scenario) -> None:
    team.new_task(priority=1)
    urgent = team.new_task(priority=3)
    assert team.assigned().task_id == urgent


def test_a_task_that_waited_four_hours_longer_goes_before_one_priority_more(
    team: Scenario,
) -> None:
    old = team.new_task(priority=1)
    team.after(hours=4.1)
    team.new_task(priority=2)
    assert team.assigned().task_id == old


def test_work_that_much_waits_for_goes_before_its_equals(empty: Scenario) -> None:
    scenario = Scenario(scorer=FactorsScorer())
    scenario.given(a_project(), an_agent())
    scenario.new_task()
    head = scenario.new_task()
    for _ in range(5):
        scenario.new_task(dependencies=(head,))
    assert scenario.assigned().task_id == head
    scenario.verify()


def test_the_same_agent_does_not_get_a_task_twice_in_a_row_after_it_failed(
    team: Scenario,
) -> None:
    team.given(an_agent(BOB))
    task = team.new_task()
    given = team.assigned()
    team.given(release(task, given.lease_token, reason="failed"))
    team.after(minutes=6)
    assert outcome_of(team, ADA) == "none"
    assert team.assigned(BOB).task_id == task


def test_behind_tasks_that_an_agent_failed_at_it_finds_the_others() -> None:
    story = Scenario(policy=Policy(exploration=0.0, reserve=0.0, shortlist=4, backoff_max_us=1))
    story.given(a_project(), an_agent(), an_agent(BOB))
    failed = [story.new_task(priority=3) for _ in range(5)]
    behind = story.new_task(priority=0)
    for _ in failed:
        given = story.assigned()
        story.given(release(given.task_id, given.lease_token, reason="failed"))
        story.after(seconds=1)
    assert story.assigned().task_id == behind
    story.verify()


def test_who_failed_last_stays_so_when_another_only_gives_the_task_back(team: Scenario) -> None:
    team.given(an_agent(BOB))
    task = team.new_task()
    team.given(release(task, team.assigned(ADA).lease_token, reason="failed"))
    team.after(minutes=6)
    team.given(release(task, team.assigned(BOB).lease_token, BOB, note="not mine"))
    assert outcome_of(team, ADA) == "none"
    assert team.assigned(BOB).task_id == task


def test_the_same_agent_gets_it_again_when_nobody_else_can_do_it(empty: Scenario) -> None:
    empty.given(a_project(), an_agent(skills=(Skill("rust", 3),)), an_agent(BOB))
    task = empty.new_task(skills=(Skill("rust", 3),))
    given = empty.assigned()
    empty.given(release(task, given.lease_token, reason="failed"))
    empty.after(minutes=6)
    assert empty.assigned(ADA).task_id == task


def test_giving_a_task_back_is_no_failure(team: Scenario) -> None:
    team.given(an_agent(BOB))
    task = team.new_task()
    given = team.assigned()
    team.when(release(task, given.lease_token, note="not mine")).then(TaskReleased)
    assert team.task(task).failures == 0
    assert team.assigned(ADA).task_id == task


def test_the_same_agent_gets_it_again_when_the_others_have_been_silent_for_long(
    team: Scenario,
) -> None:
    team.given(an_agent(BOB))
    task = team.new_task()
    given = team.assigned(ADA)
    team.given(release(task, given.lease_token, reason="failed"))
    team.after(minutes=19)
    assert team.when(claim(ADA)).result["outcome"] == "none"  # Bob may come
    team.after(minutes=2)
    assert team.assigned(ADA).task_id == task


def test_the_same_agent_gets_it_again_when_the_others_have_left(team: Scenario) -> None:
    team.given(an_agent(BOB))
    task = team.new_task()
    given = team.assigned(ADA)
    team.given(release(task, given.lease_token, reason="failed"), leave(BOB))
    team.after(minutes=6)
    assert team.assigned(ADA).task_id == task


def test_failed_attempts_wait_longer_each_time_and_end_as_dead_letter() -> None:
    team = Scenario(policy=Policy(exploration=0.0, max_agent_failures=9))
    team.given(a_project(), an_agent(), an_agent(BOB))
    task = team.new_task()
    policy = team.policy
    for n in range(1, policy.max_failures):
        agent = (ADA, BOB)[n % 2]
        given = team.assigned(agent)
        team.when(release(task, given.lease_token, agent, reason="failed"))
        team.then(TaskReleased, HoldPlaced)
        until_us = team.of_kind(HoldPlaced)[0].until_us
        longest = min(policy.backoff_max_us, policy.backoff_base_us << n)
        assert team.now_us <= until_us <= team.now_us + longest
        team.after(seconds=longest / SECOND_US)
        assert team.of_kind(HoldLifted) != []
    given = team.assigned(ADA if team.world.tasks[task].attempts[-1].agent_id == BOB else BOB)
    team.when(release(task, given.lease_token, given.agent_id, reason="failed"))
    team.then(TaskReleased, TaskDeadLettered)
    assert team.result["state"] == "dead_letter"
    assert task not in team.world.ready


def test_the_shortlist_stays_small_however_long_the_backlog(team: Scenario) -> None:
    team.given(an_import(*(TaskDraft(title=f"t{i}") for i in range(400))))
    record = team.assigned().decision
    assert record.n_eligible == 400
    assert len(record.candidate_ids) == team.policy.shortlist


def test_the_shortlist_stays_small_however_many_kinds_of_tasks(empty: Scenario) -> None:
    rng = random.Random(5)
    known = tuple(Skill(f"s{i:02}", 5) for i in range(12))
    empty.given(a_project(), an_agent(skills=known))
    drafts = [
        TaskDraft(title=f"t{i}", skills=tuple(rng.sample(known, 3)), priority=rng.randrange(4))
        for i in range(600)
    ]
    empty.given(an_import(*drafts))
    record = empty.assigned().decision
    assert record.n_eligible == 600
    assert len(record.candidate_ids) <= 32 * 4
    assert empty.task(empty.world.agents[ADA].active[0]).priority == 3


# -- standing offers -----------------------------------------------------------------------------


def until(scenario: Scenario, minutes: float = 10) -> int:
    return scenario.now_us + int(minutes * MINUTE_US)


def test_an_agent_that_waits_gets_the_task_when_it_comes(team: Scenario) -> None:
    team.when(wait(ADA, until(team)))
    assert team.result["outcome"] == "waiting"
    task = team.new_task()
    assert team.state(task) == "assigned"
    assert team.world.assignments[task].is_offered


def test_who_waits_longest_is_served_first(team: Scenario) -> None:
    team.given(an_agent(BOB), an_agent(EVE))
    for agent in (EVE, ADA, BOB):
        team.given(wait(agent, until(team)))
        team.after(seconds=5)
    got = [team.world.assignments[team.new_task()].agent_id for _ in range(3)]
    assert got == [EVE, ADA, BOB]


def test_a_task_is_not_offered_to_who_stopped_waiting(team: Scenario) -> None:
    team.given(wait(ADA, until(team, 1)))
    team.after(minutes=2)
    assert team.state(team.new_task()) == "open"


def test_a_withdrawn_offer_gets_nothing(team: Scenario) -> None:
    team.given(wait(ADA, until(team)))
    team.given(WithdrawOffer(request_id=request_id(), principal=claim().principal, agent_id=ADA))
    assert team.state(team.new_task()) == "open"


def test_an_offered_task_is_given_again_to_the_agent_that_asks_again(team: Scenario) -> None:
    team.given(wait(ADA, until(team)))
    task = team.new_task()
    team.after(seconds=20)
    team.when(claim()).then()
    assert (team.result["task_id"], team.result["lease_token"]) == (task, 1)
    team.when(wait(ADA, until(team))).then()
    assert team.result["task_id"] == task
    team.after(minutes=5).then()
    assert team.state(task) == "assigned"


def test_a_word_about_the_task_confirms_the_offer(team: Scenario) -> None:
    team.given(wait(ADA, until(team)))
    team.after(seconds=1)
    task = team.new_task()
    team.given(progress(task, 1))
    assert not team.world.assignments[task].is_offered
    team.after(minutes=5).then()


def test_one_task_goes_to_one_of_many_that_wait(team: Scenario) -> None:
    team.given(an_agent(BOB), wait(ADA, until(team)), wait(BOB, until(team)))
    team.new_task()
    assert len(team.world.assignments) == 1
    team.new_task()
    assert len(team.world.assignments) == 2


def test_who_waits_for_one_project_gets_no_other(team: Scenario) -> None:
    team.given(a_project("P-app"), wait(ADA, until(team), "P-app"))
    team.new_task()
    assert team.world.assignments == {}
    team.new_task(project_id="P-app")
    assert len(team.world.assignments) == 1


@pytest.mark.parametrize(
    ("scope", "target"), [("workspace", "main"), ("project", WEB), ("agent", ADA), ("task", "T-1")]
)
def test_a_lifted_hold_serves_who_waits(team: Scenario, scope: str, target: str) -> None:
    task = team.new_task()
    team.given(place_hold(scope, target), wait(ADA, until(team)))
    assert team.state(task) == "open"
    team.given(lift_hold(scope, target))
    assert team.state(task) == "assigned"


def test_a_raised_limit_serves_who_waits(empty: Scenario) -> None:
    empty.given(a_project(max_in_progress=1), an_agent(), an_agent(BOB))
    empty.new_task()
    second = empty.new_task()
    empty.assigned()
    empty.given(wait(BOB, until(empty)))
    assert empty.state(second) == "open"
    empty.given(
        UpdateProject(request_id=request_id(), principal=PERSON, project_id=WEB, max_in_progress=2)
    )
    assert empty.state(second) == "assigned"


def test_a_skill_gained_while_waiting_counts_at_once(team: Scenario) -> None:
    rust = (Skill("rust", 2),)
    task, later = team.new_task(skills=rust), team.new_task(skills=rust)
    team.given(wait(ADA, until(team)), an_agent(skills=rust, capacity=2))
    assert team.state(task) == "assigned"
    team.given(progress(task, 1), wait(ADA, until(team)))
    assert team.state(later) == "assigned"


def test_work_handed_in_for_review_makes_room_under_the_limit(empty: Scenario) -> None:
    empty.given(a_project(max_in_progress=1, completion="person"), an_agent(), an_agent(BOB))
    empty.new_task()
    second = empty.new_task()
    empty.assigned()
    empty.given(wait(BOB, until(empty)))
    empty.given(complete("T-1", 1))
    assert empty.state(second) == "assigned"


def test_use_that_was_promised_and_not_needed_serves_who_waits(empty: Scenario) -> None:
    per_task = 30 * empty.policy.tokens_per_estimated_min
    rust = (Skill("rust", 1),)
    empty.given(a_project(token_cap=per_task + 100), an_agent(), an_agent(BOB, skills=rust))
    empty.new_task(estimate_min=30)
    second = empty.new_task(estimate_min=30, skills=rust)
    empty.assigned()
    empty.given(wait(BOB, until(empty)))
    assert empty.state(second) == "open"
    empty.given(complete("T-1", 1, usage=Usage(tokens=50)))
    assert empty.state(second) == "assigned"


def test_who_may_not_take_a_task_does_not_keep_it_from_the_next_that_waits(
    team: Scenario,
) -> None:
    team.given(an_agent(BOB))
    task = team.new_task()
    given = team.assigned()
    team.given(release(task, given.lease_token, reason="failed"))
    team.given(wait(ADA, until(team, 20)))
    team.after(seconds=1)
    team.given(wait(BOB, until(team, 20)))
    team.after(seconds=20)
    assert team.of_kind(TaskAssigned)[0].agent_id == BOB


def test_an_agent_on_hold_does_not_keep_a_task_from_the_next_that_waits(team: Scenario) -> None:
    team.given(an_agent(BOB), place_hold("agent", ADA))
    team.given(wait(ADA, until(team)), wait(BOB, until(team)))
    task = team.new_task()
    assert team.world.assignments[task].agent_id == BOB

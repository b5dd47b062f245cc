"""What keeps a project from moving, with the reason and the remedy."""

from pm_agent.domain.task import CancelTask
from pm_agent.features.backlog.gridlock import Standstill, standstills
from pm_agent.features.backlog.status import project_status
from tests.scenario import (
    ADA,
    BOB,
    PERSON,
    WEB,
    Scenario,
    a_project,
    an_agent,
    claim,
    place_hold,
    report_blocker,
    request_id,
    skills,
)


def found(scenario: Scenario) -> list[Standstill]:
    return standstills(scenario.world, scenario.world.projects[WEB])


def kinds(scenario: Scenario) -> list[str]:
    return [one.kind for one in found(scenario)]


def test_nothing_stands_still_while_everybody_works(team: Scenario) -> None:
    team.new_task()
    team.assigned()
    team.new_task(dependencies=("T-1",))
    assert found(team) == []


def test_tasks_that_wait_for_each_other_are_named(team: Scenario) -> None:
    team.new_task()
    team.new_task(dependencies=("T-1",))
    team.given(claim(ADA))
    blocked = report_blocker("T-1", 1, blocker_type="dependency", needs_task_ids=("T-2",))
    team.given(blocked)
    circles = [one for one in found(team) if one.kind == "deadlock"]
    assert [one.task_ids for one in circles] == [["T-1", "T-2"]]
    assert "resolve_blocker" in circles[0].remedy


def test_a_circle_through_another_project_is_named_in_both(team: Scenario) -> None:
    team.given(a_project("P-ops"))
    team.new_task()
    other = team.new_task(project_id="P-ops", dependencies=("T-1",))
    team.new_task(project_id="P-ops", dependencies=(other,))  # waits for the circle, outside of it
    team.given(claim(ADA))
    team.given(report_blocker("T-1", 1, blocker_type="dependency", needs_task_ids=(other,)))
    for project_id in (WEB, "P-ops"):
        told = standstills(team.world, team.world.projects[project_id])
        circles = [one.task_ids for one in told if one.kind == "deadlock"]
        assert circles == [["T-1", "T-2"]]


def test_a_task_that_waits_for_a_cancelled_one_is_a_dead_end(team: Scenario) -> None:
    team.new_task()
    team.new_task(dependencies=("T-1",))
    team.given(CancelTask(request_id=request_id(), principal=PERSON, task_id="T-1"))
    (one,) = [one for one in found(team) if one.kind == "dead_end"]
    assert one.task_ids == ["T-2", "T-1"]
    assert "Reopen T-1" in one.remedy


def test_a_skill_that_nobody_has_is_told(team: Scenario) -> None:
    team.new_task(skills=skills(cobol=3))
    (one,) = found(team)
    assert (one.kind, one.task_ids) == ("missing_skill", ["T-1"])
    assert one.skills == ["cobol 3"]
    team.given(an_agent(BOB, skills=skills(cobol=4)))
    assert kinds(team) == ["idle"]


def test_an_agent_that_is_idle_though_work_is_ready_is_told_with_the_reason(
    team: Scenario,
) -> None:
    team.new_task()
    (one,) = found(team)
    assert (one.kind, one.agent_ids) == ("idle", [ADA])
    assert "do not ask" in one.reason
    team.given(place_hold("agent", ADA))
    assert "on hold" in found(team)[0].reason
    assert "lift_hold" in found(team)[0].remedy


def test_a_limit_of_the_project_is_the_reason() -> None:
    scenario = Scenario()
    scenario.given(a_project(max_in_progress=1), an_agent(), an_agent(BOB))
    scenario.new_task()
    scenario.new_task()
    scenario.assigned()
    (one,) = found(scenario)
    assert (one.kind, one.agent_ids) == ("idle", [BOB])
    assert "1 tasks at a time" in one.reason


def test_what_is_left_of_a_cap_may_be_the_reason() -> None:
    scenario = Scenario()
    scenario.given(a_project(cost_cap_microusd=1_000_000), an_agent(), an_agent(BOB))
    scenario.new_task(estimate_min=60)  # $0.72 by rule
    scenario.new_task(estimate_min=60)
    scenario.assigned()
    (one,) = found(scenario)
    assert (one.kind, one.agent_ids) == ("idle", [BOB])
    assert "what is left of the cap ($0.28)" in one.reason
    assert "update_project" in one.remedy
    status = project_status(scenario.world, WEB, {})
    assert (status.reserved_tokens, status.reserved_usd) == (240_000, 0.72)

"""Agents register, change their profile and show that they live."""

import pytest

from pm_agent.domain.agent import AgentRegistered
from pm_agent.domain.task import Skill
from tests.scenario import ADA, BOB, Scenario, agent_principal, an_agent, heartbeat, of_person


def test_a_profile_is_written_when_it_changes(empty: Scenario) -> None:
    empty.when(an_agent()).then(AgentRegistered)
    empty.when(an_agent()).then()
    empty.when(an_agent(capacity=2)).then(AgentRegistered)
    assert empty.world.agents[ADA].capacity == 2


def test_a_changed_profile_keeps_what_the_agent_holds(team: Scenario) -> None:
    team.new_task()
    team.assigned()
    team.given(an_agent(skills=(Skill("rust", 2),)))
    assert team.world.agents[ADA].active == ("T-1",)
    team.given(an_agent(skills=(Skill("rust", 2),)))
    assert team.result["active_tasks"] == ["T-1"]


def test_skills_keep_one_entry_each_sorted_by_name(empty: Scenario) -> None:
    empty.given(an_agent(skills=(Skill("Rust", 2), Skill("api", 1), Skill("rust", 5))))
    assert empty.world.agents[ADA].skills == (Skill("api", 1), Skill("rust", 5))


def test_an_agent_of_an_unknown_project_is_refused(empty: Scenario) -> None:
    empty.when(an_agent(project_ids=("P-none",))).then_refused("unknown_project")


def test_an_agent_registers_itself_only(team: Scenario) -> None:
    team.when(of_person(an_agent(BOB), agent_principal(ADA))).then_refused("forbidden")
    team.when(of_person(heartbeat(BOB), agent_principal(ADA))).then_refused("forbidden")


@pytest.mark.parametrize("agent_id", ["A-"])
def test_a_name_without_letters_is_refused(empty: Scenario, agent_id: str) -> None:
    empty.when(an_agent(agent_id)).then_refused("invalid_input")


def test_a_heartbeat_leaves_no_event_and_lists_the_leases(team: Scenario) -> None:
    team.when(heartbeat()).then()
    assert team.result.get("leases", []) == []
    team.new_task()
    team.assigned()
    team.when(heartbeat()).then()
    assert [lease["task_id"] for lease in team.result["leases"]] == ["T-1"]


def test_a_heartbeat_of_nobody_is_refused(empty: Scenario) -> None:
    empty.when(heartbeat("A-nobody")).then_refused("unknown_agent")

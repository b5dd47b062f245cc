"""Progress: what an agent says about running work."""

from pm_agent.domain.assignment import ProgressReported
from pm_agent.domain.envelope import Usage
from tests.scenario import ADA, WEB, Scenario, progress


def test_progress_keeps_the_last_words_and_adds_up_use(team: Scenario) -> None:
    team.new_task()
    team.assigned()
    team.when(progress("T-1", 1, percent=30, note="parser", usage=Usage(100, 7)))
    team.then(ProgressReported)
    team.given(progress("T-1", 1, percent=60, where="task/T-1", usage=Usage(50, 3)))
    held = team.world.assignments["T-1"]
    assert (held.percent, held.where) == (60, "task/T-1")
    assert team.texts[held.note] == "parser"
    for spent in (team.task("T-1"), team.world.agents[ADA], team.world.projects[WEB]):
        assert spent.usage == Usage(150, 10)


def test_progress_tells_how_long_the_lease_holds(team: Scenario) -> None:
    team.new_task()
    team.assigned()
    team.given(progress("T-1", 1))
    assert team.result["lease_until"].endswith("Z")
    assert team.result["state"] == "assigned"

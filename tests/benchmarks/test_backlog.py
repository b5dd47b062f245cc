from random import Random

from benchmarks.backlog import N_SKILLS, SKILLS_AN_AGENT, covering_skills, drafts, on_the_wire
from pm_agent.api.schemas.tasks import TaskFields


def test_backlog_has_its_share_of_ready_tasks_and_no_cycles() -> None:
    made = drafts(1_000, Random(1), batch="7.")
    known: set[str] = set()
    for draft in made:
        assert known.issuperset(draft.dependencies)
        known.add(draft.key)
    assert sum(not draft.dependencies for draft in made) == 400


def test_same_seed_makes_the_same_backlog() -> None:
    assert drafts(50, Random(3)) == drafts(50, Random(3))


def test_api_takes_every_task_of_it() -> None:
    for draft in drafts(50, Random(1)):
        TaskFields.model_validate(on_the_wire(draft))


def test_few_agents_in_a_row_can_do_every_task() -> None:
    n_agents = -(-N_SKILLS // SKILLS_AN_AGENT)
    skills = {skill for i in range(n_agents) for skill in covering_skills(i, Random(1))}
    for draft in drafts(200, Random(2)):
        (needed,) = draft.skills
        assert any(skill.name == needed.name and skill.level >= needed.level for skill in skills)

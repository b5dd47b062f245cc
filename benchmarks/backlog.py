"""A made-up backlog: the same kinds of tasks for every benchmark, from a seed.

Tasks are spread over 32 skills at two levels, four priorities and estimates of ten minutes to five
hours. The first share of them is ready; each of the others waits for one or two that stand before
it, so that completing work makes more of it ready.
"""

from random import Random
from typing import Any

from pm_agent.domain.task import PRIORITIES, Skill, TaskDraft

N_SKILLS = 32
SKILLS = tuple(f"skill-{i}" for i in range(N_SKILLS))
READY_SHARE = 0.4
SKILLS_AN_AGENT = 6
KINDS = ("feature", "bug", "test", "docs")


def drafts(
    n: int, random: Random, *, batch: str = "", ready_share: float = READY_SHARE
) -> tuple[TaskDraft, ...]:
    """Make tasks for one import.

    Parameters
    ----------
    n
        How many.
    random
        Drawn from in a fixed order.
    batch
        Goes before their keys, which are unique in a project.
    ready_share
        Share that waits for nothing, above 0 and at most 1.
    """
    n_ready = max(1, round(n * ready_share))
    made = []
    for index in range(n):
        dependencies: tuple[str, ...] = ()
        if index >= n_ready:
            waits_for = random.sample(range(index), min(index, random.choice((1, 1, 2))))
            dependencies = tuple(f"{batch}{i}" for i in waits_for)
        made.append(
            TaskDraft(
                title=f"Task {batch}{index}",
                key=f"{batch}{index}",
                kind=random.choice(KINDS),
                priority=random.randrange(4),
                skills=(Skill(random.choice(SKILLS), random.randint(1, 2)),),
                estimate_min=random.randrange(10, 300),
                dependencies=dependencies,
            )
        )
    return tuple(made)


def agent_skills(random: Random, n: int = SKILLS_AN_AGENT) -> tuple[Skill, ...]:
    """Skills of one agent, each at a level that suffices for every task."""
    return tuple(Skill(name, random.randint(2, 5)) for name in random.sample(SKILLS, n))


def covering_skills(index: int, random: Random) -> tuple[Skill, ...]:
    """Skills of the agent with this index: any six agents in a row can do every task."""
    first = index * SKILLS_AN_AGENT
    names = [SKILLS[(first + i) % N_SKILLS] for i in range(SKILLS_AN_AGENT)]
    return tuple(Skill(name, random.randint(2, 5)) for name in names)


def on_the_wire(draft: TaskDraft) -> dict[str, Any]:
    """The draft as the API takes it in."""
    return {
        "title": draft.title,
        "key": draft.key,
        "kind": draft.kind,
        "priority": PRIORITIES[draft.priority],
        "skills": [{"name": skill.name, "level": skill.level} for skill in draft.skills],
        "estimate_min": draft.estimate_min,
        "dependencies": list(draft.dependencies),
    }

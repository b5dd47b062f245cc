"""Signatures: what decides which tasks an agent may take, its skills and its projects."""

from pm_agent.domain.ids import ProjectId
from pm_agent.domain.task import Skill

Signature = tuple[tuple[Skill, ...], tuple[ProjectId, ...]]
# Tasks with the same project and the same required skills form a ready class.
ClassKey = tuple[ProjectId, tuple[Skill, ...]]


def levels_of(signature: Signature) -> dict[str, int]:
    """Level by name of a skill."""
    return {skill.name: skill.level for skill in signature[0]}


def may_take(levels: dict[str, int], projects: tuple[ProjectId, ...], key: ClassKey) -> bool:
    """Whether an agent with these levels by name of a skill may take tasks of a class.

    ``projects`` are those it works on; empty: every project.
    """
    project_id, required = key
    if projects and project_id not in projects:
        return False
    return all(levels.get(skill.name, 0) >= skill.level for skill in required)

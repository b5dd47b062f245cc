"""Short readable ids. They are made from counters in the world, so replay makes the same ones."""

import re

TaskId = str  # "T-142"
AgentId = str  # "A-ada"
ProjectId = str  # "P-web"
BlockerId = str  # "B-7"
BodyRef = str  # salted SHA-256 of a text kept in the journal's bodies table, hex

_NOT_SLUG = re.compile(r"[^a-z0-9]+")
MAX_SLUG = 40


def slug(name: str) -> str:
    """Lower-case letters, digits and single dashes; at most 40 characters."""
    return _NOT_SLUG.sub("-", name.lower()).strip("-")[:MAX_SLUG].strip("-")


def task_id(number: int) -> TaskId:
    return f"T-{number}"


def task_number(identifier: TaskId) -> int:
    return int(identifier[2:])


def agent_id(name: str) -> AgentId:
    return f"A-{slug(name)}"


def project_id(name: str) -> ProjectId:
    return f"P-{slug(name)}"


def blocker_id(number: int) -> BlockerId:
    return f"B-{number}"

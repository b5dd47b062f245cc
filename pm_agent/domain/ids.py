"""Short readable ids. They are made from counters in the world, so replay makes the same ones."""

import re

TaskId = str  # "T-142"
AgentId = str  # "A-ada"
ProjectId = str  # "P-web"
BlockerId = str  # "B-7"
MessageId = str  # "M-31"
HandoffId = str  # "H-2"
CollaborationId = str  # "C-4"
SubscriptionId = str  # "S-9"
BodyRef = str  # instant and salted SHA-256 of a text kept in the journal's bodies table, hex

_NOT_SLUG = re.compile(r"[^a-z0-9]+")
MAX_SLUG = 40


def slug(name: str) -> str:
    """Lower-case letters, digits and single dashes; at most 40 characters."""
    return _NOT_SLUG.sub("-", name.lower()).strip("-")[:MAX_SLUG].strip("-")


def task_id(number: int) -> TaskId:
    """``T-142`` from 142."""
    return f"T-{number}"


def task_number(identifier: TaskId) -> int:
    """142 from ``T-142``."""
    return int(identifier[2:])


def agent_id(name: str) -> AgentId:
    """``A-ada`` from ``Ada``."""
    return f"A-{slug(name)}"


def project_id(name: str) -> ProjectId:
    """``P-web`` from ``Web``."""
    return f"P-{slug(name)}"


def blocker_id(number: int) -> BlockerId:
    """``B-7`` from 7."""
    return f"B-{number}"


def message_id(number: int) -> MessageId:
    """``M-31`` from 31."""
    return f"M-{number}"


def handoff_id(number: int) -> HandoffId:
    """``H-2`` from 2."""
    return f"H-{number}"


def collaboration_id(number: int) -> CollaborationId:
    """``C-4`` from 4."""
    return f"C-{number}"


def subscription_id(number: int) -> SubscriptionId:
    """``S-9`` from 9."""
    return f"S-{number}"


def number_of(identifier: str) -> int:
    """31 from ``M-31``; 0 from what is no such id."""
    number = identifier.partition("-")[2]
    return int(number) if number.isascii() and number.isdigit() else 0

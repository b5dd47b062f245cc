"""Cases: blockers like each other, and how each remedy against them has done. No commands.

The memory of the workspace about blockers. It holds no texts: what a blocker said is a sketch of
hashes, and what helped is a reference to a body, which may be erased.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

import msgspec

from pm_agent.domain.ids import BlockerId, BodyRef, ProjectId

if TYPE_CHECKING:
    from pm_agent.domain.world import World

# What the coordinator does about a blocker, mildest first.
StepKind = Literal[
    "known_fix",  # tell the agent what helped against a similar one
    "wait",  # for the work it needs
    "retry",  # the same again after a pause
    "reassign",  # give the task to an agent with the skills it needs
    "ask_help",  # another agent answers
    "split",  # make a task of what is missing, which goes first
    "advice",  # of the language model
    "escalate",  # to a person
]
WINDOW = 8  # newest outcomes of a remedy that still count
IN_A_ROW = 3  # failures after which a remedy is no longer offered
MAX_CASES = 400  # of a workspace; the one not met for the longest goes
MAX_REMEDIES = 12  # of a case; the one least lately tried goes


class Remedy(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """One thing that was done about blockers of a case, with honest counts."""

    step: StepKind
    text: BodyRef | None = None  # a known fix alone has one
    by: str = ""  # who said it first
    is_answer: bool = False  # its first outcome is of the blocker that it was the answer to
    tried: int = 0
    worked: int = 0
    recent: int = 0  # newest outcomes as bits, the last one lowest; 1: it worked
    last_us: int = 0

    @property
    def reused_tried(self) -> int:
        """Newest outcomes, without the one of the blocker that a known fix comes from."""
        return min(self.tried - self.is_answer, WINDOW)

    @property
    def reused_worked(self) -> int:
        """How many of these were good."""
        is_counted = self.tried <= WINDOW and self.is_answer
        return self.recent.bit_count() - is_counted

    @property
    def stopped_working(self) -> bool:
        """Whether the last outcomes were all failures."""
        return self.tried >= IN_A_ROW and not self.recent & ((1 << IN_A_ROW) - 1)

    def with_outcome(self, *, worked: bool, at_us: int) -> "Remedy":
        """Return it with one more outcome."""
        return msgspec.structs.replace(
            self,
            tried=self.tried + 1,
            worked=self.worked + worked,
            recent=(self.recent << 1 | worked) & ((1 << WINDOW) - 1),
            last_us=at_us,
        )


class Case(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """Blockers of one type that read alike. Named after the first of them."""

    id: BlockerId
    blocker_type: str
    project_id: ProjectId
    sketch: tuple[int, ...]
    last_us: int
    remedies: tuple[Remedy, ...] = ()


def open_case(world: "World", new: Case) -> None:
    """Remember a kind of blocker; the workspace keeps only so many."""
    if len(world.cases) >= MAX_CASES:
        oldest = min(world.cases.values(), key=lambda case: case.last_us)
        del world.cases[oldest.id]
    world.cases[new.id] = new


def credit(world: "World", case_id: str, tried: Remedy, *, worked: bool, at_us: int) -> None:
    """Count how a remedy went; a case that was forgotten meanwhile stays so."""
    case = world.cases.get(case_id)
    if case is None:
        return
    key = (tried.step, tried.text)
    known = next((r for r in case.remedies if (r.step, r.text) == key), tried)
    others = _newest(r for r in case.remedies if (r.step, r.text) != key)
    counted = known.with_outcome(worked=worked, at_us=at_us)
    world.cases[case_id] = msgspec.structs.replace(case, remedies=(*others, counted), last_us=at_us)


def _newest(remedies: Iterable[Remedy]) -> tuple[Remedy, ...]:
    return tuple(remedies)[-(MAX_REMEDIES - 1) :]

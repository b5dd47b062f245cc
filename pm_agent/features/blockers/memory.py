"""What the workspace remembers: cases like a blocker, and how likely each remedy is to help.

Evidence of a similar case counts by how alike its text is, and half of that from another project.
Only the newest outcomes count, so what stopped working fades, and what failed three times in a row
is not offered. Where little is known the type's own record stands in, and where that is short too,
a guess (`PRIOR`).
"""

from math import sqrt
from typing import NamedTuple

from pm_agent.domain.blocker import Blocker, BlockerType
from pm_agent.domain.case import Case, Remedy, StepKind
from pm_agent.domain.ids import BlockerId, BodyRef, ProjectId
from pm_agent.domain.time import DAY_US
from pm_agent.domain.world import World
from pm_agent.features.blockers.sketch import similarity

SAME = 0.5  # similarity from which two blockers are one case
NEAR = 0.35  # from which another case is evidence
OTHER_PROJECT = 0.5  # weight of its evidence
MEMORY_US = 60 * DAY_US  # older evidence is none
# Share of blockers that a remedy resolves before anything is known. Judgement; outcomes outweigh
# it after a few blockers.
PRIOR: dict[StepKind, float] = {
    "known_fix": 0.5,
    "wait": 0.8,
    "retry": 0.4,
    "reassign": 0.5,
    "ask_help": 0.4,
    "split": 0.5,
    "advice": 0.3,
    "escalate": 0.3,  # nothing but a person helps
}
PRIOR_WEIGHT = 2.0  # outcomes that the next wider group counts for
# Steps whose chance others' failures say nothing about: work that is under way will be done.
UNDOUBTED: frozenset[StepKind] = frozenset({"wait", "escalate"})
OPTIMISM = 0.5  # standard deviations; 0 would never try again what failed twice by bad luck


class Chance(NamedTuple):
    """How likely a step is to help."""

    mean: float
    hope: float  # higher where little is known: what is never tried is never learned

    def less(self, share: float) -> "Chance":
        """Return a share of it."""
        return Chance(self.mean * share, self.hope * share)

    def beside(self, needed: "Chance") -> "Chance":
        """Return it, or what the need for a person leaves of it where that is less."""
        left = 1 - needed.mean
        return Chance(min(self.mean, left), min(self.hope, left + needed.hope - needed.mean))


class Similar(NamedTuple):
    """A case and how much its evidence counts."""

    case: Case
    similarity: float
    weight: float


class Fix(NamedTuple):
    """A known answer with what is known of it."""

    text: BodyRef
    by: str
    chance: Chance
    tried: int
    worked: int
    similarity: float  # of the nearest case that knows it


def case_of(
    world: World, blocker_type: BlockerType, project_id: ProjectId, sketch: tuple[int, ...]
) -> BlockerId:
    """Id of the case that a new blocker belongs to; empty when it begins one."""
    near = [
        (similarity(sketch, case.sketch), case.project_id == project_id, case.id)
        for case in world.cases.values()
        if case.blocker_type == blocker_type
    ]
    best = max(near, default=None)
    return best[2] if best is not None and best[0] >= SAME else ""


def similar_cases(world: World, blocker: Blocker, now_us: int) -> list[Similar]:
    """Cases whose evidence counts for a blocker, nearest first."""
    project_id = world.tasks[blocker.task_id].project_id
    found = []
    for case in world.cases.values():
        if case.blocker_type != blocker.blocker_type or case.last_us < now_us - MEMORY_US:
            continue
        is_own = case.id == blocker.case_id
        alike = 1.0 if is_own else similarity(blocker.sketch, case.sketch)
        if alike >= NEAR:
            weight = alike * (1.0 if case.project_id == project_id else OTHER_PROJECT)
            found.append(Similar(case, alike, weight))
    return sorted(found, key=lambda one: -one.weight)


def known_fixes(world: World, blocker: Blocker, similar: list[Similar]) -> list[Fix]:
    """Answers that helped against similar blockers and still do, the most promising first.

    That an answer ended the blocker it was given for says little about the next one. What counts is
    how such answers did when they were used again: this one, others of the case, of the type.
    """
    by_text: dict[BodyRef, list[tuple[Similar, Remedy]]] = {}
    for one in similar:
        for remedy in one.case.remedies:
            if remedy.step == "known_fix" and remedy.text:
                by_text.setdefault(remedy.text, []).append((one, remedy))
    in_general = chance_of(world, blocker, similar, "known_fix")
    needed = chance_of(world, blocker, similar, "escalate")
    fixes = []
    for text, known in by_text.items():
        if any(remedy.stopped_working for _, remedy in known):
            continue
        nearest = max(one.similarity for one, _ in known)
        again = [(one.weight, remedy) for one, remedy in known]
        fixes.append(
            Fix(
                text=text,
                by=known[0][1].by,
                chance=_chance(again, in_general.mean).less(nearest).beside(needed),
                tried=sum(remedy.tried for _, remedy in known),
                worked=sum(remedy.worked for _, remedy in known),
                similarity=nearest,
            )
        )
    return sorted(fixes, key=lambda fix: -fix.chance.hope)


def chance_of(world: World, blocker: Blocker, similar: list[Similar], step: StepKind) -> Chance:
    """How likely a step is to help: its type's record, then similar cases', then its own.

    Each narrower group outweighs the wider one as soon as it has outcomes of its own. Where nothing
    but a person helped so far, no step is likelier than that leaves: a step that was tried here
    once says less about itself than all that was tried in vain.
    """
    of_type = [
        (1.0, remedy)
        for case in world.cases.values()
        if case.blocker_type == blocker.blocker_type
        for remedy in case.remedies
        if remedy.step == step
    ]
    others = [s for s in similar if s.case.id != blocker.case_id]
    own = [s for s in similar if s.case.id == blocker.case_id]
    chance = _chance(of_type, PRIOR[step])
    for group in (others, own):
        evidence = [(s.weight, r) for s in group for r in s.case.remedies if r.step == step]
        chance = _chance(evidence, chance.mean)
    if step in UNDOUBTED:
        return chance
    return chance.beside(chance_of(world, blocker, similar, "escalate"))


def counts_of(similar: list[Similar], step: StepKind) -> tuple[int, int]:
    """How often a step was tried and worked against similar blockers: (tried, worked)."""
    known = [r for s in similar for r in s.case.remedies if r.step == step]
    return sum(r.tried for r in known), sum(r.worked for r in known)


def _chance(evidence: list[tuple[float, Remedy]], prior: float) -> Chance:
    """Posterior after weighted outcomes, from a prior worth two of them; beta-distributed."""
    tried = sum(weight * remedy.reused_tried for weight, remedy in evidence)
    worked = sum(weight * remedy.reused_worked for weight, remedy in evidence)
    weight = tried + PRIOR_WEIGHT
    mean = (worked + prior * PRIOR_WEIGHT) / weight
    return Chance(mean, mean + OPTIMISM * sqrt(mean * (1 - mean) / (weight + 1)))

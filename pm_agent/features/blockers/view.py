"""Blockers as people and agents read them: what was done, why, and what came of it."""

from collections.abc import Iterator

from msgspec import field

from pm_agent.domain.blocker import PERSON_NEEDED, Blocker, Step
from pm_agent.domain.case import Case
from pm_agent.domain.ids import AgentId, ProjectId
from pm_agent.domain.time import MINUTE_US, iso
from pm_agent.domain.world import World
from pm_agent.kernel.effects import AskForAdvice, Effect
from pm_agent.kernel.types import Result
from pm_agent.ports import BlockerBrief

ERASED = "(erased)"
MAX_SHOWN = 200  # blockers of one answer


class StepItem(Result, frozen=True, kw_only=True):
    """One thing that was done about a blocker."""

    step: str
    why: str
    at: str
    outcome: str = ""  # empty: under way
    until: str = ""  # when it has had its time
    text: str = ""  # what to try; data of whoever stands in ``by``, never an instruction of ours
    by: str = ""
    agent_id: str = ""
    task_id: str = ""
    times: int = 1  # how often a person was asked
    asks_person: bool = False  # a person was asked beside it
    acknowledged_by: str = ""


class BlockerItem(Result, frozen=True, kw_only=True):
    """What stops a task, what was done about it, and the answer if there is one."""

    blocker_id: str
    task_id: str
    project_id: str
    agent_id: str
    blocker_type: str
    severity: str
    state: str  # open, unproven (resolved, and the next attempt shows whether it helped), resolved
    description: str
    reported_at: str
    blocked_min: int
    steps: list[StepItem] = field(default_factory=list)
    needs_task_ids: list[str] = field(default_factory=list)
    needs_skills: list[str] = field(default_factory=list)
    asked_to_help: list[str] = field(default_factory=list)  # agents, while none has said yes
    resolution: str = ""
    resolved_by: str = ""
    resolved_at: str = ""
    case_id: str = ""  # blockers that read alike are one case
    similar_before: int = 0  # outcomes known of its case


class RemedyItem(Result, frozen=True, kw_only=True):
    """What is remembered of a remedy."""

    step: str
    tried: int
    worked: int
    last_at: str
    text: str = ""
    by: str = ""
    is_forgotten: bool = False  # it failed so often of late that it is not offered


class CaseItem(Result, frozen=True, kw_only=True):
    """Blockers that read alike, and how each remedy has done."""

    case_id: str
    blocker_type: str
    project_id: str
    remedies: list[RemedyItem]
    judged: int = 0  # blockers of which it is known whether they needed a person
    needed_person: int = 0  # nothing else helped


class BlockerList(Result, frozen=True, kw_only=True):
    """Open blockers first, then resolved ones, each the newest first."""

    blockers: list[BlockerItem]
    cases: list[CaseItem] = field(default_factory=list)


def chosen(world: World, project_id: ProjectId | None, *, only_open: bool) -> list[Blocker]:
    """Blockers of a project, or of all."""
    found = [
        b
        for b in world.blockers.values()
        if (b.is_open or not only_open)
        and (project_id is None or world.tasks[b.task_id].project_id == project_id)
    ]
    found.sort(key=lambda b: (not b.is_open, -b.reported_at_us))
    return found[:MAX_SHOWN]


def refs_of(world: World, blockers: list[Blocker]) -> list[str]:
    """References of all texts that a list of blockers shows."""
    refs: list[str | None] = []
    for blocker in blockers:
        refs += [blocker.description, blocker.resolution, *(s.text for s in blocker.steps)]
    refs += [r.text for case in _cases(world, blockers) for r in case.remedies]
    return [ref for ref in refs if ref]


def blocker_list(
    world: World, blockers: list[Blocker], texts: dict[str, str], now_us: int
) -> BlockerList:
    """Return blockers with what was done about them, and what is remembered of their like."""
    return BlockerList(
        blockers=[_item(world, b, texts, now_us) for b in blockers],
        cases=[_case_item(case, texts) for case in _cases(world, blockers)],
    )


def _step_item(step: Step, texts: dict[str, str]) -> StepItem:
    """Return a step as people read it."""
    return StepItem(
        step=step.kind,
        why=step.why,
        at=iso(step.at_us),
        outcome=step.outcome,
        until="" if step.outcome else iso(step.until_us),
        text=_text(texts, step.text),
        by=step.by,
        agent_id=step.agent_id,
        task_id=step.task_id,
        times=step.times,
        asks_person=step.asks_person,
        acknowledged_by=step.acknowledged_by,
    )


def advice_refs(world: World, effect: Effect) -> list[str]:
    """References of all texts that a brief for advice needs."""
    blocker = _advised_on(world, effect)
    refs = [blocker.description, world.tasks[effect.task_id].description]
    return [ref for ref in (*refs, *(s.text for s in blocker.steps)) if ref]


def advice_brief(world: World, effect: Effect, texts: dict[str, str]) -> BlockerBrief:
    """All that may be used to advise on a blocker."""
    blocker = _advised_on(world, effect)
    task = world.tasks[effect.task_id]
    return BlockerBrief(
        blocker_id=blocker.id,
        task_id=task.id,
        title=task.title,
        description=_text(texts, task.description),
        blocker_type=blocker.blocker_type,
        severity=blocker.severity,
        report=_text(texts, blocker.description),
        tried=tuple(
            f"{s.kind}: {s.outcome}. {_text(texts, s.text)}".strip()
            for s in blocker.steps
            if s.outcome
        ),
    )


def _advised_on(world: World, effect: Effect) -> Blocker:
    assert isinstance(effect.want, AskForAdvice), effect
    return world.blockers[effect.want.blocker_id]


def _item(world: World, blocker: Blocker, texts: dict[str, str], now_us: int) -> BlockerItem:
    state = "open" if blocker.is_open else "unproven" if blocker.unproven_step else "resolved"
    case = world.cases.get(blocker.case_id)
    return BlockerItem(
        blocker_id=blocker.id,
        task_id=blocker.task_id,
        project_id=world.tasks[blocker.task_id].project_id,
        agent_id=blocker.agent_id,
        blocker_type=blocker.blocker_type,
        severity=blocker.severity,
        state=state,
        description=_text(texts, blocker.description),
        reported_at=iso(blocker.reported_at_us),
        blocked_min=((blocker.resolved_at_us or now_us) - blocker.reported_at_us) // MINUTE_US,
        steps=[_step_item(step, texts) for step in blocker.steps],
        needs_task_ids=list(blocker.needs_task_ids),
        needs_skills=[f"{skill.name} {skill.level}" for skill in blocker.needs_skills],
        asked_to_help=_asked_to_help(world, blocker),
        resolution=_text(texts, blocker.resolution),
        resolved_by=blocker.resolved_by,
        resolved_at=iso(blocker.resolved_at_us) if blocker.resolved_at_us else "",
        case_id=blocker.case_id,
        similar_before=sum(r.tried for r in case.remedies if r.step != "escalate") if case else 0,
    )


def _asked_to_help(world: World, blocker: Blocker) -> list[AgentId]:
    about = (c for c in world.collaborations.values() if c.blocker_id == blocker.id)
    asked = (agent for c in about for agent in c.invited if agent not in c.declined)
    return list(dict.fromkeys(asked))


def _cases(world: World, blockers: list[Blocker]) -> Iterator[Case]:
    for case_id in dict.fromkeys(b.case_id for b in blockers if b.is_open):
        case = world.cases.get(case_id)
        if case is not None and case.remedies:
            yield case


def _case_item(case: Case, texts: dict[str, str]) -> CaseItem:
    people = next((r for r in case.remedies if r.step == "escalate"), PERSON_NEEDED)
    return CaseItem(
        case_id=case.id,
        blocker_type=case.blocker_type,
        project_id=case.project_id,
        remedies=[
            RemedyItem(
                step=r.step,
                tried=r.tried,
                worked=r.worked,
                last_at=iso(r.last_us),
                text=_text(texts, r.text),
                by=r.by,
                is_forgotten=r.stopped_working,
            )
            for r in sorted(case.remedies, key=lambda r: (-r.worked, r.tried))
            if r.step != "escalate"
        ],
        judged=people.tried,
        needed_person=people.worked,
    )


def _text(texts: dict[str, str], ref: str | None) -> str:
    return texts.get(ref, ERASED) if ref else ""

"""The brief from which instructions are written: task, dependencies' results, what came before."""

from collections.abc import Iterator

from pm_agent.domain.blocker import Blocker
from pm_agent.domain.task import PRIORITIES, Artifact, LoggedDecision, Task
from pm_agent.domain.world import World
from pm_agent.kernel.effects import Effect
from pm_agent.ports import InstructionBrief

ERASED = "(erased)"
MAX_ANSWERS = 5  # to blockers, newest


def body_refs(world: World, effect: Effect) -> list[str]:
    """References of all texts that the brief needs."""
    task = world.tasks[effect.task_id]
    refs = [task.description]
    refs += [artifact.note for _, artifact in handed_artifacts(world, task)]
    refs += [logged.decision for _, logged in handed_decisions(world, task)]
    refs += [attempt.note for attempt in task.attempts[-1:]]
    refs += [candidate.summary for candidate in task.candidates]
    refs += [task.assessment.text if task.assessment else None]
    for blocker in answered(world, task):
        refs += [blocker.description, blocker.resolution]
    return [ref for ref in refs if ref]


def brief(world: World, effect: Effect, texts: dict[str, str]) -> InstructionBrief:
    """Everything a writer may use, with erased texts marked as such."""
    task = world.tasks[effect.task_id]
    project = world.projects[task.project_id]
    held = world.assignments.get(task.id)

    def text(ref: str | None) -> str:
        return _text(ref, texts)

    return InstructionBrief(
        task_id=task.id,
        title=task.title,
        description=text(task.description),
        kind=task.kind,
        priority=PRIORITIES[task.priority],
        project=project.name,
        completion=project.completion,
        gate_argv=project.gate.argv,
        acceptance_criteria=task.acceptance_criteria,
        path_hints=task.path_hints,
        artifacts=tuple(
            (owner, a.name, a.uri, text(a.note)) for owner, a in handed_artifacts(world, task)
        ),
        decisions=tuple(
            (owner, text(logged.decision)) for owner, logged in handed_decisions(world, task)
        ),
        recovery=came_before(world, task, texts),
        agent_name=world.agents[held.agent_id].name if held else "",
        lease_token=effect.lease_token,
        risks=risk_lines(task, texts),
    )


def handed_artifacts(world: World, task: Task) -> Iterator[tuple[str, Artifact]]:
    """Artifacts of the tasks this one depends on, with their task's id."""
    for dependency in task.dependencies:
        known = world.tasks.get(dependency)
        for artifact in known.artifacts if known else ():
            yield dependency, artifact


def handed_decisions(world: World, task: Task) -> Iterator[tuple[str, LoggedDecision]]:
    """Decisions logged on the tasks this one depends on, with their task's id."""
    for dependency in task.dependencies:
        known = world.tasks.get(dependency)
        for logged in known.decisions if known else ():
            yield dependency, logged


def came_before(world: World, task: Task, texts: dict[str, str]) -> tuple[str, ...]:
    """What the last attempt left behind, and what was answered to what stopped it."""
    return (*recovery_lines(task, texts), *answer_lines(answered(world, task), texts))


def answered(world: World, task: Task) -> list[Blocker]:
    """Newest blockers of the task that were resolved."""
    known = [world.blockers[b] for b in world.task_blockers.get(task.id, ())]
    return [b for b in known if not b.is_open][-MAX_ANSWERS:]


def answer_lines(blockers: list[Blocker], texts: dict[str, str]) -> tuple[str, ...]:
    """What stopped agents before, and what was answered."""
    return tuple(
        f"{b.id} ({b.blocker_type}) stopped it: {_text(b.description, texts)} "
        f"Answer: {_text(b.resolution, texts)}"
        for b in blockers
    )


def _text(ref: str | None, texts: dict[str, str]) -> str:
    return texts.get(ref, ERASED) if ref else ""


def risk_lines(task: Task, texts: dict[str, str]) -> tuple[str, ...]:
    """What may go wrong with it, as it was assessed; a line each, the worst first."""
    found = task.assessment
    if found is None:
        return ()
    said = _text(found.text, texts).split("\n")
    return tuple(
        f"{mark.kind} ({mark.severity}): {line}"
        for mark, line in zip(found.risks, said, strict=False)
    )


def recovery_lines(task: Task, texts: dict[str, str]) -> tuple[str, ...]:
    """What the last attempt left behind; empty on the first attempt."""
    if not task.attempts:
        return ()
    last = task.attempts[-1]
    lines = [f"Attempt {len(task.attempts)} by {last.agent_id} ended: {last.outcome}."]
    if last.percent:
        lines.append(f"It had reached {last.percent} %.")
    if last.where:
        lines.append(f"Its work lies at {last.where}.")
    if last.note:
        lines.append(f"Its last words: {texts.get(last.note, ERASED)}")
    for kept in task.candidates:
        shown = (kept.evidence.branch, kept.evidence.commit, *kept.evidence.links)
        where = ", ".join(part for part in shown if part) or "nobody knows where"
        verdict = ", and it was rejected" if kept.is_rejected else ""
        lines.append(
            f"{kept.agent_id} handed in finished work too late, under lease token "
            f"{kept.lease_token}{verdict}; it lies at {where}: {texts.get(kept.summary, ERASED)}"
        )
    return tuple(lines)

"""Assessments as people and agents read them: with a task, and in a project's status."""

from itertools import chain, islice

from msgspec import field

from pm_agent.domain.assessment import Assessment
from pm_agent.domain.ids import ProjectId, task_id
from pm_agent.domain.task import Task
from pm_agent.domain.time import iso
from pm_agent.domain.world import World
from pm_agent.kernel.types import Result

NEXT_IN_LINE = 20  # ready tasks whose risks a status shows, beside those of work under way
UNREADABLE = "(erased)"


class RiskView(Result, frozen=True, kw_only=True):
    """What may go wrong with a task."""

    kind: str
    severity: str
    text: str  # in the words of whoever judged it: data, not instructions


class AssessmentView(Result, frozen=True, kw_only=True):
    """How long, hard and risky a task looks to a language model, or to rules."""

    minutes: int
    level: int  # 1 a line or two … 5 days of work
    by: str  # "rules", or the model's name
    at: str
    stands_in: str = ""  # why rules judged in a model's place
    reasons: list[str] = field(default_factory=list)
    risks: list[RiskView] = field(default_factory=list)  # the worst first


class RiskyTask(Result, frozen=True, kw_only=True):
    """A task under way or next in line, and the worst that may go wrong with it."""

    task_id: str
    title: str
    risk: RiskView


def assessment_view(found: Assessment, text: str) -> AssessmentView:
    """Return an assessment as people read it.

    Parameters
    ----------
    text
        Its text: a line for each risk, then a line for each reason.
    """
    n_risks = len(found.risks)
    lines = text.split("\n") if text else []
    lines += [UNREADABLE] * (n_risks - len(lines))
    return AssessmentView(
        minutes=found.minutes,
        level=found.level,
        by=found.writer,
        at=iso(found.at_us),
        stands_in=found.stands_in,
        reasons=lines[n_risks:],
        risks=[
            RiskView(kind=m.kind, severity=m.severity, text=line)
            for m, line in zip(found.risks, lines, strict=False)
        ],
    )


def worst_risk(found: Assessment | None) -> str:
    """Severity of the worst risk; empty when none was found."""
    return found.risks[0].severity if found is not None and found.risks else ""


def risky(world: World, project_id: ProjectId) -> list[Task]:
    """Tasks of a project with a high risk: those under way, and the first that are next in line.

    Looks at no others, so its cost does not grow with the backlog.
    """
    under_way = (t for t in world.assignments if world.tasks[t].project_id == project_id)
    classes = [c for key, c in world.ready.classes.items() if key[0] == project_id]
    first = sorted(chain.from_iterable(c.entries[:NEXT_IN_LINE] for c in classes))
    ready = (task_id(entry.number) for entry in islice(first, NEXT_IN_LINE))
    seen = (world.tasks[t] for t in chain(under_way, ready))
    return [task for task in seen if worst_risk(task.assessment) == "high"]

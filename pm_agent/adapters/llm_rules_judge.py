"""Advice and assessments by rules: plain tables, the same answer for the same brief."""

import re

from pm_agent.domain.assessment import MAX_LEVEL, MAX_MINUTES
from pm_agent.domain.blocker import BlockerType
from pm_agent.domain.model_call import BY_RULES
from pm_agent.domain.task import LEVEL_LIMITS_MIN, level_of
from pm_agent.ports import MAX_LINES, Advice, BlockerBrief, Judgement, Risk, TaskBrief

# What usually helps, by type of blocker; and what the words of a report add to it.
USUAL: dict[BlockerType, tuple[str, tuple[str, ...]]] = {
    "dependency": (
        "Other work that this task needs is not there yet.",
        (
            "Look in get_task_context whether a dependency has handed over an artifact since.",
            "Name the missing piece and work on the parts that do not need it.",
        ),
    ),
    "needs_input": (
        "A decision is missing that the task's text does not contain.",
        (
            "Read the decisions logged on the tasks that this one depends on.",
            "Write down the choices there are, and what each would cost.",
        ),
    ),
    "capability": (
        "The work needs something that this agent cannot do.",
        (
            "Say which skill is missing, and hand over what is done so far.",
            "Split the part that is out of reach from the part that is not.",
        ),
    ),
    "environment": (
        "A tool, a permission or a machine is not as the task needs it.",
        (
            "Show the exact command and its whole output.",
            "Compare versions and settings with those of a place where it works.",
            "Begin again from a fresh checkout.",
        ),
    ),
    "transient": (
        "Something outside failed for a moment.",
        ("Wait a little and try the same again.", "If it fails a third time, it is not transient."),
    ),
    "other": (
        "Not known; the report does not fit the usual types.",
        (
            "Reduce it to the smallest step that fails.",
            "Undo the last change and see whether it still fails.",
        ),
    ),
}
HINTS: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"(?i)permission denied|forbidden|\b40[13]\b|unauthori[sz]ed"),
        "Check which identity the command runs under and what it may do; do not widen rights.",
    ),
    (
        re.compile(r"(?i)time[- ]?out|timed out|connection (refused|reset)|\b(429|50[234])\b"),
        "Check that the service answers at all, then repeat with growing pauses.",
    ),
    (
        re.compile(r"(?i)not found|no such file|cannot find|module"),
        "Check the path and whether the installation step ran in this folder.",
    ),
    (re.compile(r"(?i)conflict|rebase|merge"), "Rebase on the newest main and keep both sides."),
    (re.compile(r"(?i)out of (memory|disk)|no space left|oom"), "Free space, or do it in parts."),
)
PEOPLE = re.compile(r"(?i)\b(decide|decision|approve|approval|credential|licen[cs]e|pay|legal)")

SECURITY = re.compile(r"(?i)\b(auth|token|password|secret|crypt|permission|login|security)")
DATA = re.compile(r"(?i)\b(migrat|schema|backfill|delete|drop|database|irreversib)")
WIDE = re.compile(r"(?i)\b(refactor|rewrite|architect|everywhere|concurren|distributed|protocol)")


# Above these, a task counts as large in one respect. Judgement, not measured.
MANY_CRITERIA, MANY_PLACES, MANY_SKILLS, MANY_LINKS = 3, 2, 2, 2
SHORT_TEXT, LONG_TEXT = 300, 1_500  # characters
MINUTES = (20, 45, 90, 240, 960)  # of a task of each level: about the middle between their limits


def advice(brief: BlockerBrief) -> Advice:
    """What usually helps against this type of blocker, and what its words hint at."""
    cause, usual = USUAL[brief.blocker_type]
    hints = tuple(hint for pattern, hint in HINTS if pattern.search(brief.report))
    return Advice(
        cause=cause,
        steps=(*hints, *usual)[:MAX_LINES],
        confidence="medium" if hints else "low",
        needs_person=brief.blocker_type == "needs_input" or bool(PEOPLE.search(brief.report)),
        call=BY_RULES,
    )


def judgement(brief: TaskBrief) -> Judgement:
    """What the task's own fields say of its size and of what may go wrong."""
    level, reasons = _level(brief)
    minutes = brief.estimate_min or MINUTES[(brief.complexity or level) - 1]
    return Judgement(min(minutes, MAX_MINUTES), level, reasons, _risks(brief), BY_RULES)


def _level(brief: TaskBrief) -> tuple[int, tuple[str, ...]]:
    """One level for each sign of size; an estimate sets where the count begins."""
    text = f"{brief.title}\n{brief.description}"
    signs = (
        (
            len(brief.acceptance_criteria) > MANY_CRITERIA,
            f"{len(brief.acceptance_criteria)} criteria",
        ),
        (len(brief.path_hints) > MANY_PLACES, f"{len(brief.path_hints)} places in the code"),
        (len(brief.skills) > 1, f"{len(brief.skills)} skills at once"),
        (len(text) > LONG_TEXT, f"a description of {len(text)} characters"),
        (brief.n_dependencies > MANY_LINKS, f"builds on {brief.n_dependencies} tasks"),
        (WIDE.search(text) is not None, "its words speak of changes in many places"),
    )
    found = [reason for holds, reason in signs if holds]
    if brief.estimate_min:
        start = level_of(brief.estimate_min)
        found.insert(0, f"estimated at {brief.estimate_min} minutes")
        level = start + (len(found) - 1) // 2
    else:
        level = 2 + len(found) if found else 1 + (len(text) > SHORT_TEXT)
    return min(level, MAX_LEVEL), tuple(found[:MAX_LINES]) or ("short and plain",)


def _risks(brief: TaskBrief) -> tuple[Risk, ...]:
    """What a careful reader would ask about, the worst first."""
    text = f"{brief.title}\n{brief.description}"
    n_waiting = brief.n_dependants
    candidates = (
        (
            not brief.acceptance_criteria,
            Risk(
                "scope",
                "high" if not brief.description else "medium",
                "Nothing says when it is done.",
                "Add acceptance criteria that a gate or a person can check.",
            ),
        ),
        (
            SECURITY.search(text) is not None,
            Risk(
                "security",
                "high",
                "It touches access or secrets.",
                "Have a person look at it before it is accepted.",
            ),
        ),
        (
            DATA.search(text) is not None,
            Risk(
                "data",
                "high",
                "It changes stored data or its shape.",
                "Keep a way back, and try it on a copy first.",
            ),
        ),
        (
            n_waiting > MANY_LINKS,
            Risk(
                "dependency",
                "medium",
                f"{n_waiting} tasks wait for it.",
                "Begin early, and hand over interfaces before the whole.",
            ),
        ),
        (
            len(brief.skills) > MANY_SKILLS,
            Risk(
                "skill",
                "medium",
                "Few agents have all the skills it needs.",
                "Split it by skill.",
            ),
        ),
        (
            brief.estimate_min > LEVEL_LIMITS_MIN[-1],
            Risk("scope", "medium", "It is longer than a day.", "Split it into smaller tasks."),
        ),
    )
    found = [risk for holds, risk in candidates if holds]
    found.sort(key=lambda risk: ("high", "medium", "low").index(risk.severity))
    return tuple(found[:MAX_LINES])

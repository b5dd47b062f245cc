"""Which step comes next against a blocker, and why. Pure arithmetic over the world; no events.

The rungs: a known fix and what the system can do by itself, then the language model's advice, then
a person. Of the first two, what has the best chance for its time goes first; a known fix that
nothing speaks against does, being quick. A step is left out when it is not worth its time: when
``chance x time until a person answers`` is less than the time that it costs. That is the rule of
least expected time for tests in sequence, with a last one that always succeeds. How long steps and
people take, how often each helps and how often nothing but a person does is learned.

A person is asked beside a step, not after it, where the step's time is worth more than asking in
vain: what would else be waited for in sequence is waited for at once.

References
----------
Boothroyd, "Least-cost testing sequence", Operational Research Quarterly 11, 1960, for the order by
chance over cost.
"""

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from pm_agent.domain.blocker import GIVES_BACK, Blocker, BlockerType
from pm_agent.domain.case import StepKind
from pm_agent.domain.ids import BodyRef, TaskId
from pm_agent.domain.time import MINUTE_US
from pm_agent.domain.world import World
from pm_agent.features.blockers.memory import (
    Chance,
    Similar,
    chance_of,
    counts_of,
    known_fixes,
    similar_cases,
)
from pm_agent.features.blockers.ways import awaited_task, can_help, can_reassign, can_split
from pm_agent.kernel.types import Context, Policy

AUTOMATIC: dict[BlockerType, tuple[StepKind, ...]] = {
    "dependency": ("wait", "split"),
    "needs_input": ("ask_help",),
    "capability": ("reassign", "ask_help", "split"),
    "environment": ("retry", "ask_help", "split"),
    "transient": ("retry",),
    "other": ("ask_help",),
}
MAX_RETRIES = 3
AGAIN = 0.5  # of the chance, after one of the same kind failed here; judgement
LEAST_HOPE = 0.1  # of a step while a person is awaited; judgement
FAILED = frozenset({"failed", "no_answer"})
MAX_FIXES = 2  # known fixes tried against one blocker


class Choice(NamedTuple):
    """A step to take."""

    kind: StepKind
    until_us: int  # when it has had its time
    why: str
    text: BodyRef | None = None
    by: str = ""
    task_id: TaskId = ""
    asks_person: bool = False  # at the same time


class Option(NamedTuple):
    """A step that could be taken, with what is expected of it."""

    choice: Choice
    chance: Chance
    cost_us: int


def next_step(world: World, blocker: Blocker, context: Context, *, is_held: bool) -> Choice:
    """Choose the next step; a person when nothing else is left or worth its time.

    Parameters
    ----------
    is_held
        Whether an agent holds the task and waits: else nobody could be helped, and what is known is
        tried by the next agent, with whom the question would be another one.
    """
    similar = similar_cases(world, blocker, context.now_us)
    found = next(_options(world, blocker, similar, context, is_held=is_held), None)
    if found is None:
        return escalation(blocker, context)
    is_ended = found.choice.kind == "known_fix" and not is_held
    if not is_ended and _asks_person(world, blocker, similar, found, context.policy):
        why = f"{found.choice.why}; a person is asked meanwhile"
        return found.choice._replace(asks_person=True, why=why)
    return found.choice


def _options(
    world: World, blocker: Blocker, similar: list[Similar], context: Context, *, is_held: bool
) -> Iterator[Option]:
    """What is worth a try, in order."""
    policy = context.policy
    if policy.blocker_ladder == "full":
        known = islice(_known(world, blocker, similar, context), 1)
        automatic = _automatic(world, blocker, similar, context, is_held=is_held)
        yield from sorted((*known, *automatic), key=_hope_for_its_time, reverse=True)
    if policy.blocker_ladder != "person" and not _tried(blocker, "advice"):
        chance = chance_of(world, blocker, similar, "advice")
        cost_us = _lasts_us(world, "advice", policy.blocker_try_us // 2)
        if _is_worth(world, chance, cost_us, policy, waits_beside=blocker.person_asked_us > 0):
            why = _told(similar, "advice", chance)
            choice = Choice("advice", context.now_us + policy.blocker_try_us, why)
            yield Option(choice, chance, cost_us)


def _hope_for_its_time(option: Option) -> float:
    return option.chance.hope / max(option.cost_us, 1)


def _asks_person(
    world: World, blocker: Blocker, similar: list[Similar], option: Option, policy: Policy
) -> bool:
    """Whether to ask a person now, beside a step, and not only when it has failed.

    Asking now gains the step's time if nothing but a person helps, and costs a person's attention
    in vain if the step does. Each failure here makes the former more likely. Of a blocker that
    comes again a person was asked already, and only its being given back took the question away.
    """
    is_alone = policy.blocker_ladder != "full" or option.choice.kind in GIVES_BACK
    if is_alone or blocker.person_asked_us:
        return False
    if any(step.asks_person for step in blocker.steps):
        return True
    needed = chance_of(world, blocker, similar, "escalate").mean
    n_failed = sum(step.outcome in FAILED for step in blocker.steps)
    needed /= needed + (1 - needed) * AGAIN**n_failed
    works = option.chance.mean
    return needed * (1 - works) * option.cost_us > works * policy.person_attention_us


def escalation(blocker: Blocker, context: Context) -> Choice:
    """Ask a person: at once, then in growing intervals; later who said to have seen it."""
    policy = context.policy
    last = blocker.steps[-1] if blocker.steps else None
    times = last.times if last is not None and last.kind == "escalate" else 0
    again_us = min(policy.escalate_again_us << times, policy.escalate_max_us)
    if not times and blocker.acknowledged_by:
        again_us = policy.acknowledged_us
    n_tried = sum(step.kind != "escalate" for step in blocker.steps)
    why = f"{n_tried} steps before it did not help" if n_tried else "nothing else is worth a try"
    if times:
        why = f"nobody has answered yet; asked {times + 1} times"
    return Choice("escalate", context.now_us + again_us, why)


def _known(
    world: World, blocker: Blocker, similar: list[Similar], context: Context
) -> Iterator[Option]:
    """A fix that helped against similar blockers, unless it was tried here already."""
    tried = {step.text for step in blocker.steps if step.kind == "known_fix"}
    if len(tried) >= MAX_FIXES:
        return
    for fix in known_fixes(world, blocker, similar):
        # The next known fix often says the same as the one that failed.
        chance = fix.chance.less(AGAIN ** len(tried))
        cost_us = _lasts_us(world, "known_fix", context.policy.blocker_try_us // 2)
        is_worth = _is_worth(
            world, chance, cost_us, context.policy, waits_beside=blocker.person_asked_us > 0
        )
        if fix.text not in tried and is_worth:
            why = (
                f"worked {fix.worked} of {fix.tried} times for similar blockers "
                f"(similarity {fix.similarity:.2f})"
            )
            until_us = context.now_us + context.policy.blocker_try_us
            choice = Choice("known_fix", until_us, why, text=fix.text, by=fix.by)
            yield Option(choice, chance, cost_us)


def _automatic(
    world: World, blocker: Blocker, similar: list[Similar], context: Context, *, is_held: bool
) -> Iterator[Option]:
    """Steps that can be taken and are worth their time."""
    policy, now_us = context.policy, context.now_us
    for kind in AUTOMATIC[blocker.blocker_type]:
        chance = chance_of(world, blocker, similar, kind)
        why = _told(similar, kind, chance)
        if kind == "wait":
            awaited = awaited_task(world, blocker)
            if awaited and not _tried(blocker, "wait"):
                work_us = _work_us(world, awaited, policy)
                choice = Choice(
                    kind, now_us + 2 * work_us, f"{awaited} is under way", task_id=awaited
                )
                # The work goes on in any case: what is quicker may be tried meanwhile.
                yield Option(choice, chance, work_us)
            continue
        if kind == "retry":
            n_before = sum(step.kind == "retry" for step in blocker.steps)
            chance = chance.less(AGAIN**n_before)
            pause_us = policy.blocker_retry_us << n_before
            cost_us = pause_us + _lasts_us(world, "known_fix", policy.blocker_try_us // 2)
            is_possible = n_before < MAX_RETRIES
            until_us = now_us + pause_us + policy.blocker_try_us
            why = f"try {n_before + 1} of {MAX_RETRIES}, after a pause; {why}"
        elif kind == "reassign":
            cost_us = _lasts_us(world, kind, policy.blocker_reassign_us)
            is_possible = not _tried(blocker, kind) and can_reassign(world, blocker)
            until_us = now_us
        elif kind == "ask_help":
            cost_us = _lasts_us(world, kind, policy.blocker_help_us)
            is_possible = is_held and not _tried(blocker, kind) and can_help(world, blocker)
            until_us = now_us + policy.blocker_help_us
        else:
            cost_us = _lasts_us(world, kind, policy.blocker_split_us)
            is_possible = not _tried(blocker, kind) and can_split(world, blocker)
            until_us = now_us
        is_asked = blocker.person_asked_us > 0
        waits_beside = kind not in GIVES_BACK and is_asked
        if kind in GIVES_BACK and is_asked:  # when it fails the person's answer is waited for anew
            cost_us += round((1 - chance.hope) * (now_us - blocker.person_asked_us))
        is_worth = _is_worth(world, chance, cost_us, policy, waits_beside=waits_beside)
        if is_possible and is_worth:
            yield Option(Choice(kind, until_us, why), chance, cost_us)


def _work_us(world: World, task_id: TaskId, policy: Policy) -> int:
    """How long a task takes: its estimate, within half of the bounds of an attempt."""
    estimate_us = world.tasks[task_id].minutes * MINUTE_US
    return min(max(estimate_us, policy.budget_min_us // 2), policy.budget_max_us // 2)


def _lasts_us(world: World, kind: StepKind, guess_us: int) -> int:
    """How long such a step takes, as seen so far; before that a guess."""
    return world.tables.step_us.get(kind, guess_us)


def _is_worth(
    world: World, chance: Chance, cost_us: int, policy: Policy, *, waits_beside: bool
) -> bool:
    """Whether a step saves more of the wait for a person than it costs.

    Beside a person who was asked already its time costs nothing, only an agent's work.
    """
    if waits_beside and chance.hope > LEAST_HOPE:
        return True
    return chance.hope * (world.tables.person_answer_us or policy.person_answer_us) > cost_us


def _tried(blocker: Blocker, kind: StepKind) -> bool:
    return any(step.kind == kind for step in blocker.steps)


def _told(similar: list[Similar], kind: StepKind, chance: Chance) -> str:
    tried, worked = counts_of(similar, kind)
    if not tried:
        return f"not tried yet against such a blocker; expected to help in {chance.mean:.0%}"
    return f"worked {worked} of {tried} times for similar blockers; expected {chance.mean:.0%}"

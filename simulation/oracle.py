"""The ladder of one who knows all odds and how long everything takes, but not his luck.

He tries what is worth its time, the best chance for its time first, one after the other, and only
then asks a person. Of ladders that ask a person last, none has less expected blocked time; one that
asks a person beside its steps may.

References
----------
Boothroyd, "Least-cost testing sequence", Operational Research Quarterly 11, 1960.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from pm_agent.domain.case import StepKind
from pm_agent.domain.time import MINUTE_US
from pm_agent.kernel.types import Policy
from simulation.attention import Answer, Desk, People, Question
from simulation.causes import (
    ADVICE_MIN,
    HELP_MIN,
    N_RETRIES,
    TRY_MIN,
    UPSTREAM_MIN,
    WORK_MIN,
    Cause,
    Luck,
    mean_of,
)
from simulation.timeline import Timeline

N_ROUNDS = 4  # until how long he expects people to take is how long they do


class Met(NamedTuple):
    """An incident as it comes."""

    cause: Cause
    number: int
    began_us: int


class Try(NamedTuple):
    """Something that could be done."""

    remedy: StepKind
    time: int  # of a retry: 0, 1, 2
    chance: float
    cost_min: float  # expected


class Ending(NamedTuple):
    """How an incident ended."""

    by_person: bool
    blocked_min: float


def endings(met: Sequence[Met], luck: Luck, policy: Policy, people: People) -> dict[int, Ending]:
    """Blocked time of each incident by its number, with the very luck that other ladders meet.

    How long people take depends on how much they are asked, and so on what the oracle does. He
    begins with what they take when they are free, and corrects it by what they then took.
    """
    person_min = people.mean_min
    for _ in range(N_ROUNDS if people.count else 1):
        found, answers_min = _round(met, luck, policy, people, person_min)
        if answers_min:
            person_min = sum(answers_min) / len(answers_min)
    return found


def _round(
    met: Sequence[Met], luck: Luck, policy: Policy, people: People, person_min: float
) -> tuple[dict[int, Ending], list[float]]:
    timeline = Timeline(met[0].began_us)
    answers: list[Answer] = []
    desk = Desk(timeline, people.count, answers.append)
    found: dict[int, Ending] = {}

    def answered(one: Met) -> None:
        blocked_us = timeline.now_us - one.began_us
        found[one.number] = Ending(by_person=True, blocked_min=blocked_us / MINUTE_US)

    for one in met:
        helped, spent_min = _tried(one, luck, policy, person_min)
        if helped:
            found[one.number] = Ending(by_person=False, blocked_min=spent_min)
        else:
            at_us = one.began_us + round(spent_min * MINUTE_US)
            question = Question(
                one.number,
                people.lies_us(luck, one.number),
                people.work_us(luck, one.number),
                partial(answered, one),
                _is_open,
            )
            timeline.at(at_us, desk.ask, question)
    while timeline.advance():
        pass
    return found, [answer.waited_us / MINUTE_US for answer in answers]


def _is_open() -> bool:
    """He asks last: nothing else settles a question."""
    return True


def _tried(one: Met, luck: Luck, policy: Policy, person_min: float) -> tuple[bool, float]:
    """Whether something helped before a person had to be asked, and the minutes that went by."""
    tries = [t for t in _tries(one.cause, policy) if t.chance * person_min > t.cost_min]
    tries.sort(key=lambda t: -t.chance / t.cost_min)
    spent_min = 0.0
    for place, this in enumerate(tries, start=1):
        helps = luck.helps(one.cause, one.number, this.remedy, this.time)
        spent_min += _took_min(this, one.number, place, luck, policy, helps=helps)
        if helps:
            return True, spent_min
    return False, spent_min


def _tries(cause: Cause, policy: Policy) -> list[Try]:
    return [
        Try(remedy, time, chance, _cost_min(remedy, time, chance, policy))
        for remedy, chance in cause.odds.items()
        for time in range(N_RETRIES if remedy == "retry" else 1)
    ]


def _cost_min(remedy: StepKind, time: int, chance: float, policy: Policy) -> float:
    help_min = policy.blocker_help_us / MINUTE_US
    match remedy:
        case "retry":
            return _pause_min(time, policy) + mean_of(TRY_MIN)
        case "ask_help":  # who does not know the answer lets the time pass
            return chance * mean_of(HELP_MIN) + (1 - chance) * help_min
        case "wait":
            return mean_of(UPSTREAM_MIN)
        case "advice":
            return ADVICE_MIN + mean_of(TRY_MIN)
        case "reassign" | "split":
            return _given_back_min(remedy)
        case _:
            return mean_of(TRY_MIN)


def _took_min(
    one: Try, incident: int, place: int, luck: Luck, policy: Policy, *, helps: bool
) -> float:
    match one.remedy:
        case "ask_help":
            if not helps:
                return policy.blocker_help_us / MINUTE_US
            return luck.span_us(incident, "help", HELP_MIN) / MINUTE_US
        case "wait":
            return luck.span_us(incident, "upstream", UPSTREAM_MIN) / MINUTE_US
        case "reassign" | "split":
            return _given_back_min(one.remedy)
    before_min = {"retry": _pause_min(one.time, policy), "advice": ADVICE_MIN}.get(one.remedy, 0)
    return before_min + luck.span_us(incident, f"try {place}", TRY_MIN) / MINUTE_US


def _pause_min(time: int, policy: Policy) -> float:
    return (policy.blocker_retry_us << time) / MINUTE_US


def _given_back_min(remedy: StepKind) -> float:
    """Until another agent has got as far; of a split, after the task that goes first."""
    return WORK_MIN / 2 if remedy == "reassign" else WORK_MIN * 3 / 2

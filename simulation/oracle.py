"""The ladder of one who knows all odds and how long everything takes, but not his luck.

He tries what is worth its time, the best chance for its time first, one after the other, and only
then asks a person. Of ladders that ask a person last, none has less expected blocked time; one that
asks a person beside its steps may.

References
----------
Boothroyd, "Least-cost testing sequence", Operational Research Quarterly 11, 1960.
"""

from math import exp
from typing import NamedTuple

from pm_agent.domain.case import StepKind
from pm_agent.domain.time import MINUTE_US
from pm_agent.kernel.types import Policy
from simulation.causes import (
    ADVICE_MIN,
    HELP_MIN,
    N_RETRIES,
    PERSON_SPREAD,
    SPREAD,
    TRY_MIN,
    UPSTREAM_MIN,
    WORK_MIN,
    Cause,
    Luck,
)

MEAN = exp(SPREAD**2 / 2)  # of a lognormal time over its median


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


def ending(cause: Cause, incident: int, luck: Luck, policy: Policy, person_min: float) -> Ending:
    """Blocked time of one incident, with the very luck that other ladders meet."""
    person_mean_min = person_min * exp(PERSON_SPREAD**2 / 2)
    tries = [one for one in _tries(cause, policy) if one.chance * person_mean_min > one.cost_min]
    tries.sort(key=lambda one: -one.chance / one.cost_min)
    blocked_min = 0.0
    for place, one in enumerate(tries, start=1):
        helps = luck.helps(cause, incident, one.remedy, one.time)
        blocked_min += _took_min(one, incident, place, luck, policy, helps=helps)
        if helps:
            return Ending(by_person=False, blocked_min=blocked_min)
    waited_us = luck.span_us(incident, "person", person_min, PERSON_SPREAD)
    return Ending(by_person=True, blocked_min=blocked_min + waited_us / MINUTE_US)


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
            return _pause_min(time, policy) + TRY_MIN * MEAN
        case "ask_help":  # who does not know the answer lets the time pass
            return chance * HELP_MIN * MEAN + (1 - chance) * help_min
        case "wait":
            return UPSTREAM_MIN * MEAN
        case "advice":
            return ADVICE_MIN + TRY_MIN * MEAN
        case "reassign" | "split":
            return _given_back_min(remedy)
        case _:
            return TRY_MIN * MEAN


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

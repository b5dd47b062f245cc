"""Makes a failing run small: fewer kinds of faults, fewer steps, agents and tasks.

A smaller run counts when it breaks the same promise. It is another run, since everything that is
left out changes what comes after it; but one with two kinds of faults, three agents and a hundred
steps is read in minutes.
"""

import shlex
import time
from collections.abc import Callable, Iterator

import msgspec

from simulation.check import Outcome, Plan, run
from simulation.faults import CHANCES

PATIENCE_S = 60.0


def shrink(
    failed: Outcome, tell: Callable[[Plan], None] = lambda _: None, patience_s: float = PATIENCE_S
) -> Outcome:
    """Find the smallest run that still breaks the promise that this one broke first."""
    end_s = time.monotonic() + patience_s
    smallest = failed
    is_smaller = True
    while is_smaller:
        is_smaller = False
        for plan in _smaller(smallest):
            if time.monotonic() > end_s:
                return smallest
            outcome = run(plan)
            if _promise(outcome) == _promise(failed):
                smallest, is_smaller = outcome, True
                tell(plan)
                break
    return smallest


def command_of(plan: Plan) -> str:
    """Write the command that makes this run again."""
    words = ["python", "-m", "simulation", "check", "--seed", str(plan.seed)]
    words += ["--steps", str(plan.steps)]
    if plan.agents:
        words += ["--agents", str(plan.agents)]
    if plan.tasks:
        words += ["--tasks", str(plan.tasks)]
    if not plan.liveness:
        words += ["--no-liveness"]
    left = [kind for kind in CHANCES if kind not in plan.without]
    if left and len(left) < len(plan.without):
        words += ["--only", ",".join(left)]
    elif plan.without:
        words += ["--without", ",".join(plan.without)]
    return shlex.join(words)


def _promise(outcome: Outcome) -> str:
    return outcome.violations[0].invariant if outcome.violations else ""


def _smaller(outcome: Outcome) -> Iterator[Plan]:
    """Plans that are smaller in one respect, the boldest first."""
    plan, change = outcome.plan, msgspec.structs.replace
    if outcome.step < plan.steps:  # what came after the violation is not needed
        yield change(plan, steps=outcome.step)
    if plan.liveness and outcome.steps_after == 0:
        yield change(plan, liveness=False)
    left = [kind for kind in CHANCES if kind not in plan.without]
    struck = [kind for kind in left if outcome.faults.get(kind)]
    if len(struck) < len(left):  # what never struck may go, all at once
        yield change(plan, without=tuple(k for k in CHANCES if k not in struck))
    for share in (2, 4):
        size = len(struck) // share
        if size > 1:
            for start in range(0, len(struck), size):
                yield _without(plan, struck[start : start + size])
    for kind in struck:
        yield _without(plan, [kind])
    for steps in (plan.steps // 2, plan.steps * 3 // 4, plan.steps * 9 // 10):
        if 0 < steps < plan.steps:
            yield change(plan, steps=steps)
    for agents in (1, 2, 3, 5):
        if not plan.agents or agents < plan.agents:
            yield change(plan, agents=agents)
    for tasks in (1, 2, 4, 8):
        if not plan.tasks or tasks < plan.tasks:
            yield change(plan, tasks=tasks)


def _without(plan: Plan, kinds: list[str]) -> Plan:
    without = tuple(kind for kind in CHANCES if kind in plan.without or kind in kinds)
    return msgspec.structs.replace(plan, without=without)

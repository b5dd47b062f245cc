"""How long a lease holds: two clocks, and the states live, quiet, suspect and lost.

*Session*: the agent's last sign of life. *Attempt budget*: the last word about this very task. Each
clock has an allowance. Half of it without a word makes a lease quiet, all of it suspect: people are
told, and nothing is taken away. Only when a grace has passed too is the lease lost, and the task
goes back to the queue. Any word in between makes the lease live again; nothing is written for that.
"""

from collections.abc import Iterable
from typing import Literal, NamedTuple

from pm_agent.domain.assignment import Assignment, ExpiryReason
from pm_agent.domain.ids import AgentId
from pm_agent.domain.task import TaskState
from pm_agent.domain.time import MINUTE_US
from pm_agent.kernel.presence import Presence, Signs
from pm_agent.kernel.types import Policy

LeaseState = Literal["live", "quiet", "suspect", "lost"]

QUIET_SHARE = 2  # quiet from this part of the allowance on: one half
# After the allowance a quarter of it more, as peers grant it (60 to 90 s on leases of 180 to 360 s
# were read), with time for two more heartbeats and at most a person's time to look.
GRACE_SHARE = 4
GRACE_MIN_US, GRACE_MAX_US = MINUTE_US, 10 * MINUTE_US


class LeaseClock(NamedTuple):
    """One clock of a lease: how long which silence has lasted, and may."""

    reason: ExpiryReason  # when the lease ends by it
    since_us: int  # the last word
    allowance_us: int
    suspected_us: int  # when this clock last made the lease suspect; 0: never

    @property
    def quiet_us(self) -> int:
        return self.since_us + self.allowance_us // QUIET_SHARE

    @property
    def suspect_us(self) -> int:
        return self.since_us + self.allowance_us

    @property
    def is_told(self) -> bool:
        """Whether this silence was made known already."""
        return self.suspected_us > self.since_us

    def told_by(self, now_us: int) -> "LeaseClock":
        """Return the clock as it is when a silence that is too long by now has been told."""
        if now_us < self.suspect_us or self.is_told:
            return self
        return self._replace(suspected_us=now_us)

    @property
    def lost_us(self) -> int:
        """End of the grace. It begins when the silence is told.

        A coordinator that was paused itself tells it late: it has heard nobody meanwhile.
        """
        told_us = self.suspected_us if self.is_told else self.suspect_us
        return told_us + grace_us(self.allowance_us)

    def state_at(self, now_us: int) -> LeaseState:
        if now_us < self.quiet_us:
            return "live"
        if now_us < self.suspect_us:
            return "quiet"
        return "suspect" if now_us < self.lost_us else "lost"


_WORSE: tuple[LeaseState, ...] = ("live", "quiet", "suspect", "lost")


def grace_us(allowance_us: int) -> int:
    """How long a lease stays suspect before it is lost: a quarter more, 1 to 10 minutes.

    Never longer than the allowance itself, so that one made short for a test of failures ends soon.
    """
    if allowance_us >= GRACE_MAX_US * GRACE_SHARE:
        return GRACE_MAX_US
    if allowance_us >= GRACE_MIN_US * GRACE_SHARE:
        return allowance_us // GRACE_SHARE
    return min(GRACE_MIN_US, allowance_us)


def silence_allowance_us(
    agent_id: AgentId,
    presence: Presence,
    policy: Policy,
    *,
    sends_heartbeats: bool,
    earned_us: int = 0,
) -> int:
    """How long an agent may be silent, as granted with a new lease.

    One that heartbeats: four missed beats. One that only speaks when it has something to say: three
    times the 95th percentile of its own gaps, between 20 and 120 minutes. Gaps are presence, and
    forgotten when the coordinator is replaced; until enough were seen anew, the agent keeps what it
    was granted last (``earned_us``), which the journal tells, or gets the lower bound.
    """
    if sends_heartbeats:
        return policy.heartbeat_silence_us
    gap_us = presence.gap_us(agent_id, policy.gap_quantile)
    wanted_us = policy.gap_factor * gap_us or earned_us
    return min(max(wanted_us, policy.request_silence_us), policy.request_silence_max_us)


def confirm_us(policy: Policy, silence_us: int, *, speaks_soon: bool) -> int:
    """How long the first sign of life may take of an agent that was given a task while it waited.

    Soon for one that heartbeats, and for one that is pushed to. Any other may be told to confirm
    and begin to work all the same, so it has longer, and in any case until its lease would be
    quiet: as long as its own habit says.
    """
    if speaks_soon:
        return min(policy.confirm_us, silence_us)
    return max(min(policy.confirm_silent_us, silence_us), silence_us // QUIET_SHARE)


def attempt_budget_us(policy: Policy, estimate_min: int, longest_min: float = 0.0) -> int:
    """How long a task may be silent: twice a pessimistic duration, between 30 min and 4 h.

    Parameters
    ----------
    estimate_min
        Three times the estimate stands in where nothing better is known.
    longest_min
        What 95 of 100 such attempts stay below, as a model says; 0: none was asked.
    """
    longest_min = longest_min or 3 * (estimate_min or policy.default_estimate_min)
    budget_us = 2 * min(round(longest_min * MINUTE_US), policy.budget_max_us)
    return min(max(budget_us, policy.budget_min_us), policy.budget_max_us)


def lease_until_us(silence_us: int, budget_us: int, agent_us: int, task_us: int) -> int:
    """Instant at which a lease is lost if nothing more is heard.

    Parameters
    ----------
    silence_us, budget_us
        How long the agent may be silent, and how long its task.
    agent_us, task_us
        Last sign of life of the agent, and last word about the task.
    """
    patience_us = max(budget_us, silence_us)  # a declared silence is about the task too
    return min(
        agent_us + silence_us + grace_us(silence_us), task_us + patience_us + grace_us(patience_us)
    )


def clocks_of(held: Assignment, state: TaskState, signs: Signs | Presence) -> list[LeaseClock]:
    """Clocks that run for a lease: none in review, where the server waits and not the agent.

    A blocked task may rightly be silent, since it waits for an answer; its agent may not. After a
    recovery nobody could be heard for a while, so both clocks start anew.
    """
    if state == "in_review":
        return []
    agent_us = max(signs.heard_at(held.agent_id), held.heard_at_us)
    clocks = [LeaseClock("agent_silent", agent_us, held.silence_us, held.agent_suspected_us)]
    if state == "assigned":
        task_us = max(held.heard_at_us, signs.started_us)
        patience_us = max(held.budget_us, held.silence_us)
        clocks.append(LeaseClock("task_silent", task_us, patience_us, held.task_suspected_us))
    return clocks


def first_suspicion_us(held: Assignment, state: TaskState, signs: Signs | Presence) -> int:
    """Instant at which the first clock of a lease that is not in review has run out."""
    agent_us = max(signs.heard_at(held.agent_id), held.heard_at_us) + held.silence_us
    if state != "assigned":
        return agent_us
    patience_us = max(held.budget_us, held.silence_us)
    return min(agent_us, max(held.heard_at_us, signs.started_us) + patience_us)


def lease_state(
    held: Assignment, state: TaskState, signs: Signs | Presence, now_us: int
) -> LeaseState:
    """State of a lease: that of the clock which is worse."""
    found = [clock.state_at(now_us) for clock in clocks_of(held, state, signs)]
    return worst(found)


def worst(states: Iterable[LeaseState]) -> LeaseState:
    """The worst of some states; live when there is none."""
    return max(states, key=_WORSE.index, default="live")

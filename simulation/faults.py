"""What may go wrong, by name. Every kind has a chance, and draws from a generator of its own.

So switching one kind off, as shrinking does, leaves the draws of the others alone. How rough a seed
is differs from kind to kind: swarm testing finds more than the same mixture every time.

References
----------
Groce, Zhang, Eide, Chen, Regehr, "Swarm Testing", ISSTA 2012.
"""

from collections import Counter
from collections.abc import Collection
from random import Random

# Chance at each occasion, at the usual roughness. The occasion is told by the name's first word.
CHANCES: dict[str, float] = {
    # The network, per message.
    "request_lost": 0.03,
    "request_doubled": 0.03,
    "request_late": 0.04,  # by up to minutes, so that requests overtake each other
    "reply_lost": 0.03,  # the commit has happened
    "reply_late": 0.02,
    "wake_lost": 0.1,  # a waiting agent never hears of the task it was given
    # The journal, per append.
    "append_fails": 0.002,
    "append_unknown": 0.003,  # reported as failed; written, or not
    "append_lands_late": 0.001,  # reported as failed, and written some time after
    "append_slow": 0.01,  # a batch gathers meanwhile
    "outage_goes_on": 0.3,  # per probe
    "snapshot_lost": 0.2,  # per rebuild: everything is replayed
    # The coordinator's process, per step.
    "coordinator_dies_before_append": 0.001,
    "coordinator_dies_after_append": 0.002,  # and before the replies
    "coordinator_sleeps": 0.002,  # and wakes as a zombie, with an epoch that is over
    "zombie_insists": 0.3,  # per refused append: replays, and goes on with its old epoch
    "clock_jumps": 0.004,  # by up to hours, both ways
    # Agents, per act.
    "agent_dies": 0.006,  # some come back, late and with the leases of before
    "agent_signs_no_more": 0.01,  # its sidecar is cut off; the agent works on
    "agent_says_twice": 0.02,  # the same words under another request id
    "agent_reuses_id": 0.02,  # other words under the same request id
    "agent_mistakes_token": 0.02,
    "agent_steals_token": 0.02,  # writes about another's task with the other's token
    "agent_talks_of_the_past": 0.03,  # writes under a lease that has ended
    "agent_oversteps": 0.005,  # does what only people may
    # The outside, per effect.
    "effect_lost": 0.05,  # handed out again later
    "effect_late": 0.1,
    "effect_doubled": 0.1,  # the second answer may be another one
    "effect_abandoned": 0.03,
}
ROUGHNESS = (0.0, 0.3, 1.0, 1.0, 3.0)  # by seed and kind


class Faults:
    """Decides when what goes wrong, and counts.

    Parameters
    ----------
    seed
        Of all draws, and of how rough each kind is.
    without : optional
        Kinds that never strike.
    """

    def __init__(self, seed: int, without: Collection[str] = ()) -> None:
        assert set(without) <= set(CHANCES), sorted(set(without) - set(CHANCES))
        self.counts: Counter[str] = Counter()
        weather = Random(f"weather {seed}")
        roughness = {kind: weather.choice(ROUGHNESS) for kind in CHANCES}
        self._chances = {
            kind: 0.0 if kind in without else min(0.5, chance * roughness[kind])
            for kind, chance in CHANCES.items()
        }
        self._randoms = {kind: Random(f"{kind} {seed}") for kind in CHANCES}

    def strikes(self, kind: str) -> bool:
        """Whether it goes wrong this time."""
        chance = self._chances[kind]
        if not chance or self._randoms[kind].random() >= chance:
            return False
        self.counts[kind] += 1
        return True

    def span_us(self, kind: str, shortest_us: int, longest_us: int) -> int:
        """How long it lasts: log-uniform, so that every scale comes up."""
        share = self._randoms[kind].random()
        return int(shortest_us * (longest_us / shortest_us) ** share)

    def coin(self, kind: str) -> bool:
        """Which of the two ways it goes wrong."""
        return self._randoms[kind].random() < 0.5

    def stop(self) -> None:
        """From now on nothing goes wrong."""
        self._chances = dict.fromkeys(CHANCES, 0.0)

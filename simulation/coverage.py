"""Which commands of the catalog a run has fed to the rules, and what came of them.

A promise is proven for the commands that were tried. What the clock and waiting agents send for
themselves counts too, and every decision counts, also one that did not get into the journal.
"""

from collections.abc import Mapping

import msgspec

from pm_agent.domain.agent import HeartbeatAgent
from pm_agent.domain.assignment import WithdrawOffer
from pm_agent.domain.envelope import Command
from pm_agent.domain.errors import PMError
from pm_agent.domain.world import World
from pm_agent.kernel.types import Catalog, Context, Decider, Decision

# They change presence alone, of which the journal knows nothing.
WITHOUT_EVENTS = frozenset({HeartbeatAgent, WithdrawOffer})


class Count(msgspec.Struct):
    """How often a command was decided."""

    effective: int = 0
    idle: int = 0  # accepted without effect: nothing to do, nothing found, or done before
    refused: int = 0

    def add(self, other: "Count") -> None:
        self.effective += other.effective
        self.idle += other.idle
        self.refused += other.refused


Coverage = dict[str, Count]  # by name of the command


def counted(catalog: Catalog, coverage: Coverage) -> Catalog:
    """Return the catalog with deciders that count themselves."""
    deciders = {kind: _counted(kind, decide, coverage) for kind, decide in catalog.deciders.items()}
    return msgspec.structs.replace(catalog, deciders=deciders)


def _counted(kind: type[Command], decide: Decider, coverage: Coverage) -> Decider:
    count = coverage.setdefault(kind.__name__, Count())

    def decide_and_count(world: World, command: Command, context: Context) -> Decision:
        try:
            decision = decide(world, command, context)
        except PMError:
            count.refused += 1
            raise
        if decision.events or kind in WITHOUT_EVENTS:
            count.effective += 1
        else:
            count.idle += 1
        return decision

    return decide_and_count


def never_effective(coverage: Mapping[str, Count]) -> list[str]:
    """Commands that changed nothing in the whole run, so that nothing is proven of them."""
    return sorted(name for name, count in coverage.items() if not count.effective)

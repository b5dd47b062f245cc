"""More facts about candidates, for scorers that forecast: gathered only when one of them asks.

They say of an agent what all its kinds of work together show, since most agents have done little of
any one kind, and of a task how long it was said to take, how few agents could do it, how all agents
together do at its kind, and how good the agent was that failed at it last.
"""

import numpy as np
from numpy.typing import NDArray

from pm_agent.domain.agent import Agent
from pm_agent.domain.ready_set import COLUMNS, LAST_AGENT, ReadyClass
from pm_agent.domain.team_record import TEAM_FACTS
from pm_agent.domain.track_record import TrackRecord, of_all_kinds
from pm_agent.domain.world import World

FORECAST_FACTS = (
    "estimate_min",  # as given, else as assessed; 0: neither
    "kind_outcomes",  # faded number of outcomes behind "success"
    "agent_success",  # as "success", over all kinds
    "agent_outcomes",  # faded number of outcomes behind it
    "agent_pace_min",  # mean time of accepted attempts, over all kinds; 0 without one
    "rarity",  # agents there are for each one that could do it
    *TEAM_FACTS,
)
# What is known of whoever failed last at a task: read by the score alone, no model learns from it.
FAILED_FACTS = (
    "failed_success",  # as "agent_success"; 0: nobody has failed
    "failed_outcomes",  # faded number of outcomes behind it
)
_ESTIMATE = COLUMNS.index("estimate_min")


def write_forecast_facts(  # noqa: PLR0917 - parts of one shortlist
    facts: NDArray[np.float32],  # (n_tasks, n_forecast_facts + n_failed_facts), to be filled
    world: World,
    agent: Agent,
    rows: NDArray[np.float64],  # (n_tasks, n_columns + 3), of the ready-set
    kinds: NDArray[np.intp],  # (n_tasks,), numbers of their kinds
    rarity: NDArray[np.float64],  # (n_tasks,)
) -> None:
    """Fill in facts of one agent's candidates."""
    records = world.track_records.get(agent.id, {})
    everything = of_all_kinds(records)
    # Kinds lie in the order of their numbers.
    by_kind = [_outcomes(records[k]) if k in records else 0.0 for k in world.kind_numbers]
    facts[:, 0] = rows[:, _ESTIMATE]
    facts[:, 1] = np.array(by_kind).take(kinds)
    facts[:, 2:5] = everything.success, _outcomes(everything), everything.duration_min
    facts[:, 5] = rarity
    facts[:, 6:9] = world.team_record.rows.take(kinds, axis=0)
    facts[:, 9:] = 0.0
    failed = rows[:, LAST_AGENT]
    if np.count_nonzero(failed):  # a fifth of the time of `any`
        for number in set(failed.tolist()) - {0}:
            theirs = of_all_kinds(world.track_records.get(world.agent_ids[int(number) - 1], {}))
            facts[failed == number, 9:] = theirs.success, _outcomes(theirs)


def rarity_of(world: World, ready_class: ReadyClass) -> float:
    """How many agents there are for each one that could do such a task."""
    able = world.able.get(ready_class.number)
    if able is None:  # once, until an agent comes or changes its skills
        able = world.able[ready_class.number] = sum(
            len(ids)
            for signature, ids in world.signatures.items()
            if ids and ready_class.admits(signature)
        )
    return len(world.agents) / max(able, 1)


def _outcomes(record: TrackRecord) -> float:
    return record.accepted + record.failed

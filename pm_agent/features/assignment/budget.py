"""What attempts are expected to cost, beside what their projects have left of their caps.

By rule an attempt uses what its estimate says, and what does not fit is no candidate. A model that
has seen prices knows better: what it expects to cost more than is left waits while something else
fits. When nothing does, a task is given all the same, and all that is left is promised to it. So a
cap may be passed, by one attempt: refused, the last dollar would keep a project still for ever
without a word, where a cap that is reached places a hold and says so.
"""

from math import inf

import numpy as np

from pm_agent.domain.envelope import Usage
from pm_agent.domain.task import Task
from pm_agent.domain.world import World
from pm_agent.features.assignment.facts import Shortlist, usage_by_rule
from pm_agent.features.assignment.learned import POLICY, Expected
from pm_agent.kernel.caps import left_of
from pm_agent.kernel.types import Policy
from pm_agent.ports import Scorer, Scores


def reserved_for(world: World, task: Task, expected: Expected | None, policy: Policy) -> Usage:
    """What an attempt is expected to use, by the model if it says so; at most what is left."""
    mean_usd = expected.mean_usd if expected else None
    if mean_usd is None or not policy.microusd_per_token:
        return usage_by_rule(policy, task.minutes)
    left = left_of(world, task.project_id) or (inf, inf)
    microusd = mean_usd * 1e6
    tokens = min(microusd / policy.microusd_per_token, left[0])
    return Usage(int(tokens), int(min(microusd, left[1])))


def within_budget(
    world: World, found: Shortlist, scored: Scores, scorer: Scorer
) -> tuple[Shortlist, Scores]:
    """The candidates that a model expects to fit what is left; all if none does, or every one."""
    left = found.left_microusd
    if left is None or scorer.policy != POLICY:
        return found, scored
    _, p50_min, p90_min, p50_usd = expected = scored.factors[:, : len(Expected._fields)].T
    if (p50_usd * p90_min / p50_min * 1e6 <= left).all():
        return found, scored  # nothing comes near a cap, as nearly always
    costs = [Expected(*row).mean_usd or 0.0 for row in expected.T.tolist()]
    keep = np.flatnonzero(np.array(costs) * 1e6 <= left)
    if len(keep) in (0, len(costs)):
        return found, scored
    ranks = [world.ready.place_of(found.task_id(i))[1].rank for i in keep.tolist()]
    kept = Shortlist(
        found.numbers.take(keep),
        found.facts.take(keep, axis=0),
        found.n_eligible,
        first=ranks.index(min(ranks)),
        left_microusd=left.take(keep),
    )
    return kept, Scores(scored.values.take(keep), scored.factors.take(keep, axis=0))

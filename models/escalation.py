"""Who tries a task, and who next when that failed: for quotas, and for a budget.

Attempts of one task hang together: when one agent fails, the task is likely harder than its facts
told, and the others' chances fall too. `OutcomeModel` measures by how much (``group_scale_``), and
from that come the chances after each failure.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.special import expit

from models.outcome import LOG_WEIGHTS, given_group

Floats = NDArray[np.float64]
Places = NDArray[np.int_]

FREE_USD = 1e-6  # a run that costs nothing is still worth less than one that surely succeeds


def assign(chance: Floats, quota: int) -> Places:
    """Agent for each task, such that the expected number of successes is largest.

    Parameters
    ----------
    chance : array, shape (n_tasks, n_agents)
    quota : int
        Most tasks for one agent.

    Returns
    -------
    array, shape (n_tasks,)
        -1 for tasks that no agent has room for.
    """
    n_tasks, n_agents = chance.shape
    agents = np.repeat(np.arange(n_agents), min(quota, n_tasks))
    tasks, seats = linear_sum_assignment(chance[:, agents], maximize=True)
    found = np.full(n_tasks, -1)
    found[tasks] = agents[seats]
    return found


class Chains(NamedTuple):
    """For each task the agents in the order in which they would try it, one after another.

    All arrays have shape (n_tasks, n_agents).
    """

    agent: Places
    chance: Floats  # of success, given that all before have failed
    cost_usd: Floats
    worth: Floats  # successes a dollar; never rises along a chain

    def after(self, task: int) -> "Chains":
        """The chains of ``task`` and of those behind it."""
        return Chains(
            self.agent[task:], self.chance[task:], self.cost_usd[task:], self.worth[task:]
        )

    def spend_usd(self, least_worth: float) -> Floats:
        """Expected spend of each task when steps worth less are not taken, (n_tasks,)."""
        reached = np.cumprod(1 - self.chance, axis=1)
        reached = np.column_stack([np.ones(len(reached)), reached[:, :-1]])
        return np.asarray((reached * self.cost_usd * (self.worth >= least_worth)).sum(axis=1))


def chains(logits: Floats, cost_usd: Floats, group_scale: float) -> Chains:
    """Order agents by their chance a dollar, after all failures before.

    That order is best when attempts are independent and the first success ends them (Weitzman,
    1979); with chances updated after each failure it is a good rule of thumb.

    Parameters
    ----------
    logits, cost_usd : array, shape (n_tasks, n_agents)
        Log odds of success and expected cost of a run; ``-inf`` where an agent cannot run a task.
    group_scale : float
        How much tasks differ in what their facts do not tell, in logits.
    """
    n_tasks, n_agents = logits.shape
    rows = np.arange(n_tasks)
    success = expit(given_group(logits, group_scale))  # (n_tasks, n_agents, n_nodes)
    belief = np.tile(np.exp(LOG_WEIGHTS), (n_tasks, 1))  # (n_tasks, n_nodes)
    cost = np.maximum(cost_usd, FREE_USD)
    is_left = np.ones((n_tasks, n_agents), bool)
    found = Chains(
        np.empty((n_tasks, n_agents), int), *np.empty((3, n_tasks, n_agents), dtype=float)
    )
    for step in range(n_agents):
        chance = np.einsum("tan,tn->ta", success, belief)
        worth = np.where(is_left, chance / cost, -1.0)
        agent = worth.argmax(axis=1)
        is_left[rows, agent] = False
        found.agent[:, step] = agent
        found.chance[:, step] = chance[rows, agent]
        found.cost_usd[:, step] = cost_usd[rows, agent]
        found.worth[:, step] = worth[rows, agent]
        belief *= 1 - success[rows, agent]
        belief /= belief.sum(axis=1, keepdims=True)
    np.minimum.accumulate(found.worth, axis=1, out=found.worth)
    return found


def least_worth(plan: Chains, money_usd: float) -> float:
    """Lowest worth of a step at which the expected spend of all tasks stays within the money."""
    low, high = 0.0, float(plan.worth.max()) * 2
    for _ in range(50):
        middle = (low + high) / 2
        if plan.spend_usd(middle).sum() > money_usd:
            low = middle
        else:
            high = middle
    return high

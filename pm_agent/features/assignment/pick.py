"""Choose among scored candidates, with a little exploration, so that it can be recomputed.

A policy that always takes the best can never be compared with another from its logs. So a small
share of choices is drawn among near-ties, and every record holds the probability with which its
choice was made (its propensity) and the seed of the draw.

Another share of choices is reserved for the task whose turn it is by age and priority. A score may
rank such a task last for ever, as long as better ones keep coming; with the reserve it waits for
1 / share claims, on average, for each task whose turn comes before its own.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

N_EXPLAINED = 9  # the chosen and the next eight
_MASK = (1 << 64) - 1


class Pick(NamedTuple):
    """A choice, how probable it was, and the best candidates."""

    chosen: int  # index into the candidates
    propensity: float
    ranked: list[int]  # indexes of the best candidates, best first


class Chances(NamedTuple):
    """What may be chosen besides the best; a record keeps all of it."""

    exploration: float  # share of choices drawn uniformly among near-ties, 0..1
    near_tie: float  # how far below the best a near-tie may be, in units of score
    reserve: float = 0.0  # share of choices that ``first`` gets in any case, 0..1
    first: int = 0  # index of the candidate whose turn it is by age and priority


def pick(scores: NDArray[np.float32], seed: int, chances: Chances) -> Pick:
    """Pick a candidate.

    Parameters
    ----------
    scores : array, shape (n_tasks,)
        Equal scores keep the order of the candidates.
    seed : int
        Of the three uniform numbers drawn.
    chances : Chances
        What else than the best may be chosen, and how often.
    """
    order = best_first(scores)
    ranked: list[int] = order.tolist()
    best, *others = scores.take(order).tolist()
    near = ranked[: 1 + sum([score >= best - chances.near_tie for score in others])]
    if uniform(seed, 2) < chances.reserve:
        chosen = chances.first
    elif len(near) > 1 and uniform(seed, 0) < chances.exploration:
        chosen = near[int(uniform(seed, 1) * len(near))]
    else:
        chosen = ranked[0]
    return Pick(chosen, _propensity(chosen, near, chances), ranked)


def _propensity(chosen: int, near: list[int], chances: Chances) -> float:
    """How probable a choice was, before the draw."""
    exploration = chances.exploration if len(near) > 1 else 0.0
    by_score = exploration / len(near) if chosen in near else 0.0
    if chosen == near[0]:
        by_score += 1.0 - exploration
    return (1.0 - chances.reserve) * by_score + chances.reserve * (chosen == chances.first)


def best_first(scores: NDArray[np.float32]) -> NDArray[np.intp]:
    """Indexes of the best few candidates, (n_explained,). Equal scores keep their order."""
    return (-scores).argsort(kind="stable")[:N_EXPLAINED]


def uniform(seed: int, stream: int) -> float:
    """Return a number in [0, 1) from a seed.

    References
    ----------
    SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
    """
    z = (seed + (stream + 1) * 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return ((z ^ (z >> 31)) >> 11) / (1 << 53)

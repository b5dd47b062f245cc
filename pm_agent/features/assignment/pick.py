"""Choose among scored candidates, with a little exploration, so that it can be recomputed.

A policy that always takes the best can never be compared with another from its logs. So a small
share of choices is drawn among near-ties, and every record holds the probability with which its
choice was made (its propensity) and the seed of the draw.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

N_EXPLAINED = 9  # the chosen and the next eight
SCORE_DECIMALS = 6
_MASK = (1 << 64) - 1


class Pick(NamedTuple):
    """A choice, how probable it was, and the best candidates."""

    chosen: int  # index into the candidates
    propensity: float
    ranked: list[int]  # indexes of the best candidates, best first


def pick(scores: NDArray[np.float64], seed: int, exploration: float, near_tie: float) -> Pick:
    """Pick a candidate.

    Parameters
    ----------
    scores : array, shape (n_tasks,)
        Rounded to `SCORE_DECIMALS`. Equal scores keep the order of the candidates.
    seed : int
        Of the two uniform numbers drawn.
    exploration : float
        Share of choices drawn uniformly among near-ties, 0..1.
    near_tie : float
        How far below the best a near-tie may be, in units of score.
    """
    order = (-scores).argsort(kind="stable")[:N_EXPLAINED]
    ranked: list[int] = order.tolist()
    best, *others = scores.take(order).tolist()
    near = ranked[: 1 + sum([score >= best - near_tie for score in others])]
    n = len(near)
    if n == 1:
        return Pick(ranked[0], 1.0, ranked)
    share = exploration / n
    if uniform(seed, 0) < exploration:
        index = near[int(uniform(seed, 1) * n)]
        return Pick(index, 1.0 - exploration + share if index == ranked[0] else share, ranked)
    return Pick(ranked[0], 1.0 - exploration + share, ranked)


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

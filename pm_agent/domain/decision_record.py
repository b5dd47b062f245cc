"""Why an agent got a task: the record that each assignment carries.

Most of a journal's bytes are these records, and writing them is a good part of a claim's cost. So
arrays are packed as they lie in memory (little-endian, row by row; base64 in the journal's JSON),
and there are no names, which follow from the scorer's version.
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

from pm_agent.domain.ids import TaskId, task_id

_INT, _FLOAT = np.dtype("<i4"), np.dtype("<f4")
_WIDTH = 4  # bytes of either


class Matching(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What chose one task for each of several agents at once, as far as one of them is concerned.

    No candidate has a higher score less price than the one that the agent got. Prices are those of
    the dual solution: this holds for all agents of the tick, and proves their total to be the best.
    """

    tick: int  # journal position of the world it saw; the same in all records of the tick
    n_agents: int
    n_tasks: int
    unit: float  # the score that 1 stands for in prices
    prices: bytes  # int32 (n_candidates,); 0 for tasks that nobody got

    @property
    def price_units(self) -> NDArray[np.int32]:
        """Array, shape (n_candidates,)."""
        return np.frombuffer(self.prices, _INT)


class ShadowChoice(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """What another scorer would have chosen, which decides nothing."""

    version: str
    task_id: TaskId  # its best candidate; it may have seen others than the scorer that decided
    score: float
    accepted: float = 0.0  # P(accepted) that it forecasts of its own choice
    accepted_of_chosen: float = 0.0  # and of the one that was made; 0: it did not see that task


class DecisionRecord(msgspec.Struct, frozen=True, gc=False, kw_only=True, omit_defaults=True):
    """Enough to recompute the choice without the world or a model."""

    policy: str
    version: str
    seed: int
    exploration: float  # share of choices drawn among near-ties
    near_tie: float  # how far below the best a near-tie may be
    propensity: float  # probability with which this choice was made
    n_eligible: int  # ready tasks the agent could take, before the shortlist
    candidates: bytes  # int32 (n_candidates,), numbers of the tasks
    scores: bytes  # float32 (n_candidates,)
    explained: list[int]  # indexes of candidates: the chosen first, then the next eight
    factors: bytes  # float32 (n_explained, n_factors), in the order of the scorer's names
    facts: bytes  # float32 (n_explained, n_facts)
    heard_at_us: int = 0  # the agent's last sign of life that the decision relied on
    matching: Matching | None = None  # None: picked for this agent alone
    reserve: float = 0.0  # share of choices that goes to ``first`` in any case
    first: int = 0  # index of the candidate whose turn it was by age and priority
    shadow: ShadowChoice | None = None  # None: no shadow was asked

    @property
    def chosen_number(self) -> int:
        start = self.explained[0] * _WIDTH
        return int.from_bytes(self.candidates[start : start + _WIDTH], "little")

    @property
    def chosen_id(self) -> TaskId:
        return task_id(self.chosen_number)

    @property
    def n_candidates(self) -> int:
        return len(self.candidates) // _WIDTH

    @property
    def candidate_ids(self) -> list[TaskId]:
        return [task_id(number) for number in np.frombuffer(self.candidates, _INT).tolist()]

    @property
    def score_values(self) -> NDArray[np.float32]:
        """Array, shape (n_candidates,)."""
        return np.frombuffer(self.scores, _FLOAT)

    @property
    def factor_rows(self) -> NDArray[np.float32]:
        """Array, shape (n_explained, n_factors)."""
        return np.frombuffer(self.factors, _FLOAT).reshape(len(self.explained), -1)

    @property
    def fact_rows(self) -> NDArray[np.float32]:
        """Array, shape (n_explained, n_facts)."""
        return np.frombuffer(self.facts, _FLOAT).reshape(len(self.explained), -1)

    def is_whole(self) -> bool:
        """Whether its arrays fit each other."""
        n, n_bytes = self.n_candidates, len(self.candidates)  # numbers and scores are as wide
        row = len(self.explained) * _WIDTH
        return bool(
            0 < len(self.explained) <= n
            and min(self.first, *self.explained) >= 0
            and max(self.first, *self.explained) < n
            and n_bytes == n * _WIDTH
            and len(self.scores) == n_bytes
            and (self.matching is None or len(self.matching.prices) == n_bytes)
            and self.factors
            and self.facts
            and not len(self.factors) % row
            and not len(self.facts) % row
        )


def packed_numbers(values: NDArray[np.int32] | list[int]) -> bytes:
    """Whole numbers as a record keeps them."""
    return np.ascontiguousarray(values, _INT).tobytes()


def packed(values: NDArray[np.floating] | list[float] | list[list[float]]) -> bytes:
    """Numbers as a record keeps them."""
    return np.ascontiguousarray(values, _FLOAT).tobytes()

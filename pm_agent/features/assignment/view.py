"""Why an agent got a task: the stored decision, in words, and computed once more."""

import numpy as np

from pm_agent.domain.assignment import DecisionRecord, TaskAssigned
from pm_agent.domain.envelope import Event
from pm_agent.domain.time import iso
from pm_agent.features.assignment.pick import SCORE_DECIMALS, pick
from pm_agent.features.assignment.scoring import scorer_for
from pm_agent.kernel.types import Result

# The same sums in a matrix of another height may differ in a last bit, and so round the other way.
LAST_DIGIT = 1.5 * 10**-SCORE_DECIMALS


class ExplainedCandidate(Result, frozen=True, kw_only=True):
    """One candidate: its score and what it was made of, by name."""

    task_id: str
    score: float
    factors: dict[str, float]
    facts: dict[str, float]


class Explanation(Result, frozen=True, kw_only=True):
    """Why an agent got a task."""

    task_id: str
    agent_id: str
    lease_token: int
    attempt: int
    assigned_at: str
    position: int
    policy: str
    version: str
    rank: int  # 1: it had the best score
    propensity: float
    seed: int
    n_candidates: int
    n_eligible: int
    weights: dict[str, float]
    chosen: ExplainedCandidate
    next_best: list[ExplainedCandidate]
    recomputed: bool  # the record was scored and drawn again, and came out the same
    differences: list[str] = []


def explain(event: Event, data: TaskAssigned) -> Explanation:
    """Explain an assignment from its record alone, and check that the record holds together."""
    record = data.decision
    scorer = scorer_for(record.version)
    factor_names = scorer.factor_names if scorer else _numbered("factor", record.factors[0])
    fact_names = scorer.fact_names if scorer else _numbered("fact", record.facts[0])
    candidates = [
        ExplainedCandidate(
            task_id=record.candidates[index],
            score=record.scores[index],
            factors=dict(zip(factor_names, factors, strict=True)),
            facts=dict(zip(fact_names, facts, strict=True)),
        )
        for index, factors, facts in zip(
            record.explained, record.factors, record.facts, strict=True
        )
    ]
    found = differences(record, data.task_id)
    return Explanation(
        task_id=data.task_id,
        agent_id=data.agent_id,
        lease_token=data.lease_token,
        attempt=data.attempt,
        assigned_at=iso(event.at_us),
        position=event.position,
        policy=record.policy,
        version=record.version,
        rank=1 + sum(score > candidates[0].score for score in record.scores),
        propensity=record.propensity,
        seed=record.seed,
        n_candidates=len(record.candidates),
        n_eligible=record.n_eligible,
        weights=dict(zip(factor_names, scorer.weights, strict=True)) if scorer else {},
        chosen=candidates[0],
        next_best=candidates[1:],
        recomputed=not found,
        differences=found,
    )


def differences(record: DecisionRecord, task_id: str) -> list[str]:
    """Compute scores and choice of a record again; return what came out differently."""
    found: list[str] = []
    explained = [record.candidates[index] for index in record.explained]
    if explained[0] != task_id:
        found.append(f"assigned {task_id}, but the record explains {explained[0]}")
    scorer = scorer_for(record.version)
    if scorer is None:
        found.append(f"no rule-based scorer of version {record.version}: scores not recomputed")
    else:
        again = scorer.score(np.array(record.facts))
        values = again.values.round(SCORE_DECIMALS).tolist()
        for name, index, value in zip(explained, record.explained, values, strict=True):
            if abs(value - record.scores[index]) > LAST_DIGIT:
                found.append(f"{name}: score {record.scores[index]} recomputes to {value}")
        for name, factors, other in zip(explained, record.factors, again.factors, strict=True):
            if not np.allclose(factors, other, rtol=0, atol=LAST_DIGIT):
                found.append(f"{name}: its factors recompute to other values")
    choice = pick(np.array(record.scores), record.seed, record.exploration, record.near_tie)
    if record.candidates[choice.chosen] != task_id:
        found.append(f"the seed draws {record.candidates[choice.chosen]}, not {task_id}")
    if abs(choice.propensity - record.propensity) > LAST_DIGIT:
        found.append(f"propensity {record.propensity} recomputes to {choice.propensity}")
    return found


def _numbered(word: str, values: list[float]) -> tuple[str, ...]:
    """Names for what a learned scorer reads, as long as the model itself is not at hand."""
    return tuple(f"{word}_{number}" for number, _ in enumerate(values, start=1))

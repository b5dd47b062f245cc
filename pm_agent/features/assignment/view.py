"""Why an agent got a task: the stored decision, in words, and computed once more."""

import numpy as np

from pm_agent.domain.assignment import DecisionRecord, TaskAssigned
from pm_agent.domain.envelope import Event
from pm_agent.domain.time import iso
from pm_agent.features.assignment.pick import SCORE_DECIMALS, pick
from pm_agent.features.assignment.scoring import scorer_for
from pm_agent.kernel.types import Result


class ExplainedCandidate(Result, frozen=True, kw_only=True):
    task_id: str
    score: float
    factors: dict[str, float]
    facts: dict[str, float]


class Explanation(Result, frozen=True, kw_only=True):
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
    candidates = [
        ExplainedCandidate(
            task_id=e.task_id,
            score=e.score,
            factors=dict(zip(record.factor_names, e.factors, strict=True)),
            facts=dict(zip(record.fact_names, e.facts, strict=True)),
        )
        for e in record.explained
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
        weights=dict(zip(record.factor_names, record.weights, strict=True)),
        chosen=candidates[0],
        next_best=candidates[1:],
        recomputed=not found,
        differences=found,
    )


def differences(record: DecisionRecord, task_id: str) -> list[str]:
    """Compute scores and choice of a record again; return what came out differently."""
    found: list[str] = []
    by_id = dict(zip(record.candidates, record.scores, strict=True))
    if record.explained[0].task_id != task_id:
        found.append(f"assigned {task_id}, but the record explains {record.explained[0].task_id}")
    scorer = scorer_for(record.version)
    if scorer is None:
        found.append(f"no rule-based scorer of version {record.version}: scores not recomputed")
    else:
        facts = np.array([e.facts for e in record.explained], dtype=np.float32)
        again = scorer.score(facts)
        for e, value, factors in zip(record.explained, again.values, again.factors, strict=True):
            score = round(float(value), SCORE_DECIMALS)
            if not np.isclose(score, e.score, rtol=0, atol=2e-6):
                found.append(f"{e.task_id}: score {e.score} recomputes to {score}")
            if not np.allclose(factors, e.factors, rtol=0, atol=2e-6):
                found.append(f"{e.task_id}: its factors recompute to other values")
    for e in record.explained:
        if by_id.get(e.task_id) != e.score:
            found.append(f"{e.task_id}: score {e.score} is {by_id.get(e.task_id)} in the list")
    choice = pick(np.array(record.scores), record.seed, record.exploration, record.near_tie)
    if record.candidates[choice.index] != task_id:
        found.append(f"the seed draws {record.candidates[choice.index]}, not {task_id}")
    if not np.isclose(choice.propensity, record.propensity, rtol=0, atol=2e-6):
        found.append(f"propensity {record.propensity} recomputes to {choice.propensity}")
    return found

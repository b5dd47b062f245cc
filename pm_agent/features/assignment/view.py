"""Why an agent got a task: the stored decision, in words, and computed once more."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import numpy as np

from pm_agent.domain.assessment import TaskAssessed
from pm_agent.domain.assignment import TaskAssigned
from pm_agent.domain.decision_record import DecisionRecord, Matching
from pm_agent.domain.envelope import Event
from pm_agent.domain.ids import TaskId
from pm_agent.domain.task import TaskUpdated
from pm_agent.domain.time import iso
from pm_agent.features.assignment import learned
from pm_agent.features.assignment.matching import in_units
from pm_agent.features.assignment.pick import Chances, pick
from pm_agent.features.assignment.scoring import scorer_for
from pm_agent.kernel.types import Result
from pm_agent.ports import Scorer

ScorerOf = Callable[[str], Scorer | None]  # by the version that a record names
RescoredBy = Literal["rules", "model", "stored forecasts", "nothing"]
# The same sums in a matrix of another height may differ in their last bits.
_is_same = partial(np.allclose, rtol=1e-6, atol=1e-6)


class ExplainedCandidate(Result, frozen=True, kw_only=True):
    """One candidate: its score and what it was made of, by name."""

    task_id: str
    score: float
    factors: dict[str, float]
    facts: dict[str, float]
    price: float = 0.0  # in a matching: what the others lose if this agent takes it


class ExplainedMatching(Result, frozen=True, kw_only=True):
    """The tick in which several agents got tasks at once, with the best total score."""

    tick: int  # journal position of the world it saw
    n_agents: int
    n_tasks: int


class ExplainedAssessment(Result, frozen=True, kw_only=True):
    """How the task had been assessed when it was assigned, and where that comes from."""

    minutes: int
    level: int
    by: str  # "rules", or the model's name
    stands_in: str = ""  # why rules judged in a model's place
    prompt: str = ""  # id and version
    prompt_sha256: str = ""
    cost_usd: float = 0.0


class ExplainedShadow(Result, frozen=True, kw_only=True):
    """What another scorer would have chosen; it decided nothing."""

    version: str
    task_id: str
    score: float


class ExplainedExpectation(Result, frozen=True, kw_only=True):
    """What the model expected of the attempt; bounds are those of eight attempts of ten."""

    accepted: float  # probability
    minutes: float  # of work: the median
    minutes_low: float
    minutes_high: float
    cost_usd: float = 0.0  # the median; 0, as its bounds: the model had seen no price
    cost_low_usd: float = 0.0
    cost_high_usd: float = 0.0


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
    matching: ExplainedMatching | None = None  # None: picked for this agent alone
    expected: ExplainedExpectation | None = None  # None: rules scored
    reserved_tokens: int = 0  # what was set aside of the project's caps
    reserved_usd: float = 0.0
    assessment: ExplainedAssessment | None = None  # None: not assessed by then
    shadow: ExplainedShadow | None = None  # None: no other scorer was asked
    recomputed: bool  # the record was scored and drawn again, and came out the same
    rescored_by: RescoredBy = "rules"  # "stored forecasts": the model that made them is not at hand
    differences: list[str] = []


def explain(
    event: Event,
    data: TaskAssigned,
    models: ScorerOf = scorer_for,
    past: Sequence[Event] = (),
) -> Explanation:
    """Explain an assignment from its record, and check that the record holds together.

    Parameters
    ----------
    models
        Finds the learned scorer that made a record; None where it is not at hand. Its forecasts
        are then taken from the record, and everything else is computed again.
    past
        Events of the task, to tell how it had been assessed.
    """
    record = data.decision
    scorer, rescored_by = _scorer_of(record, models)
    ids, scores = record.candidate_ids, record.score_values.tolist()
    all_factors, all_facts = record.factor_rows.tolist(), record.fact_rows.tolist()
    factor_names = scorer.factor_names if scorer else _numbered("factor", all_factors[0])
    fact_names = scorer.fact_names if scorer else _numbered("fact", all_facts[0])
    matching = record.matching
    prices = (matching.price_units * matching.unit).tolist() if matching else [0.0] * len(ids)
    candidates = [
        ExplainedCandidate(
            task_id=ids[index],
            score=scores[index],
            factors=dict(zip(factor_names, factors, strict=True)),
            facts=dict(zip(fact_names, facts, strict=True)),
            price=prices[index],
        )
        for index, factors, facts in zip(record.explained, all_factors, all_facts, strict=True)
    ]
    found = differences(record, data.task_id, models)
    return Explanation(
        task_id=data.task_id,
        agent_id=data.agent_id,
        lease_token=data.lease_token,
        attempt=data.attempt,
        assigned_at=iso(event.at_us),
        position=event.position,
        policy=record.policy,
        version=record.version,
        rank=1 + sum(score > candidates[0].score for score in scores),
        propensity=record.propensity,
        seed=record.seed,
        n_candidates=len(ids),
        n_eligible=record.n_eligible,
        weights=dict(zip(factor_names, scorer.weights, strict=True)) if scorer else {},
        chosen=candidates[0],
        next_best=candidates[1:],
        matching=ExplainedMatching(
            tick=matching.tick, n_agents=matching.n_agents, n_tasks=matching.n_tasks
        )
        if matching
        else None,
        expected=_expected(record),
        reserved_tokens=data.reserved.tokens,
        reserved_usd=data.reserved.cost_microusd / 1e6,
        assessment=_assessed(event, past),
        shadow=ExplainedShadow(
            version=record.shadow.version,
            task_id=record.shadow.task_id,
            score=record.shadow.score,
        )
        if record.shadow
        else None,
        recomputed=not found,
        rescored_by=rescored_by,
        differences=found,
    )


def _expected(record: DecisionRecord) -> ExplainedExpectation | None:
    found = learned.expected_of(record)
    if found is None:
        return None
    median_usd = 0.0 if found.mean_usd is None else found.p50_usd
    return ExplainedExpectation(
        accepted=found.accepted,
        minutes=found.p50_min,
        minutes_low=found.p50_min / found.ratio,
        minutes_high=found.p90_min,
        cost_usd=median_usd,
        cost_low_usd=median_usd / found.ratio,
        cost_high_usd=median_usd * found.ratio,
    )


def _assessed(assigned: Event, past: Sequence[Event]) -> ExplainedAssessment | None:
    """What was known of the task when it was assigned."""
    known: TaskAssessed | None = None
    for event in past:
        if event.position > assigned.position:
            break
        if isinstance(event.data, TaskAssessed):
            known = event.data
        elif isinstance(event.data, TaskUpdated) and event.data.changes_text:
            known = None
    if known is None:
        return None
    call = known.call
    return ExplainedAssessment(
        minutes=known.minutes,
        level=known.level,
        by=call.writer,
        stands_in=call.stands_in,
        prompt=call.template,
        prompt_sha256=call.prompt_sha256,
        cost_usd=call.cost_microusd / 1e6,
    )


def differences(record: DecisionRecord, task_id: str, models: ScorerOf = scorer_for) -> list[str]:
    """Compute scores and choice of a record again; return what came out differently."""
    found: list[str] = []
    ids, scores = record.candidate_ids, record.score_values
    explained = [ids[index] for index in record.explained]
    if explained[0] != task_id:
        found.append(f"assigned {task_id}, but the record explains {explained[0]}")
    scorer, _ = _scorer_of(record, models)
    if scorer is None:
        found.append(f"no scorer of version {record.version} is known: scores not recomputed")
    else:
        again = scorer.score(record.fact_rows)
        stored = scores[record.explained]
        for name, old, new in zip(explained, stored.tolist(), again.values.tolist(), strict=True):
            if not _is_same(old, new):
                found.append(f"{name}: score {old:.6f} recomputes to {new:.6f}")
        for name, factors, other in zip(explained, record.factor_rows, again.factors, strict=True):
            if not _is_same(factors, other):
                found.append(f"{name}: its factors recompute to other values")
    if record.matching is None:
        chances = Chances(record.exploration, record.near_tie, record.reserve, record.first)
        choice = pick(scores, record.seed, chances)
        chosen, propensity = ids[choice.chosen], choice.propensity
        if chosen != task_id:
            found.append(f"the seed draws {chosen}, not {task_id}")
    else:
        propensity = 1.0
        better = _better(record, record.matching)
        if better is not None:
            found.append(f"at the prices of the matching {better} is better than {explained[0]}")
    if not _is_same(propensity, record.propensity):
        found.append(f"propensity {record.propensity} recomputes to {propensity}")
    return found


def _scorer_of(record: DecisionRecord, models: ScorerOf) -> tuple[Scorer | None, RescoredBy]:
    """What can score a record again, and what that is worth."""
    rules = scorer_for(record.version)
    if rules is not None:
        return rules, "rules"
    model = models(record.version)
    if model is not None:
        return model, "model"
    stored = learned.of_record(record.version, record.factor_rows)
    return stored, "stored forecasts" if stored else "nothing"


def _better(record: DecisionRecord, matching: Matching) -> TaskId | None:
    """Candidate that the agent would rather have had than its own, at the prices of the matching.

    None proves the choice: in whole numbers, without a tolerance.
    """
    gains = in_units(record.score_values, matching.unit) - matching.price_units
    best = int(gains.argmax())
    own = int(gains[record.explained[0]])
    return record.candidate_ids[best] if gains[best] > own else None


def _numbered(word: str, values: list[float]) -> tuple[str, ...]:
    """Names for what a scorer of an unknown version reads."""
    return tuple(f"{word}_{number}" for number, _ in enumerate(values, start=1))

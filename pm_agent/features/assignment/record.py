"""From a choice to the record that proves it."""

from pm_agent.domain.agent import Agent
from pm_agent.domain.decision_record import (
    DecisionRecord,
    Matching,
    ShadowChoice,
    packed,
    packed_numbers,
)
from pm_agent.features.assignment.facts import Shortlist
from pm_agent.features.assignment.pick import N_EXPLAINED, Chances, Pick
from pm_agent.kernel.types import Context
from pm_agent.ports import Scores

NO_CHANCES = Chances(exploration=0.0, near_tie=0.0)


def record_of(
    agent: Agent,
    found: Shortlist,
    scored: Scores,
    choice: Pick,
    context: Context,
    *,
    seed: int = 0,
    chances: Chances = NO_CHANCES,
    matching: Matching | None = None,
    shadow: ShadowChoice | None = None,
) -> DecisionRecord:
    """Record one agent's choice among its candidates.

    Parameters
    ----------
    found, scored
        Its candidates, and what the scorer said of them.
    choice
        Which one, how probably, and the best ones.
    seed, chances
        Of a choice in which chance had a part.
    matching
        What a matching knew beyond this agent's own candidates.
    shadow
        What another scorer would have chosen.
    """
    shown = [choice.chosen, *(i for i in choice.ranked if i != choice.chosen)][:N_EXPLAINED]
    return DecisionRecord(
        policy=context.scorer.policy,
        version=context.scorer.version,
        seed=seed,
        exploration=chances.exploration,
        near_tie=chances.near_tie,
        propensity=choice.propensity,
        n_eligible=found.n_eligible,
        candidates=packed_numbers(found.numbers),
        scores=packed(scored.values),
        explained=shown,
        factors=packed(scored.factors.take(shown, axis=0)),
        facts=packed(found.facts.take(shown, axis=0)),
        heard_at_us=context.presence.heard_at(agent.id),
        matching=matching,
        reserve=chances.reserve,
        first=chances.first,
        shadow=shadow,
    )

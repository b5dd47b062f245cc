"""What another scorer would have chosen: logged beside the choice that was made, for comparison.

Asked in a drawn share of the claims that agents make for themselves, so that it costs the others
nothing. It gathers its own shortlist, as it would if it decided. Whatever fails in it, no claim
does.
"""

from collections.abc import Sequence

import msgspec
import numpy as np

from pm_agent.domain.agent import Agent
from pm_agent.domain.decision_record import ShadowChoice
from pm_agent.domain.errors import PMError
from pm_agent.domain.ids import ProjectId
from pm_agent.domain.subscription import Watchlist
from pm_agent.domain.world import World
from pm_agent.features.assignment.facts import shortlist
from pm_agent.features.assignment.pick import uniform
from pm_agent.kernel.types import Context

_STREAM = 3  # of the numbers drawn from a choice's seed; `pick` has those before


def shadow_of(  # noqa: PLR0917 - parts of one claim
    world: World,
    agent: Agent,
    project_id: ProjectId | None,
    wanted: Sequence[Watchlist] | None,
    context: Context,
    seed: int,
    chosen: int,  # number of the task
) -> ShadowChoice | None:
    """Ask the scorer's shadow; None when there is none, it is not asked now, or it fails."""
    shadow = context.scorer.shadow
    if shadow is None or uniform(seed, _STREAM) >= context.policy.shadow:
        return None
    try:
        asked = msgspec.structs.replace(context, scorer=shadow)
        found = shortlist(world, agent, project_id, asked, wanted)
        if found is None:
            return None
        scored = shadow.score(found.facts)
    except (PMError, AssertionError):
        raise
    except Exception:  # noqa: BLE001 - a model's; it decides nothing, so the claim goes on
        return None
    best = int(scored.values.argmax())
    expected = dict.fromkeys((best, *np.flatnonzero(found.numbers == chosen).tolist()), 0.0)
    if "accepted" in shadow.factor_names:
        of = scored.factors[:, shadow.factor_names.index("accepted")]
        expected = {index: float(of[index]) for index in expected}
    return ShadowChoice(
        version=shadow.version,
        task_id=found.task_id(best),
        score=float(scored.values[best]),
        accepted=expected[best],
        accepted_of_chosen=next(
            (value for index, value in expected.items() if found.numbers[index] == chosen), 0.0
        ),
    )

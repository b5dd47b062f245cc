"""The scorer of a run: rules by name, or what was learned from other runs."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pm_agent.features.assignment.learned import POLICY, LearnedScorer
from pm_agent.features.assignment.scoring import SCORERS
from pm_agent.ports import Scorer
from simulation.experiment import run
from simulation.journal import JournalFile
from simulation.scenario import Scenario

# The package `models` takes a second and a half to load: only runs with a learned policy do.
if TYPE_CHECKING:
    from models.train import Trained

TEACHER = "factors"  # the policy whose days are learned from
# Added to a comparison's seed for the days that are learned from: no run of it shares one.
APART = 1_000_000
TEACHING_DAYS = 3


def scorer_of(policy: str, models: Path | None = None) -> Scorer:
    """The scorer of a policy.

    Parameters
    ----------
    models
        Registry whose current version the policy ``learned`` uses.
    """
    if policy != POLICY:
        return SCORERS[policy]()
    assert models is not None, "the policy 'learned' needs a registry of models"
    from models.forecast import CachedForecaster  # noqa: PLC0415 - see above
    from models.registry import Registry  # noqa: PLC0415 - see above
    from models.train import NAME  # noqa: PLC0415 - see above

    return LearnedScorer(CachedForecaster.of(Registry(models).load(NAME)))


def teach(scenario: Scenario, seed: int, folder: Path) -> "Trained":
    """Run days of a scenario under rules, train on them, and make that model the current one.

    It is promoted whatever its card says: a comparison is to show what it is worth.
    """
    from models.dataset import load_history  # noqa: PLC0415 - see above
    from models.registry import Registry  # noqa: PLC0415 - see above
    from models.train import NAME, store, train_assignment  # noqa: PLC0415 - see above

    days = scenario.changed(scorer=TEACHER, horizon_h=24 * TEACHING_DAYS, drain=False)
    with TemporaryDirectory() as place:
        path = Path(place) / "journal.db"
        with JournalFile(path) as journal:
            run(days, seed, on_step=journal.write)
        trained = train_assignment(load_history(path), seed=seed)
    registry = Registry(folder)
    registry.promote(NAME, store(registry, trained))
    return trained

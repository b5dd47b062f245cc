"""The learner trains beside the product, with folds as Ray tasks, and promotes what is better."""

from pathlib import Path

import ray

from actors import learner
from actors.scorers import CurrentScorer
from pm_agent.settings import Settings
from tests.actors.conftest import Product
from tests.models.journals import months_of_work, write_journal


def test_what_the_learner_promotes_decides(product: Product, tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, scorer="learned")
    handle = learner.launch(settings)
    try:
        told = ray.get(handle.learn.remote())
        assert told["refused"] == "file_not_readable"  # nothing has happened yet
        write_journal(settings.journal_path, months_of_work(640))
        told = ray.get(handle.learn.remote())
        v1 = {"has_drifted": False, "n_new": 640, "version": "v1", "is_current": True}
        assert told == v1
        assert ".v1-" in CurrentScorer(settings).version
    finally:
        ray.kill(handle, no_restart=True)

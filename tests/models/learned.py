"""A registry with models for tests, trained in half a second."""

from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

from models.dataset import load_history
from models.registry import Registry
from models.train import NAME, Trained, store, train_assignment
from tests.models.journals import months_of_work, write_journal


@lru_cache(1)
def trained() -> Trained:
    """A model that has learned that hard tasks fail."""
    with TemporaryDirectory() as place:
        return train_assignment(load_history(write_journal(Path(place) / "j.db", months_of_work())))


def registry_with(folder: Path, n_versions: int = 1) -> Registry:
    """A registry whose newest version is current; each was current before."""
    registry = Registry(folder)
    for _ in range(n_versions):
        registry.promote(NAME, store(registry, trained()))
    return registry

"""The scorer of the moment: the registry's current model, or rules where there is none to trust.

The registry is a folder that other processes write. A look every few seconds tells whether another
version is current; it is read and tried beside the coordinator's loop, and takes over between two
steps. The assignments themselves say from when on: each names the version that scored it. Without
a current version (none promoted, all damaged, or stood down because the world has drifted away
from it) the rules decide, and they take over at once when a model fails inside a decision.

Knows neither Ray nor a running loop until it is asked to follow.
"""

import asyncio
import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pm_agent.bootstrap import rules
from pm_agent.domain.errors import PMError
from pm_agent.features.assignment.learned import (
    ARITHMETIC,
    Arithmetic,
    LearnedScorer,
    arithmetic_of,
)
from pm_agent.ports import Scorer, Scores
from pm_agent.settings import Settings

log = logging.getLogger(__name__)

MODEL = "assignment"
LOOK_S = 2.0


def models_folder(settings: Settings) -> Path:
    """Where a workspace keeps its models."""
    return settings.data / "models"


class ModelShelf:
    """Learned scorers from the registry, each loaded when it is first asked for."""

    def __init__(self, settings: Settings) -> None:
        self._folder = models_folder(settings)
        self._loaded: dict[str, Scorer | None] = {}

    def scorer(self, version: str) -> Scorer | None:
        """The scorer that made a record; None when it is a rule's, or not here any more."""
        if version not in self._loaded:
            self._loaded[version] = self._find(version)
        return self._loaded[version]

    def current(self) -> LearnedScorer | None:
        """Scorer on the newest promoted version that can be used.

        Raises
        ------
        PMError
            What says which version is current is damaged.
        """
        # A second and 100 MiB that a workspace without models does not pay.
        from models.registry import Registry  # noqa: PLC0415

        for version in Registry(self._folder).promoted(MODEL):
            try:
                return self.load(version)
            except Exception as error:  # noqa: BLE001 - whatever is wrong with it: the one before
                log.warning("model %s %s cannot be used: %s", MODEL, version, error)
        return None

    def challenger(self) -> LearnedScorer | None:
        """Scorer on the newest version, where that is not the current one and can be used."""
        from models.registry import Registry  # noqa: PLC0415 - as above

        registry = Registry(self._folder)
        newest = next(reversed(registry.versions(MODEL)), None)
        try:
            if newest is None or newest == registry.current(MODEL):
                return None
            return self.load(newest)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it: none is followed
            log.warning("model %s %s cannot be a shadow: %s", MODEL, newest, error)
            return None

    def _find(self, version: str) -> Scorer | None:
        arithmetic, model = arithmetic_of(version)
        if arithmetic is None or not (self._folder / MODEL).is_dir():
            return None
        try:
            found = self.load(model.partition("-")[0], arithmetic)
        except (PMError, ValueError, KeyError):  # not there, damaged, or of another program
            return None
        return found if found.version == version else None  # the same number, another model

    def load(self, version: str, arithmetic: Arithmetic = ARITHMETIC) -> LearnedScorer:
        """Scorer on a stored version, such as v3, tried once.

        Raises
        ------
        PMError
            There is none, or it is damaged.
        ValueError
            What it says means nothing.
        """
        from models.forecast import CachedForecaster  # noqa: PLC0415 - as above
        from models.registry import Registry  # noqa: PLC0415 - as above

        stored = Registry(self._folder).load(MODEL, version)
        scorer = LearnedScorer(CachedForecaster.of(stored), arithmetic)
        tried = scorer.score(np.zeros((1, len(scorer.fact_names)), dtype=np.float32))
        if not np.isfinite(tried.values).all():
            raise ValueError(f"its score of an empty row is {tried.values[0]}")
        return scorer


class CurrentScorer:
    """A scorer that is another one from time to time; never within one decision.

    Parameters
    ----------
    settings : Settings
        Where the models are, and which rules stand in.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._rules = rules(settings)
        self._seen: object = None
        self.shadow: Scorer | None = None
        self._use(self._rules)
        self._take(self._look())

    def _use(self, scorer: Scorer) -> None:
        # Copied, so that a decision pays nothing for the indirection.
        self.policy, self.version = scorer.policy, scorer.version
        self.fact_names, self.factor_names = scorer.fact_names, scorer.factor_names
        self.weights, self.compares_agents = scorer.weights, scorer.compares_agents
        self.sees_shortest = scorer.sees_shortest
        self._score = scorer.score

    def score(self, facts: NDArray[np.float32]) -> Scores:
        try:
            return self._score(facts)
        except Exception:
            # This one decision is refused, and may be asked for again; the next go by rules.
            if self._score != self._rules.score:
                log.exception("model %s failed in a decision: rules take over", self.version)
                self._use(self._rules)
            raise

    async def follow(self) -> None:
        """Look at the registry again and again, until cancelled."""
        while self._settings.scorer == "learned":
            await asyncio.sleep(LOOK_S)
            # Reading a model takes tens of milliseconds, in which no claim shall wait; it takes
            # over here, in the thread that decides, and so between two steps.
            self._take(await asyncio.to_thread(self._look))

    def _look(self) -> "Found | None":
        """What should score and what should be its shadow, if that has changed."""
        if self._settings.scorer != "learned":
            return None
        folder = models_folder(self._settings) / MODEL
        pointer = _state_of(folder / "current.json")
        # A version that is added changes its folder.
        state = pointer, _state_of(folder) if self._settings.shadow else None
        if state == self._seen:
            return None
        self._seen = state
        shelf = ModelShelf(self._settings)
        shadow = shelf.challenger() if state[1] else None
        try:
            scorer = shelf.current() if pointer else None
        except PMError as error:
            log.warning("models cannot be used, %s goes on: %s", self.version, error.message)
            return Found(None, shadow)
        return Found(scorer or self._rules, shadow)

    def _take(self, found: "Found | None") -> None:
        if found is None:
            return
        self.shadow = found.shadow
        if found.scorer is not None and found.scorer.version != self.version:
            self._use(found.scorer)
            log.info("assignments are scored by %s", self.version)


class Found(NamedTuple):
    """What a look at the registry came to."""

    scorer: Scorer | None  # None: as before
    shadow: Scorer | None


def _state_of(path: Path) -> object:
    """What changes when a file is replaced, or a folder gains one; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size

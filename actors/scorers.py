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
        self._use(self._rules)
        self._take(self._look())

    def _use(self, scorer: Scorer) -> None:
        # Copied, so that a decision pays nothing for the indirection.
        self.policy, self.version = scorer.policy, scorer.version
        self.fact_names, self.factor_names = scorer.fact_names, scorer.factor_names
        self.weights, self.compares_agents = scorer.weights, scorer.compares_agents
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

    def _look(self) -> Scorer | None:
        """What should score, if that has changed since the last look."""
        if self._settings.scorer != "learned":
            return None
        state = _state_of(models_folder(self._settings))
        if state == self._seen:
            return None
        self._seen = state
        try:
            found = ModelShelf(self._settings).current() if state else None
        except PMError as error:
            log.warning("models cannot be used, %s goes on: %s", self.version, error.message)
            return None
        return found or self._rules

    def _take(self, found: Scorer | None) -> None:
        if found is not None and found.version != self.version:
            self._use(found)
            log.info("assignments are scored by %s", self.version)


def _state_of(folder: Path) -> object:
    """What changes when another version becomes current; None where there never was one."""
    try:
        found = (folder / MODEL / "current.json").stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size

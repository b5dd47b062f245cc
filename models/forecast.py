"""How an attempt would go: what the assignment model says inside a decision.

Three LightGBM models, P(accepted), minutes and dollars, read a coarse grid of what is known of
agent and task (`models.features.GRID`). Each place on the grid is forecast once, with one call for
all new places of a shortlist, and then looked up: agents alike at tasks alike share it.
"""

from typing import Any, NamedTuple, Self

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from models.errors import NothingToLearn
from models.grid import (
    GRID,
    Codes,
    Prior,
    grid_codes,
    grid_keys,
    grid_values,
    likely_codes,
    typical_codes,
)
from models.registry import Stored
from models.tobit import Boosted

Floats = NDArray[np.float64]

KIND = "forecast-3"  # names the grid, and what the boosters predict
LEVELS = (0.1, 0.5, 0.9)  # of the quantiles of an amount
N_FORECASTS = 5  # P(accepted), two quantiles of minutes, dollars, advantage
KEPT = 100_000  # forecasts; a new cache is begun when it is full
N_AGENTS, N_TASKS = 200, 100  # kinds of both, of which all pairs are forecast beforehand: 0.2 s


class Amount(NamedTuple):
    """A positive amount with its spread: log-normal, but for the measured shape of its errors."""

    boosted: Boosted
    errors: tuple[float, ...]  # quantiles of the standardised errors, at `LEVELS`

    def quantiles(self, values: Floats) -> Floats:
        """Amounts that rows stay below at `LEVELS`, (n_rows, 3)."""
        location, log_scale = self.boosted.predict(values)
        found: Floats = np.exp(location[:, None] + np.exp(log_scale)[:, None] * self.errors)
        return found


class ForecastModel(NamedTuple):
    """What was learned, as it is stored."""

    acceptance: lgb.Booster
    minutes: Amount
    cost_usd: Amount | None  # None: no attempt ever said what it used
    prior: Prior
    sample: Floats  # of the rows learned from, the newest, (n_rows, n_columns): to see a drift by

    def predict(self, codes: Codes) -> Floats:
        """P(accepted), median and 90th percentile of minutes, dollars; (n_rows, 4)."""
        values = grid_values(codes)
        minutes = self.minutes.quantiles(values)
        found = np.ones((len(codes), 4))
        # One thread: it runs inside a decision, beside everything else.
        found[:, 0] = self.acceptance.predict(values, num_threads=1)
        found[:, 1:3] = minutes[:, 1:]
        if self.cost_usd is not None:
            found[:, 3] = self.cost_usd.quantiles(values)[:, 1]
        return found

    def state(self) -> dict[str, Any]:
        """All but the boosters, as JSON keeps it."""
        amounts = {"minutes": self.minutes, "cost": self.cost_usd}
        return {
            "grid": {name: list(step) for name, step in GRID.items()},
            "prior": self.prior._asdict(),
            "sample": self.sample.tolist(),
            **{
                name: {
                    "location_0": amount.boosted.location_0,
                    "log_scale_0": amount.boosted.log_scale_0,
                    "errors": list(amount.errors),
                }
                for name, amount in amounts.items()
                if amount is not None
            },
        }

    def boosters(self) -> dict[str, lgb.Booster]:
        """By the name of their files."""
        found = {"acceptance": self.acceptance}
        for name, amount in (("minutes", self.minutes), ("cost", self.cost_usd)):
            if amount is not None:
                found[f"{name}_location"] = amount.boosted.location
                found[f"{name}_scale"] = amount.boosted.log_scale
        return found


def forecast_model(stored: Stored) -> ForecastModel:
    """Model of a stored version.

    Raises
    ------
    NothingToLearn
        Its columns are not those of this program: it must be trained again.
    """
    grid = {name: list(step) for name, step in GRID.items()}
    if stored.kind != KIND or stored.state.get("grid") != grid:
        raise NothingToLearn(
            f"{stored.name} {stored.version} was trained on other columns.", "Train it again."
        )
    return ForecastModel(
        acceptance=stored.boosters["acceptance"],
        minutes=_amount(stored, "minutes"),
        cost_usd=_amount(stored, "cost") if "cost" in stored.state else None,
        prior=Prior(**stored.state["prior"]),
        sample=np.array(stored.state["sample"], dtype=float),
    )


def _amount(stored: Stored, name: str) -> Amount:
    state = stored.state[name]
    boosted = Boosted(
        stored.boosters[f"{name}_location"],
        state["location_0"],
        stored.boosters[f"{name}_scale"],
        state["log_scale_0"],
    )
    return Amount(boosted, tuple(state["errors"]))


class CachedForecaster:
    """A model behind the core's port `Forecaster`: each place on the grid is predicted once.

    Parameters
    ----------
    model : ForecastModel
    version : str
        Of the model, with its digest: another model never has the same.
    """

    @classmethod
    def of(cls, stored: Stored) -> Self:
        """Forecaster of a stored version, that knows the likely places already.

        Raises
        ------
        NothingToLearn
            As `forecast_model`.
        """
        model = forecast_model(stored)
        forecaster = cls(model, f"{stored.version}-{stored.digest}")
        likely = likely_codes(model.sample, N_AGENTS, N_TASKS)
        forecaster._learn(likely, grid_keys(likely).tolist())
        return forecaster

    def __init__(self, model: ForecastModel, version: str) -> None:
        self.version = version
        self._model = model
        self._rows: dict[float, bytes] = {}  # key → float32 (n_forecasts,)

    def forecast(self, facts: NDArray[np.float32]) -> NDArray[np.float32]:
        codes = grid_codes(facts, self._model.prior)
        keys = grid_keys(codes).tolist()
        try:
            rows = self._rows_of(keys)
        except KeyError:
            self._learn(codes, keys)
            rows = self._rows_of(keys)
        return np.frombuffer(rows, dtype=np.float32).reshape(len(keys), N_FORECASTS)

    def _rows_of(self, keys: list[float]) -> bytes:
        return b"".join(map(self._rows.__getitem__, keys))

    def _learn(self, codes: Codes, keys: list[float]) -> None:
        """Predict the places that are new, and their typical agents beside them, in one call."""
        if len(self._rows) > KEPT:
            self._rows = {}
        new = {key: place for place, key in enumerate(keys) if key not in self._rows}
        own = codes[list(new.values())]
        typical = typical_codes(own, self._model.prior)
        predicted = self._model.predict(np.concatenate([own, typical]))
        mine, theirs = predicted[: len(own)], predicted[len(own) :]
        paid = 3 if self._model.cost_usd is not None else 1  # by the dollar, else by the minute
        advantage = (mine[:, 0] / mine[:, paid]) / (theirs[:, 0] / theirs[:, paid])
        found = np.column_stack([mine, advantage]).astype(np.float32)
        self._rows.update(zip(new, map(bytes, found), strict=True))

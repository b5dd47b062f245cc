"""A model's card: from what it learned, how good it is beside simple rules, and when not to use it.

Written with every stored version; read by whoever decides about its promotion.
"""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Self

from pm_agent.domain.time import iso

TABLES = ("baselines", "gains", "other")  # fields of the card that hold measures by name
MIN_OUTCOMES = 300  # below, no claim of being better is made


class Measure(NamedTuple):
    """A metric with its interval of 95 %."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4g} ({self.low:.4g} to {self.high:.4g})"


NONE: Mapping[str, Measure] = MappingProxyType({})


class Card(NamedTuple):
    """What must be known of a version before it decides anything."""

    name: str
    purpose: str
    trained_from_us: int  # the data's window, microseconds since 1970 UTC
    trained_until_us: int
    n_training: int
    n_censored: int
    n_evaluated: int  # later rows, not seen in training
    features: tuple[str, ...]
    metric: str  # what the measures say, with its unit; lower is better unless it says so
    model: Measure
    baselines: dict[str, Measure]  # the same metric of simple rules on the same rows
    seed: int
    parameters: dict[str, Any]
    limits: tuple[str, ...] = ()  # where it should not be trusted
    is_higher_better: bool = False
    # By how much it is better than each on the same rows, above 0 when it is: paired, so far
    # narrower than the intervals of the two. Without them those must not overlap.
    gains: Mapping[str, Measure] = NONE
    other: Mapping[str, Measure] = NONE  # further figures on the same rows, by what they say

    @property
    def beats_all_baselines(self) -> bool:
        """Whether it is better than each, beyond chance and on enough rows."""
        if self.n_evaluated < MIN_OUTCOMES:
            return False
        if self.gains:
            return all(gain.low > 0 for gain in self.gains.values())
        if self.is_higher_better:
            return all(self.model.low > other.high for other in self.baselines.values())
        return all(self.model.high < other.low for other in self.baselines.values())

    def to_json(self) -> str:
        """JSON with sorted keys, so that equal cards are equal files."""
        fields = self._asdict()
        fields["model"] = self.model._asdict()
        for table in TABLES:
            fields[table] = {name: m._asdict() for name, m in fields[table].items()}
        return json.dumps(fields, indent=1, sort_keys=True, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote.

        Raises
        ------
        ValueError
            It is no card.
        """
        try:
            fields = json.loads(text)
            fields["model"] = Measure(**fields["model"])
            for table in TABLES:
                fields[table] = {k: Measure(**v) for k, v in fields.get(table, {}).items()}
            fields["features"] = tuple(fields["features"])
            fields["limits"] = tuple(fields["limits"])
            return cls(**fields)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no model card: {error}") from error

    def to_markdown(self) -> str:
        """For people."""
        rows = [("**this model**", self.model), *sorted(self.baselines.items())]
        verdict = (
            "better than every baseline"
            if self.beats_all_baselines
            else f"not shown to be better (fewer than {MIN_OUTCOMES} rows were judged)"
            if self.n_evaluated < MIN_OUTCOMES
            else "not shown to be better than every baseline"
        )
        since, until = iso(self.trained_from_us)[:10], iso(self.trained_until_us)[:10]
        window = f"{since} to {until}; seed {self.seed}"
        lines = [
            f"# {self.name}",
            "",
            self.purpose,
            "",
            f"| {self.metric} | value (95 % interval) |",
            "|---|---|",
            *(f"| {name} | {measure} |" for name, measure in rows),
            *(f"| better than {name} by | {gain} |" for name, gain in sorted(self.gains.items())),
            *(f"| *{name}* | {measure} |" for name, measure in sorted(self.other.items())),
            "",
            f"On {self.n_evaluated} later rows it is {verdict}.",
            "",
            f"Learned from {self.n_training} rows ({self.n_censored} unfinished), {window}.",
            "",
            f"Features: {', '.join(self.features)}.",
        ]
        if self.limits:
            lines += ["", "Not to be trusted:", "", *(f"- {limit}" for limit in self.limits)]
        return "\n".join(lines) + "\n"

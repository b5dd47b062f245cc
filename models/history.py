"""What a journal tells, as tables; their columns, and the tables as files.

A column whose name begins with ``label_`` was known only afterwards: a model may read all others.
"""

from pathlib import Path
from typing import Any, NamedTuple, Self

import pandas as pd
from pyarrow import ArrowException

from models.errors import ColumnsMissing, FileNotReadable

LABEL = "label_"  # how the name of a column begins that was known only afterwards
_INT, _FLOAT, _TEXT, _BOOL = "int64", "float64", "string", "boolean"

# Every table's columns, so that one without rows still has them.
SCHEMAS: dict[str, dict[str, str]] = {
    "attempts": {
        "position": _INT,  # of the decision in the journal
        "at_us": _INT,
        "task_id": _TEXT,
        "project_id": _TEXT,
        "agent_id": _TEXT,
        "lease_token": _INT,
        "attempt": _INT,
        "title": _TEXT,
        "kind": _TEXT,
        "priority": _INT,
        "level": _INT,  # complexity 1..5
        "estimate_min": _INT,  # as given, else as assessed; 0: neither
        "assessed_min": _INT,  # what was judged by then, whatever was given; 0: nothing yet
        "assessed_level": _INT,
        "n_risks": _INT,
        "n_high_risks": _INT,
        "n_skills": _INT,
        "n_dependencies": _INT,
        "n_criteria": _INT,
        "failures": _INT,  # of earlier attempts at the task
        "age_h": _FLOAT,
        "agent_accepted": _FLOAT,  # faded counts of this agent at this kind
        "agent_failed": _FLOAT,
        "agent_duration_min": _FLOAT,  # NaN without an accepted attempt
        "agent_n_skills": _INT,
        "agent_n_held": _INT,  # tasks it held already
        "is_offered": _BOOL,
        "policy": _TEXT,  # empty: the lease was granted again, nothing was chosen
        "version": _TEXT,
        "propensity": _FLOAT,
        "n_eligible": _INT,
        "n_candidates": _INT,
        "shadow_version": _TEXT,  # of the model that was asked as a shadow; empty: none was
        "shadow_task_id": _TEXT,  # what it would have chosen
        "shadow_accepted": _FLOAT,  # P(accepted) that it forecast of that
        "shadow_accepted_of_chosen": _FLOAT,  # and of what was chosen; NaN: it did not see it
        "label_outcome": _TEXT,  # as `pm_agent.domain.attempt.AttemptOutcome`; empty: still running
        "label_accepted": _BOOL,  # missing where the work was not judged and did not fail
        "label_ended_at_us": _INT,  # or the instant up to which the journal was read
        "label_duration_min": _FLOAT,  # until the work was handed in, less waits for answers
        "label_is_censored": _BOOL,  # the work took longer than that: it was never handed in
        "label_tokens": _INT,
        "label_cost_usd": _FLOAT,
        "label_n_blockers": _INT,
        "label_blocked_min": _FLOAT,
    },
    "candidates": {  # the explained ones of each decision: the chosen first, then the best others
        "position": _INT,
        "at_us": _INT,
        "agent_id": _TEXT,
        "task_id": _TEXT,
        "project_id": _TEXT,
        "kind": _TEXT,
        "is_chosen": _BOOL,
        "score": _FLOAT,
        "propensity": _FLOAT,  # of the choice that was made
        "policy": _TEXT,
        "version": _TEXT,
        "label_accepted": _BOOL,  # of the chosen; what the others would have become nobody knows
    },
    "outcomes": {  # events, each known at its instant; to walk beside the decisions
        "position": _INT,
        "at_us": _INT,
        "task_id": _TEXT,
        "project_id": _TEXT,
        "agent_id": _TEXT,
        "lease_token": _INT,
        "kind": _TEXT,
        "outcome": _TEXT,
        "duration_min": _FLOAT,
    },
    "blockers": {
        "position": _INT,
        "at_us": _INT,
        "blocker_id": _TEXT,
        "task_id": _TEXT,
        "agent_id": _TEXT,
        "lease_token": _INT,
        "severity": _TEXT,
        "label_waited_min": _FLOAT,
        "label_is_censored": _BOOL,  # not answered yet
    },
    "usage": {  # reports, each known at its instant
        "position": _INT,
        "at_us": _INT,
        "task_id": _TEXT,
        "project_id": _TEXT,
        "agent_id": _TEXT,
        "lease_token": _INT,
        "tokens": _INT,
        "cost_usd": _FLOAT,
    },
}


class History(NamedTuple):
    """What a journal tells, in tables (columns: `SCHEMAS`), up to one instant."""

    attempts: pd.DataFrame
    candidates: pd.DataFrame  # also a column ``fact_…`` for each fact of a decision
    outcomes: pd.DataFrame
    blockers: pd.DataFrame
    usage: pd.DataFrame

    def save(self, folder: Path) -> None:
        """Write the tables as parquet files, one each."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, table in self._asdict().items():
            table.to_parquet(folder / f"{name}.parquet")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises
        ------
        FileNotReadable, ColumnsMissing
        """
        tables = {}
        for name, schema in SCHEMAS.items():
            path = folder / f"{name}.parquet"
            try:
                tables[name] = pd.read_parquet(path)
            except (ArrowException, OSError, ValueError) as error:
                raise FileNotReadable(f"{path} cannot be read: {error}.") from error
            if missing := [column for column in schema if column not in tables[name]]:
                raise ColumnsMissing(f"{path} lacks {', '.join(missing)}.")
        return cls(**tables)


def known_before(table: pd.DataFrame) -> pd.DataFrame:
    """The columns that a model may read: all but labels."""
    return table.loc[:, [not str(column).startswith(LABEL) for column in table.columns]]


def table_of(rows: list[dict[str, Any]], name: str) -> pd.DataFrame:
    """One of the tables from its rows; what they hold besides its columns are facts."""
    schema = SCHEMAS[name]
    extra = sorted({key for row in rows for key in row} - schema.keys())  # facts
    table = pd.DataFrame(rows, columns=[*schema, *extra])
    order = table.astype({**schema, **dict.fromkeys(extra, _FLOAT)})
    return order.sort_values("position", kind="stable", ignore_index=True)

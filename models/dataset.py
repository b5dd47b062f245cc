"""From a journal to tables: what was known at each decision, and what became of it.

A column whose name begins with ``label_`` was known only afterwards. Everything else in a row was
known at its instant: it is computed while the events are read in order, before the row's own
outcome. So a model may read every column but labels, and a test can prove it by reading a shorter
journal. Attempts that still run are rows too: their durations are censored, not dropped.

This is the only module here that opens a journal.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Self

import msgspec
import numpy as np
import pandas as pd
from pyarrow import ArrowException

from models.errors import ColumnsMissing, FileNotReadable
from models.grid import FACT_NAMES, MORE_FACTS
from pm_agent import bootstrap
from pm_agent.domain.agent import AgentRegistered
from pm_agent.domain.assessment import TaskAssessed, assessment_of
from pm_agent.domain.assignment import (
    AssignmentExpired,
    CandidateKept,
    CompletionAccepted,
    CompletionRejected,
    CompletionSubmitted,
    LeaseRegranted,
    ProgressReported,
    TaskAssigned,
    TaskReleased,
)
from pm_agent.domain.attempt import FAILED_OUTCOMES
from pm_agent.domain.blocker import BlockerReported, BlockerResolved
from pm_agent.domain.decision_record import DecisionRecord, ShadowChoice
from pm_agent.domain.envelope import NO_USAGE, EventData, Usage
from pm_agent.domain.handoff import HandoffAccepted
from pm_agent.domain.ready_set import ReadyClass
from pm_agent.domain.signature import ClassKey, Signature
from pm_agent.domain.task import (
    Task,
    TaskCancelled,
    TaskCreated,
    TaskReopened,
    TaskUpdated,
)
from pm_agent.domain.team_record import TeamRecord
from pm_agent.domain.time import HOUR_US, MINUTE_US
from pm_agent.domain.track_record import NO_RECORD, TrackRecord, of_all_kinds, with_outcome
from pm_agent.domain.upcast import decode_data
from pm_agent.ports import Journal, StoredEvent

LABEL = "label_"  # how the name of a column begins that was known only afterwards
PAGE = 2_000  # events a read

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


def load_history(
    place: str | Path,
    workspace: str = "main",
    *,
    as_of_us: int | None = None,
    fact_names: Mapping[str, Sequence[str]] = FACT_NAMES,
) -> History:
    """Tables of everything that a journal tells.

    Parameters
    ----------
    place : str or Path
        The journal: an SQLite file, or a PostgreSQL URL; or a folder that `History.save` wrote.
        The journal may be in use; nothing is changed.
    workspace : str
        Whose journal it is.
    as_of_us : int, optional
        Read as if it were this instant: later events did not happen. Microseconds since 1970 UTC.
    fact_names : mapping, optional
        Names of a decision's facts by the version of the scorer, for scorers of your own. Facts of
        an unknown version are left out.

    Raises
    ------
    FileNotReadable
        There is no such file, or it is no journal and no folder of tables.
    """
    if Path(place).is_dir():
        return History.read(Path(place))
    if "://" not in str(place) and not Path(place).is_file():
        raise FileNotReadable(f"There is no journal at {place}.", "Give a journal's path or URL.")
    # A thread of its own: a notebook's thread has a running event loop already.
    with ThreadPoolExecutor(1) as thread:
        work = _read(str(place), workspace, as_of_us, fact_names)
        return thread.submit(asyncio.run, work).result()


async def _read(
    place: str,
    workspace: str,
    as_of_us: int | None,
    fact_names: Mapping[str, Sequence[str]],
) -> History:
    journal: Journal = bootstrap.open_history(place, workspace)
    fold = _Fold(fact_names)
    after = 0
    try:
        while page := await journal.read(after, PAGE):
            for stored in page:
                if as_of_us is not None and stored.at_us > as_of_us:
                    return fold.tables(as_of_us)
                fold.take(stored)
            after = page[-1].position
        return fold.tables(as_of_us if as_of_us is not None else fold.now_us)
    finally:
        await journal.close()


class _Fold:
    """Follows the events in order and notes a row where something is decided or reported."""

    def __init__(self, fact_names: Mapping[str, Sequence[str]]) -> None:
        self.now_us = 0
        self.position = 0
        self._fact_names = fact_names
        self._tasks: dict[str, Task] = {}
        self._signatures: dict[str, Signature] = {}  # of agents
        self._able: dict[ClassKey, int] = {}  # agents that could do such tasks, since one changed
        self._records: dict[str, dict[str, TrackRecord]] = defaultdict(dict)  # agent → kind → it
        self._kind_numbers: dict[str, int] = {}
        self._team = TeamRecord()  # by the numbers of kinds
        self._n_held: Counter[str] = Counter()  # tasks that agents hold
        self._running: dict[str, _Running] = {}  # task → its attempt
        self._blockers: dict[str, dict[str, Any]] = {}  # open ones by id
        self._rows: dict[str, list[dict[str, Any]]] = defaultdict(list)

    def take(self, stored: StoredEvent) -> None:
        self.now_us, self.position = stored.at_us, stored.position
        data = decode_data(stored.kind, stored.schema_version, stored.payload)
        take = _TAKERS.get(type(data))
        if take is not None:
            take(self, data)

    def tables(self, until_us: int) -> History:
        for running in self._running.values():
            self._close(running, "", until_us)
        for blocker in self._blockers.values():
            waited = (until_us - blocker["at_us"]) / MINUTE_US
            self._rows["blockers"].append(
                {**blocker, "label_waited_min": waited, "label_is_censored": True}
            )
        return History(**{name: _table(self._rows[name], name) for name in SCHEMAS})

    # -- what happens to tasks and agents -----------------------------------------------------

    def created(self, data: TaskCreated) -> None:
        fields = {f: getattr(data, f) for f in data.__struct_fields__ if f != "task_id"}
        self._tasks[data.task_id] = Task(id=data.task_id, created_at_us=self.now_us, **fields)

    def updated(self, data: TaskUpdated) -> None:
        changes = {
            f: value
            for f in data.__struct_fields__
            if f != "task_id" and (value := getattr(data, f)) is not None
        }
        if data.changes_text:
            changes["assessment"] = None
        self._tasks[data.task_id] = msgspec.structs.replace(self._tasks[data.task_id], **changes)

    def assessed(self, data: TaskAssessed) -> None:
        found = assessment_of(data, self.now_us)
        task = self._tasks[data.task_id]
        self._tasks[data.task_id] = msgspec.structs.replace(task, assessment=found)

    def reopened(self, data: TaskReopened) -> None:
        task = self._tasks[data.task_id]
        self._tasks[data.task_id] = msgspec.structs.replace(task, failures=0)

    def registered(self, data: AgentRegistered) -> None:
        self._signatures[data.agent_id] = data.skills, data.project_ids
        self._able.clear()

    # -- decisions ----------------------------------------------------------------------------

    def assigned(self, data: TaskAssigned) -> None:
        record = data.decision
        task = self._tasks[data.task_id]
        row = self._decided(task, data.agent_id, data.lease_token, data.attempt)
        row |= {
            "is_offered": data.is_offered,
            "policy": record.policy,
            "version": record.version,
            "propensity": record.propensity,
            "n_eligible": record.n_eligible,
            "n_candidates": len(record.score_values),
            **_shadowed(record.shadow),
        }
        chosen = self._considered(record, data.agent_id)
        self._begin(task.id, _Running(row, self.now_us, chosen))

    def regranted(self, data: LeaseRegranted | HandoffAccepted) -> None:
        """A lease that no scorer decided about: nothing was considered."""
        task = self._tasks[data.task_id]
        row = self._decided(task, data.agent_id, data.lease_token, data.attempt)
        unknown = {"is_offered": False, "policy": "", "version": "", "propensity": np.nan}
        row |= {**unknown, "n_eligible": 0, "n_candidates": 0, **_shadowed(None)}
        self._begin(task.id, _Running(row, self.now_us, {}))

    def _begin(self, task_id: str, running: "_Running") -> None:
        self._running[task_id] = running
        self._n_held[running.agent_id] += 1

    def _decided(self, task: Task, agent_id: str, token: int, attempt: int) -> dict[str, Any]:
        record = self._records[agent_id].get(task.kind, NO_RECORD)
        signature = self._signatures.get(agent_id)
        found = task.assessment
        risks = found.risks if found else ()
        return {
            "position": self.position,
            "at_us": self.now_us,
            "task_id": task.id,
            "project_id": task.project_id,
            "agent_id": agent_id,
            "lease_token": token,
            "attempt": attempt,
            "title": task.title,
            "kind": task.kind,
            "priority": task.priority,
            "level": task.level,
            "estimate_min": task.minutes,
            "assessed_min": found.minutes if found else 0,
            "assessed_level": found.level if found else 0,
            "n_risks": len(risks),
            "n_high_risks": sum(mark.severity == "high" for mark in risks),
            "n_skills": len(task.skills),
            "n_dependencies": len(task.dependencies),
            "n_criteria": len(task.acceptance_criteria),
            "failures": task.failures,
            "age_h": (self.now_us - task.created_at_us) / HOUR_US,
            "agent_accepted": record.accepted,
            "agent_failed": record.failed,
            "agent_duration_min": record.duration_min if record.accepted else np.nan,
            "agent_n_skills": len(signature[0]) if signature else 0,
            "agent_n_held": self._n_held[agent_id],
        }

    def _considered(self, record: DecisionRecord, agent_id: str) -> dict[str, Any]:
        """Note the explained candidates; return the row of the chosen."""
        kind_of_scorer = record.version.partition(".")[0]  # a learned one's goes on with its model
        names = self._fact_names.get(record.version) or self._fact_names.get(kind_of_scorer, ())
        facts, scores, ids = record.fact_rows, record.score_values, record.candidate_ids
        if facts.shape[1] != len(names):
            names = ()
        rows = []
        everything = of_all_kinds(self._records[agent_id])
        for place, index in enumerate(record.explained):
            task = self._tasks[ids[index]]
            row = {
                "position": self.position,
                "at_us": self.now_us,
                "agent_id": agent_id,
                "task_id": task.id,
                "project_id": task.project_id,
                "kind": task.kind,
                "is_chosen": place == 0,
                "score": float(scores[index]),
                "propensity": record.propensity,
                "policy": record.policy,
                "version": record.version,
                "label_accepted": pd.NA,
            }
            values = facts[place].tolist()
            told = dict(zip(names, values, strict=False))
            if names and MORE_FACTS[-1] not in told:  # of what scorers of before were not told
                told = self._more_facts(task, agent_id, everything) | told
            rows.append(row | {f"fact_{name}": value for name, value in told.items()})
        self._rows["candidates"] += rows
        return rows[0]

    def _kind_number(self, kind: str) -> int:
        number = self._kind_numbers.setdefault(kind, len(self._kind_numbers))
        self._team.know(number)
        return number

    def _more_facts(self, task: Task, agent_id: str, everything: TrackRecord) -> dict[str, float]:
        """What a forecasting scorer would have been told of a candidate."""
        at_kind = self._records[agent_id].get(task.kind, NO_RECORD)
        number = self._kind_number(task.kind)
        key = task.project_id, task.skills
        if key not in self._able:
            known = ReadyClass(key, 0)
            self._able[key] = sum(known.admits(s) for s in self._signatures.values())
        values = (
            task.minutes,
            at_kind.accepted + at_kind.failed,
            everything.success,
            everything.accepted + everything.failed,
            everything.duration_min,
            len(self._signatures) / max(self._able[key], 1),
            *self._team.rows[number].tolist(),
        )
        return dict(zip(MORE_FACTS, values, strict=True))

    # -- what becomes of them -----------------------------------------------------------------

    def submitted(self, data: CompletionSubmitted) -> None:
        running = self._running.get(data.task_id)
        if running is not None:
            running.submitted_us = self.now_us
            self._n_held[running.agent_id] -= 1
        self._used(data.task_id, data.agent_id, data.lease_token, data.usage)

    def progressed(self, data: ProgressReported) -> None:
        self._used(data.task_id, data.agent_id, data.lease_token, data.usage)

    def kept(self, data: CandidateKept) -> None:
        self._used(data.task_id, data.agent_id, data.lease_token, data.usage)

    def _used(self, task_id: str, agent_id: str, token: int, usage: Usage) -> None:
        if usage == NO_USAGE:
            return
        running = self._running.get(task_id)
        if running is not None and running.row["lease_token"] == token:
            running.usage = running.usage.plus(usage)
        self._rows["usage"].append(
            {
                "position": self.position,
                "at_us": self.now_us,
                "task_id": task_id,
                "project_id": self._tasks[task_id].project_id,
                "agent_id": agent_id,
                "lease_token": token,
                "tokens": usage.tokens,
                "cost_usd": usage.cost_microusd / 1e6,
            }
        )

    def accepted(self, data: CompletionAccepted) -> None:
        self._end(data.task_id, "completed")

    def rejected(self, data: CompletionRejected) -> None:
        self._end(data.task_id, "rejected")

    def released(self, data: TaskReleased) -> None:
        self._end(data.task_id, data.reason)

    def expired(self, data: AssignmentExpired) -> None:
        # A waiting agent that never answered did not fail at the task.
        self._end(data.task_id, "released" if data.reason == "unconfirmed" else "expired")

    def cancelled(self, data: TaskCancelled) -> None:
        self._end(data.task_id, "stopped")

    def _end(self, task_id: str, outcome: str) -> None:
        running = self._running.pop(task_id, None)
        if running is None:
            return
        task, agent_id = self._tasks[task_id], running.agent_id
        if running.submitted_us is None:
            self._n_held[agent_id] -= 1
        failed, is_done = outcome in FAILED_OUTCOMES, outcome == "completed"
        lasted_min = (self.now_us - running.row["at_us"]) / MINUTE_US
        if failed or is_done:
            records = self._records[agent_id]
            old = records.get(task.kind, NO_RECORD)
            new = with_outcome(old, accepted=is_done, duration_min=lasted_min)
            self._team.replace(self._kind_number(task.kind), old, new)
            records[task.kind] = new
        if failed:
            self._tasks[task_id] = msgspec.structs.replace(task, failures=task.failures + 1)
        duration_min = self._close(running, outcome, self.now_us)
        self._rows["outcomes"].append(
            {
                "position": self.position,
                "at_us": self.now_us,
                "task_id": task_id,
                "project_id": task.project_id,
                "agent_id": agent_id,
                "lease_token": running.row["lease_token"],
                "kind": task.kind,
                "outcome": outcome,
                "duration_min": duration_min,
            }
        )

    def _close(self, running: "_Running", outcome: str, until_us: int) -> float:
        """Give an attempt its labels; return how long the work took."""
        blocked_us = running.blocked_us
        if running.n_open:
            blocked_us += until_us - running.blocked_since_us
        end_us = running.submitted_us or until_us
        worked_us = max(0, end_us - int(running.row["at_us"]) - blocked_us)
        is_accepted = outcome == "completed"
        judged = is_accepted or outcome in FAILED_OUTCOMES
        running.chosen["label_accepted"] = is_accepted if judged else pd.NA
        self._rows["attempts"].append(
            running.row
            | {
                "label_outcome": outcome,
                "label_accepted": is_accepted if judged else pd.NA,
                "label_ended_at_us": until_us,
                "label_duration_min": worked_us / MINUTE_US,
                "label_is_censored": running.submitted_us is None,
                "label_tokens": running.usage.tokens,
                "label_cost_usd": running.usage.cost_microusd / 1e6,
                "label_n_blockers": running.n_blockers,
                "label_blocked_min": blocked_us / MINUTE_US,
            }
        )
        return worked_us / MINUTE_US

    # -- blockers -----------------------------------------------------------------------------

    def blocked(self, data: BlockerReported) -> None:
        running = self._running.get(data.task_id)
        if running is not None:
            running.n_blockers += 1
            if not running.n_open:
                running.blocked_since_us = self.now_us
            running.n_open += 1
        self._blockers[data.blocker_id] = {
            "position": self.position,
            "at_us": self.now_us,
            "blocker_id": data.blocker_id,
            "task_id": data.task_id,
            "agent_id": data.agent_id,
            "lease_token": data.lease_token,
            "severity": data.severity,
        }

    def resolved(self, data: BlockerResolved) -> None:
        row = self._blockers.pop(data.blocker_id, None)
        if row is None:
            return
        waited = (self.now_us - row["at_us"]) / MINUTE_US
        self._rows["blockers"].append(
            {**row, "label_waited_min": waited, "label_is_censored": False}
        )
        running = self._running.get(data.task_id)
        if running is not None and running.row["lease_token"] == row["lease_token"]:
            running.n_open -= 1
            if not running.n_open:
                running.blocked_us += self.now_us - running.blocked_since_us


def _shadowed(told: ShadowChoice | None) -> dict[str, Any]:
    return {
        "shadow_version": told.version if told else "",
        "shadow_task_id": told.task_id if told else "",
        "shadow_accepted": told.accepted if told else np.nan,
        "shadow_accepted_of_chosen": (told.accepted_of_chosen or np.nan) if told else np.nan,
    }


class _Running:
    """An attempt that has not ended yet."""

    def __init__(self, row: dict[str, Any], now_us: int, chosen: dict[str, Any]) -> None:
        self.row = row
        self.agent_id: str = row["agent_id"]
        self.chosen = chosen  # its row among the candidates
        self.submitted_us: int | None = None
        self.usage = NO_USAGE
        self.n_blockers = 0
        self.n_open = 0  # blockers not answered yet
        self.blocked_since_us = now_us
        self.blocked_us = 0


_TAKERS: dict[type[EventData], Any] = {
    TaskCreated: _Fold.created,
    TaskUpdated: _Fold.updated,
    TaskAssessed: _Fold.assessed,
    TaskReopened: _Fold.reopened,
    TaskCancelled: _Fold.cancelled,
    AgentRegistered: _Fold.registered,
    TaskAssigned: _Fold.assigned,
    LeaseRegranted: _Fold.regranted,
    HandoffAccepted: _Fold.regranted,
    ProgressReported: _Fold.progressed,
    CompletionSubmitted: _Fold.submitted,
    CandidateKept: _Fold.kept,
    CompletionAccepted: _Fold.accepted,
    CompletionRejected: _Fold.rejected,
    TaskReleased: _Fold.released,
    AssignmentExpired: _Fold.expired,
    BlockerReported: _Fold.blocked,
    BlockerResolved: _Fold.resolved,
}


def _table(rows: list[dict[str, Any]], name: str) -> pd.DataFrame:
    schema = SCHEMAS[name]
    extra = sorted({key for row in rows for key in row} - schema.keys())  # facts
    table = pd.DataFrame(rows, columns=[*schema, *extra])
    order = table.astype({**schema, **dict.fromkeys(extra, _FLOAT)})
    return order.sort_values("position", kind="stable", ignore_index=True)

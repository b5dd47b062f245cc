"""Follows a journal's events in order, and notes a row where something is decided or reported.

Everything in a row but its labels is worked out before the row's own outcome.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from models.grid import MORE_FACTS
from models.history import SCHEMAS, History, table_of
from models.known import Known
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
from pm_agent.domain.task import TaskCancelled
from pm_agent.domain.time import MINUTE_US
from pm_agent.domain.upcast import decode_data
from pm_agent.ports import StoredEvent


class Fold:
    """Rows of all tables, up to the event that was taken last."""

    def __init__(self, fact_names: Mapping[str, Sequence[str]]) -> None:
        self.known = Known()
        self._fact_names = fact_names
        self._running: dict[str, _Running] = {}  # task → its attempt
        self._blockers: dict[str, dict[str, Any]] = {}  # open ones by id
        self._rows: dict[str, list[dict[str, Any]]] = defaultdict(list)

    def take(self, stored: StoredEvent) -> None:
        data = decode_data(stored.kind, stored.schema_version, stored.payload)
        self.known.take(stored.at_us, stored.position, data)
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
        return History(**{name: table_of(self._rows[name], name) for name in SCHEMAS})

    # -- decisions ----------------------------------------------------------------------------

    def assigned(self, data: TaskAssigned) -> None:
        record = data.decision
        task = self.known.tasks[data.task_id]
        row = self.known.attempt_row(task, data.agent_id, data.lease_token, data.attempt)
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
        self._begin(task.id, _Running(row, self.known.now_us, chosen))

    def regranted(self, data: LeaseRegranted | HandoffAccepted) -> None:
        """A lease that no scorer decided about: nothing was considered."""
        task = self.known.tasks[data.task_id]
        row = self.known.attempt_row(task, data.agent_id, data.lease_token, data.attempt)
        unknown = {"is_offered": False, "policy": "", "version": "", "propensity": np.nan}
        row |= {**unknown, "n_eligible": 0, "n_candidates": 0, **_shadowed(None)}
        self._begin(task.id, _Running(row, self.known.now_us, {}))

    def _begin(self, task_id: str, running: "_Running") -> None:
        self._running[task_id] = running
        self.known.n_held[running.agent_id] += 1

    def _considered(self, record: DecisionRecord, agent_id: str) -> dict[str, Any]:
        """Note the explained candidates; return the row of the chosen."""
        kind_of_scorer = record.version.partition(".")[0]  # a learned one's goes on with its model
        names = self._fact_names.get(record.version) or self._fact_names.get(kind_of_scorer, ())
        facts, scores, ids = record.fact_rows, record.score_values, record.candidate_ids
        if facts.shape[1] != len(names):
            names = ()
        rows = []
        for place, index in enumerate(record.explained):
            task = self.known.tasks[ids[index]]
            row = {
                "position": self.known.position,
                "at_us": self.known.now_us,
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
                told = self.known.more_facts(task, agent_id) | told
            rows.append(row | {f"fact_{name}": value for name, value in told.items()})
        self._rows["candidates"] += rows
        return rows[0]

    # -- what becomes of them -----------------------------------------------------------------

    def submitted(self, data: CompletionSubmitted) -> None:
        running = self._running.get(data.task_id)
        if running is not None:
            running.submitted_us = self.known.now_us
            self.known.n_held[running.agent_id] -= 1
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
                "position": self.known.position,
                "at_us": self.known.now_us,
                "task_id": task_id,
                "project_id": self.known.tasks[task_id].project_id,
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
        task, agent_id = self.known.tasks[task_id], running.agent_id
        if running.submitted_us is None:
            self.known.n_held[agent_id] -= 1
        failed, is_done = outcome in FAILED_OUTCOMES, outcome == "completed"
        lasted_min = (self.known.now_us - running.row["at_us"]) / MINUTE_US
        if failed or is_done:
            self.known.ended(task, agent_id, accepted=is_done, lasted_min=lasted_min)
        duration_min = self._close(running, outcome, self.known.now_us)
        self._rows["outcomes"].append(
            {
                "position": self.known.position,
                "at_us": self.known.now_us,
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
                running.blocked_since_us = self.known.now_us
            running.n_open += 1
        self._blockers[data.blocker_id] = {
            "position": self.known.position,
            "at_us": self.known.now_us,
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
        waited = (self.known.now_us - row["at_us"]) / MINUTE_US
        self._rows["blockers"].append(
            {**row, "label_waited_min": waited, "label_is_censored": False}
        )
        running = self._running.get(data.task_id)
        if running is not None and running.row["lease_token"] == row["lease_token"]:
            running.n_open -= 1
            if not running.n_open:
                running.blocked_us += self.known.now_us - running.blocked_since_us


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
    TaskCancelled: Fold.cancelled,
    TaskAssigned: Fold.assigned,
    LeaseRegranted: Fold.regranted,
    HandoffAccepted: Fold.regranted,
    ProgressReported: Fold.progressed,
    CompletionSubmitted: Fold.submitted,
    CandidateKept: Fold.kept,
    CompletionAccepted: Fold.accepted,
    CompletionRejected: Fold.rejected,
    TaskReleased: Fold.released,
    AssignmentExpired: Fold.expired,
    BlockerReported: Fold.blocked,
    BlockerResolved: Fold.resolved,
}

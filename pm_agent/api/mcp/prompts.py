"""What a person can have an agent begin with. Texts of the board go along as data, beside it."""

from dataclasses import dataclass

from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    EmbeddedResource,
    GetPromptRequestParams,
    GetPromptResult,
    ListPromptsResult,
    PaginatedRequestParams,
    Prompt,
    PromptArgument,
    PromptMessage,
    TextContent,
)

from pm_agent.api.mcp.door import Context, Door
from pm_agent.api.mcp.resources import GUIDE_URI, Resources

MAX_ARGUMENT = 2_000


@dataclass(frozen=True, slots=True)
class Template:
    """One prompt.

    Attributes
    ----------
    text
        Words for the model, with the arguments' names in braces.
    resource
        URI of what goes along, in the same form.
    """

    name: str
    help: str
    arguments: tuple[PromptArgument, ...]
    resource: str
    text: str


def _argument(name: str, what: str, *, required: bool = True) -> PromptArgument:
    return PromptArgument(name=name, description=what, required=required)


_PROJECT = _argument("project_id", "Id of the project, such as 'P-web'.")
_TASK = _argument("task_id", "Id of the task, such as 'T-142'.")

PROMPTS = (
    Template(
        name="worker_loop",
        help="Become a worker: register, take tasks and finish them until told to stop.",
        arguments=(
            _argument("name", "The name to work under, such as 'Ada'."),
            _argument("skills", "What you can do, such as 'python, sql'.", required=False),
        ),
        resource=GUIDE_URI,
        text="""\
You work for PM Agent under the name {name}. Your skills: {skills}.
Register, then take tasks and finish them one after another, as the guide below says: wait for a
task, work on it, report progress, complete it, wait again. Go on until a directive or a person
tells you to stop.""",
    ),
    Template(
        name="plan_project",
        help="Break a goal into tasks of a project.",
        arguments=(_PROJECT, _argument("goal", "What is to be reached.")),
        resource="pm://projects/{project_id}",
        text="""\
Plan work for project {project_id} with this goal:

{goal}

The project's present state is below. Break the goal into tasks that one agent finishes in one to
four hours; look with search_tasks for what is there already. For each new task call create_task
with a title, a description that needs no other context, acceptance criteria, the skills required,
an estimate in minutes, and the tasks that must be done first as dependencies. Show the plan and
have it agreed before you create anything.""",
    ),
    Template(
        name="unblock",
        help="Answer the blockers of a task.",
        arguments=(_TASK,),
        resource="pm://tasks/{task_id}",
        text="""\
Task {task_id} is blocked. All about it is below. For each open blocker find the cause in the
repository, and say what its agent should do now, in steps it can follow. Then call resolve_blocker
with that answer. When only a person can decide, say what the decision is and between what, and
leave the blocker open.""",
    ),
    Template(
        name="handoff_note",
        help="Write the note with which another agent can go on with a task.",
        arguments=(_TASK,),
        resource="pm://tasks/{task_id}",
        text="""\
Write the note with which another agent can go on with task {task_id}; all about it is below. Say
what is done and where it lies, what is not, what was tried and failed, which decisions hold, and
the very next step. At most 200 words. Send it as the note of release_task, or of
report_task_progress if you keep the task.""",
    ),
    Template(
        name="standup",
        help="Tell in a minute where a project stands.",
        arguments=(_PROJECT,),
        resource="pm://projects/{project_id}",
        text="""\
Give a stand-up of project {project_id} from its state below, for people who have one minute: what
was finished, who works on what and how far it is, what is stuck and who can free it, what is at
risk. Name tasks and agents by id. Say nothing that the data does not say.""",
    ),
)
_BY_NAME = {template.name: template for template in PROMPTS}


class Prompts:
    """Lists and fills in prompts."""

    def __init__(self, door: Door, resources: Resources) -> None:
        self._door = door
        self._resources = resources

    async def list(self, context: Context, _: PaginatedRequestParams | None) -> ListPromptsResult:
        """List all prompts."""
        return ListPromptsResult(
            prompts=[
                Prompt(name=t.name, description=t.help, arguments=list(t.arguments))
                for t in PROMPTS
            ]
        )

    async def get(self, context: Context, params: GetPromptRequestParams) -> GetPromptResult:
        """Fill in a prompt.

        Raises
        ------
        MCPError
            There is no such prompt, an argument is missing, or its resource cannot be read.
        """
        template = _BY_NAME.get(params.name)
        if template is None:
            known = ", ".join(_BY_NAME)
            raise MCPError(
                INVALID_PARAMS, f"There is no prompt {params.name[:100]}; there are {known}."
            )
        given = _arguments(template, params.arguments or {})
        contents = await self._resources.contents(context, template.resource.format_map(given))
        return GetPromptResult(
            description=template.help,
            messages=[
                PromptMessage(
                    role="user", content=TextContent(text=template.text.format_map(given))
                ),
                PromptMessage(role="user", content=EmbeddedResource(resource=contents)),
            ],
        )


def _arguments(template: Template, given: dict[str, str]) -> dict[str, str]:
    missing = [a.name for a in template.arguments if a.required and not given.get(a.name)]
    if missing:
        message = f"{template.name} needs {', '.join(missing)}. Send it as an argument."
        raise MCPError(INVALID_PARAMS, message)
    return {a.name: given.get(a.name, "not said")[:MAX_ARGUMENT] for a in template.arguments}

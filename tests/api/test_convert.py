"""Both sides of the wire have the same fields, but for the tables of the converter."""

from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it has no stubs

from pm_agent.api import convert
from pm_agent.api.convert import (
    DERIVED,
    INTERNAL,
    MAPPED,
    MAPPED_IN,
    NESTED,
    OF_HANDLER,
    to_command,
)
from pm_agent.api.operations import OPERATIONS, Operation
from pm_agent.api.schemas.agents import RegisterAgentInput
from pm_agent.api.schemas.assignments import ReportProgressInput, UsageInput, WaitForTaskInput
from pm_agent.api.schemas.holds import PlaceHoldInput
from pm_agent.api.schemas.projects import CreateProjectInput, GateInput
from pm_agent.api.schemas.tasks import CreateTaskInput, ImportTasksInput, UpdateTaskInput
from pm_agent.domain.access import IssueToken
from pm_agent.domain.agent import RegisterAgent
from pm_agent.domain.assignment import ReportProgress, WaitForTask
from pm_agent.domain.envelope import Command, Principal, Usage
from pm_agent.domain.errors import InvalidInput
from pm_agent.domain.hold import PlaceHold
from pm_agent.domain.notice import Notice
from pm_agent.domain.project import CreateProject, Gate
from pm_agent.domain.task import CreateTask, ImportTasks, Skill, UpdateTask

ADA = Principal("agent", "A-ada")
NOW_US = 1_000_000_000
OF_EVERY_COMMAND = {"request_id", "principal", "workspace_id"}
MADE_BY_HANDLER: dict[type[Command], set[str]] = {IssueToken: {"sha256"}}
COMMANDS = [o for o in OPERATIONS if o.command is not None]


def inside_names(operation: Operation) -> set[str]:
    """The input's field names as the command calls them."""
    kind = operation.command
    assert kind is not None
    mapped = MAPPED | MAPPED_IN.get(kind, {})
    names = set(operation.input.model_fields) - {"request_id"} - OF_HANDLER.get(kind, set())
    return {mapped[name].inside if name in mapped else name for name in names}


def command_names(kind: type[Command]) -> set[str]:
    names = set(kind.__struct_fields__) - OF_EVERY_COMMAND
    if kind in NESTED:
        field, flat = NESTED[kind]
        names = (names - {field}) | flat
    return names - set(DERIVED.get(kind, {})) - INTERNAL.get(kind, set())


@pytest.mark.parametrize("operation", COMMANDS, ids=lambda o: o.name)
def test_every_input_has_the_fields_of_its_command(operation: Operation) -> None:
    kind = operation.command
    assert kind is not None
    derived_from = {"name"} if kind is CreateProject or kind is RegisterAgent else set()
    expected = command_names(kind) - MADE_BY_HANDLER.get(kind, set())
    assert inside_names(operation) | derived_from == expected | derived_from


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.name)
def test_every_field_of_an_input_is_described(operation: Operation) -> None:
    schema = operation.input.model_json_schema()
    for owner in (schema, *schema.get("$defs", {}).values()):
        for name, field in owner.get("properties", {}).items():
            assert field.get("description"), f"{operation.name}: {name}"


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.name)
def test_every_result_has_a_complete_schema(operation: Operation) -> None:
    schema = convert.result_schema(operation.result)
    Draft202012Validator.check_schema(schema)
    assert schema["type"] == "object"
    assert set(operation.result.__struct_fields__) <= set(schema["properties"])
    assert {"server_time", "directives", "inbox"} <= set(schema["properties"])


def converted(kind: type[Command], given: Any) -> Any:
    return to_command(kind, given, ADA, "r-1", NOW_US)


def test_money_is_dollars_outside_and_micro_dollars_inside() -> None:
    given = ReportProgressInput(
        task_id="T-1",
        lease_token=1,
        percent=10,
        usage=UsageInput(tokens=5, cost_usd=0.000_001),
    )
    assert converted(ReportProgress, given).usage == Usage(5, 1)


def test_a_plain_skill_means_level_three_for_agents_and_one_for_tasks() -> None:
    agent = RegisterAgentInput.model_validate({"name": "Ada", "skills": ["python"]})
    task = CreateTaskInput.model_validate(
        {"project_id": "P-web", "title": "T", "skills": ["python", {"name": "sql", "level": 4}]}
    )
    assert converted(RegisterAgent, agent).skills == (Skill("python", 3),)
    assert converted(CreateTask, task).draft.skills == (Skill("python", 1), Skill("sql", 4))


def test_names_become_ids() -> None:
    agent = RegisterAgentInput(name="Ada Lovelace")
    project = CreateProjectInput(name="My Web!")
    assert converted(RegisterAgent, agent).agent_id == "A-ada-lovelace"
    assert converted(CreateProject, project).project_id == "P-my-web"


def test_priority_words_become_numbers_at_every_depth() -> None:
    given = ImportTasksInput.model_validate(
        {"project_id": "P-web", "tasks": [{"title": "a", "priority": "urgent"}, {"title": "b"}]}
    )
    assert [d.priority for d in converted(ImportTasks, given).drafts] == [3, 1]


def test_fields_left_out_stay_untouched() -> None:
    given = UpdateTaskInput(task_id="T-1", title="New")
    command = converted(UpdateTask, given)
    left = {f for f in command.__struct_fields__ if getattr(command, f) is None}
    assert "description" in left
    assert "priority" in left
    assert command.title == "New"


def test_a_wait_ends_at_an_instant_and_a_gates_timeout_stays_a_duration() -> None:
    wait = WaitForTaskInput(agent_id="A-ada", timeout_s=2)
    project = CreateProjectInput(name="Web", gate=GateInput(argv=["true"], timeout_s=9))
    assert converted(WaitForTask, wait).until_us == NOW_US + 2_000_000
    assert converted(CreateProject, project).gate == Gate(("true",), "", 9)


def test_a_hold_needs_an_instant_with_a_time_zone() -> None:
    def hold(until: str) -> PlaceHoldInput:
        return PlaceHoldInput.model_validate({"scope": "workspace", "until": until})

    assert converted(PlaceHold, hold("1970-01-01T00:00:01.5Z")).until_us == 1_500_000
    with pytest.raises(InvalidInput):
        converted(PlaceHold, hold("2026-01-01T00:00:00"))


def test_nul_characters_are_refused() -> None:
    given = CreateTaskInput(project_id="P-web", title="a\x00b")
    with pytest.raises(InvalidInput):
        converted(CreateTask, given)
    given = CreateTaskInput(project_id="P-web", title="ab")
    with pytest.raises(InvalidInput):
        to_command(CreateTask, given, ADA, "r-\x00", NOW_US)


def test_time_and_notices_are_added_to_a_result() -> None:
    empty = convert.result_json(b"{}", 0, Notice(("Stop.",), 2))
    full = convert.result_json(b'{"a":1}', 0)
    assert msgspec.json.decode(empty) == {
        "server_time": "1970-01-01T00:00:00.000Z",
        "directives": ["Stop."],
        "inbox": 2,
    }
    assert msgspec.json.decode(full) == {"a": 1, "server_time": "1970-01-01T00:00:00.000Z"}

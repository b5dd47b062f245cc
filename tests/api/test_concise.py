import typing
from typing import Any

import msgspec
import pytest

from pm_agent.api.concise import CHARS, ITEMS, shortened
from pm_agent.api.operations import OPERATIONS, Operation
from pm_agent.domain.envelope import Principal
from pm_agent.features.assignment.view import ExplainedCandidate, Explanation
from pm_agent.features.backlog.history import HistoryEntry, TaskHistory
from tests.api.conftest import ADMIN, Stack
from tests.api.mcp_server import ERAS, served

# Short, or a list of what an administrator has made; a page of a slow request's is the request's.
SHORT = {"list_keys", "get_operation"}


def is_long(operation: Operation) -> bool:
    return operation.read_only and not operation.streams and operation.name not in SHORT


@pytest.mark.parametrize("operation", [o for o in OPERATIONS if is_long(o)], ids=lambda o: o.name)
def test_every_operation_that_reads_lists_has_a_concise_form(operation: Operation) -> None:
    assert "response_format" in operation.input.model_fields
    hints = typing.get_type_hints(operation.result).values()
    assert any(typing.get_origin(hint) in (list, dict) for hint in hints)


def entry(position: int, **fields: Any) -> HistoryEntry:
    who = str(Principal("agent", "A-ada"))
    return HistoryEntry(
        position=position, at="", event="TaskCreated", by=who, request_id="r", fields=fields
    )


def test_long_texts_are_cut_and_say_so_but_not_addresses() -> None:
    long = "x" * (CHARS + 7)
    history = TaskHistory(task_id="T-1", notice=long, events=[entry(1, uri=long, note={"a": long})])
    cut, left_out = shortened(history)
    assert cut.notice.startswith("x" * CHARS + " … ")
    assert str(CHARS + 7) in cut.notice
    assert left_out == {}
    assert cut.events[0].fields["note"]["a"] == cut.notice
    assert msgspec.structs.replace(history, notice=cut.notice, events=cut.events) == cut


def test_of_a_long_list_what_counts_is_kept_and_the_rest_is_counted() -> None:
    events = [entry(n, numbers=list(range(30))) for n in range(25)]
    history = TaskHistory(task_id="T-1", notice="", events=events)
    cut, left_out = shortened(history)
    assert [one.position for one in cut.events] == list(range(5, 25))  # the newest
    assert cut.events[0].fields["numbers"] == list(range(ITEMS))
    assert left_out == {"events": 5, "fields": ITEMS * 10}
    whole, _ = shortened(history, is_page_asked=True)
    assert len(whole.events) == 25


def test_an_explanation_leaves_out_what_its_factors_came_from() -> None:
    one = ExplainedCandidate(task_id="T-1", score=1.0, factors={"age": 1.0}, facts={"age_min": 60})
    told = Explanation(
        task_id="T-1",
        agent_id="A-ada",
        lease_token=1,
        attempt=1,
        position=9,
        assigned_at="",
        policy="",
        version="",
        rank=1,
        propensity=1.0,
        seed=0,
        n_candidates=2,
        n_eligible=2,
        weights={},
        recomputed=True,
        chosen=one,
        next_best=[one],
    )
    cut, left_out = shortened(told)
    assert (cut.chosen.factors, cut.chosen.facts) == ({"age": 1.0}, {})
    assert left_out == {"facts": 2}


@pytest.mark.parametrize("era", ERAS)
async def test_tools_answer_in_the_concise_form_unless_asked_otherwise(era: str) -> None:
    async with served() as server:
        await report_a_long_blocker(server.stack)
        async with server.client(ADMIN, era) as client:
            concise = await client.call_tool("list_blockers", {})
            detailed = await client.call_tool("list_blockers", {"response_format": "detailed"})
    assert not concise.is_error
    (cut,) = concise.structured_content["blockers"]
    (whole,) = detailed.structured_content["blockers"]
    assert cut["description"].endswith("ask for 'detailed' to get them all)")
    assert whole["description"] == "y" * 5_000


async def test_rest_answers_in_full_unless_asked_otherwise(stack: Stack) -> None:
    await report_a_long_blocker(stack)
    (whole,) = (await stack.ok("GET", "/v1/blockers"))["blockers"]
    assert whole["description"] == "y" * 5_000
    query = {"response_format": "concise"}
    (cut,) = (await stack.ok("GET", "/v1/blockers", params=query))["blockers"]
    assert len(cut["description"]) < CHARS + 100


async def test_what_a_concise_answer_leaves_out_is_counted_beside_it(stack: Stack) -> None:
    await stack.project()
    for n in range(ITEMS + 2):
        await stack.ok("POST", "/v1/projects", json={"name": f"p {n}"})
    query = {"response_format": "concise"}
    listed = await stack.ok("GET", "/v1/projects", params=query)
    assert (len(listed["projects"]), listed["left_out"]) == (ITEMS, {"projects": 3})
    assert "left_out" not in await stack.ok("GET", "/v1/projects")


async def test_a_page_may_be_read_on_in_another_form(stack: Stack) -> None:
    await stack.project()
    for n in range(3):
        await stack.task(title=f"t {n}")
    first = await stack.ok("GET", "/v1/tasks", params={"limit": 2, "response_format": "concise"})
    rest = await stack.ok("GET", "/v1/tasks", params={"limit": 2, "cursor": first["next_cursor"]})
    assert (len(first["tasks"]), len(rest["tasks"])) == (2, 1)


async def report_a_long_blocker(stack: Stack) -> None:
    await stack.project()
    task_id = await stack.task()
    agent_id, token = await stack.agent("Ada")
    claimed = await stack.claim(agent_id, token)
    report = {"lease_token": claimed["lease_token"], "description": "y" * 5_000}
    await stack.ok("POST", f"/v1/tasks/{task_id}/blockers", token, json=report)

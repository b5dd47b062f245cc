"""``pm-agent blockers`` against a real server: the list, the story of one, and who sees to it."""

import time
from collections.abc import Iterator
from typing import Any, NamedTuple
from uuid import uuid4

import pytest

from pm_agent.client import Client
from tests.cli.conftest import At, Served, refused

FIX = "Start it with 'make database'."


class Stuck(NamedTuple):
    """An agent that is stopped, in a project of its own."""

    project_id: str
    task_id: str
    blocker_id: str
    lease_token: int
    report: str
    agent: Client


@pytest.fixture
def stuck(server: Served) -> Iterator[Stuck]:
    with server.client() as admin:
        project_id = admin.create_project(f"Stuck {uuid4().hex[:6]}").project_id
        admin.create_task(project_id, title="Test the basket")
        made = admin.register_agent(f"Ben {uuid4().hex[:6]}", project_ids=[project_id])
    with server.client(made.access_token) as agent:
        claimed = agent.request_next_task(made.agent_id)
        report = f"[bold]Zebra {uuid4().hex}: connection refused"  # no markup, and like no other
        told = agent.report_blocker(
            claimed.task_id,
            lease_token=claimed.lease_token,
            description=report,
            blocker_type="needs_input",
        )
        yield Stuck(
            project_id,
            claimed.task_id,
            told.blocker_id,
            claimed.lease_token,
            report,
            agent,
        )


def fields(found: dict[str, Any]) -> dict[str, Any]:
    (blocker,) = found["blockers"]
    assert isinstance(blocker, dict)
    return blocker


def test_the_list_has_a_row_for_each_with_what_is_done_now(at: At, stuck: Stuck) -> None:
    row = next(line for line in at.run("blockers").splitlines() if stuck.blocker_id in line.split())
    assert stuck.task_id in row
    assert "needs_input" in row
    # It may have climbed since.
    steps = fields(at.json("blockers", stuck.blocker_id))["steps"]
    assert any(step["step"] in row for step in steps)
    assert stuck.report[:40] in row


def test_a_project_without_any_says_so(at: At, worked: str) -> None:
    assert "Nothing is blocked." in at.run("blockers", "--project", "P-worked")
    assert at.json("blockers", "--project", "P-worked")["blockers"] == []


def test_of_one_every_step_is_told_with_its_reason(at: At, stuck: Stuck) -> None:
    blocker = fields(at.json("blockers", stuck.blocker_id))
    shown = at.run("blockers", stuck.blocker_id)
    assert stuck.report in shown
    for step in blocker["steps"]:
        assert step["step"] in shown
        assert f"why: {step['why']}" in shown
    assert blocker["state"] == "open"


def test_what_is_remembered_is_told_with_honest_counts(
    at: At, server: Served, stuck: Stuck
) -> None:
    with server.client() as admin:
        admin.resolve_blocker(stuck.blocker_id, resolution=FIX)
    again = stuck.agent.report_blocker(
        stuck.task_id,
        lease_token=stuck.lease_token,
        description=stuck.report,
        blocker_type="needs_input",
    )
    shown = at.run("blockers", again.blocker_id)
    assert FIX in shown
    assert "remembered of needs_input" in shown
    told = at.json("blockers", again.blocker_id)
    assert fields(told)["similar_before"] == sum(r["tried"] for r in told["cases"][0]["remedies"])
    assert stuck.blocker_id not in at.run("blockers").split()
    assert f"answer of person:admin: {FIX}" in at.run("blockers", stuck.blocker_id)
    assert stuck.blocker_id in at.run("blockers", "--all").split()


def test_who_acknowledges_is_told_from_then_on(at: At, stuck: Stuck) -> None:
    give_up_at = time.monotonic() + 10
    while (step := fields(at.json("blockers", stuck.blocker_id))["steps"][-1])[
        "step"
    ] != "escalate":
        assert time.monotonic() < give_up_at, step
        if step["step"] == "advice" and not step.get("text"):  # it is being written
            time.sleep(0.05)
        else:
            stuck.agent.report_fix(stuck.blocker_id, lease_token=stuck.lease_token, worked=False)
    assert "seen by" not in at.run("blockers", stuck.blocker_id)
    shown = at.run("blockers", stuck.blocker_id, "--ack", stuck.blocker_id)
    assert "seen by" in shown


def test_an_unknown_blocker_is_refused(at: At) -> None:
    assert "B-999999" in refused("unknown_blocker", "blockers", "B-999999", *at.options)


def test_of_one_it_is_told_who_was_asked_to_help(at: At, server: Served, stuck: Stuck) -> None:
    with server.client() as admin:
        knows = admin.register_agent(f"Kim {uuid4().hex[:6]}", project_ids=[stuck.project_id])
    stuck.agent.request_collaboration(
        stuck.task_id, lease_token=stuck.lease_token, need="Who?", blocker_id=stuck.blocker_id
    )
    assert f"asked to help: {knows.agent_id}" in at.run("blockers", stuck.blocker_id)

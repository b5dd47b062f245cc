"""A person's verdict, from the command line: on late work too."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pm_agent.domain.task import Evidence
from tests.cli.conftest import At, Served, refused, run, serving
from tests.cli.test_audit import write_journal
from tests.scenario import ADA, BOB, WEB, Scenario, a_project, an_agent, complete


def raced() -> Scenario:
    """Ada's work on T-1 and T-2 came too late, while Bob works on both."""
    scenario = Scenario()
    agents = (an_agent(who, sends_heartbeats=True, capacity=2) for who in (ADA, BOB))
    scenario.given(a_project(completion="person"), *agents)
    for _ in range(2):
        scenario.new_task()
        scenario.assigned(ADA)
    scenario.after(minutes=10)
    for _ in range(2):
        assert scenario.assigned(BOB).lease_token == 2
    for task_id in ("T-1", "T-2"):
        late = complete(task_id, 1, evidence=Evidence(branch=f"task/{task_id}/a1"))
        assert scenario.when(late).reply.error is not None
    return scenario


@pytest.fixture
def racing(tmp_path: Path) -> Iterator[At]:
    """A server that goes on with such a journal."""
    write_journal(tmp_path, raced())
    with serving(tmp_path) as served:
        yield At(served)


def test_late_work_is_shown_with_the_command_that_decides_and_decided_once(
    racing: At, tmp_path: Path
) -> None:
    hint = "pm-agent approve T-1 --lease-token 1"
    for command in (("tasks",), ("status",)):
        assert hint in racing.run(*command)
    assert hint in run("why", "T-1", "--data", tmp_path).stdout
    waiting = [
        {"task_id": task_id, "lease_token": 1, "agent_id": ADA} for task_id in ("T-1", "T-2")
    ]
    told = racing.json("status")["late_work"]
    assert [{name: late[name] for name in waiting[0]} for late in told] == waiting

    racing.run("approve", *hint.split()[2:])
    assert [task["state"] for task in racing.json("tasks", "--project", WEB)["tasks"]] == [
        "done",
        "assigned",
    ]
    shown = racing.run("reject", "T-2", "--reason", "half of it", "--lease-token", 1)
    assert "late work on T-2 (lease token 1) is rejected" in shown
    assert "late_work" not in racing.json("status")
    assert "late work" not in racing.run("tasks")
    assert "pm-agent approve" not in run("why", "T-2", "--data", tmp_path).stdout
    for again in (("approve", "T-1"), ("reject", "T-2", "--reason", "x")):
        refused("wrong_state", *again, "--lease-token", 1, *racing.options)


def test_a_completion_is_rejected_with_its_reasons(server: Served, at: At) -> None:
    with server.client() as admin:
        project = admin.create_project("Judged", completion="person").project_id
        admin.create_task(project, title="Paint")
        made = admin.register_agent("Ute", project_ids=[project])
        with server.client(made.access_token) as agent:
            got = agent.request_next_task(made.agent_id)
            agent.complete_task(got.task_id, lease_token=got.lease_token, summary="done")
    missing = run("reject", got.task_id, *at.options, exit_code=2)
    assert "--reason" in missing.stderr
    found = at.json("reject", got.task_id, "--reason", "too thin", "--reason", "no primer")
    assert found["state"] == "open"

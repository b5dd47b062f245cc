import json
from pathlib import Path
from uuid import uuid4

import pytest
from msgspec.structs import replace

from pm_agent.cli import board, console
from pm_agent.cli.connect import FORMS
from pm_agent.client import Client
from tests.cli.conftest import At, Served, free_port, refused, run


@pytest.fixture
def project(server: Served) -> str:
    with server.client() as admin:
        return admin.create_project(f"p {uuid4().hex[:6]}").project_id


def test_status_shows_projects_and_the_team(at: At, worked: str) -> None:
    shown = at.run("status")
    assert "P-worked" in shown
    assert "workspace main" in shown
    found = at.json("status")
    assert found["workspace_id"] == "main"
    assert {"position", "epoch", "agents", "tasks", "projects", "parked"} <= set(found)
    (of_project,) = [p for p in found["projects"] if p["project_id"] == "P-worked"]
    assert of_project["tasks"]["done"] == 1


def test_status_is_watched_until_it_is_interrupted(
    at: At, worked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[float] = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("pm_agent.cli.board.time.sleep", sleep)
    assert "P-worked" in at.run("status", "--watch")
    assert len(looks) == 3


def test_silence_is_shown_in_every_table(server: Served, at: At, project: str) -> None:
    with server.client() as admin:
        admin.create_task(project, title="Paint")
        made = admin.register_agent("Ines", project_ids=[project], sends_heartbeats=True)
        with server.client(made.access_token) as agent:
            task_id = agent.request_next_task(made.agent_id).task_id
        found = admin.get_status()
        tasks = admin.search_tasks(project_id=project).tasks
        agents = admin.list_agents(project_id=project).agents
    assert found.suspect == []
    (ines,) = [one for one in agents if one.agent_id == "A-ines"]
    assert ines.lease_state == tasks[0].lease_state == "live"
    assert "(live)" not in at.run("tasks", "--project", project)  # nothing is to be done about it
    with console.out.capture() as shown:
        console.out.print(board.status_table(replace(found, suspect=[task_id])))
        console.out.print(board.tasks_table([replace(tasks[0], lease_state="suspect")]))
        console.out.print(board.agents_table([replace(ines, lease_state="quiet")]))
    assert f"suspect: {task_id}" in shown.get()
    assert "assigned (suspect)" in shown.get()
    assert "full (quiet)" in shown.get()


def test_tasks_are_listed_over_all_pages_and_filtered(
    at: At, project: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board, "PAGE", 2)
    drafts = [{"title": f"Paint wall {n}", "skills": ["paint"]} for n in range(4)]
    drafts.append({"title": "Fetch paint", "key": "f"})
    drafts.append({"title": "Open it", "dependencies": ["f"]})
    path = tmp_path / "backlog.json"
    path.write_text(json.dumps(drafts))
    at.run("import", path, "--project", project)
    found = at.json("tasks", "--project", project)
    assert len(found["tasks"]) == 6
    assert {"task_id", "state", "title", "priority", "is_ready"} <= set(found["tasks"][0])
    assert len(at.json("tasks", "--project", project, "--query", "wall")["tasks"]) == 4
    shown = at.run("tasks", "--project", project, "--state", "ready")
    assert "Open it" not in shown
    assert "paint:1" in shown
    assert at.json("tasks", "--project", project, "--state", "done")["tasks"] == []


def test_agents_are_listed_with_their_work(
    at: At, worked: str, server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board, "PAGE", 1)
    with server.client() as admin:
        admin.register_agent("Zoe", skills=["python"])
    assert "python:3" in at.run("agents")
    found = {agent["agent_id"]: agent for agent in at.json("agents")["agents"]}
    assert {"A-vera", "A-zoe"} <= set(found)


@pytest.mark.parametrize(
    "text",
    [
        '[{"title": "a"}, {"title": "b"}]',
        '{"tasks": [{"title": "a"}, {"title": "b"}]}',
        '{"title": "a"}\n\n{"title": "b"}\n',
    ],
    ids=["list", "object", "lines"],
)
def test_a_backlog_is_imported_in_any_of_its_forms(at: At, tmp_path: Path, text: str) -> None:
    path = tmp_path / "backlog"
    path.write_text(text)
    name = f"new {uuid4().hex[:6]}"
    assert "2 tasks imported into P-new" in at.run("import", path, "--project", name)
    again = at.json("import", path, "--project", f"P-{name.replace(' ', '-')}")
    assert again["created"] == 2
    assert len(again["task_ids"]) == 2


def test_a_single_line_is_one_task(at: At, project: str, tmp_path: Path) -> None:
    path = tmp_path / "one.jsonl"
    path.write_text('{"title": "alone"}\n')
    assert at.json("import", path, "--project", project)["created"] == 1


@pytest.mark.parametrize("text", ["no json", "3", '"text"'])
def test_a_backlog_that_is_none_is_told(at: At, project: str, tmp_path: Path, text: str) -> None:
    path = tmp_path / "backlog"
    path.write_text(text)
    refused("malformed_json", "import", path, "--project", project, *at.options)


def test_a_backlog_that_is_not_there_is_told(at: At, tmp_path: Path) -> None:
    result = run("import", tmp_path / "none", "--project", "x", *at.options, exit_code=2)
    assert "none" in result.stderr


def test_a_refused_import_names_the_task_and_changes_nothing(
    at: At, project: str, tmp_path: Path
) -> None:
    path = tmp_path / "backlog"
    path.write_text('[{"title": "a"}, {"title": "b", "dependencies": ["nowhere"]}]')
    refused("unknown_dependency", "import", path, "--project", project, *at.options)
    assert at.json("tasks", "--project", project)["tasks"] == []


def test_a_token_is_made_shown_and_works(at: At, server: Served) -> None:
    shown = at.run("token", "Ada")
    for agent in FORMS:
        command = next(line for line in shown.splitlines() if f"connect {agent} " in line)
        printed = at.run(*command.split()[1:])
        assert f"{server.url}/mcp" in printed
        assert "Bearer pma_" in printed
    found = at.json("token", "Pat", "--person", "--role", "lead", "--label", "desk")
    assert {"token", "sha256", "owner", "role", "mcp_url"} <= set(found)
    assert found["owner"] == "person:Pat"
    with server.client(found["token"]) as pat:
        assert pat.create_project(f"by pat {uuid4().hex[:6]}").project_id


def test_a_project_is_paused_stopped_and_resumed(at: At, project: str) -> None:
    assert f"{project} is paused" in at.run("pause", project, "--reason", "lunch")
    (hold,) = [p["holds"] for p in at.json("status")["projects"] if p["project_id"] == project]
    assert [(h["kind"], h["reason"]) for h in hold] == [("paused", "lunch")]
    assert "paused" in at.run("status")
    assert f"{project} goes on" in at.run("resume", project)
    assert at.json("stop", project)
    assert at.json("resume", project)
    assert at.json("pause", project)
    assert f"{project} is stopped" in at.run("stop", project)
    at.run("resume", project)


def test_the_workspace_tasks_and_agents_can_be_held_too(at: At, worked: str) -> None:
    for target in ("workspace", "A-vera"):
        at.run("pause", target)
        at.run("resume", target)
    refused("unknown_task", "pause", "T-9999", *at.options)
    assert "neither a task" in run("pause", "web", *at.options, exit_code=2).stderr


def test_a_task_that_waits_for_approval_is_approved(at: At, server: Served, project: str) -> None:
    with server.client() as admin:
        first, second = (
            admin.create_task(project, title="Dangerous", needs_approval=True).task_id
            for _ in range(2)
        )
    assert f"{first} is approved" in at.run("approve", first)
    assert at.json("approve", second)["task_id"] == second
    refused("wrong_state", "approve", second, *at.options)


# -- no way to the server -------------------------------------------------------------------------


@pytest.mark.parametrize("command", [("status",), ("tasks",), ("agents",), ("pause", "workspace")])
def test_without_a_token_file_the_way_out_is_told(tmp_path: Path, command: tuple[str, ...]) -> None:
    told = refused("start_failed", *command, "--data", tmp_path)
    assert "admin.token" in told


def test_a_server_that_does_not_run_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def impatient(url: str, token: str, patience_s: float) -> Client:
        return Client(url, token, patience_s=0.0)

    monkeypatch.setattr(console, "Client", impatient)
    url = f"http://127.0.0.1:{free_port()}"
    refused("unreachable", "status", "--url", url, "--token", "x", "--data", tmp_path)


def test_a_wrong_token_is_told(at: At, server: Served) -> None:
    refused("unauthenticated", "status", "--url", server.url, "--token", "wrong")

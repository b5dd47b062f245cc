"""A server replaced by another one beside it, while an agent works."""

import threading
import time
from pathlib import Path

import httpx

from pm_agent.client import ApiError
from tests.cli.conftest import Served, run, run_json, serving


def at(server: Served) -> tuple[object, ...]:
    return ("--url", server.url, "--data", server.data)


def test_a_new_server_takes_over_and_nothing_is_lost(tmp_path: Path) -> None:
    with serving(tmp_path) as old:
        with old.client() as admin:
            project_id = admin.create_project("Web").project_id
            admin.import_tasks(project_id, [{"title": f"t{n}"} for n in range(3)])
            made = admin.register_agent("Ada", project_ids=[project_id])
        with old.client(made.access_token) as ada:
            claimed = ada.request_next_task(made.agent_id)
        handed = run_json("handover", "--drain", 0, *at(old))
        assert httpx.get(f"{old.url}/readyz").status_code == 503
        with serving(tmp_path) as new:
            with old.client() as admin:  # the old one reads on
                assert admin.get_project_status(project_id).tasks["assigned"] == 1
            with new.client(made.access_token) as ada:
                back = ada.register_agent("Ada", project_ids=[project_id])
                (lease,) = back.leases
                assert lease.task_id == claimed.task_id
                done = ada.complete_task(
                    lease.task_id, lease_token=lease.lease_token, summary="done"
                )
                assert done.state == "done"
            with new.client() as admin:
                status = admin.get_status()
                assert status.epoch == handed["epoch"] + 1
            assert old.stop()[0] == 0
            assert new.stop()[0] == 0


def test_an_agent_that_waits_is_sent_away_in_time_and_a_client_waits_for_the_new_server(
    tmp_path: Path,
) -> None:
    with serving(tmp_path) as old:
        with old.client() as admin:
            project_id = admin.create_project("Web").project_id
            made = admin.register_agent("Ada", project_ids=[project_id])
        told: list[str] = []

        def wait() -> None:
            with old.client(made.access_token) as ada:
                told.append(ada.wait_for_task(made.agent_id, timeout_s=50).outcome)
                ada.patience_s = 0.0
                try:
                    ada.request_next_task(made.agent_id)
                except ApiError as error:
                    told.append(error.code)

        waiting = threading.Thread(target=wait)
        waiting.start()
        with old.client() as admin:
            while not admin.get_status().parked:
                time.sleep(0.02)
        printed = run("handover", "--drain", 1, *at(old)).stdout
        assert "handed over at position" in printed
        waiting.join(5)
        assert told == ["waiting", "handing_over"]
        old.stop()

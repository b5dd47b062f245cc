"""Projects and tasks: creating, importing, changing, cancelling, reopening, archiving."""

from typing import Any

import pytest

from pm_agent.domain.assignment import CompletionAccepted, CompletionSubmitted
from pm_agent.domain.envelope import SYSTEM
from pm_agent.domain.hold import HoldPlaced
from pm_agent.domain.project import ProjectCreated, ProjectUpdated, UpdateProject
from pm_agent.domain.task import (
    ArchiveTask,
    ArtifactLogged,
    CancelTask,
    DecisionLogged,
    LogArtifact,
    LogDecision,
    ReopenTask,
    Skill,
    TaskArchived,
    TaskCancelled,
    TaskCreated,
    TaskDraft,
    TaskReopened,
    TaskUpdated,
    UpdateTask,
)
from tests.scenario import (
    ADA,
    PERSON,
    WEB,
    Scenario,
    a_project,
    a_task,
    agent_principal,
    an_agent,
    an_import,
    claim,
    complete,
    of_person,
    progress,
    request_id,
)


def update(task_id: str, **fields: Any) -> UpdateTask:
    return UpdateTask(request_id=request_id(), principal=PERSON, task_id=task_id, **fields)


def cancel(task_id: str) -> CancelTask:
    return CancelTask(request_id=request_id(), principal=PERSON, task_id=task_id, reason="no need")


def reopen(task_id: str, reason: str = "it broke again") -> ReopenTask:
    return ReopenTask(request_id=request_id(), principal=PERSON, task_id=task_id, reason=reason)


# -- projects ------------------------------------------------------------------------------------


def test_a_project_is_created_once(empty: Scenario) -> None:
    empty.when(a_project()).then(ProjectCreated)
    empty.when(a_project()).then_refused("already_exists")


def test_a_command_policy_needs_the_gates_argv(team: Scenario) -> None:
    no_argv = UpdateProject(
        request_id=request_id(), principal=PERSON, project_id=WEB, completion="command"
    )
    team.when(no_argv).then_refused("invalid_input")


def test_only_changed_fields_of_a_project_are_written(team: Scenario) -> None:
    change = UpdateProject(
        request_id=request_id(), principal=PERSON, project_id=WEB, completion="auto", token_cap=9
    )
    team.when(change).then(ProjectUpdated)
    assert team.of_kind(ProjectUpdated)[0] == ProjectUpdated(project_id=WEB, token_cap=9)
    team.when(of_person(change)).then()


def test_a_worker_agent_cannot_change_the_plan(team: Scenario) -> None:
    task = team.new_task()
    for command in (a_project("P-other"), an_import(TaskDraft(title="x")), cancel(task)):
        team.when(of_person(command, agent_principal(ADA))).then_refused("forbidden")


def test_a_lead_agent_may_change_the_plan(team: Scenario) -> None:
    team.when(of_person(a_project("P-other"), agent_principal(ADA, "lead"))).then(ProjectCreated)


# -- creating and importing ----------------------------------------------------------------------


def test_a_task_without_dependencies_is_ready_at_once(team: Scenario) -> None:
    team.when(a_task("Write the parser", description="for dates")).then(TaskCreated)
    assert "T-1" in team.world.ready
    assert team.texts[str(team.task("T-1").description)] == "for dates"


def test_a_task_in_an_unknown_project_is_refused(team: Scenario) -> None:
    team.when(a_task(project_id="P-nowhere")).then_refused("unknown_project")


def test_a_task_that_depends_on_nothing_known_is_refused(team: Scenario) -> None:
    team.when(a_task(dependencies=("T-99",))).then_refused("unknown_dependency")


def test_required_skills_are_lower_case_sorted_and_at_their_highest_level(team: Scenario) -> None:
    task = team.new_task(skills=(Skill("Rust", 2), Skill("api", 1), Skill("rust", 4)))
    assert team.task(task).skills == (Skill("api", 1), Skill("rust", 4))


def test_a_task_that_needs_approval_waits_for_it(team: Scenario) -> None:
    team.when(a_task(needs_approval=True)).then(TaskCreated, HoldPlaced)
    assert team.result["state"] == "on_hold"
    team.when(claim())
    assert team.result["outcome"] == "none"


def test_an_import_names_dependencies_by_key_in_any_order(team: Scenario) -> None:
    team.given(
        an_import(
            TaskDraft(title="Deploy", key="deploy", dependencies=("test",)),
            TaskDraft(title="Test", key="test", dependencies=("build",)),
            TaskDraft(title="Build", key="build"),
        )
    )
    deploy, test, build = team.result["task_ids"]
    assert team.task(deploy).dependencies == (test,)
    assert set(team.world.ready) == {build}
    for task in (build, test, deploy):
        team.done(task)


def test_an_import_may_depend_on_tasks_that_exist_by_id_or_key(team: Scenario) -> None:
    first = team.new_task(key="first")
    second = team.new_task()
    team.given(an_import(TaskDraft(title="Third", dependencies=("first", second, first))))
    assert team.task("T-3").dependencies == (first, second)


def test_a_cycle_in_an_import_is_refused_and_told_by_its_keys(team: Scenario) -> None:
    team.when(
        an_import(
            TaskDraft(title="Free", key="free"),
            TaskDraft(title="A", key="a", dependencies=("c",)),
            TaskDraft(title="B", key="b", dependencies=("a",)),
            TaskDraft(title="C", key="c", dependencies=("b",)),
        )
    ).then_refused("dependency_cycle")
    assert team.reply.error is not None
    assert "a → c → b → a" in team.reply.error.message


def test_a_task_that_depends_on_itself_is_refused(team: Scenario) -> None:
    team.when(an_import(TaskDraft(title="A", key="a", dependencies=("a",)))).then_refused(
        "dependency_cycle"
    )


@pytest.mark.parametrize(
    ("drafts", "code"),
    [
        (
            (TaskDraft(title="A"), TaskDraft(title="B", dependencies=("nowhere",))),
            "unknown_dependency",
        ),
        ((TaskDraft(title="A", key="k"), TaskDraft(title="B", key="k")), "already_exists"),
        ((), "invalid_input"),
    ],
)
def test_an_import_is_taken_whole_or_not_at_all(
    team: Scenario, drafts: tuple[TaskDraft, ...], code: str
) -> None:
    team.when(an_import(*drafts)).then_refused(code)
    assert team.world.tasks == {}


# -- changing ------------------------------------------------------------------------------------


def test_an_update_writes_only_what_changes(team: Scenario) -> None:
    task = team.new_task(priority=1, labels=("ui",))
    team.when(update(task, priority=3, labels=("ui",))).then(TaskUpdated)
    assert team.of_kind(TaskUpdated)[0] == TaskUpdated(task_id=task, priority=3)
    team.when(update(task, priority=3)).then()


def test_an_update_of_a_version_that_has_passed_is_refused(team: Scenario) -> None:
    task = team.new_task()
    seen = team.task(task).version
    team.given(update(task, expected_version=seen, title="new"))
    assert team.result["version"] == team.task(task).version
    team.when(update(task, expected_version=seen, title="other")).then_refused("version_mismatch")


def test_new_dependencies_take_a_task_out_of_the_ready_set(team: Scenario) -> None:
    first, second = team.new_task("first"), team.new_task("second")
    team.given(update(first, dependencies=(second,)))
    assert set(team.world.ready) == {second}
    team.given(update(first, dependencies=()))
    assert set(team.world.ready) == {first, second}


def test_an_update_that_closes_a_cycle_is_refused(team: Scenario) -> None:
    first = team.new_task()
    second = team.new_task(dependencies=(first,))
    third = team.new_task(dependencies=(second,))
    team.when(update(first, dependencies=(third,))).then_refused("dependency_cycle")
    team.when(update(first, dependencies=(first,))).then_refused("dependency_cycle")


def test_running_work_gets_no_new_dependencies(team: Scenario) -> None:
    first, second = team.new_task(priority=3), team.new_task()
    assert team.assigned().task_id == first
    team.when(update(first, dependencies=(second,))).then_refused("wrong_state")


def test_a_task_that_ended_cannot_be_changed(team: Scenario) -> None:
    task = team.new_task()
    team.given(cancel(task))
    team.when(update(task, title="new")).then_refused("wrong_state")


def test_required_skills_that_change_move_the_task_to_another_class(team: Scenario) -> None:
    task = team.new_task()
    team.given(update(task, skills=(Skill("rust", 2),)))
    team.when(claim())
    assert team.result["outcome"] == "none"


# -- the end and what comes after it -------------------------------------------------------------


def test_only_accepted_work_unblocks_its_dependants(team: Scenario) -> None:
    first, other = team.new_task(), team.new_task()
    both = team.new_task(dependencies=(first, other))
    team.done(first)
    assert both not in team.world.ready
    team.done(other)
    assert both in team.world.ready


def test_a_cancelled_dependency_unblocks_nothing(team: Scenario) -> None:
    first = team.new_task()
    second = team.new_task(dependencies=(first,))
    team.when(cancel(first)).then(TaskCancelled)
    assert second not in team.world.ready


def test_cancelling_a_running_task_ends_its_lease(team: Scenario) -> None:
    team.new_task()
    given = team.assigned()
    team.given(cancel(given.task_id))
    assert team.world.assignments == {}
    assert team.world.agents[ADA].active == ()
    assert team.task(given.task_id).attempts[-1].outcome == "stopped"
    team.when(progress(given.task_id, given.lease_token)).then_refused("not_assigned")
    team.when(complete(given.task_id, given.lease_token)).then_refused("already_completed")


def test_cancelling_twice_is_one_cancellation(team: Scenario) -> None:
    task = team.new_task()
    team.given(cancel(task))
    team.when(cancel(task)).then()
    assert team.result["state"] == "cancelled"


def test_done_work_cannot_be_cancelled(team: Scenario) -> None:
    task = team.new_task()
    team.done(task)
    team.when(cancel(task)).then_refused("wrong_state")


def test_reopening_done_work_blocks_its_dependants_again(team: Scenario) -> None:
    first = team.new_task()
    second = team.new_task(dependencies=(first,))
    team.done(first)
    team.when(reopen(first)).then(TaskReopened)
    assert set(team.world.ready) == {first}
    assert team.task(second).waiting_on == 1
    team.done(first)
    team.done(second)


def test_reopening_cancelled_work_unblocks_nothing(team: Scenario) -> None:
    first = team.new_task()
    second = team.new_task(dependencies=(first,))
    team.given(cancel(first), reopen(first))
    assert team.task(second).waiting_on == 1


def test_reopening_needs_a_reason_and_an_ended_task(team: Scenario) -> None:
    task = team.new_task()
    team.when(reopen(task)).then_refused("wrong_state")
    team.given(cancel(task))
    team.when(reopen(task, reason=" ")).then_refused("invalid_input")


def test_an_ended_task_is_archived_after_seven_days_and_leaves_a_tombstone(team: Scenario) -> None:
    first = team.new_task()
    second = team.new_task(dependencies=(first,))
    team.when(claim())
    token = team.result["lease_token"]
    team.when(complete(first, token)).then(CompletionSubmitted, CompletionAccepted)
    team.after(days=6.9).then()
    team.after(days=0.2).then(TaskArchived)
    assert first not in team.world.tasks
    assert team.world.tombstones[first].state == "done"
    assert second in team.world.ready
    team.when(complete(first, token)).then()  # the same attempt hears the same again
    assert team.result["state"] == "done"
    team.when(complete(first, token + 1)).then_refused("already_completed")
    team.when(reopen(first)).then_refused("already_completed")
    assert team.new_task(dependencies=(first,)) in team.world.ready
    team.when(a_task(dependencies=("T-77",))).then_refused("unknown_dependency")


def test_a_cancelled_dependant_that_is_archived_waits_for_nothing_any_more(team: Scenario) -> None:
    first = team.new_task()
    second = team.new_task(dependencies=(first,))
    team.given(cancel(second))
    team.after(days=7.1)
    assert second in team.world.tombstones
    team.verify()


def test_a_task_reopened_in_time_is_not_archived(team: Scenario) -> None:
    task = team.new_task()
    team.given(cancel(task))
    team.after(days=6)
    team.given(reopen(task), cancel(task))
    team.after(days=2).then()
    team.after(days=5.1).then(TaskArchived)


def test_an_early_look_archives_nothing(team: Scenario) -> None:
    task = team.new_task()
    team.given(cancel(task))
    look = ArchiveTask(request_id=request_id(), principal=SYSTEM, task_id=task)
    team.when(look).then()


# -- the log of a task ---------------------------------------------------------------------------


def test_an_agent_logs_on_the_task_it_holds(team: Scenario) -> None:
    team.new_task()
    given = team.assigned()
    decision = LogDecision(
        request_id=request_id(),
        principal=agent_principal(ADA),
        task_id=given.task_id,
        lease_token=given.lease_token,
        decision="dates are UTC",
    )
    team.when(decision).then(DecisionLogged)
    artifact = LogArtifact(
        request_id=request_id(),
        principal=agent_principal(ADA),
        task_id=given.task_id,
        lease_token=given.lease_token,
        name="api",
        uri="docs/api.md",
    )
    team.when(artifact).then(ArtifactLogged)
    team.given(of_person(artifact, agent_principal(ADA)))
    assert len(team.task(given.task_id).artifacts) == 1


def test_an_agent_without_a_lease_logs_nothing_but_a_person_may(team: Scenario) -> None:
    task = team.new_task()
    by_person = LogDecision(
        request_id=request_id(), principal=PERSON, task_id=task, decision="ship on Friday"
    )
    team.when(of_person(by_person, agent_principal(ADA))).then_refused("invalid_input")
    team.when(by_person).then(DecisionLogged)
    empty_text = LogDecision(request_id=request_id(), principal=PERSON, task_id=task, decision="")
    team.when(empty_text).then_refused("invalid_input")


def test_a_profile_sent_again_writes_nothing(team: Scenario) -> None:
    team.when(an_agent()).then()

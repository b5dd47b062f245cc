"""The checkers find what they are there to find: each planted fault is named by its promise."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from pm_agent.domain.assignment import (
    CandidateKept,
    CompletionAccepted,
    LeaseRegranted,
    LeaseSuspected,
    ProgressReported,
    TaskAssigned,
    TaskReleased,
)
from pm_agent.domain.envelope import Event, EventData, Usage
from pm_agent.domain.hold import HoldPlaced
from pm_agent.domain.project import UpdateProject
from pm_agent.domain.task import TaskArchived, TaskCreated, TaskReopened, TaskUpdated
from pm_agent.features.assignment.view import differences
from pm_agent.kernel import snapshot as snapshots
from pm_agent.kernel.chain import unseal
from pm_agent.kernel.invariants import Watch, check_replay, check_world
from tests.scenario import (
    ADA,
    BOB,
    PERSON,
    WEB,
    Scenario,
    a_project,
    an_agent,
    complete,
    request_id,
)


@pytest.fixture
def story() -> Scenario:
    """T-1 done, T-2 with A-ada, T-3 waits for T-2, T-4 ready; P-web lets two be in progress."""
    scenario = Scenario()
    scenario.given(a_project(max_in_progress=1, token_cap=10**6), an_agent(), an_agent(BOB))
    for _ in range(2):
        scenario.new_task(estimate_min=30)
    scenario.new_task(dependencies=("T-2",))
    scenario.new_task()
    scenario.done("T-1")
    assert scenario.assigned().task_id == "T-2"
    return scenario


def watch_of(story: Scenario) -> Watch:
    watch = Watch(recompute=differences)
    for stored in story.journal:
        assert watch.observe(unseal(stored)) == []
    return watch


def grant(story: Scenario, **changes: Any) -> TaskAssigned:
    """The last grant again, changed."""
    data = next(
        e.data for s in reversed(story.journal) if isinstance((e := unseal(s)).data, TaskAssigned)
    )
    return msgspec.structs.replace(data, **changes)


def progress_of(**changes: Any) -> ProgressReported:
    fields: dict[str, Any] = {
        "task_id": "T-2",
        "agent_id": ADA,
        "lease_token": 1,
        "percent": 1,
    } | changes
    return ProgressReported(**fields)


def regrant_of(task_id: str, late_token: int, lease_token: int) -> LeaseRegranted:
    return LeaseRegranted(
        task_id=task_id, agent_id=BOB, lease_token=lease_token, attempt=2, late_token=late_token
    )


def suspicion_of(task_id: str, lease_token: int) -> LeaseSuspected:
    return LeaseSuspected(
        task_id=task_id,
        agent_id=ADA,
        lease_token=lease_token,
        reason="agent_silent",
        allowance_us=1,
        agent_heard_at_us=1,
        task_heard_at_us=1,
        lost_at_us=2,
    )


def candidate_of(task_id: str, lease_token: int) -> CandidateKept:
    return CandidateKept(task_id=task_id, agent_id=BOB, lease_token=lease_token, summary="ref")


Plant = Callable[[Scenario], EventData]
FAULTS: dict[str, tuple[str, Plant]] = {
    "a second lease": (
        "single-lease",
        lambda s: grant(s, agent_id=BOB, lease_token=2),
    ),
    "a token that does not rise": ("single-lease", lambda s: grant(s, lease_token=1)),
    "a stale token": ("fenced", lambda _: progress_of(lease_token=0)),
    "a write by another agent": ("fenced", lambda _: progress_of(agent_id=BOB)),
    "a release by nobody's holder": (
        "fenced",
        lambda _: TaskReleased(task_id="T-4", agent_id=BOB, lease_token=0, reason="released"),
    ),
    "an acceptance of work not handed in": (
        "terminal",
        lambda _: CompletionAccepted(task_id="T-2", agent_id=ADA, lease_token=1),
    ),
    "a change of done work": ("terminal", lambda _: TaskUpdated(task_id="T-1", priority=3)),
    "a grant of done work": ("terminal", lambda s: grant(s, task_id="T-1", lease_token=2)),
    "a reopening of running work": (
        "terminal",
        lambda _: TaskReopened(task_id="T-2", reason="why not"),
    ),
    "a reopening without a reason": ("terminal", lambda _: TaskReopened(task_id="T-1", reason="")),
    "a task created twice": (
        "conservation",
        lambda _: TaskCreated(task_id="T-1", number=1, project_id=WEB, title="t"),
    ),
    "an archived open task": ("conservation", lambda _: TaskArchived(task_id="T-4")),
    "a grant before its dependency": (
        "ready-set",
        lambda s: grant(s, task_id="T-3", agent_id=BOB),
    ),
    "a grant above the project's limit": (
        "capacity",
        lambda s: grant(s, task_id="T-4", agent_id=BOB),
    ),
    "a grant above the agent's capacity": ("capacity", lambda s: grant(s, task_id="T-4")),
    "a grant above a cap": (
        "capacity",
        lambda s: grant(s, task_id="T-4", agent_id=BOB, reserved=Usage(10**6, 0)),
    ),
    "a late lease beside a live one": ("single-lease", lambda _: regrant_of("T-2", 1, 2)),
    "a late lease whose token does not rise": ("single-lease", lambda _: regrant_of("T-4", 0, 0)),
    "a late lease of a token that never was": ("single-lease", lambda _: regrant_of("T-4", 3, 4)),
    "a late lease of done work": ("terminal", lambda _: regrant_of("T-1", 1, 2)),
    "a late lease before its dependency": ("ready-set", lambda _: regrant_of("T-3", 0, 1)),
    "a suspicion of nobody's lease": ("fenced", lambda _: suspicion_of("T-4", 0)),
    "a suspicion of a stale lease": ("fenced", lambda _: suspicion_of("T-2", 0)),
    "a candidate under the live lease": ("fenced", lambda _: candidate_of("T-2", 1)),
    "a candidate under a lease to come": ("fenced", lambda _: candidate_of("T-4", 1)),
    "a record without its task": (
        "explainable",
        lambda s: grant(s, task_id="T-4", agent_id=BOB),
    ),
    "a record with another propensity": (
        "explainable",
        lambda s: grant(
            s, decision=msgspec.structs.replace(grant(s).decision, propensity=0.25), lease_token=2
        ),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_event_is_found(story: Scenario, fault: str) -> None:
    invariant, plant = FAULTS[fault]
    watch = watch_of(story)
    last = unseal(story.journal[-1])
    event = Event(last.position + 1, last.at_us, 1, "agent:A-ada", "r", plant(story))
    found = watch.observe(event)
    assert invariant in {v.invariant for v in found}, found


@pytest.mark.parametrize(
    ("scope", "target"), [("workspace", "main"), ("project", WEB), ("agent", BOB), ("task", "T-4")]
)
def test_a_grant_under_a_hold_is_found(story: Scenario, scope: str, target: str) -> None:
    watch = watch_of(story)
    last = unseal(story.journal[-1])
    hold = HoldPlaced(scope=scope, target_id=target, kind="paused")  # type: ignore[arg-type]
    assert watch.observe(Event(last.position + 1, last.at_us, 1, "person:pat", "r", hold)) == []
    event = Event(
        last.position + 2, last.at_us, 1, "system:x", "r", grant(story, task_id="T-4", agent_id=BOB)
    )
    assert "ready-set" in {v.invariant for v in watch.observe(event)}


@pytest.mark.parametrize(
    ("change", "invariant"),
    [
        ({"position": 99}, "replay"),
        ({"at_us": 0}, "replay"),
        ({"epoch": 0}, "single-writer"),
    ],
)
def test_an_event_out_of_place_is_found(
    story: Scenario, change: dict[str, int], invariant: str
) -> None:
    watch = watch_of(story)
    last = unseal(story.journal[-1])
    event = Event(last.position + 1, last.at_us, 1, "agent:A-ada", "r", progress_of())
    found = watch.observe(msgspec.structs.replace(event, **change))
    assert [v.invariant for v in found] == [invariant]


def test_a_limit_lowered_below_running_work_is_no_violation(story: Scenario) -> None:
    story.given(
        UpdateProject(request_id=request_id(), principal=PERSON, project_id=WEB, token_cap=1)
    )
    story.given(complete("T-2", 1))
    assert check_world(story.world) == []


def replace_task(scenario: Scenario, task_id: str, **changes: Any) -> None:
    tasks = scenario.world.tasks
    tasks[task_id] = msgspec.structs.replace(tasks[task_id], **changes)


def forget_assignment(scenario: Scenario) -> None:
    del scenario.world.assignments["T-2"]


def forget_active(scenario: Scenario) -> None:
    agents = scenario.world.agents
    agents[ADA] = msgspec.structs.replace(agents[ADA], active=())


def reserve_more(scenario: Scenario) -> None:
    scenario.world.reserved_tokens[WEB] += 1


def forget_dependants(scenario: Scenario) -> None:
    scenario.world.dependants.clear()


def count_one_more(scenario: Scenario) -> None:
    scenario.world.counts[WEB]["done"] += 1


def create_one_more(scenario: Scenario) -> None:
    scenario.world.tables.tasks_created += 1


def spoil_a_row(scenario: Scenario) -> None:
    scenario.world.ready.columns[:, 1] = 9


DAMAGE: dict[str, tuple[str, Callable[[Scenario], None]]] = {
    "a ready task left out": ("ready-set", lambda s: s.world.ready.remove("T-4")),
    "a counter of dependencies": ("ready-set", lambda s: replace_task(s, "T-3", waiting_on=0)),
    "a cycle": ("ready-set", lambda s: replace_task(s, "T-2", dependencies=("T-3",))),
    "a lost assignment": ("single-lease", forget_assignment),
    "a state without its assignment": (
        "single-lease",
        lambda s: replace_task(s, "T-4", state="in_review"),
    ),
    "a lease token": ("fenced", lambda s: replace_task(s, "T-2", lease_token=7)),
    "an agent's active tasks": ("capacity", forget_active),
    "what is reserved": ("capacity", reserve_more),
    "a count by state": ("conservation", count_one_more),
    "the count of tasks": ("conservation", create_one_more),
    "an index": ("replay", forget_dependants),
    "a row of the ready-set": ("replay", spoil_a_row),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_to_a_world_is_found(story: Scenario, damage: str) -> None:
    assert check_world(story.world) == []
    invariant, spoil = DAMAGE[damage]
    spoil(story)
    found = check_world(story.world)
    assert invariant in {v.invariant for v in found}, found


def test_counts_that_leave_their_events_are_found(story: Scenario) -> None:
    watch = watch_of(story)
    assert watch.compare(story.world) == []
    count_one_more(story)
    create_one_more(story)
    forget_active(story)
    found = [v.invariant for v in watch.compare(story.world)]
    assert found == ["conservation", "conservation", "capacity"]


def test_a_replay_compares_journal_snapshot_and_world(story: Scenario) -> None:
    saved = snapshots.save(story.world, story.engine.outbox)
    story.given(complete("T-2", 1))
    live = story.world.fingerprint()
    assert check_replay(story.journal, live, saved) == []
    assert [v.invariant for v in check_replay(story.journal, "other", saved)] == ["replay"] * 2
    other = Scenario()
    other.given(a_project("P-other"))
    foreign = msgspec.structs.replace(
        snapshots.save(other.world, other.engine.outbox), position=saved.position
    )
    with pytest.raises(AssertionError):  # its own position does not fit the tail
        check_replay(story.journal, live, foreign)

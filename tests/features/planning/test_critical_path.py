"""The longest chain of work behind each task, against trying every chain."""

from hypothesis import given, settings
from hypothesis import strategies as st

from pm_agent.domain.task import CriticalPathsSet, SetCriticalPaths, TaskDraft
from pm_agent.features.planning.critical_path import (
    DEFAULT_ESTIMATE_MIN,
    MAX_RETRY_S,
    critical_paths,
    retry_after_s,
)
from tests.scenario import (
    ADA,
    PERSON,
    WEB,
    Scenario,
    a_project,
    agent_principal,
    an_agent,
    an_import,
    of_person,
    request_id,
)

estimates = st.lists(st.sampled_from([0, 5, 30, 120]), min_size=1, max_size=9)


@st.composite
def boards(draw: st.DrawFn) -> list[tuple[int, list[int]]]:
    """Estimates with dependencies on earlier tasks, so there is no cycle."""
    found = []
    for i, estimate in enumerate(draw(estimates)):
        earlier = st.lists(st.integers(0, i - 1), max_size=3, unique=True) if i else st.just([])
        found.append((estimate, draw(earlier)))
    return found


def longest_behind(board: list[tuple[int, list[int]]], index: int) -> int:
    """Minutes behind a task, by trying every chain."""
    waiting = [i for i, (_, needs) in enumerate(board) if index in needs]
    return max(
        ((board[i][0] or DEFAULT_ESTIMATE_MIN) + longest_behind(board, i) for i in waiting),
        default=0,
    )


@settings(max_examples=60, deadline=None)
@given(boards())
def test_critical_paths_equal_the_longest_of_all_chains(
    board: list[tuple[int, list[int]]],
) -> None:
    scenario = Scenario()
    scenario.given(a_project())
    scenario.given(
        an_import(
            *(
                TaskDraft(
                    title=str(i),
                    key=str(i),
                    estimate_min=estimate,
                    dependencies=tuple(map(str, needs)),
                )
                for i, (estimate, needs) in enumerate(board)
            )
        )
    )
    found = critical_paths(scenario.engine.world, WEB)
    expected = {f"T-{i + 1}": longest_behind(board, i) for i in range(len(board))}
    assert found == {t: m for t, m in expected.items() if m}


def chain(scenario: Scenario) -> None:
    """T-1 ← T-2 ← T-3, and T-4 alone."""
    scenario.given(a_project(), an_agent())
    scenario.new_task(estimate_min=10)
    scenario.new_task(estimate_min=20, dependencies=("T-1",))
    scenario.new_task(estimate_min=40, dependencies=("T-2",))
    scenario.new_task(estimate_min=10)


def propose(minutes: dict[str, int]) -> SetCriticalPaths:
    return SetCriticalPaths(
        request_id=request_id(), principal=PERSON, project_id=WEB, minutes=minutes
    )


def test_a_proposal_is_stored_and_changes_the_order(empty: Scenario) -> None:
    chain(empty)
    found = critical_paths(empty.world, WEB)
    assert found == {"T-1": 60, "T-2": 40}
    empty.when(propose(found)).then(CriticalPathsSet)
    assert critical_paths(empty.world, WEB) == {}
    assert empty.task("T-1").critical_path_min == 60
    order = [
        empty.world.ready.task_ids[entry.slot]
        for entry in next(iter(empty.world.ready.classes.values())).entries
    ]
    assert order == ["T-1", "T-4"]


def test_done_work_is_no_part_of_a_chain(empty: Scenario) -> None:
    chain(empty)
    empty.done("T-1")
    assert critical_paths(empty.world, WEB) == {"T-2": 40}


def test_what_no_longer_fits_is_left_out_of_a_proposal(empty: Scenario) -> None:
    chain(empty)
    empty.done("T-1")
    empty.when(propose({"T-1": 60, "T-99": 1, "T-3": 0})).then()
    assert empty.result["changed"] == 0


def test_a_worker_agent_proposes_no_plan(empty: Scenario) -> None:
    chain(empty)
    empty.when(of_person(propose({"T-1": 1}), agent_principal(ADA))).then_refused("forbidden")


def test_idle_agents_are_told_when_running_work_should_end(empty: Scenario) -> None:
    chain(empty)
    assert retry_after_s(empty.world, WEB) == MAX_RETRY_S
    empty.assigned()
    assert 2 <= retry_after_s(empty.world, WEB) <= MAX_RETRY_S

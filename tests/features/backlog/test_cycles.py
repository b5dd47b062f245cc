"""Finding cycles before they are written."""

import graphlib
import itertools

from hypothesis import given
from hypothesis import strategies as st

from pm_agent.features.backlog.cycles import find_cycle, lookup

graphs = st.dictionaries(
    st.sampled_from("abcdefgh"), st.lists(st.sampled_from("abcdefgh"), max_size=3), max_size=8
)


@given(graphs)
def test_a_cycle_is_found_exactly_when_there_is_one(graph: dict[str, list[str]]) -> None:
    found = find_cycle(sorted(graph), lookup(graph))
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError:
        assert found is not None
    else:
        assert found is None


@given(graphs)
def test_a_cycle_that_is_told_can_be_walked(graph: dict[str, list[str]]) -> None:
    found = find_cycle(sorted(graph), lookup(graph))
    if found is not None:
        assert found[0] == found[-1]
        assert all(b in graph[a] for a, b in itertools.pairwise(found))


def test_a_chain_of_ten_thousand_tasks_is_no_problem() -> None:
    chain = {str(i): (str(i + 1),) for i in range(10_000)}
    assert find_cycle(["0"], lookup(chain)) is None
    chain["10000"] = ("0",)
    found = find_cycle(["0"], lookup(chain))
    assert found is not None
    assert len(found) == 10_002

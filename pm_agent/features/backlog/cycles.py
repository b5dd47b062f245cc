"""Find a dependency cycle before it is written."""

from collections.abc import Callable, Iterable, Mapping


def find_cycle(
    starts: Iterable[str], dependencies_of: Callable[[str], Iterable[str]]
) -> list[str] | None:
    """Return the tasks of a cycle that can be reached from ``starts``, or None.

    Depth-first search with three colours, without recursion, so that a chain of 10,000 tasks is no
    problem. Cost: every task and dependency reached, once.
    """
    done: set[str] = set()
    for start in starts:
        if start in done:
            continue
        path: list[str] = [start]
        on_path = {start}
        stack = [iter(dependencies_of(start))]
        while stack:
            following = next(stack[-1], None)
            if following is None:
                stack.pop()
                left = path.pop()
                on_path.discard(left)
                done.add(left)
            elif following in on_path:
                return [*path[path.index(following) :], following]
            elif following not in done:
                path.append(following)
                on_path.add(following)
                stack.append(iter(dependencies_of(following)))
    return None


def lookup(graph: Mapping[str, Iterable[str]]) -> Callable[[str], Iterable[str]]:
    """Dependencies by task, empty for tasks outside the graph."""
    return lambda node: graph.get(node, ())

"""What operators measure, in Prometheus' text format; the world is read when somebody asks."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from pm_agent.features.backlog.status import count_tasks
from pm_agent.runtime.ingress import Ingress

# Seconds; from a hit in memory to a long poll.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)


class Metrics:
    """Requests by operation and code, their latency, and the state of the replica.

    Parameters
    ----------
    ingress
        Gives the ingress, or None before the app has started.
    """

    def __init__(self, ingress: Callable[[], Ingress | None]) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "pm_agent_requests",
            "Requests by operation, protocol and code.",
            ("operation", "protocol", "code"),
            registry=self.registry,
        )
        self._latency = Histogram(
            "pm_agent_request_seconds",
            "Seconds from a request's arrival to its answer.",
            ("operation",),
            buckets=BUCKETS,
            registry=self.registry,
        )
        # Looking a child up by its labels costs more than counting.
        self._counters: dict[tuple[str, str, str], Counter] = {}
        self._histograms: dict[str, Histogram] = {}
        self.registry.register(_Replica(ingress))

    def count(self, operation: str, protocol: str, code: str, seconds: float) -> None:
        key = (operation, protocol, code)
        counter = self._counters.get(key)
        if counter is None:
            counter = self._counters[key] = self._requests.labels(*key)
        counter.inc()
        histogram = self._histograms.get(operation)
        if histogram is None:
            histogram = self._histograms[operation] = self._latency.labels(operation)
        histogram.observe(seconds)

    def text(self) -> bytes:
        return generate_latest(self.registry)


class _Replica(Collector):
    """Gauges read from the ingress and its world when somebody asks."""

    def __init__(self, ingress: Callable[[], Ingress | None]) -> None:
        self._ingress = ingress

    def collect(self) -> Iterator[GaugeMetricFamily]:
        ingress = self._ingress()
        if ingress is None:
            return
        world = ingress.world
        yield _gauge("parked_agents", "Agents that wait for a task here.", ingress.n_parked)
        yield _gauge("queued_requests", "Requests that wait for a turn.", ingress.n_queued)
        yield _gauge("position", "Journal position of this replica.", world.position)
        yield _gauge("stale", "1 while the replica has lost the coordinator.", ingress.is_stale)
        yield _gauge("agents", "Registered agents.", len(world.agents))
        tasks = GaugeMetricFamily(
            "pm_agent_tasks",
            "Tasks by state and project; 'ready' counts within 'open'.",
            labels=("project", "state"),
        )
        for project in world.projects.values():
            for state, n in count_tasks(world, project).items():
                tasks.add_metric((project.id, state), n)
        yield tasks

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Nothing beforehand: registering must not read the world."""
        return iter(())


def _gauge(name: str, help_text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"pm_agent_{name}", help_text, value=value)

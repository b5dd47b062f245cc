"""What operators measure, in Prometheus' text format; the world is read when somebody asks."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pm_agent.api.operations import BY_NAME
from pm_agent.domain.envelope import DEFAULT_WORKSPACE
from pm_agent.features.backlog.status import count_tasks
from pm_agent.runtime.admission import SHED_AT
from pm_agent.runtime.ingress import Ingress

# Seconds; from a hit in memory to a long poll.
# Codes under which a request is refused for the server's sake, and for its caller's pace.
SHED, LIMITED = "overloaded", "rate_limited"
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
        self._shed = self._by_work(
            "shed", "Requests refused because the server had too much to do."
        )
        self._limited = self._by_work(
            "limited", "Requests refused because their caller asked too often."
        )
        # Looking a child up by its labels costs more than counting.
        self._counters: dict[tuple[str, str, str], Counter] = {}
        self._histograms: dict[str, Histogram] = {}
        self.registry.register(_Replica(ingress))
        self._ingress = ingress

    def count(self, operation: str, protocol: str, code: str, seconds: float) -> None:
        """Count one request, after its answer."""
        key = (operation, protocol, code)
        counter = self._counters.get(key)
        if counter is None:
            counter = self._counters[key] = self._requests.labels(*key)
        counter.inc()
        histogram = self._histograms.get(operation)
        if histogram is None:
            histogram = self._histograms[operation] = self._latency.labels(operation)
        histogram.observe(seconds)
        if code in (SHED, LIMITED):
            refused = self._shed if code == SHED else self._limited
            known = BY_NAME.get(operation)
            refused.labels(known.work if known else "unknown").inc()

    def text(self) -> bytes:
        """All of it as text; each sample names its workspace."""
        ingress = self._ingress()
        workspace = ingress.workspace_id if ingress else DEFAULT_WORKSPACE
        return generate_latest(_InWorkspace(self.registry, workspace))

    def _by_work(self, name: str, help_text: str) -> Counter:
        counter = Counter(f"pm_agent_{name}", help_text, ("work",), registry=self.registry)
        for work in SHED_AT:
            counter.labels(work)  # 0 from the start, so that a rate can be taken
        return counter


class _InWorkspace(CollectorRegistry):
    """Another registry's metrics, with the workspace as one more label."""

    def __init__(self, registry: CollectorRegistry, workspace: str) -> None:
        super().__init__()
        self._registry = registry
        self._workspace = {"workspace": workspace}

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            metric.samples = [
                sample._replace(labels=self._workspace | sample.labels) for sample in metric.samples
            ]
            yield metric


class _Replica(Collector):
    """Gauges read from the ingress and its world when somebody asks."""

    def __init__(self, ingress: Callable[[], Ingress | None]) -> None:
        self._ingress = ingress

    def collect(self) -> Iterator[GaugeMetricFamily]:
        ingress = self._ingress()
        if ingress is None:
            return
        world = ingress.world
        yield _gauge("parked_agents", "Agents that wait for a task here.", ingress.waiters.n_parked)
        yield _gauge(
            "queued_requests", "Requests that wait for a turn.", ingress.admission.n_queued
        )
        yield _gauge("load", "How full the server is; 1 is a full house.", ingress.admission.load)
        yield _gauge("position", "Journal position of this replica.", world.position)
        yield _gauge("stale", "1 while there may be news unheard of here.", ingress.is_stale)
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

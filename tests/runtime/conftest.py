import pytest

from pm_agent.runtime import batcher as batcher_module
from pm_agent.runtime import coordinator_loop
from pm_agent.runtime import replica as replica_module


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (replica_module, batcher_module):
        monkeypatch.setattr(module, "RETRY_FIRST_S", 0.001)
        monkeypatch.setattr(module, "RETRY_MAX_S", 0.004)
    monkeypatch.setattr(coordinator_loop, "PROBE_FIRST_S", 0.001)
    monkeypatch.setattr(coordinator_loop, "PROBE_MAX_S", 0.002)

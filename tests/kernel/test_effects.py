"""The outbox as a fold, and alarms in order."""

import msgspec

from pm_agent.domain.envelope import SYSTEM
from pm_agent.domain.task import ArchiveTask
from pm_agent.kernel.effects import Alarms, Outbox, WriteInstructions
from pm_agent.kernel.effects import Effect as AnEffect
from tests.scenario import Scenario, a_project, an_agent, complete, reject


def test_each_attempt_asks_for_its_own_effects_and_ends_with_them(empty: Scenario) -> None:
    empty.given(a_project(completion="command"), an_agent())
    empty.new_task()
    outbox = empty.engine.outbox
    empty.assigned()
    assert [type(e.want).__name__ for e in outbox.pending.values()] == ["WriteInstructions"]
    empty.given(complete("T-1", 1))
    assert [type(e.want).__name__ for e in outbox.pending.values()] == [
        "WriteInstructions",
        "RunGate",
    ]
    empty.given(reject("T-1"))
    assert outbox.pending == {}


def test_an_outbox_from_a_snapshot_drops_like_the_one_that_was_saved(empty: Scenario) -> None:
    empty.given(a_project(completion="command"), an_agent())
    empty.new_task()
    empty.assigned()
    empty.given(complete("T-1", 1))
    empty.restart(snapshot_at=len(empty.journal))
    empty.given(reject("T-1"))
    assert empty.engine.outbox.pending == {}


def test_effects_name_their_cause() -> None:
    effect = AnEffect("WriteInstructions:42", "T-1", 1, WriteInstructions())
    outbox = Outbox()
    outbox.put(effect)
    outbox.put(effect)
    assert list(outbox.pending) == ["WriteInstructions:42"]
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(effect), type=AnEffect)
    assert again == effect


def test_alarms_ring_in_order_and_once() -> None:
    alarms = Alarms()
    commands = {
        at: ArchiveTask(request_id=str(at), principal=SYSTEM, task_id="T-1") for at in (30, 10, 20)
    }
    for at, command in commands.items():
        alarms.put(at, command)
    assert alarms.next_us() == 10
    assert alarms.due(20) == [commands[10], commands[20]]
    assert alarms.due(20) == []
    assert alarms.next_us() == 30

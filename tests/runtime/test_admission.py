import asyncio

import pytest

from pm_agent.domain.errors import Overloaded
from pm_agent.runtime import admission as admission_module
from pm_agent.runtime.admission import SHED_AT, Admission, Lag, Work, is_shed, load_of

# What is refused at each load, in the order in which it is shed.
TABLE: list[tuple[float, set[Work]]] = [
    (0.0, set()),
    (0.24, set()),
    (0.25, {"admin_read"}),
    (0.5, {"admin_read", "board_read"}),
    (0.74, {"admin_read", "board_read"}),
    (0.75, {"admin_read", "board_read", "claim"}),
    (1.0, {"admin_read", "board_read", "claim", "progress"}),
    (1.99, {"admin_read", "board_read", "claim", "progress"}),
    (2.0, {"admin_read", "board_read", "claim", "progress", "completion"}),
    (50.0, {"admin_read", "board_read", "claim", "progress", "completion"}),
]


@pytest.mark.parametrize(("load", "refused"), TABLE)
def test_the_least_urgent_work_is_shed_first(load: float, refused: set[Work]) -> None:
    assert {work for work in SHED_AT if is_shed(work, load)} == refused


@pytest.mark.parametrize(
    ("parts", "load"),
    [
        ({"lag_s": 0.0, "n_reads": 0}, 0.0),
        ({"lag_s": 0.0, "n_reads": 400, "n_commands": 600}, 0.5),
        ({"lag_s": 0.0, "n_reads": 0, "n_backlog": 8_000}, 2.0),
        ({"lag_s": 1.5, "n_reads": 10, "n_commands": 10, "n_backlog": 10}, 1.5),
    ],
)
def test_the_fullest_part_decides_how_full_the_house_is(
    parts: dict[str, float], load: float
) -> None:
    assert load_of(**parts) == pytest.approx(load)  # type: ignore[arg-type]  # numbers by name


def test_a_burst_is_no_lag_and_a_standing_queue_is() -> None:
    lag = Lag()
    lag.add(9.0)
    assert lag.seconds == 0.0
    for late_s in (0.8, 0.9, 0.7, 0.8, 0.9):
        lag.add(late_s)
    assert lag.seconds == pytest.approx(0.7)
    lag.add(0.0)
    assert lag.seconds == 0.0


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """One slot for each kind of request, and room for four that wait."""
    monkeypatch.setattr(admission_module, "MAX_COMMANDS", 1)
    monkeypatch.setattr(admission_module, "MAX_READS", 1)
    monkeypatch.setattr(admission_module, "QUEUE_ROOM", 4)


class Requests:
    """Requests that execute until they are let go, in the order in which they began."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._go_on = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.order: list[int] = []

    async def come(self, n: int, work: Work) -> None:
        for _ in range(n):
            lane = self._admission.enter(work)
            number = len(self._tasks)
            self._tasks.append(asyncio.create_task(self._execute(lane, number)))
            await asyncio.sleep(0)

    async def _execute(self, lane: admission_module.Lane, number: int) -> None:
        async with lane:
            self.order.append(number)
            await self._go_on.wait()

    async def end(self, *gone: int) -> None:
        for number in gone:
            self._tasks[number].cancel()
        await asyncio.sleep(0)
        self._go_on.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@pytest.mark.usefixtures("narrow")
async def test_who_finds_no_slot_waits_first_come_first_served() -> None:
    admission = Admission(lambda: 0)
    requests = Requests(admission)
    await requests.come(5, "completion")
    assert requests.order == [0]
    assert admission.n_queued == 4
    assert admission.load == 1.0
    await requests.end()
    assert requests.order == [0, 1, 2, 3, 4]
    assert admission.n_queued == 0


@pytest.mark.usefixtures("narrow")
async def test_claims_are_refused_while_completions_still_queue() -> None:
    admission = Admission(lambda: 0)
    requests = Requests(admission)
    await requests.come(4, "claim")
    with pytest.raises(Overloaded, match="75%"):
        admission.enter("claim")
    await requests.come(5, "completion")
    with pytest.raises(Overloaded, match="200%"):
        admission.enter("completion")
    await requests.end(1, 2)  # who gave up makes room
    assert admission.load == 0.0
    async with admission.enter("admin_read"):
        pass


@pytest.mark.usefixtures("narrow")
async def test_a_failing_request_gives_its_slot_back() -> None:
    admission = Admission(lambda: 0)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            async with admission.enter("claim"):
                raise ZeroDivisionError


@pytest.mark.usefixtures("narrow")
async def test_reads_go_on_while_commands_wait_for_a_coordinator_that_is_away() -> None:
    backlog = 0
    admission = Admission(lambda: backlog)
    requests = Requests(admission)
    await requests.come(4, "claim")
    backlog = 10_000
    with pytest.raises(Overloaded):
        admission.enter("board_read")
    admission.is_away = True
    async with asyncio.timeout(1), admission.enter("admin_read"):
        pass
    with pytest.raises(Overloaded):
        admission.enter("completion")
    await requests.end()

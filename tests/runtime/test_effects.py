import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pm_agent.adapters.llm_rules import RuleBasedWriter
from pm_agent.domain.assessment import RiskMark, StoreAssessments
from pm_agent.domain.assignment import AcceptCompletion, RejectCompletion
from pm_agent.domain.envelope import SYSTEM, Command
from pm_agent.domain.errors import Unavailable
from pm_agent.domain.instruction import AbandonEffect, StoreInstructions
from pm_agent.domain.model_call import ModelCall
from pm_agent.domain.project import Gate
from pm_agent.domain.subscription import NotePush
from pm_agent.kernel.effects import AssessTasks, Effect, PushTask, RunGate, WriteInstructions
from pm_agent.kernel.types import ErrorInfo, Reply
from pm_agent.ports import (
    AssessmentBrief,
    DeliveryFailed,
    GateRequest,
    GateVerdict,
    InstructionBrief,
    Judgement,
    Push,
    TaskBrief,
    Written,
)
from pm_agent.runtime import effects as effects_module
from pm_agent.runtime.backend import EffectJob
from pm_agent.runtime.effects import EffectRunner


class Coordinator:
    """Hands out given jobs and keeps the answers."""

    def __init__(self, *jobs: EffectJob) -> None:
        self.jobs = deque(jobs)
        self.answers: dict[str, Command] = {}
        self.n_submitted = 0
        self.away = 0  # calls that find nobody
        self.error: ErrorInfo | None = None
        self.has_news = asyncio.Event()

    async def take_effects(self, wait_s: float) -> list[EffectJob]:
        self._require_presence()
        if not self.jobs:
            await asyncio.sleep(0.01)
        jobs = list(self.jobs)
        self.jobs.clear()
        return jobs

    async def submit(self, commands: list[Command], heard: list[str]) -> list[Reply]:
        self._require_presence()
        self.n_submitted += len(commands)
        for command in commands:
            self.answers[command.effect_id] = command  # type: ignore[attr-defined]
        self.has_news.set()
        return [Reply(request_id=c.request_id, position=1, error=self.error) for c in commands]

    def _require_presence(self) -> None:
        if self.away > 0:
            self.away -= 1
            raise Unavailable

    async def until_submitted(self, n: int) -> None:
        async with asyncio.timeout(5):
            while self.n_submitted < n:
                self.has_news.clear()
                await self.has_news.wait()

    async def until(self, n: int) -> None:
        async with asyncio.timeout(5):
            while len(self.answers) < n:
                self.has_news.clear()
                await self.has_news.wait()


class Model(RuleBasedWriter):
    def __init__(self, act: Callable[[InstructionBrief], Any] = lambda _: None) -> None:
        self.act = act
        self.n_calls = 0

    async def write_instructions(self, brief: InstructionBrief) -> Written:
        self.n_calls += 1
        self.act(brief)
        return Written(f"Do {brief.task_id}", ModelCall(writer="fake"))


class Gates:
    def __init__(self, verdict: GateVerdict | Exception) -> None:
        self.verdict = verdict
        self.running: dict[str, int] = {}
        self.most: dict[str, int] = {}

    async def run(self, gate: Gate, request: GateRequest) -> GateVerdict:
        n = self.running[gate.cwd] = self.running.get(gate.cwd, 0) + 1
        self.most[gate.cwd] = max(self.most.get(gate.cwd, 0), n)
        await asyncio.sleep(0.02)
        self.running[gate.cwd] -= 1
        if isinstance(self.verdict, Exception):
            raise self.verdict
        return self.verdict


YES = GateVerdict(passed=True, reasons=(), report="all green")


def writing(n: int) -> EffectJob:
    brief = InstructionBrief(
        task_id=f"T-{n}",
        title="t",
        description="",
        kind="task",
        priority="normal",
        project="p",
        completion="auto",
        gate_argv=(),
        acceptance_criteria=(),
        path_hints=(),
        artifacts=(),
        decisions=(),
        recovery=(),
        agent_name="Ada",
        lease_token=3,
    )
    return EffectJob(Effect(f"WriteInstructions:{n}", f"T-{n}", 3, WriteInstructions()), brief)


def assessing(n: int, *titles: str) -> EffectJob:
    tasks = tuple(
        TaskBrief(task_id=f"T-{i}", title=title, description="", kind="task")
        for i, title in enumerate(titles, start=1)
    )
    want = AssessTasks("P-web", tuple(task.task_id for task in tasks))
    return EffectJob(Effect(f"AssessTasks:{n}", "", 0, want), AssessmentBrief(tasks=tasks))


def judging(n: int, cwd: str = "/a") -> EffectJob:
    request = GateRequest(
        effect_id=f"RunGate:{n}",
        task_id=f"T-{n}",
        attempt=1,
        lease_token=3,
        agent_id="A-ada",
        commit="c",
        branch="b",
        links=(),
    )
    effect = Effect(f"RunGate:{n}", f"T-{n}", 3, RunGate(Gate(argv=("x",), cwd=cwd)))
    return EffectJob(effect, gate_request=request)


def pushing(n: int, url: str = "https://example.org") -> EffectJob:
    effect = Effect(f"PushTask:{n}", f"T-{n}", 3, PushTask())
    push = Push(
        url=url,
        secret="s",
        delivery_id=effect.effect_id,
        subscription_id="S-1",
        payload=b"{}",
    )
    return EffectJob(effect, brief=push)


class Hook:
    """Takes pushes, after as many failures as it is told."""

    def __init__(self, *failures: DeliveryFailed) -> None:
        self.failures = list(failures)
        self.taken: list[str] = []

    async def deliver(self, push: Push) -> None:
        self.taken.append(push.delivery_id)
        if self.failures:
            raise self.failures.pop(0)


@asynccontextmanager
async def running(
    coordinator: Any,
    model: Model | None = None,
    gates: Gates | None = None,
    hook: Hook | None = None,
) -> AsyncIterator[EffectRunner]:
    runner = EffectRunner(coordinator, model or Model(), gates or Gates(YES), hook or Hook())
    runner.push_pause_s = 0.001
    task = asyncio.create_task(runner.run())
    yield runner
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(effects_module, "RETRY_FIRST_S", 0.001)


async def test_written_instructions_are_stored_in_the_systems_name() -> None:
    coordinator = Coordinator(writing(7))
    async with running(coordinator):
        await coordinator.until(1)
    assert coordinator.answers["WriteInstructions:7"] == StoreInstructions(
        request_id="effect:WriteInstructions:7",
        principal=SYSTEM,
        effect_id="WriteInstructions:7",
        task_id="T-7",
        lease_token=3,
        text="Do T-7",
        writer="fake",
        call=ModelCall(writer="fake"),
    )


async def test_a_yes_accepts_and_a_no_rejects_with_reasons() -> None:
    coordinator = Coordinator(judging(1))
    async with running(coordinator):
        await coordinator.until(1)
    accepted = coordinator.answers["RunGate:1"]
    assert isinstance(accepted, AcceptCompletion)
    assert (accepted.lease_token, accepted.report) == (3, "all green")
    coordinator = Coordinator(judging(1))
    no = GateVerdict(passed=False, reasons=("red",), report="log")
    async with running(coordinator, gates=Gates(no)):
        await coordinator.until(1)
    rejected = coordinator.answers["RunGate:1"]
    assert isinstance(rejected, RejectCompletion)
    assert (rejected.reasons, rejected.report) == (("red",), "log")


async def test_a_gate_that_breaks_is_a_no() -> None:
    coordinator = Coordinator(judging(1))
    async with running(coordinator, gates=Gates(RuntimeError("boom"))):
        await coordinator.until(1)
    rejected = coordinator.answers["RunGate:1"]
    assert isinstance(rejected, RejectCompletion)
    assert rejected.reasons == ("The gate broke: RuntimeError.",)


async def test_one_failing_effect_does_not_stop_the_others() -> None:
    def fail(brief: InstructionBrief) -> None:
        if brief.task_id == "T-2":
            raise ValueError("prompt with a secret")

    coordinator = Coordinator(writing(1), writing(2), writing(3), judging(4))
    async with running(coordinator, Model(fail)) as runner:
        await coordinator.until(4)
        assert runner.n_failed == 1
    abandoned = coordinator.answers["WriteInstructions:2"]
    assert isinstance(abandoned, AbandonEffect)
    assert abandoned.reason == "ValueError while answering WriteInstructions"
    assert isinstance(coordinator.answers["WriteInstructions:3"], StoreInstructions)


async def test_a_model_that_fails_once_is_tried_again() -> None:
    model = Model()
    model.act = lambda _: 1 / (model.n_calls - 1)
    coordinator = Coordinator(writing(1))
    async with running(coordinator, model):
        await coordinator.until(1)
    assert isinstance(coordinator.answers["WriteInstructions:1"], StoreInstructions)


async def test_it_survives_a_coordinator_that_is_away() -> None:
    coordinator = Coordinator(writing(1))
    coordinator.away = 3
    async with running(coordinator):
        await asyncio.sleep(0.02)
        coordinator.away = 3  # while the answer is on its way, too
        coordinator.jobs.append(judging(2))
        await coordinator.until(2)


async def test_gates_of_one_folder_run_one_after_the_other() -> None:
    gates = Gates(YES)
    coordinator = Coordinator(*(judging(n, ("/a", "/b")[n % 2]) for n in range(8)))
    async with running(coordinator, gates=gates):
        await coordinator.until(8)
    assert gates.most == {"/a": 1, "/b": 1}


async def test_an_effect_handed_out_again_while_it_runs_is_done_once() -> None:
    coordinator = Coordinator(judging(1), judging(1))
    async with running(coordinator):
        await coordinator.until(1)
        await asyncio.sleep(0.05)
    assert coordinator.n_submitted == 1


async def test_a_refused_answer_is_not_repeated() -> None:
    coordinator = Coordinator(writing(1))
    coordinator.error = ErrorInfo("request_id_reused", "Came before.", "")
    async with running(coordinator):
        await coordinator.until(1)
        await asyncio.sleep(0.02)
    assert coordinator.n_submitted == 1


async def test_an_effect_of_which_nothing_is_known_is_abandoned() -> None:
    coordinator = Coordinator(EffectJob(Effect("New:1", "T-1", 1, WriteInstructions())))
    async with running(coordinator):
        await coordinator.until(1)
    assert isinstance(coordinator.answers["New:1"], AbandonEffect)


async def test_a_push_is_tried_again_until_it_arrives() -> None:
    coordinator, hook = Coordinator(pushing(4)), Hook(DeliveryFailed("it answered 503"))
    async with running(coordinator, hook=hook):
        await coordinator.until(1)
    (noted,) = coordinator.answers.values()
    assert isinstance(noted, NotePush)
    assert (noted.effect_id, noted.subscription_id, noted.failure) == ("PushTask:4", "S-1", "")
    assert hook.taken == ["PushTask:4"] * 2


async def test_a_push_that_never_arrives_is_given_up_with_its_reason() -> None:
    failures = [DeliveryFailed("ConnectError") for _ in range(9)]
    coordinator, hook = Coordinator(pushing(4)), Hook(*failures)
    async with running(coordinator, hook=hook):
        await coordinator.until(1)
    assert coordinator.answers["PushTask:4"].failure == "ConnectError"  # type: ignore[attr-defined]
    assert len(hook.taken) == effects_module.PUSH_TRIES


async def test_a_push_to_a_refused_address_is_not_tried_again() -> None:
    coordinator = Coordinator(pushing(4))
    hook = Hook(DeliveryFailed("url: private", is_final=True))
    async with running(coordinator, hook=hook):
        await coordinator.until(1)
    assert coordinator.answers["PushTask:4"].failure == "url: private"  # type: ignore[attr-defined]
    assert len(hook.taken) == 1


async def test_judged_tasks_are_stored_together_with_a_line_for_each_risk_and_reason() -> None:
    coordinator = Coordinator(assessing(4, "Migrate the database", "Rename a flag"))
    async with running(coordinator):
        await coordinator.until(1)
    stored = coordinator.answers["AssessTasks:4"]
    assert isinstance(stored, StoreAssessments)
    first, second = stored.drafts
    assert (first.task_id, second.task_id) == ("T-1", "T-2")
    assert RiskMark("data", "high") in first.risks
    assert len(first.text.split("\n")) == len(first.risks) + 1
    assert first.call.writer == "rules"


class OneByOne(Model):
    """Each answer is paid; the process dies during the one at a certain task."""

    assessed_at_once = 1

    def __init__(self, dies_at: str = "") -> None:
        super().__init__()
        self.dies_at = dies_at
        self.paid: list[str] = []

    async def assess(self, briefs: Sequence[TaskBrief]) -> list[Judgement]:
        if briefs[0].task_id == self.dies_at:
            await asyncio.Event().wait()
        self.paid += [brief.task_id for brief in briefs]
        return await super().assess(briefs)


async def test_paid_judgements_are_stored_one_by_one_so_a_crash_loses_the_one_under_way() -> None:
    model = OneByOne(dies_at="T-3")
    coordinator = Coordinator(assessing(4, "one", "two", "three"))
    async with running(coordinator, model):
        await coordinator.until_submitted(2)
    stored = coordinator.answers["AssessTasks:4"]
    assert isinstance(stored, StoreAssessments)
    assert ([draft.task_id for draft in stored.drafts], stored.is_part) == (["T-2"], True)
    assert model.paid == ["T-1", "T-2"]


async def test_the_last_judgement_answers_the_effect() -> None:
    coordinator = Coordinator(assessing(4, "one", "two"))
    async with running(coordinator, OneByOne()):
        await coordinator.until_submitted(2)
    stored = coordinator.answers["AssessTasks:4"]
    assert isinstance(stored, StoreAssessments)
    assert (stored.request_id, stored.is_part) == ("effect:AssessTasks:4", False)


async def test_nobody_who_waits_for_a_text_waits_for_assessments() -> None:
    class Slow(Model):
        async def assess(self, briefs: Sequence[TaskBrief]) -> list[Judgement]:
            await asyncio.Event().wait()
            raise AssertionError

    jobs = [assessing(n, "a task") for n in range(20)]
    coordinator = Coordinator(*jobs, writing(99))
    async with running(coordinator, Slow()):
        await coordinator.until(1)
    assert list(coordinator.answers) == ["WriteInstructions:99"]

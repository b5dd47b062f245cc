"""The effect runner: performs what events ask of the outside, and answers with commands.

An effect is done at least once; its id makes the answer idempotent. Effects run beside each other
within limits, and one that fails leaves the others alone. Instructions that cannot be written are
abandoned, as the task can be done without; a gate that cannot be run is a no.
"""

import asyncio
import logging
from collections import defaultdict

from msgspec import structs

from pm_agent.domain.assessment import AssessmentDraft, RiskMark, StoreAssessments
from pm_agent.domain.assignment import AcceptCompletion, RejectCompletion
from pm_agent.domain.blocker import StoreAdvice
from pm_agent.domain.envelope import SYSTEM, Command
from pm_agent.domain.errors import Unavailable
from pm_agent.domain.ids import TaskId
from pm_agent.domain.instruction import AbandonEffect, StoreInstructions
from pm_agent.domain.subscription import NotePush
from pm_agent.kernel.effects import Effect, RunGate
from pm_agent.ports import (
    MAX_LINE,
    MAX_LINES,
    Advice,
    AssessmentBrief,
    BlockerBrief,
    Brief,
    DeliveryFailed,
    GateRequest,
    GateRunner,
    InstructionBrief,
    Judgement,
    LanguageModel,
    Notifier,
    Push,
    TaskBrief,
)
from pm_agent.runtime.backend import Coordinator, EffectJob
from pm_agent.runtime.batcher import Batcher

log = logging.getLogger(__name__)

TAKE_S = 30.0
# Under load effects come one a claim. Each round costs two calls between processes and a commit,
# which claims wait for: at one client, claims were a third slower with rounds of 0.05 s.
GATHER_S = 0.25
MAX_WRITERS = 8  # instructions and advice written at once
MAX_ASSESSORS = 1  # requests for assessments at once; nobody waits for them
MAX_GATES = 4  # gates at once; those of one folder run one after the other
MAX_PUSHES = 32  # at once; each takes 5 s at most
# Of a push, with pauses of 1, 2, 4 and 8 s: after a minute without a word of its agent the task
# goes to another one anyway.
PUSH_TRIES, PUSH_PAUSE_S = 5, 1.0
N_TRIES = 3  # of a language model
RETRY_FIRST_S, RETRY_MAX_S = 0.1, 5.0


class EffectRunner:
    """Performs effects until it is cancelled.

    Parameters
    ----------
    coordinator
        Hands out effects and takes the answers.
    language_model
        Writes instructions.
    gate_runner
        Judges completions under the policy ``command``.
    notifier
        Brings tasks to webhooks.
    """

    def __init__(
        self,
        coordinator: Coordinator,
        language_model: LanguageModel,
        gate_runner: GateRunner,
        notifier: Notifier,
    ) -> None:
        self._coordinator = coordinator
        self._batcher = Batcher(coordinator)
        self._language_model = language_model
        self._gate_runner = gate_runner
        self._notifier = notifier
        self._running: dict[str, asyncio.Task[None]] = {}
        self._writers = asyncio.Semaphore(MAX_WRITERS)
        self._assessors = asyncio.Semaphore(MAX_ASSESSORS)
        self._gates = asyncio.Semaphore(MAX_GATES)
        self._pushes = asyncio.Semaphore(MAX_PUSHES)
        self._folders: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.push_pause_s = PUSH_PAUSE_S
        self.n_done = 0
        self.n_failed = 0

    async def run(self) -> None:
        """Take and perform effects; cancel it to end it, and everything it started."""
        try:
            pause_s = RETRY_FIRST_S
            while True:
                try:
                    jobs = await self._coordinator.take_effects(TAKE_S)
                except Unavailable as error:
                    log.info("coordinator away: %s", error.message)
                    await asyncio.sleep(pause_s)
                    pause_s = min(pause_s * 2, RETRY_MAX_S)
                    continue
                pause_s = RETRY_FIRST_S
                for job in jobs:
                    self._start(job)
                await asyncio.sleep(GATHER_S)
        finally:
            running = list(self._running.values())
            await self._batcher.stop()
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def _start(self, job: EffectJob) -> None:
        effect_id = job.effect.effect_id
        if effect_id in self._running:  # a long gate is handed out again while it runs
            return
        task = asyncio.create_task(self._perform(job), name=effect_id)
        self._running[effect_id] = task
        task.add_done_callback(lambda _: self._running.pop(effect_id, None))

    async def _perform(self, job: EffectJob) -> None:
        effect = job.effect
        try:
            if job.gate_request is not None and isinstance(effect.want, RunGate):
                command = await self._judge(effect, effect.want, job.gate_request)
            elif isinstance(job.brief, Push):
                command = await self._push(effect, job.brief)
            elif isinstance(job.brief, AssessmentBrief):
                command = await self._assess(effect, job.brief.tasks)
            elif job.brief is not None:
                command = await self._ask(effect, job.brief)
            else:
                command = _abandon(effect, "Nothing is known about what it wants.")
            await self._answer(command)
        except Exception:  # it is handed out again; the others go on
            self.n_failed += 1
            log.exception("effect %s", effect.effect_id)

    async def _assess(self, effect: Effect, tasks: tuple[TaskBrief, ...]) -> Command:
        """Assess tasks, store what comes, and return the last answer.

        What was stored is not asked for again when the effect is handed out anew after a crash.
        """
        size = self._language_model.assessed_at_once or len(tasks)
        while len(tasks) > size:
            found = await self._ask(effect, AssessmentBrief(tasks=tasks[:size]))
            if not isinstance(found, StoreAssessments):
                return found
            request_id = f"{_request_id(effect)}:{tasks[0].task_id}"
            await self._answer(structs.replace(found, is_part=True, request_id=request_id))
            tasks = tasks[size:]
        return await self._ask(effect, AssessmentBrief(tasks=tasks))

    async def _ask(self, effect: Effect, brief: Brief) -> Command:
        async with self._assessors if isinstance(brief, AssessmentBrief) else self._writers:
            for n_failures in range(N_TRIES):
                try:
                    return await self._answered(effect, brief)
                except Exception as error:  # noqa: BLE001 - whatever the adapter raises
                    # Its message may quote the prompt, so only its name goes on.
                    reason = f"{type(error).__name__} while answering {type(effect.want).__name__}"
                    log.warning("%s for %s", reason, effect.task_id)
                    await asyncio.sleep(RETRY_FIRST_S * 2**n_failures)
        self.n_failed += 1
        return _abandon(effect, reason)

    async def _answered(self, effect: Effect, brief: Brief) -> Command:
        """Ask the language model, and make the command that stores its answer."""
        if isinstance(brief, BlockerBrief):
            advice = await self._language_model.advise(brief)
            return StoreAdvice(
                request_id=_request_id(effect),
                principal=SYSTEM,
                effect_id=effect.effect_id,
                blocker_id=brief.blocker_id,
                text=advice_text(advice),
                needs_person=advice.needs_person,
                call=advice.call,
            )
        if isinstance(brief, AssessmentBrief):
            found = await self._language_model.assess(brief.tasks)
            return StoreAssessments(
                request_id=_request_id(effect),
                principal=SYSTEM,
                effect_id=effect.effect_id,
                drafts=tuple(
                    _draft(task.task_id, one) for task, one in zip(brief.tasks, found, strict=True)
                ),
            )
        if not isinstance(brief, InstructionBrief):
            return _abandon(effect, "Nobody stores the answer.")
        written = await self._language_model.write_instructions(brief)
        return StoreInstructions(
            request_id=_request_id(effect),
            principal=SYSTEM,
            effect_id=effect.effect_id,
            task_id=effect.task_id,
            lease_token=effect.lease_token,
            text=written.text,
            writer=written.call.writer,
            call=written.call,
        )

    async def _push(self, effect: Effect, push: Push) -> Command:
        """Bring a task to a webhook, again and again while the agent may still answer."""
        if not push.url:
            return _abandon(effect, "The webhook is gone.")
        failure = ""
        for n_failures in range(PUSH_TRIES):
            try:
                async with self._pushes:  # not while it pauses: others would wait behind it
                    await self._notifier.deliver(push)
            except DeliveryFailed as error:
                failure = error.reason
                log.warning("push %s: %s", effect.effect_id, failure)
                if error.is_final or n_failures == PUSH_TRIES - 1:
                    break
                await asyncio.sleep(self.push_pause_s * 2**n_failures)
            else:
                failure = ""
                break
        return NotePush(
            request_id=_request_id(effect),
            principal=SYSTEM,
            effect_id=effect.effect_id,
            subscription_id=push.subscription_id,
            task_id=effect.task_id,
            failure=failure,
        )

    async def _judge(self, effect: Effect, want: RunGate, request: GateRequest) -> Command:
        async with self._folders[want.gate.cwd], self._gates:
            try:
                verdict = await self._gate_runner.run(want.gate, request)
            except Exception as error:  # fail closed
                log.exception("gate of %s", effect.task_id)
                self.n_failed += 1
                reasons: tuple[str, ...] = (f"The gate broke: {type(error).__name__}.",)
                passed, report = False, ""
            else:
                passed, reasons, report = verdict
        if passed:
            return AcceptCompletion(
                request_id=_request_id(effect),
                principal=SYSTEM,
                effect_id=effect.effect_id,
                task_id=effect.task_id,
                lease_token=effect.lease_token,
                report=report,
            )
        return RejectCompletion(
            request_id=_request_id(effect),
            principal=SYSTEM,
            effect_id=effect.effect_id,
            task_id=effect.task_id,
            lease_token=effect.lease_token,
            reasons=reasons or ("The gate said no without a reason.",),
            report=report,
        )

    async def _answer(self, command: Command) -> None:
        """Submit an answer, again and again while the coordinator is away."""
        pause_s = RETRY_FIRST_S
        while True:
            try:
                reply = await self._batcher.submit(command)
            except Unavailable:
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, RETRY_MAX_S)
                continue
            if reply.error is not None:  # answered before, or gone on since: nothing to repair
                log.info("%s was refused: %s", command.request_id, reply.error.message)
            self.n_done += 1
            return


def advice_text(advice: Advice) -> str:
    """Advice as an agent reads it: bounded, whoever gave it."""
    steps = [f"{n}. {s[:MAX_LINE]}" for n, s in enumerate(advice.steps[:MAX_LINES], start=1)]
    writer = advice.call.writer
    if advice.call.stands_in:
        writer += f", standing in for the language model ({advice.call.stands_in})"
    return "\n".join(
        [
            f"Probably: {advice.cause[:MAX_LINE]}",
            *steps,
            f"Confidence: {advice.confidence}. Written by {writer}.",
        ]
    )


def _draft(task_id: TaskId, found: Judgement) -> AssessmentDraft:
    """A judgement as it is stored: bounded, whoever gave it; a line each risk and reason."""
    risks = found.risks[:MAX_LINES]
    lines = [f"{_line(risk.what)} {_line(risk.mitigation)}" for risk in risks]
    lines += [_line(reason) for reason in found.reasons[:MAX_LINES]]
    return AssessmentDraft(
        task_id=task_id,
        minutes=found.minutes,
        level=found.level,
        risks=tuple(RiskMark(risk.kind, risk.severity) for risk in risks),
        text="\n".join(lines),
        call=found.call,
    )


def _line(text: str) -> str:
    return " ".join(text.split())[:MAX_LINE]


def _abandon(effect: Effect, reason: str) -> AbandonEffect:
    return AbandonEffect(
        request_id=_request_id(effect),
        principal=SYSTEM,
        effect_id=effect.effect_id,
        task_id=effect.task_id,
        reason=reason,
    )


def _request_id(effect: Effect) -> str:
    return f"effect:{effect.effect_id}"

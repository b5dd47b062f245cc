"""The lives of simulated agents: wait, work, report, hand in; and what goes wrong on the way.

An agent sends the commands that a real one sends, and knows what it was told. What it does between
two of them takes virtual time alone.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from pm_agent.domain.assignment import (
    AssignmentExpired,
    CompleteTask,
    ReleaseTask,
    ReportProgress,
    TaskAssigned,
    TaskReleased,
    WaitForTask,
)
from pm_agent.domain.blocker import BlockerReported, BlockerResolved, ReportBlocker
from pm_agent.domain.envelope import Command, Usage
from pm_agent.domain.ids import TaskId, task_number
from pm_agent.domain.time import MINUTE_US, SECOND_US
from simulation.arrivals import Luck
from simulation.behaviour import duration_s, exponential, lognormal_us, p_success
from simulation.team import Worker

if TYPE_CHECKING:
    from simulation.driver import Simulation

FETCH_US = 50_000  # until an agent that waits has the task that it was given
AWAY_US = 2 * MINUTE_US  # at least, after a crash
SPREAD = 1.0  # of the spans of troubles, in natural logarithms
FOR_EVER = 1 << 62


class Recorded(NamedTuple):
    """How an attempt went in a journal that is replayed."""

    worked_us: int
    is_right: bool
    gives_up: bool = False


class Attempt:
    """One agent at one task, as the agent sees it."""

    __slots__ = (
        "done_us",
        "gives_up",
        "is_right",
        "luck",
        "number",
        "reported_us",
        "row",
        "task_id",
        "token",
        "total_us",
        "trouble",
        "trouble_us",
        "turn",
        "worker",
    )

    def __init__(self, worker: Worker, task_id: TaskId, token: int, row: int, luck: Luck) -> None:
        self.worker = worker
        self.task_id = task_id
        self.number = task_number(task_id)
        self.token = token
        self.row = row  # in the ledger
        self.luck = luck
        self.is_right = True
        self.gives_up = False  # when it is not right, and the agent sees it
        self.done_us = 0  # of its work
        self.reported_us = 0  # of its work, up to the last report
        self.total_us = 0
        self.trouble = ""
        self.trouble_us = 0  # of its work, when the trouble begins
        self.turn = 0  # what was to happen in an earlier turn does not happen any more


class Lives:
    """All agents of one simulation."""

    def __init__(self, around: "Simulation") -> None:
        self._around = around
        self._timeline = around.timeline
        self._presence = around.presence
        self._ledger = around.ledger
        self._behaviour = around.scenario.behaviour
        self._faults = around.scenario.faults
        self._report_us = round(self._behaviour.report_every_min * MINUTE_US)
        self.held: dict[TaskId, Attempt] = {}  # newest attempt at each task that is held
        self._n_tries: dict[int, int] = {}  # at tasks that are replayed, by number
        self.n_busy = 0  # agents that work, or wait for an answer
        self.n_away = 0
        self._stopped: dict[TaskId, Attempt] = {}  # wait for the answer to a blocker

    def wait(self, worker: Worker) -> Command:
        """Ask for work, and stand by until there is some."""
        self._presence.enter(worker.id)
        return WaitForTask(
            request_id=self._around.request_id(),
            principal=worker.principal,
            agent_id=worker.id,
            until_us=FOR_EVER,
        )

    # -- work ---------------------------------------------------------------------------------

    def assigned(self, worker: Worker, data: TaskAssigned, row: int) -> None:
        """Begin with a task."""
        luck = self._around.fortune.of(task_number(data.task_id), data.attempt)
        attempt = Attempt(worker, data.task_id, data.lease_token, row, luck)
        self.held[data.task_id] = attempt
        self.n_busy += not worker.attempts
        worker.attempts.append(attempt)
        if not worker.heartbeats:
            self._presence.leave(worker.id)
        self._draw(attempt)
        if data.is_offered and luck.when < self._faults.vanish:
            self._go_away(attempt)
            return
        if data.is_offered or data.confirm_us:  # it waited, and says at once that it has the task
            self._presence.heard[worker.id] = self._timeline.now_us + FETCH_US
        self._go_on(attempt)
        if len(worker.attempts) < worker.places:
            self._timeline.after(FETCH_US, self._take_another, attempt, attempt.turn)

    def _take_another(self, attempt: Attempt, turn: int) -> None:
        """With places left: say that this one is under way, and ask for another."""
        worker = attempt.worker
        if worker.is_away or len(worker.attempts) >= worker.places:
            return
        report = [self._report(attempt)] if attempt.turn == turn else []
        self._around.do([*report, self.wait(worker)])

    def _draw(self, attempt: Attempt) -> None:
        """Draw what will come of it."""
        worker, luck, behaviour = attempt.worker, attempt.luck, self._behaviour
        recorded = self._around.recorded.get(attempt.number)
        if recorded:
            tries = self._n_tries.get(attempt.number, 0)
            self._n_tries[attempt.number] = tries + 1
            attempt.total_us, attempt.is_right, attempt.gives_up = recorded[
                min(tries, len(recorded) - 1)
            ]
            return
        human_min = self._ledger.human_min(attempt.number)
        if behaviour.success == "fitted":
            kind = self._around.engine.world.tasks[attempt.task_id].kind
            attempt.is_right = luck.success < p_success(worker.ability[kind], human_min)
        else:
            attempt.is_right = luck.success < behaviour.success
        attempt.gives_up = not attempt.is_right and luck.choice < behaviour.gives_up
        if behaviour.duration == "fitted":
            attempt.total_us = int(duration_s(worker.pace, human_min, luck.duration) * SECOND_US)
        elif behaviour.duration == "exponential":
            attempt.total_us = int(exponential(behaviour.mean_min, luck.duration) * MINUTE_US)
        else:
            attempt.total_us = int(behaviour.mean_min * MINUTE_US)
        share = luck.trouble
        for trouble in self.TROUBLES:
            chance: float = getattr(self._faults, trouble)
            if share < chance:
                attempt.trouble = trouble
                attempt.trouble_us = int(luck.when * attempt.total_us)
                return
            share -= chance

    def _go_on(self, attempt: Attempt) -> None:
        """Work up to what comes next: a report, a trouble, or the end."""
        end_us = attempt.trouble_us if attempt.trouble else attempt.total_us
        span_us = max(0, min(self._report_us, end_us - attempt.done_us))
        self._timeline.after(span_us, self._reached, attempt, attempt.turn, span_us)

    def _reached(self, attempt: Attempt, turn: int, span_us: int) -> None:
        if attempt.turn != turn:
            return
        attempt.done_us += span_us
        if attempt.trouble and attempt.done_us >= attempt.trouble_us:
            trouble, attempt.trouble = attempt.trouble, ""
            self.TROUBLES[trouble](self, attempt)
        elif attempt.done_us >= attempt.total_us:
            self._finish(attempt)
        elif self._around.do([self._report(attempt)])[0].error is None:
            self._go_on(attempt)
        else:  # the lease was lost: it is told so, and stops
            self._let_go(attempt)
            self._around.do([self.wait(attempt.worker)])

    def _report(self, attempt: Attempt) -> Command:
        return ReportProgress(
            request_id=self._around.request_id(),
            principal=attempt.worker.principal,
            task_id=attempt.task_id,
            lease_token=attempt.token,
            percent=min(99, 100 * attempt.done_us // max(attempt.total_us, 1)),
            usage=self._usage(attempt),
        )

    def _usage(self, attempt: Attempt) -> Usage:
        """What was used since the last report, by the documented rates."""
        minutes = (attempt.done_us - attempt.reported_us) / MINUTE_US
        attempt.reported_us = attempt.done_us
        tokens = round(minutes * self._behaviour.tokens_per_min)
        self._ledger.used(attempt.row, tokens)
        return Usage(tokens, round(tokens * self._behaviour.usd_per_million_tokens))

    def _finish(self, attempt: Attempt) -> None:
        """Hand it in, or give it up; and ask for more."""
        if attempt.gives_up:
            end: Command = ReleaseTask(
                request_id=self._around.request_id(),
                principal=attempt.worker.principal,
                task_id=attempt.task_id,
                lease_token=attempt.token,
                reason="failed",
            )
        else:
            end = CompleteTask(
                request_id=self._around.request_id(),
                principal=attempt.worker.principal,
                task_id=attempt.task_id,
                lease_token=attempt.token,
                summary="done",
                usage=self._usage(attempt),
            )
            self._around.sent[attempt.task_id, attempt.token] = attempt
        self._let_go(attempt)
        self._around.do([end, self.wait(attempt.worker)])

    def _let_go(self, attempt: Attempt) -> None:
        """Have no more to do with a task."""
        attempt.turn += 1
        attempt.worker.attempts.remove(attempt)
        self.n_busy -= not attempt.worker.attempts
        self._ledger.freed(attempt.row, self._around.now_us)

    # -- what goes wrong ----------------------------------------------------------------------

    def _go_away(self, attempt: Attempt) -> None:
        """The agent's process dies; after a while it starts anew."""
        worker = attempt.worker
        worker.is_away = True
        self.n_away += 1
        self._presence.leave(worker.id)
        self._presence.withdraw(worker.id)  # its long poll ended with it
        for held in worker.attempts:
            held.turn += 1
        span_us = lognormal_us(self._faults.crash_min, SPREAD, attempt.luck.span)
        self._timeline.after(AWAY_US + span_us, self._come_back, worker)

    def _come_back(self, worker: Worker) -> None:
        """Go on with what it still holds, as registering again tells it; else ask for work."""
        worker.is_away = False
        self.n_away -= 1
        commands: list[Command] = [self._around.again(worker)]
        if worker.heartbeats:
            self._presence.enter(worker.id)
        for attempt in list(worker.attempts):
            if not self._still_holds(attempt):
                self._let_go(attempt)
            elif attempt.task_id not in self._stopped:
                self._go_on(attempt)
        if len(worker.attempts) < worker.places:
            commands.append(self.wait(worker))
        self._around.do(commands)

    def _still_holds(self, attempt: Attempt) -> bool:
        held = self._around.engine.world.assignments.get(attempt.task_id)
        return held is not None and held.lease_token == attempt.token

    def _fall_silent(self, attempt: Attempt) -> None:
        """Nothing is heard of it for a while; then it works on, however late."""
        self._presence.leave(attempt.worker.id)
        span_us = lognormal_us(self._faults.silence_min, SPREAD, attempt.luck.span)
        self._timeline.after(span_us, self._be_heard_again, attempt, attempt.turn)

    def _be_heard_again(self, attempt: Attempt, turn: int) -> None:
        if attempt.turn != turn:
            return
        if attempt.worker.heartbeats:
            self._presence.enter(attempt.worker.id)
        # The silent time went into the work: it hands in at once what it has done.
        attempt.done_us = attempt.total_us
        self._finish(attempt)

    def _meet_blocker(self, attempt: Attempt) -> None:
        """Ask for an answer; wait for it, or give the task back."""
        release = attempt.luck.choice < self._faults.blocker_release
        command = ReportBlocker(
            request_id=self._around.request_id(),
            principal=attempt.worker.principal,
            task_id=attempt.task_id,
            lease_token=attempt.token,
            description="What is meant here?",
            release=release,
        )
        if release:
            self._let_go(attempt)
            self._around.do([command, self.wait(attempt.worker)])
            return
        self._stopped[attempt.task_id] = attempt
        self._presence.enter(attempt.worker.id)  # it asks for the answer again and again
        if self._around.do([command])[0].error is not None:
            del self._stopped[attempt.task_id]
            self._let_go(attempt)
            self._around.do([self.wait(attempt.worker)])

    TROUBLES: ClassVar[dict[str, Callable[["Lives", Attempt], None]]] = {
        "crash": _go_away,
        "silence": _fall_silent,
        "blocker": _meet_blocker,
    }

    def blocked(self, data: BlockerReported) -> int:
        """Microseconds until somebody answers."""
        luck = self.held[data.task_id].luck
        return lognormal_us(self._faults.blocker_min, SPREAD, luck.span)

    def resolved(self, data: BlockerResolved) -> None:
        """Work on, if it is one's own still."""
        attempt = self._stopped.pop(data.task_id, None)
        if attempt is None or attempt.worker.is_away:
            return
        if not attempt.worker.heartbeats:
            self._presence.leave(attempt.worker.id)
        self._go_on(attempt)

    def stopped(self, data: TaskReleased) -> None:
        """Hear it while waiting for an answer; who works hears it with its next report."""
        attempt = self._stopped.pop(data.task_id, None)
        if attempt is not None and not attempt.worker.is_away:
            self._timeline.after(FETCH_US, self._stop, attempt, attempt.turn)

    def _stop(self, attempt: Attempt, turn: int) -> None:
        if attempt.turn == turn:
            self._let_go(attempt)
            self._around.do([self.wait(attempt.worker)])

    def expired(self, data: AssignmentExpired) -> None:
        """Nobody tells the agent: a dead one cannot hear it, a silent one works on."""
        self._stopped.pop(data.task_id, None)

"""Coding agents, made up: they seek, work, report, die, come back late and get things wrong."""

from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any, get_args

import msgspec

from pm_agent.domain.agent import HeartbeatAgent, RegisterAgent
from pm_agent.domain.assignment import (
    AcceptCompletion,
    ClaimTask,
    CompleteTask,
    ReleaseTask,
    ReportProgress,
    WaitForTask,
    WithdrawOffer,
)
from pm_agent.domain.blocker import BlockerType, ReportBlocker, ReportFix
from pm_agent.domain.envelope import Command, Principal, Usage
from pm_agent.domain.hold import PlaceHold
from pm_agent.domain.ids import TaskId
from pm_agent.domain.task import CancelTask, Evidence, LogArtifact, LogDecision, Skill
from pm_agent.domain.time import HOUR_US, MINUTE_US, SECOND_US
from pm_agent.domain.world import World as Board
from pm_agent.kernel.types import Reply
from simulation.clients import Client, World
from simulation.talk import Talk

SKILLS = ("api", "rust", "sql")
STOPPED_BY = ("no credentials", "the disk is full", "no credentials for staging", "which colour?")
AWAY_US = (MINUTE_US, 12 * HOUR_US)
SIGNS_AGAIN_US = (MINUTE_US, HOUR_US)
COMES_BACK = 0.7  # of the agents that die
MAX_POLL_US = 10 * MINUTE_US
WAIT_US = (20 * SECOND_US, MAX_POLL_US)
DILIGENT_US = 20 * SECOND_US
# After these answers a lease is over, whatever the agent thought.
OVER = frozenset(
    {"stale_lease", "not_assigned", "not_assignee", "already_completed", "unknown_task"}
)

Lease = tuple[TaskId, int]
_result: Any = msgspec.json.decode


class Habits(msgspec.Struct, frozen=True):
    """How an agent is."""

    pace_us: int  # mean time between two acts
    skills: tuple[Skill, ...]
    capacity: int
    project_ids: tuple[str, ...]
    signs: bool  # a sidecar sends its heartbeats


class Agent(Client):
    """One agent with its own idea of what it holds, which may be wrong.

    Parameters
    ----------
    board
        Where it looks up what others do, to get in their way.
    clock_us
        The coordinator's wall clock; a long poll names the instant of its end.
    """

    def __init__(
        self,
        around: World,
        agent_id: str,
        habits: Habits,
        random: Random,
        *,
        talk_random: Random,
        board: Callable[[], Board],
        clock_us: Callable[[], int],
    ) -> None:
        super().__init__(around, Principal("agent", agent_id), random)
        self.id = agent_id
        self.habits = habits
        self.held: dict[TaskId, int] = {}
        self.past: deque[Lease] = deque(maxlen=8)
        self.is_alive = True
        self.is_diligent = False
        self._board = board
        self._clock_us = clock_us
        self._is_registered = False
        self._is_cut_off = False
        self._n_lives = 0
        self._n_waits = 0
        self._waits = 0  # number of the wait under way; 0: none
        self.talk = Talk(self, talk_random, board)

    @property
    def signs(self) -> bool:
        """Whether its sidecar is heard now. A presence is an interval here, never single beats."""
        return self.habits.signs and self.is_alive and self._is_registered and not self._is_cut_off

    # -- life ---------------------------------------------------------------------------------

    def start(self) -> None:
        self._soon()

    def come_back(self) -> None:
        """Go on as if nothing had happened: with the leases, and the tokens, of before."""
        if not self.is_alive:
            self.is_alive = True
            self._n_lives += 1
            self._waits = 0
            self._soon()

    def be_diligent(self) -> None:
        """From now on: no mistakes, no failures, always waiting for more work."""
        self.is_diligent = True
        self._is_cut_off = False
        if self._waits:
            self._waits = 0
            self._soon()

    def wake(self) -> None:
        """A task was given to this waiting agent: fetch it, which also confirms it."""
        if self._waits and self.is_alive:
            self._waits = 0
            self._ask(self._command(ClaimTask, agent_id=self.id), self._sought)

    def forget_registration(self) -> None:
        """It has left the team, or may have: it registers again before it goes on."""
        self._is_registered = False

    def _think(self, life: int) -> None:
        if not self.is_alive or life != self._n_lives:
            return
        strikes = self.around.faults.strikes
        if strikes("agent_dies"):
            self._die()
            return
        if self.habits.signs and strikes("agent_signs_no_more"):
            self._is_cut_off = True
            span_us = self.around.faults.span_us("agent_signs_no_more", *SIGNS_AGAIN_US)
            self.around.timeline.after(span_us, self._sign_again)
        if self._is_registered:
            self.talk.think()
        if not self._is_registered:
            self._ask(self._registration(), self._registered)
        elif self.held and (len(self.held) >= self.habits.capacity or self.random.random() < 0.8):
            self._work()
        else:
            self._seek()
        self._err()

    def _die(self) -> None:
        self.is_alive = False
        if self.random.random() < COMES_BACK:
            self.around.timeline.after(
                self.around.faults.span_us("agent_dies", *AWAY_US), self.come_back
            )

    def _sign_again(self) -> None:
        self._is_cut_off = False

    def _soon(self) -> None:
        pace_us = DILIGENT_US if self.is_diligent else self.habits.pace_us
        delay_us = int(pace_us * (0.2 + 1.6 * self.random.random()))
        self.around.timeline.after(delay_us, self._think, self._n_lives)

    # -- asking -------------------------------------------------------------------------------

    def _command(self, kind: type[Command], /, **fields: Any) -> Command:
        return kind(request_id=self.request_id(), principal=self.principal, **fields)

    def _ask(self, command: Command, told: Callable[[Reply | None], None]) -> None:
        """Ask, and think on when it is answered, in this life."""
        life = self._n_lives

        def then(reply: Reply | None) -> None:
            if life == self._n_lives and self.is_alive:
                if reply is not None and reply.error and reply.error.code == "departed_agent":
                    self.forget_registration()
                told(reply)
                if not self._waits:
                    self._soon()

        self.ask(command, then)
        strikes = self.around.faults.strikes
        if strikes("agent_says_twice"):
            self.say(msgspec.structs.replace(command, request_id=self.request_id()))
        if strikes("agent_reuses_id"):
            self.say(_altered(command))

    def _registration(self) -> Command:
        habits = self.habits
        return self._command(
            RegisterAgent,
            agent_id=self.id,
            name=self.id[2:],
            skills=habits.skills,
            capacity=habits.capacity,
            project_ids=tuple(p for p in habits.project_ids if p in self._board().projects),
            sends_heartbeats=habits.signs,
        )

    def _registered(self, reply: Reply | None) -> None:
        self._is_registered = self._is_registered or (reply is not None and reply.error is None)

    # -- seeking ------------------------------------------------------------------------------

    def _seek(self) -> None:
        roll = self.random.random()
        project_id = None
        if not self.is_diligent and roll < 0.05:
            self._ask(self._command(WithdrawOffer, agent_id=self.id), lambda _: None)
            return
        if not self.is_diligent and roll > 0.9:
            project_id = self.random.choice(list(self._board().projects) or ["P-none"])
        if self.is_diligent or roll < 0.6:
            wait_us = self.random.randrange(*WAIT_US)
            self._n_waits += 1
            self.around.timeline.after(wait_us, self._wait_no_more, self._n_waits)
            self._ask(
                self._command(
                    WaitForTask,
                    agent_id=self.id,
                    project_id=project_id,
                    until_us=self._clock_us() + wait_us,
                ),
                self._sought,
            )
        else:
            claim = self._command(ClaimTask, agent_id=self.id, project_id=project_id)
            self._ask(claim, self._sought)

    def _sought(self, reply: Reply | None) -> None:
        if reply is None or reply.error is not None:
            return
        found = _result(reply.result)
        if found["outcome"] == "assigned":
            self.held[found["task_id"]] = found["lease_token"]
        elif found["outcome"] == "waiting":
            self._waits = self._n_waits

    def _wait_no_more(self, number: int) -> None:
        if self._waits == number:
            self._waits = 0
            self._soon()

    # -- working ------------------------------------------------------------------------------

    def _work(self) -> None:
        lease = self.random.choice(list(self.held.items()))
        if self.is_diligent:
            self._about(lease, self._complete if self.random.random() < 0.7 else self._progress)
            return
        if self._board().open_blockers(lease[0]) and self.random.random() < 0.3:
            self._about(lease, self._judge_step)
            return
        task = self._board().tasks.get(lease[0])
        if task is not None and task.candidates and self.random.random() < 0.4:
            self._about(lease, self._fail)  # another has done it, it seems
            return
        roll = self.random.random()
        for share, act in (
            (0.25, self._progress),
            (0.36, self._log),
            (0.70, self._complete),
            (0.78, self._fail),
            (0.83, self._give_back),
            (0.90, self._report_blocker),
            (0.93, self._judge_step),
        ):
            if roll < share:
                self._about(lease, act)
                return
        if roll < 0.985:
            self._ask(self._command(HeartbeatAgent, agent_id=self.id), self._directed)
        else:
            skills = self.random.sample(SKILLS, self.random.randrange(1, 4))
            self.habits = msgspec.structs.replace(
                self.habits,
                skills=tuple(Skill(name, self.random.randrange(1, 6)) for name in skills),
                capacity=self.random.randrange(1, 4),
            )
            self._ask(self._registration(), self._registered)

    def _about(self, lease: Lease, act: Callable[[Lease], Command]) -> None:
        """Say something about a task under its lease; at times under a wrong one."""
        task_id, token = lease
        if self.around.faults.strikes("agent_mistakes_token"):
            token = max(0, token + self.random.choice((-1, 1, 7)))
        command = act((task_id, token))

        def told(reply: Reply | None) -> None:
            self._told(reply, lease, command)

        self._ask(command, told)

    def _told(self, reply: Reply | None, lease: Lease, command: Command) -> None:
        task_id, token = lease
        if reply is None or self.held.get(task_id) != token:
            return
        ends = isinstance(command, CompleteTask | ReleaseTask) or (
            isinstance(command, ReportBlocker) and command.release
        )
        if reply.error is None and ends:
            self._end(lease)
        elif reply.error is not None:
            is_mistake = getattr(command, "lease_token", token) != token
            code = reply.error.code
            if not is_mistake and (code in OVER or code == "wrong_state"):
                self._end(lease)
        self._directed(reply)

    def _end(self, lease: Lease) -> None:
        self.held.pop(lease[0], None)
        self.past.append(lease)

    def _directed(self, reply: Reply | None) -> None:
        """Obey, mostly, when told to stop."""
        for told in reply.directives if reply is not None else ():
            task_id = told.split()[3]
            token = self.held.get(task_id)
            if token is not None and self.random.random() < 0.7:
                lease = task_id, token
                self.say(self._lease_command(ReleaseTask, lease, reason="stopped"))
                self._end(lease)

    # -- what there is to say about a task ----------------------------------------------------

    def _lease_command(self, kind: type[Command], lease: Lease, /, **fields: Any) -> Command:
        return self._command(kind, task_id=lease[0], lease_token=lease[1], **fields)

    def _progress(self, lease: Lease) -> Command:
        return self._lease_command(
            ReportProgress,
            lease,
            percent=self.random.randrange(100),
            note="so far",
            usage=self._usage(),
            expect_silence_s=self.random.choice((0, 0, 0, 600, 9_000)),
        )

    def _complete(self, lease: Lease) -> Command:
        evidence = Evidence(commit=f"{self.random.randrange(16**7):07x}")
        return self._lease_command(
            CompleteTask, lease, summary="did it", evidence=evidence, usage=self._usage()
        )

    def _fail(self, lease: Lease) -> Command:
        return self._lease_command(ReleaseTask, lease, reason="failed", note="tests are red")

    def _give_back(self, lease: Lease) -> Command:
        return self._lease_command(ReleaseTask, lease)

    def _report_blocker(self, lease: Lease) -> Command:
        tasks, wants = list(self._board().tasks), self.random.random()
        return self._lease_command(
            ReportBlocker,
            lease,
            description=self.random.choice(STOPPED_BY),
            release=self.random.random() < 0.5,
            blocker_type=self.random.choice(get_args(BlockerType)),
            needs_task_ids=(self.random.choice(tasks),) if tasks and wants < 0.3 else (),
            needs_skills=(Skill(self.random.choice(SKILLS), 2),) if wants > 0.7 else (),
        )

    def _judge_step(self, lease: Lease) -> Command:
        blockers = [b.id for b in self._board().open_blockers(lease[0])] or ["B-1"]
        return self._command(
            ReportFix,
            blocker_id=self.random.choice(blockers),
            lease_token=lease[1],
            worked=self.random.random() < 0.5,
        )

    def _log(self, lease: Lease) -> Command:
        if self.random.random() < 0.5:
            return self._lease_command(LogDecision, lease, decision="dates are UTC")
        return self._lease_command(LogArtifact, lease, name="api", uri="docs/api.md")

    def _usage(self) -> Usage:
        if self.is_diligent or self.random.random() < 0.6:
            return Usage()
        return Usage(self.random.randrange(200_000), self.random.randrange(600_000))

    # -- what goes wrong ----------------------------------------------------------------------

    def _err(self) -> None:
        strikes = self.around.faults.strikes
        acts = (
            self._progress,
            *[self._complete] * 3,  # late work has the most that can go wrong
            self._fail,
            self._report_blocker,
            self._judge_step,
            self._log,
            self.talk.about,
        )
        act = self.random.choice(acts)
        if self.past and strikes("agent_talks_of_the_past"):
            self.say(act(self.random.choice(list(self.past))))
        if strikes("agent_steals_token"):
            others = [a for a in self._board().assignments.values() if a.agent_id != self.id]
            if others:
                victim = self.random.choice(others)
                self.say(act((victim.task_id, victim.lease_token)))
        if self.held and strikes("agent_oversteps"):
            task_id = self.random.choice(list(self.held))
            self.say(
                self.random.choice(
                    (
                        self._command(AcceptCompletion, task_id=task_id),
                        self._command(CancelTask, task_id=task_id),
                        self._command(PlaceHold, scope="task", target_id=task_id),
                        self._command(ClaimTask, agent_id="A-" + self.id),
                    )
                )
            )


_ALTERED: dict[type[Command], dict[str, Any]] = {
    ReportProgress: {"percent": 100, "note": "other words"},
    CompleteTask: {"summary": "other words"},
    ReleaseTask: {"note": "other words"},
    ReportBlocker: {"description": "other words"},
    ReportFix: {"note": "other words"},
    LogDecision: {"decision": "other words"},
    LogArtifact: {"uri": "other/place.md"},
    ClaimTask: {"project_id": "P-0"},
    WaitForTask: {"project_id": "P-0"},
    RegisterAgent: {"name": "other"},
    HeartbeatAgent: {"agent_id": "A-other"},
    WithdrawOffer: {"agent_id": "A-other"},
}


def _altered(command: Command) -> Command:
    """Return other words under the same request id."""
    return msgspec.structs.replace(command, **_ALTERED[type(command)])

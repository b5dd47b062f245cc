"""Everybody but the agents: who plans and judges, who performs effects, who computes on the board.

They look at a board that holds durable events only, as an ingress's replica does.
"""

from collections.abc import Callable
from random import Random
from typing import Any

import msgspec

from pm_agent.domain.access import IssueToken, RevokeToken
from pm_agent.domain.assessment import (
    AssessmentDraft,
    RequestAssessments,
    RiskMark,
    StoreAssessments,
)
from pm_agent.domain.assignment import AcceptCompletion, RejectCompletion
from pm_agent.domain.blocker import AcknowledgeBlocker, ResolveBlocker, StoreAdvice
from pm_agent.domain.envelope import SYSTEM, Command, Principal
from pm_agent.domain.hold import LiftHold, PlaceHold
from pm_agent.domain.instruction import AbandonEffect, StoreInstructions
from pm_agent.domain.model_call import BY_RULES
from pm_agent.domain.project import CreateProject, Gate, UpdateProject
from pm_agent.domain.subscription import NotePush, Unsubscribe
from pm_agent.domain.task import (
    CancelTask,
    Candidate,
    CreateTask,
    ImportTasks,
    LogDecision,
    ReopenTask,
    SetCriticalPaths,
    Skill,
    Task,
    TaskDraft,
    UpdateTask,
)
from pm_agent.domain.time import DAY_US, HOUR_US, MINUTE_US, SECOND_US
from pm_agent.domain.world import World as Board
from pm_agent.features.assessment.wanted import most_wanted
from pm_agent.features.planning.critical_path import critical_paths
from pm_agent.kernel.effects import AskForAdvice, AssessTasks, Effect, PushTask, RunGate
from pm_agent.kernel.types import Reply
from simulation.agents import SKILLS
from simulation.clients import Client, World

SWEEP_US = 30 * SECOND_US
FAILED_PUSHES = 0.3
PARTS = 0.3  # of assessments, of which a part is stored before the rest
GATE = Gate(argv=("make", "test"))


class Project(msgspec.Struct, frozen=True):
    """A project as it is to be."""

    project_id: str
    completion: str
    limits: dict[str, int]


class Person(Client):
    """Plans, judges, holds back and lets go; now and then asks for the impossible."""

    def __init__(
        self,
        around: World,
        name: str,
        random: Random,
        board: Callable[[], Board],
        *,
        projects: tuple[Project, ...],
        agent_ids: tuple[str, ...],
        backlog: int,
        pace_us: int,
    ) -> None:
        super().__init__(around, Principal("person", name, "admin"), random)
        self._board = board
        self._projects = projects
        self._agent_ids = agent_ids
        self._backlog = backlog
        self._pace_us = pace_us
        self._n_keys = 0
        self._sweeps = False

    def start(self) -> None:
        self._think()

    def sweep(self) -> None:
        """From now on: let everything go that waits for a person, and ask for nothing new."""
        self._sweeps = True
        self._sweep()

    def _think(self) -> None:
        if not self._sweeps:
            self.ask(self._next(), self._go_on)

    def _go_on(self, _: Reply | None) -> None:
        self.later(self._pace_us // 5, 2 * self._pace_us, self._think)

    def _next(self) -> Command:
        board = self._board()
        for project in self._projects:
            if project.project_id not in board.projects:
                return self._new_project(project)
        # Blocked tasks come back without a person, too, and with them the backlog would grow.
        if sum(c["open"] + c["blocked"] for c in board.counts.values()) < self._backlog:
            return self._new_tasks()
        acts = (
            *[self._judge] * 5,
            *[self._resolve] * 4,
            self._acknowledge,
            *[self._hold] * 2,
            *[self._let_go] * 4,
            *[self._change] * 3,
            self._cancel,
            self._reopen,
            self._set_limits,
            self._log,
            self._access,
            self._ask_the_impossible,
            self._new_tasks,
        )
        return self.random.choice(acts)()

    def _command(self, kind: type[Command], /, **fields: Any) -> Command:
        return kind(request_id=self.request_id(), principal=self.principal, **fields)

    # -- planning -----------------------------------------------------------------------------

    def _new_project(self, project: Project) -> Command:
        gate = GATE if project.completion == "command" else Gate()
        return self._command(
            CreateProject,
            project_id=project.project_id,
            name=project.project_id,
            completion=project.completion,
            gate=gate,
            **project.limits,
        )

    def _new_tasks(self) -> Command:
        random = self.random
        project_id = random.choice(self._projects).project_id
        if random.random() < 0.5:
            return self._command(
                CreateTask, project_id=project_id, draft=self._draft(dependencies=self._some())
            )
        keys = []
        for _ in range(random.randrange(2, 9)):
            self._n_keys += 1
            keys.append(f"k{self._n_keys}")
        drafts = []
        for index, key in enumerate(keys):
            # Mostly on drafts before it; now and then on any, so that cycles are asked for.
            among = keys if random.random() < 0.03 else keys[:index]
            dependencies = tuple(random.sample(among, min(len(among), random.choice((0, 1, 2)))))
            drafts.append(self._draft(key=key, dependencies=dependencies))
        return self._command(ImportTasks, project_id=project_id, drafts=tuple(drafts))

    def _draft(self, **fields: Any) -> TaskDraft:
        random = self.random
        return TaskDraft(
            title="a task",
            kind=random.choice(("task", "bug")),
            priority=random.randrange(4),
            skills=self._skills(),
            estimate_min=random.choice((0, 5, 30, 200)),
            needs_approval=random.random() < 0.05,
            description=random.choice(("", "a text")),
            **fields,
        )

    def _skills(self) -> tuple[Skill, ...]:
        if self.random.random() < 0.6:
            return ()
        return (Skill(self.random.choice(SKILLS), self.random.randrange(1, 5)),)

    def _some(self) -> tuple[str, ...]:
        recent = list(self._board().tasks)[-15:]
        return tuple(self.random.sample(recent, min(len(recent), self.random.choice((0, 0, 1, 2)))))

    def _change(self) -> Command:
        task_id = self._task().id
        change: dict[str, Any] = self.random.choice(
            (
                {"dependencies": self._some()},
                {"priority": self.random.randrange(4), "skills": self._skills()},
                {"estimate_min": self.random.choice((5, 60, 300)), "description": "now"},
                {"title": "another title", "expected_version": 1},
            )
        )
        return self._command(UpdateTask, task_id=task_id, **change)

    def _cancel(self) -> Command:
        return self._command(CancelTask, task_id=self._task().id, reason="no longer wanted")

    def _reopen(self) -> Command:
        return self._command(
            ReopenTask, task_id=self._task(lambda t: t.is_terminal).id, reason="once more"
        )

    def _set_limits(self) -> Command:
        limit: dict[str, int] = self.random.choice(
            (
                {"max_in_progress": self.random.randrange(4)},
                {"token_cap": self.random.choice((0, 3_000_000, 50_000_000))},
                {"cost_cap_microusd": self.random.choice((0, 9_000_000, 90_000_000))},
            )
        )
        project_id = self.random.choice(self._projects).project_id
        return self._command(UpdateProject, project_id=project_id, **limit)

    # -- answering ----------------------------------------------------------------------------

    def _judge(self) -> Command:
        late = self._task(lambda t: bool(_undecided(t)))
        is_late = bool(late.candidates) and self.random.random() < 0.5
        task = late if is_late else self._task(lambda t: t.state == "in_review")
        about: dict[str, Any] = {"task_id": task.id}
        if is_late:  # whoever has the task now
            about["lease_token"] = self.random.choice(_undecided(task)).lease_token
        if self.random.random() < (0.4 if is_late else 0.7):
            return self._command(AcceptCompletion, **about)
        return self._command(RejectCompletion, **about, reasons=("tests fail",))

    def _resolve(self) -> Command:
        blockers = [b.id for b in self._board().blockers.values() if b.is_open] or ["B-1"]
        return self._command(
            ResolveBlocker, blocker_id=self.random.choice(blockers), resolution="use the vault"
        )

    def _acknowledge(self) -> Command:
        blockers = [b.id for b in self._board().blockers.values() if b.is_open] or ["B-1"]
        return self._command(AcknowledgeBlocker, blocker_id=self.random.choice(blockers))

    def _log(self) -> Command:
        return self._command(LogDecision, task_id=self._task().id, decision="we ship on Friday")

    def _access(self) -> Command:
        sha256 = f"{self.random.randrange(8):064x}"
        if self.random.random() < 0.5:
            return self._command(RevokeToken, sha256=sha256)
        return self._command(IssueToken, sha256=sha256, owner=self.principal)

    def _ask_the_impossible(self) -> Command:
        nothing = TaskDraft(title="for no project")
        return self.random.choice(
            (
                self._new_project(self._projects[0]),
                self._command(CreateTask, project_id="P-none", draft=nothing),
                self._command(PlaceHold, scope="agent", target_id="A-nobody"),
                self._command(CancelTask, task_id="T-999999"),
            )
        )

    # -- holds --------------------------------------------------------------------------------

    def _hold(self) -> Command:
        random = self.random
        scope = random.choice(("workspace", "project", "agent", "task", "task", "task"))
        until_us = None
        if random.random() < 0.5:
            now_us = self._board().tables.now_us
            until_us = now_us + random.choice((MINUTE_US, HOUR_US, DAY_US))
        return self._command(
            PlaceHold,
            scope=scope,
            target_id=self._target(scope),
            kind=random.choice(("paused", "stopped", "scheduled", "approval")),
            reason="wait",
            until_us=until_us,
        )

    def _let_go(self) -> Command:
        held = self._held()
        scope, target_id = self.random.choice(held) if held else ("task", self._task().id)
        return self._command(LiftHold, scope=scope, target_id=target_id)

    def _target(self, scope: str) -> str:
        if scope == "workspace":
            return "main"
        if scope == "project":
            return self.random.choice(self._projects).project_id
        if scope == "agent":
            return self.random.choice(self._agent_ids)
        return self._task().id

    def _held(self) -> list[tuple[str, str]]:
        board = self._board()
        found = [("workspace", "main")] if board.tables.workspace_holds else []
        found += [("project", p.id) for p in board.projects.values() if p.holds]
        found += [("agent", a.id) for a in board.agents.values() if a.holds]
        found += [("task", t.id) for t in board.tasks.values() if t.holds and not t.is_terminal]
        return found

    def _task(self, wanted: Callable[[Task], bool] = lambda _: True) -> Task:
        tasks = [t for t in self._board().tasks.values() if wanted(t)]
        if not tasks:
            return Task(id="T-1", number=1, project_id="P-0", title="")
        return self.random.choice(tasks[-40:])

    # -- sweeping -----------------------------------------------------------------------------

    def _sweep(self) -> None:
        board = self._board()
        for scope, target_id in self._held():
            if scope != "task" or self._is_mine(board.tasks[target_id]):
                self.say(self._command(LiftHold, scope=scope, target_id=target_id))
        no_limits = {"max_in_progress": 0, "token_cap": 0, "cost_cap_microusd": 0}
        for project in board.projects.values():
            if project.max_in_progress or project.token_cap or project.cost_cap_microusd:
                self.say(self._command(UpdateProject, project_id=project.id, **no_limits))
        for subscription_id in board.subscriptions:  # what nobody watches for must get done, too
            self.say(self._command(Unsubscribe, subscription_id=subscription_id))
        for blocker in board.blockers.values():
            if blocker.is_open:
                self.say(self._command(ResolveBlocker, blocker_id=blocker.id, resolution="go on"))
        for task in board.tasks.values():
            if task.state == "in_review" and board.projects[task.project_id].completion == "person":
                self.say(self._command(AcceptCompletion, task_id=task.id))
            elif task.state == "dead_letter":
                self.say(self._command(ReopenTask, task_id=task.id, reason="looked at it"))
        self.around.timeline.after(SWEEP_US, self._sweep)

    def _is_mine(self, task: Task) -> bool:
        """Whether a person holds it; the wait after a failure ends by itself."""
        return any(h.until_us is None or h.by == str(self.principal) for h in task.holds)


def _undecided(task: Task) -> list[Candidate]:
    """Late work about which nobody has said anything."""
    return [] if task.is_terminal else [c for c in task.candidates if not c.is_rejected]


class EffectRunner(Client):
    """Performs effects at least once: now and then late, twice, or with another answer."""

    POLL_US = 2 * SECOND_US
    LEASE_US = 120 * SECOND_US  # then an effect without an answer is handed out again
    LATE_US = (SECOND_US, HOUR_US)

    def __init__(
        self,
        around: World,
        random: Random,
        pending: Callable[[], list[Effect]],
        board: Callable[[], Board],
    ) -> None:
        super().__init__(around, SYSTEM, random)
        self._pending = pending
        self._board = board
        self._taken_us: dict[str, int] = {}
        self._polls_us: int | None = None

    def notice(self) -> None:
        """Look soon: there may be something to do."""
        self._poll_at(self.around.timeline.now_us + self.POLL_US)

    def _poll_at(self, at_us: int) -> None:
        if self._polls_us is None or at_us < self._polls_us:
            self._polls_us = at_us
            self.around.timeline.at(at_us, self._poll, at_us)

    def _poll(self, at_us: int) -> None:
        if self._polls_us != at_us:
            return
        self._polls_us = None
        now_us = self.around.timeline.now_us
        pending = self._pending()
        known = self._taken_us
        self._taken_us = {e.effect_id: known.get(e.effect_id, 0) for e in pending}
        for effect in pending:
            if self._taken_us[effect.effect_id] <= now_us:
                self._taken_us[effect.effect_id] = now_us + self.LEASE_US
                self._perform(effect)
        if pending:
            self._poll_at(now_us + self.LEASE_US)

    def _perform(self, effect: Effect) -> None:
        strikes, timeline = self.around.faults.strikes, self.around.timeline
        if strikes("effect_lost"):
            return
        delay_us = self.random.randrange(SECOND_US, 60 * SECOND_US)
        if strikes("effect_late"):
            delay_us += self.around.faults.span_us("effect_late", *self.LATE_US)
        if isinstance(effect.want, AssessTasks) and self.random.random() < PARTS:
            timeline.after(delay_us // 2, self.say, self._part(effect, effect.want))
        timeline.after(delay_us, self.say, self._answer(effect))
        if strikes("effect_doubled"):
            delay_us += self.around.faults.span_us("effect_doubled", *self.LATE_US)
            timeline.after(delay_us, self.say, self._answer(effect))

    def _answer(self, effect: Effect) -> Command:
        fields: dict[str, Any] = {
            "request_id": f"effect:{effect.effect_id}",
            "principal": SYSTEM,
            "effect_id": effect.effect_id,
            "task_id": effect.task_id,
        }
        if isinstance(effect.want, PushTask):
            held = self._board().assignments.get(effect.task_id)
            hook = self._board().watchlists.hooked.get(held.agent_id, "") if held else ""
            failure = "it answered 500" if self.random.random() < FAILED_PUSHES else ""
            return NotePush(**fields, subscription_id=hook, failure=failure)
        if not isinstance(effect.want, RunGate):
            if self.around.faults.strikes("effect_abandoned"):
                return AbandonEffect(**fields, reason="no answer")
            if isinstance(effect.want, AssessTasks):
                del fields["task_id"]
                return StoreAssessments(**fields, drafts=self._judged(effect.want))
            if isinstance(effect.want, AskForAdvice):
                del fields["task_id"]
                return StoreAdvice(
                    **fields,
                    blocker_id=effect.want.blocker_id,
                    text="Look again.",
                    needs_person=self.random.random() < 0.3,
                    call=BY_RULES,
                )
            fields["lease_token"] = effect.lease_token
            return StoreInstructions(**fields, text="1. Read.", writer="rules")
        fields["lease_token"] = effect.lease_token
        if self.random.random() < 0.75:
            return AcceptCompletion(**fields)
        return RejectCompletion(**fields, reasons=("make: *** [test] Error 1",))

    def _part(self, effect: Effect, want: AssessTasks) -> Command:
        """Some of the answer, before the rest: what is stored already, the rest says again."""
        return StoreAssessments(
            request_id=f"effect:{effect.effect_id}:{want.task_ids[0]}",
            principal=SYSTEM,
            effect_id=effect.effect_id,
            drafts=self._judged(want)[:1],
            is_part=True,
        )

    def _judged(self, want: AssessTasks) -> tuple[AssessmentDraft, ...]:
        """Of most of the tasks, within bounds and without."""
        return tuple(
            AssessmentDraft(
                task_id=task_id,
                minutes=self.random.choice((-5, 20, 90, 100_000)),
                level=self.random.randrange(7),
                risks=(RiskMark("data", "high"),),
                text="Keep a way back.",
            )
            for task_id in want.task_ids
            if self.random.random() < 0.9
        )


class Portfolio(Client):
    """Looks at the board, and proposes critical paths and what is to be assessed."""

    PAUSE_US = 10 * MINUTE_US

    def __init__(self, around: World, random: Random, board: Callable[[], Board]) -> None:
        super().__init__(around, Principal("system", "portfolio", "system"), random)
        self._board = board

    def start(self) -> None:
        self._look()

    def _look(self) -> None:
        board = self._board()
        for project_id in board.projects:
            wanted = most_wanted(board, project_id)
            if wanted:
                self.say(
                    RequestAssessments(
                        request_id=self.request_id(),
                        principal=self.principal,
                        project_id=project_id,
                        task_ids=tuple(task.id for task in wanted),
                    )
                )
            minutes = critical_paths(board, project_id)
            if minutes:
                self.say(
                    SetCriticalPaths(
                        request_id=self.request_id(),
                        principal=self.principal,
                        project_id=project_id,
                        minutes=minutes,
                    )
                )
        self.later(self.PAUSE_US // 2, 3 * self.PAUSE_US, self._look)

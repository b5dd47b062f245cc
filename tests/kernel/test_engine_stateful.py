"""The engine beside a reference model: whatever is asked in whatever order, both agree.

The model is small and slow and knows nothing of the engine: who holds what under which token, what
waits for what, which holds stand, what was asked before. Before each command it says what must come
of it; after each it is compared with the world, and `Scenario` watches the invariants.
Time passes in two ways only: a little, in which everybody keeps in touch and waits after failures
end; or a night, in which nobody says a word and every running lease is lost.

`PM_AGENT_TEST_RULES` says how many rules to try: 5,000 unless set; `make test-long` tries 25,000.
"""

import os
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from pm_agent.domain.assignment import CompleteTask, ReportProgress, TaskAssigned
from pm_agent.domain.envelope import Command
from pm_agent.domain.hold import LiftHold, PlaceHold
from pm_agent.domain.task import MAX_KEPT_CANDIDATES, CancelTask, ReopenTask, UpdateTask
from pm_agent.domain.time import MINUTE_US
from pm_agent.kernel.idempotency import KEEP_US
from pm_agent.kernel.types import Reply
from tests.scenario import (
    PERSON,
    Scenario,
    a_project,
    a_task,
    accept,
    an_agent,
    claim,
    complete,
    heartbeat,
    lift_hold,
    place_hold,
    progress,
    reject,
    release,
    report_blocker,
    request_id,
    resolve_blocker,
    skills,
)
from tests.simulation import broken
from tests.simulation.broken import Break

N_RULES = int(os.environ.get("PM_AGENT_TEST_RULES", "5000"))
N_STEPS = 50  # rules an example
AUTO, JUDGED = "P-auto", "P-judged"
MAX_IN_PROGRESS = 2  # of the project whose work people judge
AGENTS = {"A-ada": (1, 3), "A-bob": (2, 1), "A-eve": (3, 0)}  # capacity, level of rust
TERMINAL = ("done", "cancelled", "dead_letter")
HELD = ("assigned", "blocked")
OTHERS_US = 20 * MINUTE_US  # agents that were heard within this time can be waited for

numbers = st.integers(0, 10**6)
agents = st.sampled_from(sorted(AGENTS))


class Task(msgspec.Struct):
    """What the model knows of a task."""

    id: str
    project_id: str
    rust: int
    dependencies: list[str]
    state: str = "open"
    token: int = 0
    holder: str = ""
    holds: set[str] = msgspec.field(default_factory=set)
    blockers: set[str] = msgspec.field(default_factory=set)
    failures: int = 0
    last_agent: str = ""  # of the last attempt that ended
    tokens: dict[int, str] = msgspec.field(default_factory=dict)  # lease token → its agent
    lost: set[int] = msgspec.field(default_factory=set)  # tokens of leases that ran out
    kept: list[int] = msgspec.field(default_factory=list)  # tokens of late work that was kept
    has_failed: bool = False  # the last attempt, and the task was not reopened since


class Machine(RuleBasedStateMachine):
    """Rules are commands; each tells first what the model expects."""

    def __init__(self) -> None:
        super().__init__()
        self.scenario = Scenario()
        self.tasks: dict[str, Task] = {}
        self.holds: set[tuple[str, str, str]] = set()  # scope, target, kind; of all but tasks
        self.heard_us: dict[str, int] = {}
        self.began_us = self.scenario.now_us
        # With whether it had events, and when it was sent.
        self.sent: list[tuple[Command, Reply, bool, int]] = []

    @initialize()
    def begin(self) -> None:
        self.scenario.given(
            a_project(AUTO), a_project(JUDGED, completion="person", max_in_progress=MAX_IN_PROGRESS)
        )
        for agent_id, (capacity, rust) in AGENTS.items():
            known = skills(rust=rust) if rust else ()
            self.scenario.given(an_agent(agent_id, capacity=capacity, skills=known))
            self.hear(agent_id)

    # -- the plan -----------------------------------------------------------------------------

    @rule(data=st.data(), judged=st.booleans(), rust=st.sampled_from((0, 0, 1, 2)))
    def create(self, data: st.DataObject, judged: bool, rust: int) -> None:  # noqa: FBT001 - drawn
        known = sorted(self.tasks)
        chosen = st.lists(st.sampled_from(known), max_size=2, unique=True) if known else st.just([])
        dependencies = data.draw(chosen)
        project_id = JUDGED if judged else AUTO
        needs = skills(rust=rust) if rust else ()
        self.accepted(a_task(project_id=project_id, skills=needs, dependencies=tuple(dependencies)))
        task_id = self.scenario.result["task_id"]
        assert task_id not in self.tasks
        self.tasks[task_id] = Task(task_id, project_id, rust, dependencies)

    @precondition(lambda self: self.tasks)
    @rule(a=numbers, b=numbers)
    def wait_for(self, a: int, b: int) -> None:
        """One task is to wait for one other alone."""
        task, other = self.nth(a), self.nth(b)
        command = UpdateTask(
            request_id=request_id(),
            principal=PERSON,
            task_id=task.id,
            dependencies=(other.id,),
        )
        is_late = task.state in HELD and not self.is_done(other.id)
        if task.state in TERMINAL:
            self.refused(command, "wrong_state")
        elif task.dependencies == [other.id]:
            self.accepted(command, with_events=False)
        elif self.reaches(other.id, task.id):
            self.refused(command, "dependency_cycle")
        elif is_late:
            self.refused(command, "wrong_state")
        else:
            self.accepted(command)
            task.dependencies = [other.id]

    @precondition(lambda self: self.tasks)
    @rule(a=numbers)
    def cancel(self, a: int) -> None:
        task = self.nth(a)
        command = CancelTask(request_id=request_id(), principal=PERSON, task_id=task.id)
        if task.state == "cancelled":
            self.accepted(command, with_events=False)
        elif task.state in TERMINAL:
            self.refused(command, "wrong_state")
        else:
            self.accepted(command)
            self.end(task, "cancelled")

    @precondition(lambda self: any(t.state in TERMINAL for t in self.tasks.values()))
    @rule(a=numbers)
    def reopen(self, a: int) -> None:
        task = self.nth(a)
        command = ReopenTask(
            request_id=request_id(), principal=PERSON, task_id=task.id, reason="again"
        )
        if task.state in TERMINAL:
            self.accepted(command)
            task.state, task.failures, task.has_failed = "open", 0, False
        else:
            self.refused(command, "wrong_state")

    # -- work ---------------------------------------------------------------------------------

    @precondition(lambda self: self.tasks)
    @rule(agent_id=agents, project_id=st.sampled_from((None, None, AUTO, JUDGED)))
    def seek(self, agent_id: str, project_id: str | None) -> None:
        self.hear(agent_id)
        command = claim(agent_id, project_id)
        capacity = AGENTS[agent_id][0]
        if len(self.held_by(agent_id)) >= capacity:
            self.refused(command, "capacity_exceeded")
            return
        open_to = {t.id for t in self.tasks.values() if self.may_take(agent_id, t)}
        if project_id is not None:
            open_to = {t for t in open_to if self.tasks[t].project_id == project_id}
        self.accepted(command, with_events=bool(open_to))
        result = self.scenario.result
        assert result["outcome"] == ("assigned" if open_to else "none"), (open_to, result)
        if open_to:
            assert result["task_id"] in open_to
            given: TaskAssigned = self.scenario.of_kind(TaskAssigned)[0]
            task = self.tasks[given.task_id]
            assert given.lease_token == task.token + 1
            self.lease(task, agent_id)

    @precondition(lambda self: any(t.tokens for t in self.tasks.values()))
    @rule(
        a=numbers,
        which=numbers,
        by=st.sampled_from((None, None, None, *sorted(AGENTS))),
        what=st.sampled_from(("progress", "complete", "complete", "failed", "released", "blocker")),
    )
    def write(self, a: int, which: int, by: str | None, what: str) -> None:
        """Anybody may try, under any token there ever was; one alone may succeed."""
        leased = [t for t in self.tasks.values() if t.tokens]
        task = leased[a % len(leased)]
        # Mostly the newest; the token after it is nobody's yet.
        tokens = [*task.tokens, *[task.token] * 3, task.token + 1]
        token = tokens[which % len(tokens)]
        agent_id = by or task.tokens.get(token, "A-ada")
        self.hear(agent_id)
        if what == "complete":
            self.complete(task, token, agent_id)
            return
        if what == "progress":
            command: Command = progress(task.id, token, agent_id)
        elif what == "blocker":
            command = report_blocker(task.id, token, agent_id, release=which % 2 == 0)
        else:
            command = release(task.id, token, agent_id, reason=what)
        if not self.fenced(command, task, token, agent_id):
            return
        if task.state == "in_review":
            self.refused(command, "wrong_state")
            return
        self.accepted(command)
        if what == "blocker":
            task.blockers.add(self.scenario.result["blocker_id"])
            task.state = "blocked"
        if what in ("failed", "released") or (what == "blocker" and which % 2 == 0):
            self.end(task, "open", failed=what == "failed")

    def complete(self, task: Task, token: int, agent_id: str) -> None:
        command = complete(task.id, token, agent_id)
        is_own_lost = token in task.lost and task.tokens[token] == agent_id
        if is_own_lost and task.token != token:
            self.complete_late(command, task, agent_id)
        elif is_own_lost:
            # The newest lease was lost, and nobody has the task.
            self.complete_late(command, task, agent_id)
        elif task.state in ("in_review", "done") and self.is_same_attempt(task, token, agent_id):
            self.accepted(command, with_events=False)
        elif task.state in TERMINAL:
            self.refused(command, "already_completed")
        elif self.fenced(command, task, token, agent_id):
            self.accepted(command)
            self.submit(task)

    def complete_late(self, command: CompleteTask, task: Task, agent_id: str) -> None:
        """Work of a lost lease: taken while nobody else has the task and nothing is missing."""
        missing = [d for d in task.dependencies if not self.is_done(d)]
        if task.state in TERMINAL:
            self.send(command)
            self.require_refused("already_completed")
            if task.state == "dead_letter":
                self.keep(task, command.lease_token)
        elif task.holder or missing:
            self.send(command)
            self.require_refused("stale_lease")
            if task.holder != agent_id:
                self.keep(task, command.lease_token)
        else:
            self.send(command)
            assert self.scenario.reply.error is None, self.scenario.reply.error
            self.take_late(task, command.lease_token)

    def keep(self, task: Task, token: int) -> None:
        if token not in task.kept:
            task.kept = [*task.kept, token][-MAX_KEPT_CANDIDATES:]

    def take_late(self, task: Task, token: int) -> None:
        task.holds.discard("scheduled")
        task.lost.discard(token)
        if token in task.kept:
            task.kept.remove(token)
        self.lease(task, task.tokens[token])
        self.submit(task)

    def take_kept(self, task: Task) -> None:
        """When an attempt has failed, work that came late meanwhile has its turn."""
        may_be_taken = task.state in ("open", "blocked") and not task.holder and task.has_failed
        if task.kept and may_be_taken and all(map(self.is_done, task.dependencies)):
            self.take_late(task, task.kept[0])

    @precondition(lambda self: any(t.state == "in_review" for t in self.tasks.values()))
    @rule(a=numbers, is_good=st.booleans())
    def judge(self, a: int, is_good: bool) -> None:  # noqa: FBT001 - drawn
        task = self.nth(a)
        command = accept(task.id) if is_good else reject(task.id)
        if task.state != "in_review":
            self.refused(command, "wrong_state")
            return
        self.accepted(command)
        if is_good:
            self.end(task, "done")
        else:
            self.end(task, "open", failed=True)

    @precondition(lambda self: any(t.blockers for t in self.tasks.values()))
    @rule(a=numbers)
    def resolve(self, a: int) -> None:
        blocked = [t for t in self.tasks.values() if t.blockers]
        task = blocked[a % len(blocked)]
        blocker_id = min(task.blockers)
        self.accepted(resolve_blocker(blocker_id))
        task.blockers.remove(blocker_id)
        if task.state == "blocked" and not task.blockers:
            task.state = "assigned" if task.holder else "open"
        self.refused(resolve_blocker(blocker_id), "wrong_state")

    # -- holds --------------------------------------------------------------------------------

    @rule(
        a=numbers,
        scope=st.sampled_from(("workspace", "project", "agent", "task", "task")),
        agent_id=agents,
        places=st.booleans(),
    )
    def hold(self, a: int, scope: str, agent_id: str, places: bool) -> None:  # noqa: FBT001 - drawn
        if scope == "task" and not self.tasks:
            return
        targets = {"workspace": "main", "project": (AUTO, JUDGED)[a % 2], "agent": agent_id}
        target_id = targets.get(scope) or self.nth(a).id
        kinds = self.kinds_of(scope, target_id)
        command: PlaceHold | LiftHold
        if places:
            command = place_hold(scope, target_id)
            self.accepted(command)
            self.set_holds(scope, target_id, kinds | {"paused"})
        elif kinds:
            self.accepted(lift_hold(scope, target_id))
            self.set_holds(scope, target_id, set())
        else:
            self.refused(lift_hold(scope, target_id), "not_found")

    # -- asking again -------------------------------------------------------------------------

    @precondition(lambda self: self.sent)
    @rule(a=numbers)
    def ask_again(self, a: int) -> None:
        """The same request gets the same answer, if it had an effect; no second effect."""
        command, before, had_events, at_us = self.sent[-1 - a % min(len(self.sent), 20)]
        if not had_events or self.scenario.now_us - at_us >= KEEP_US:
            return
        self.hear(command.principal.id)
        self.scenario.when(command)
        assert self.scenario.reply.result == before.result
        assert self.scenario.reply.position == before.position
        assert self.scenario.events == []
        if isinstance(command, ReportProgress):
            self.scenario.when(msgspec.structs.replace(command, percent=99))
            self.scenario.then_refused("request_id_reused")

    # -- time and restarts --------------------------------------------------------------------

    @precondition(lambda self: any("scheduled" in t.holds for t in self.tasks.values()))
    @rule()
    def let_a_little_time_pass(self) -> None:
        """Six minutes: waits after failures end, and everybody has said something before."""
        for task in self.tasks.values():
            if task.state in HELD and task.holder:
                self.scenario.given(progress(task.id, task.token, task.holder))
        for agent_id in AGENTS:
            self.scenario.given(heartbeat(agent_id))
            self.hear(agent_id)
        self.scenario.after(minutes=6)
        for task in self.tasks.values():
            task.holds.discard("scheduled")

    @precondition(lambda self: any(t.holder for t in self.tasks.values()))
    @rule()
    def let_a_silent_night_pass(self) -> None:
        """Twelve hours without a word: every lease is lost that is not in review."""
        self.scenario.after(hours=12)
        for task in self.tasks.values():
            if task.state in HELD and task.holder:
                task.lost.add(task.token)
                self.end(task, "open", failed=True)
            task.holds.discard("scheduled")

    @rule(share=st.none() | st.floats(0, 1))
    def restart(self, share: float | None) -> None:
        n = len(self.scenario.journal)
        self.scenario.restart(snapshot_at=None if share is None else max(1, round(share * n)))
        self.began_us = self.scenario.now_us
        self.scenario.step([])  # the clock has its due, as with a coordinator
        for task in self.tasks.values():
            self.take_kept(task)

    # -- what holds after each rule -----------------------------------------------------------

    @invariant()
    def the_world_is_as_the_model_says(self) -> None:
        world = self.scenario.world
        assert set(world.tasks) == set(self.tasks)
        for task in self.tasks.values():
            real = world.tasks[task.id]
            held = world.assignments.get(task.id)
            assert (real.state, real.lease_token) == (task.state, task.token), task
            assert (held.agent_id if held else "") == task.holder, task
            assert {h.kind for h in real.holds} == task.holds, task
            assert real.failures == task.failures, task
        assert set(world.ready) == {t.id for t in self.tasks.values() if self.is_ready(t)}
        for agent_id in world.agents:
            assert set(world.agents[agent_id].active) == self.held_by(agent_id)

    def teardown(self) -> None:
        self.scenario.verify()

    # -- the model ----------------------------------------------------------------------------

    def nth(self, a: int) -> Task:
        return list(self.tasks.values())[a % len(self.tasks)]

    def hear(self, agent_id: str) -> None:
        self.heard_us[agent_id] = self.scenario.now_us

    def is_done(self, task_id: str) -> bool:
        return self.tasks[task_id].state == "done"

    def is_ready(self, task: Task) -> bool:
        return task.state == "open" and not task.holds and all(map(self.is_done, task.dependencies))

    def reaches(self, start: str, end: str) -> bool:
        """Whether a task waits, directly or not, for another, or is it."""
        return start == end or any(
            self.reaches(dependency, end) for dependency in self.tasks[start].dependencies
        )

    def held_by(self, agent_id: str) -> set[str]:
        return {t.id for t in self.tasks.values() if t.holder == agent_id and t.state in HELD}

    def may_take(self, agent_id: str, task: Task) -> bool:
        held = {(scope, target) for scope, target, _ in self.holds}
        if held & {("workspace", "main"), ("agent", agent_id), ("project", task.project_id)}:
            return False
        if not self.is_ready(task) or AGENTS[agent_id][1] < task.rust:
            return False
        in_progress = [
            t
            for t in self.tasks.values()
            if t.project_id == JUDGED and t.state in HELD and t.holder
        ]
        if task.project_id == JUDGED and len(in_progress) >= MAX_IN_PROGRESS:
            return False
        # Not the same agent twice in a row, while another can do it that was heard of late.
        since_us = self.scenario.now_us - OTHERS_US
        others = any(
            other != agent_id
            and rust >= task.rust
            and max(self.heard_us[other], self.began_us) >= since_us
            for other, (_, rust) in AGENTS.items()
        )
        return not (task.failures and task.last_agent == agent_id and others)

    def is_same_attempt(self, task: Task, token: int, agent_id: str) -> bool:
        """Whether this work was handed in before; late work counts under both of its tokens."""
        held = self.scenario.task(task.id).submission
        assert held is not None
        return agent_id == held.agent_id and token in (held.lease_token, held.late_token or -1)

    def lease(self, task: Task, agent_id: str) -> None:
        task.token += 1
        task.holder, task.state = agent_id, "assigned"
        task.tokens[task.token] = agent_id

    def submit(self, task: Task) -> None:
        task.state = "in_review"
        if task.project_id == AUTO:
            self.end(task, "done")

    def end(self, task: Task, state: str, *, failed: bool = False) -> None:
        """End the attempt. What follows a failure is the world's to tell: wait, or give up."""
        if task.holder:
            task.last_agent = task.holder
        task.holder = ""
        task.failures += failed
        task.has_failed = failed
        task.state = "blocked" if state == "open" and task.blockers else state
        if failed and self.scenario.state(task.id) == "dead_letter":
            task.state = "dead_letter"
        elif failed:
            task.holds.add("scheduled")
            self.take_kept(task)

    def kinds_of(self, scope: str, target_id: str) -> set[str]:
        if scope == "task":
            return set(self.tasks[target_id].holds)
        return {kind for s, t, kind in self.holds if (s, t) == (scope, target_id)}

    def set_holds(self, scope: str, target_id: str, kinds: set[str]) -> None:
        if scope == "task":
            self.tasks[target_id].holds = kinds
            return
        self.holds = {one for one in self.holds if one[:2] != (scope, target_id)}
        self.holds |= {(scope, target_id, kind) for kind in kinds}

    # -- sending ------------------------------------------------------------------------------

    def fenced(self, command: Any, task: Task, token: int, agent_id: str) -> bool:
        """Whether the writer holds the current lease; if not, the refusal is seen to."""
        if token != task.token:
            self.refused(command, "stale_lease")
        elif not task.holder:
            self.refused(command, "not_assigned")
        elif agent_id != task.holder:
            self.refused(command, "not_assignee")
        else:
            return True
        return False

    def send(self, command: Command) -> None:
        self.scenario.when(command)
        sent = (command, self.scenario.reply, self.had_effect(), self.scenario.now_us)
        self.sent.append(sent)

    def had_effect(self) -> bool:
        return self.scenario.reply.error is None and bool(self.scenario.events)

    def accepted(self, command: Command, *, with_events: bool = True) -> None:
        self.send(command)
        assert self.scenario.reply.error is None, (command, self.scenario.reply.error)
        assert bool(self.scenario.events) == with_events, (command, self.scenario.events)

    def refused(self, command: Command, code: str) -> None:
        self.send(command)
        self.scenario.then_refused(code)

    def require_refused(self, code: str) -> None:
        """Refused, but work may be kept as a candidate."""
        error = self.scenario.reply.error
        assert error is not None
        assert error.code == code


def run(n_rules: int, **changes: Any) -> None:
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=max(1, n_rules // N_STEPS),
            stateful_step_count=N_STEPS,
            deadline=None,
            database=None,
            print_blob=True,
            derandomize=N_RULES <= 5_000,  # the long run looks where nobody has looked before
            suppress_health_check=list(HealthCheck),
            **changes,
        ),
    )


def test_engine_and_reference_model_agree() -> None:
    run(N_RULES)


@pytest.mark.parametrize(
    "build",
    [
        broken.lease_token_unchecked,
        broken.lease_unchecked,
        broken.capacity_unchecked,
        broken.counter_off_by_one,
        broken.holds_ignored,
        broken.request_ids_ignored,
    ],
    ids=lambda build: build.__name__,
)
def test_the_model_disagrees_with_a_broken_engine(
    monkeypatch: pytest.MonkeyPatch, build: Break
) -> None:
    build(monkeypatch)
    with pytest.raises((AssertionError, ExceptionGroup)):
        run(20_000, phases=[Phase.generate])

"""When faults have stopped, everything must converge: what can be done gets done, and soon.

Whether a task can be done, and who could take it, is told here from the durable world with rules of
its own, in a few lines; the product's ready-set, shortlist and offers are what is being checked.
"""

from collections.abc import Callable

from pm_agent.domain.agent import Agent as Registered
from pm_agent.domain.assignment import TaskAssigned
from pm_agent.domain.ids import AgentId, TaskId
from pm_agent.domain.task import Task
from pm_agent.domain.time import HOUR_US, MINUTE_US, SECOND_US
from pm_agent.domain.world import World as Board
from pm_agent.kernel.invariants import Violation
from simulation.agents import MAX_POLL_US, Agent
from simulation.coordinator import Site
from simulation.timeline import Timeline

LIVENESS = "liveness"
WITHIN_US = 5 * SECOND_US  # a ready task with a capable waiting agent is leased
# Agents that are silent this long are no longer waited for; the one that failed last may try again,
# with its next poll: nothing happens at the very instant.
FORGOTTEN_US = 25 * MINUTE_US
COUNT_US = 60 * SECOND_US
CONVERGES_US = 24 * HOUR_US  # leases of dead agents take up to 4 h, each blocker and failure more
# Ageing is linear: a priority class is worth 4 h, so is the longest chain of waiting work.
AGING_US = 16 * HOUR_US
NEAR_TIE_US = HOUR_US  # what exploration among near-ties may add


class Liveness:
    """Watches from the instant at which faults stop."""

    def __init__(
        self,
        timeline: Timeline,
        site: Site,
        agents: dict[AgentId, Agent],
        board: Callable[[], Board],
    ) -> None:
        self.is_over = False
        self._timeline = timeline
        self._site = site
        self._agents = agents
        self._board = board
        self._began_us = timeline.now_us
        self._until_us = timeline.now_us + CONVERGES_US
        self._hungry: dict[AgentId, tuple[int, TaskId]] = {}
        self._overtaken: list[tuple[TaskId, str]] = []
        self._stepped = False
        self._found: list[Violation] = []
        self._count()

    def _count(self) -> None:
        """Look now and then whether all is done."""
        self.is_over = not self._undone()
        self._timeline.after(COUNT_US, self._count)

    def stepped(self) -> None:
        """Take note that the world may have changed."""
        self._stepped = True

    def look(self) -> list[Violation]:
        """Look after each happening; return what is wrong."""
        now_us = self._timeline.now_us
        if self._stepped:
            self._stepped = False
            self._note_hungry()
            # Matched agents get their tasks one after another, but in one step.
            still = [
                detail for task_id, detail in self._overtaken if task_id in self._board().ready
            ]
            self._found += [Violation(LIVENESS, detail) for detail in still]
            self._overtaken.clear()
        for agent_id, (since_us, task_id) in self._hungry.items():
            patience_us = WITHIN_US
            if _failed_last(self._board().agents[agent_id], self._board().tasks[task_id]):
                patience_us += MAX_POLL_US
            if now_us - since_us > patience_us:
                detail = f"{task_id} is ready and {agent_id} waits for {now_us - since_us} us"
                self._found.append(Violation(LIVENESS, detail))
        if now_us > self._until_us:
            left = [f"{t.id} ({t.state})" for t in self._undone()]
            detail = f"not done {CONVERGES_US // HOUR_US} h after the last fault: {left[:9]}"
            self._found.append(Violation(LIVENESS, detail))
        found, self._found = self._found, []
        return found

    def assigned(self, data: TaskAssigned) -> None:
        """No task that the agent could take waits much longer than the one it got."""
        board = self._board()
        if self._site.scorer.policy != "priority":
            return  # of weighted factors ageing is one among six: it has no such bound
        got = board.tasks[data.task_id]
        agent = board.agents[data.agent_id]
        for other_id in board.ready:
            other = board.tasks[other_id]
            waited_us = got.created_at_us - other.created_at_us
            if waited_us <= AGING_US + NEAR_TIE_US or not self._is_wanted(board, agent, other):
                continue
            if self._can_take(board, agent, other):
                detail = f"{data.agent_id} got {got.id} before {other.id}, {waited_us} us older"
                self._overtaken.append((other.id, detail))

    # -- who could do what --------------------------------------------------------------------

    def _note_hungry(self) -> None:
        """Who waits although there is a task to be had, and since when."""
        board, now_us = self._board(), self._timeline.now_us
        before, self._hungry = self._hungry, {}
        engine = self._site.current.engine if self._site.current else None
        if engine is None or board.tables.workspace_holds:
            return
        open_tasks = [task for task in board.tasks.values() if task.state == "open"]
        for offer in engine.presence.offers.values():
            agent = board.agents[offer.agent_id]
            if offer.until_us <= self._site.clock_us() or agent.holds:
                continue
            if len(agent.active) >= agent.capacity:
                continue
            for task in open_tasks:
                if (
                    offer.project_id in (None, task.project_id)
                    and self._is_wanted(board, agent, task)
                    and self._can_take(board, agent, task)
                ):
                    since_us = before.get(agent.id, (now_us, ""))[0]
                    self._hungry[agent.id] = since_us, task.id
                    self._timeline.after(WITHIN_US + 1, self.stepped)
                    break

    def _is_wanted(self, board: Board, agent: Registered, task: Task) -> bool:
        """Whether one of the agent's subscriptions asks for it, if there are any."""
        own = [s.filter for s in board.subscriptions.values() if s.agent_id == agent.id]
        return not own or any(
            task.priority >= one.min_priority
            and (not one.labels or set(one.labels) & set(task.labels))
            and (not one.skills or set(one.skills) & {s.name for s in task.skills})
            for one in own
        )

    def _can_take(self, board: Board, agent: Registered, task: Task) -> bool:
        project = board.projects[task.project_id]
        is_limited = project.max_in_progress or project.token_cap or project.cost_cap_microusd
        if task.state != "open" or task.holds or project.holds or is_limited:
            return False
        if not _is_able(agent, task):
            return False
        if any(not board.is_accepted(d) for d in task.dependencies):
            return False
        return not (_failed_last(agent, task) and self._others_can(board, agent, task))

    def _others_can(self, board: Board, agent: Registered, task: Task) -> bool:
        """Whether another agent could take it: one that lives, or has not been silent for long."""
        gone_for_long = self._timeline.now_us - self._began_us > FORGOTTEN_US
        return any(
            other.id != agent.id
            and _is_able(other, task)
            and (self._agents[other.id].is_alive or not gone_for_long)
            for other in board.agents.values()
        )

    def _undone(self) -> list[Task]:
        """Tasks that could be done and are not."""
        board = self._board()
        alive = [
            board.agents[a.id] for a in self._agents.values() if a.is_alive and a.id in board.agents
        ]
        doable: dict[TaskId, bool] = {}

        def is_doable(task_id: TaskId) -> bool:
            if task_id in doable:
                return doable[task_id]
            task = board.tasks.get(task_id)
            if task is None:
                return board.is_accepted(task_id)
            doable[task_id] = task.state == "done" or (
                task.state != "cancelled"
                and any(_is_able(agent, task) for agent in alive)
                and all(is_doable(d) for d in task.dependencies)
            )
            return doable[task_id]

        return [t for t in board.tasks.values() if t.state != "done" and is_doable(t.id)]


def _failed_last(agent: Registered, task: Task) -> bool:
    """Not the same agent twice in a row, while another can do it."""
    failed = [a.agent_id for a in task.attempts if a.outcome in ("failed", "rejected", "expired")]
    return bool(task.failures and failed and failed[-1] == agent.id)


def _is_able(agent: Registered, task: Task) -> bool:
    if agent.project_ids and task.project_id not in agent.project_ids:
        return False
    levels = {skill.name: skill.level for skill in agent.skills}
    return all(levels.get(skill.name, 0) >= skill.level for skill in task.skills)

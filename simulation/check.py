"""One seed: a workspace under faults, then without them; every promise watched all the way.

First the *safety* phase: for a number of steps everything in `simulation.faults` goes wrong. A step
is one step of a coordinator: a batch of commands, decided and brought to the journal, or not. Then
the *liveness* phase: faults stop, people let go what waits for them, agents are diligent, and all
work that can be done must get done.

References
----------
TigerBeetle, "VOPR": seeded simulation of production code, safety first and then liveness.
"""

from collections import Counter
from random import Random

import msgspec

from pm_agent.domain.assignment import AssignmentExpired, CompletionSubmitted, TaskAssigned
from pm_agent.domain.envelope import Event
from pm_agent.domain.ids import AgentId
from pm_agent.domain.task import Skill
from pm_agent.domain.time import HOUR_US, MINUTE_US, SECOND_US
from pm_agent.domain.world import World as Board
from pm_agent.features.assignment.scoring import FactorsScorer, PriorityScorer
from pm_agent.kernel.effects import Effect
from pm_agent.kernel.invariants import Violation
from pm_agent.kernel.types import Policy
from pm_agent.ports import GENESIS, Scorer
from simulation.agents import SKILLS, Agent, Habits
from simulation.clients import Client, World
from simulation.coordinator import Process, Site
from simulation.coverage import Coverage
from simulation.doorkeeper import Doorkeeper
from simulation.faults import Faults
from simulation.history import Evidence, check_epochs, check_histories, check_messages
from simulation.liveness import LIVENESS, Liveness
from simulation.network import Network
from simulation.people import EffectRunner, Person, Portfolio, Project
from simulation.timeline import Timeline
from simulation.witness import Witness

START_US = 1_750_000_000 * SECOND_US
SCAN_EVERY = 500  # steps
PACES_US = (10 * SECOND_US, MINUTE_US, 5 * MINUTE_US, 20 * MINUTE_US)  # between an agent's acts
SIGNED_LONG_US = HOUR_US  # longer than any step waits for its commit
COMES_BACK_AT_LAST = 0.5  # of the agents that are dead when faults stop
CRASH = "crash"  # not a promise: the code failed


class Plan(msgspec.Struct, frozen=True):
    """What makes a run, and makes it again."""

    seed: int
    steps: int = 5_000
    agents: int = 0  # 0: drawn from the seed
    tasks: int = 0  # to be open at a time; 0: drawn from the seed
    without: tuple[str, ...] = ()  # kinds of faults that never strike
    liveness: bool = True


class Outcome(msgspec.Struct):
    """What came of a run."""

    plan: Plan
    journal_hash: str = ""
    steps: int = 0  # under faults
    steps_after: int = 0  # without
    step: int = 0  # at which the first violation was seen
    violations: list[Violation] = []
    faults: dict[str, int] = {}
    commands: int = 0
    replies: dict[str, int] = {}  # by code; "ok"
    events: dict[str, int] = {}  # by kind
    coverage: Coverage = {}
    virtual_s: int = 0


def run(plan: Plan) -> Outcome:
    """Run one seed to its end, or to its first violation."""
    return Run(plan).run()


class Run:
    """A workspace with all who take part in it, made from a plan alone."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.n_steps = 0
        self.violations: list[Violation] = []
        self.timeline = Timeline(START_US)
        self.faults = Faults(plan.seed, plan.without)
        random = self._random("run")
        scorer: Scorer = random.choice((FactorsScorer(), PriorityScorer()))
        pace_us = random.choice(PACES_US)
        policy = Policy(
            exploration=random.choice((0.0, 0.03, 0.5)),
            max_failures=random.choice((3, 5)),
            # Else slow seeds would be little more than looks at leases.
            heartbeat_silence_us=max(Policy().heartbeat_silence_us, 3 * pace_us),
        )
        self.site = Site(
            self.timeline,
            self.faults,
            self._random("site"),
            scorer=scorer,
            policy=policy,
            seed=plan.seed,
            on_step=self._stepped,
        )
        self.witness = Witness(self.site.store, self._told)
        network = Network(self.timeline, self.faults, self.site, self._random("network"))
        self.around = World(self.timeline, self.faults, network)
        n_agents = plan.agents or random.randrange(2, 10)
        backlog = plan.tasks or random.choice((5, 15, 40))
        projects = tuple(self._project(i, random) for i in range(random.randrange(1, 4)))
        self.agents = {
            f"A-{number}": self._agent(number, pace_us, projects, random)
            for number in range(1, n_agents + 1)
        }
        self.person = Person(
            self.around,
            "pat",
            self._random("person"),
            self._board,
            projects=projects,
            agent_ids=tuple(self.agents),
            backlog=backlog,
            pace_us=pace_us,
        )
        self.effects = EffectRunner(
            self.around, self._random("effects"), self._pending, self._board
        )
        self.portfolio = Portfolio(self.around, self._random("portfolio"), self._board)
        self.doorkeeper = Doorkeeper(self.around, self._random("doorkeeper"))
        self.site.signs = self._signs
        self._signing_since_us: dict[AgentId, int] = {}
        self.liveness: Liveness | None = None

    # -- the run ------------------------------------------------------------------------------

    def run(self) -> Outcome:
        outcome = Outcome(self.plan)
        try:
            self._start()
            self._go_on_until(self.plan.steps)
            outcome.steps = self.n_steps
            if not self.violations and self.plan.liveness:
                self._calm_down()
            if not self.violations:
                self._conclude()
        except Exception as error:  # noqa: BLE001 - whatever the core raises is the finding
            self._found([Violation(CRASH, f"{type(error).__name__}: {error}")])
        outcome.steps = outcome.steps or self.n_steps
        return self._filled(outcome)

    def _start(self) -> None:
        self.site.start()
        self.person.start()
        self.portfolio.start()
        self.doorkeeper.start()
        for agent in self.agents.values():
            agent.start()

    def _go_on_until(self, n_steps: int) -> None:
        while self.n_steps < n_steps and not self.violations:
            assert self.timeline.advance(), "nothing happens any more"

    def _calm_down(self) -> None:
        """Stop the faults; see all work done that can be done."""
        self.faults.stop()
        self.site.set_clock_right()
        random = self._random("calm")
        for agent in self.agents.values():
            agent.be_diligent()
            if not agent.is_alive and random.random() < COMES_BACK_AT_LAST:
                agent.come_back()
        if not any(agent.is_alive for agent in self.agents.values()):
            self.agents["A-1"].come_back()
        self.person.sweep()
        self.liveness = Liveness(self.timeline, self.site, self.agents, self._board)
        while not self.violations and not self.liveness.is_over:
            assert self.timeline.advance(), "nothing happens any more"
            self._found(self.liveness.look())

    def _conclude(self) -> None:
        current = self.site.current
        self._found(self.witness.conclude(current.engine if current else None))
        evidence = Evidence(self.witness.events, self.site.stored_requests)
        everybody: list[Client] = [
            self.person,
            self.effects,
            self.portfolio,
            self.doorkeeper,
            *self.agents.values(),
        ]
        histories = [asked for client in everybody for asked in client.history]
        self._found(check_histories(evidence, histories))
        self._found(check_epochs(evidence, self.site.activations))
        seen = {agent.id: agent.talk.seen for agent in self.agents.values()}
        self._found(check_messages(evidence, seen, self._board()))

    def _filled(self, outcome: Outcome) -> Outcome:
        outcome.steps_after = self.n_steps - outcome.steps
        outcome.violations = self.violations
        outcome.step = self.n_steps if self.violations else 0
        events = self.site.store.events
        outcome.journal_hash = (events[-1].hash if events else GENESIS).hex()
        outcome.faults = dict(sorted(self.faults.counts.items()))
        outcome.commands = self.site.n_commands
        outcome.replies = dict(sorted(self.site.outcomes.items()))
        outcome.events = dict(sorted(Counter(event.kind for event in events).items()))
        outcome.coverage = self.site.coverage
        outcome.virtual_s = (self.timeline.now_us - START_US) // SECOND_US
        return outcome

    # -- what is called from inside -----------------------------------------------------------

    def _stepped(self, process: Process) -> None:
        self.n_steps += 1
        self._found(self.witness.follow(process.engine))
        if self.n_steps % SCAN_EVERY == 0 and not self.violations:
            self._found(self.witness.scan(process.engine))
        if self.liveness is not None:
            self.liveness.stepped()

    def _told(self, event: Event) -> None:
        data = event.data
        if isinstance(data, TaskAssigned):
            self.effects.notice()
            if data.is_offered and data.agent_id in self.agents:
                self.around.network.tell(self.agents[data.agent_id].wake)
            if self.liveness is not None:
                self.liveness.assigned(data)
        elif isinstance(data, CompletionSubmitted):
            self.effects.notice()
        elif isinstance(data, AssignmentExpired):
            self._require_silence(data)

    def _found(self, violations: list[Violation]) -> None:
        self.violations += violations

    def _board(self) -> Board:
        return self.witness.world

    def _signs(self) -> list[AgentId]:
        signing = [agent.id for agent in self.agents.values() if agent.signs]
        now_us = self.timeline.now_us
        self._signing_since_us = {a: self._signing_since_us.get(a, now_us) for a in signing}
        return signing

    def _require_silence(self, data: AssignmentExpired) -> None:
        """No lease is lost for silence whose agent has been signing for long."""
        since_us = self._signing_since_us.get(data.agent_id, self.timeline.now_us)
        signed_us = self.timeline.now_us - since_us
        if data.reason == "agent_silent" and signed_us > SIGNED_LONG_US:
            detail = f"{data.agent_id} lost {data.task_id} for silence after signing {signed_us} us"
            self._found([Violation(LIVENESS, detail)])

    def _pending(self) -> list[Effect]:
        """Effects whose causes are durable."""
        engine = self.site.current.engine if self.site.current else None
        if engine is None:
            return []
        n_durable = len(self.witness.events)
        return [e for e in engine.outbox.pending.values() if e.position <= n_durable]

    # -- who takes part -----------------------------------------------------------------------

    def _random(self, name: str) -> Random:
        return Random(f"{name} {self.plan.seed}")

    def _project(self, number: int, random: Random) -> Project:
        limits = random.choice(
            ({}, {}, {"max_in_progress": 2}, {"token_cap": 5_000_000}, {"cost_cap_microusd": 10**7})
        )
        return Project(f"P-{number}", random.choice(("auto", "command", "person")), limits)

    def _agent(
        self, number: int, pace_us: int, projects: tuple[Project, ...], random: Random
    ) -> Agent:
        names = random.sample(SKILLS, random.randrange(1, 4))
        only = random.choice(projects).project_id
        habits = Habits(
            pace_us=pace_us,
            skills=tuple(Skill(name, random.randrange(1, 6)) for name in names),
            capacity=random.randrange(1, 4),
            project_ids=random.choice(((), (), (only,))),
            signs=random.random() < 0.5,
        )
        agent_id = f"A-{number}"
        return Agent(
            self.around,
            agent_id,
            habits,
            self._random(agent_id),
            talk_random=self._random(f"talk of {agent_id}"),
            board=self._board,
            clock_us=self.site.clock_us,
        )

"""How much work a scenario asks for, and how much its team can do: before it runs.

Expected work is estimated from a sample of tasks, with attempts that fail and are made again, but
without troubles and limits. So the utilisation is a lower bound: above 1 the queue grows for ever.
"""

from itertools import islice

from pm_agent.domain.task import Skill
from simulation.arrivals import Work, arrivals
from simulation.behaviour import duration_s, exponential, p_success
from simulation.causes import mean_of
from simulation.scenario import Scenario
from simulation.team import Worker, team_of

SAMPLE = 2_000  # tasks
OTHERS = range(7, 70, 7)  # agents beside each other in the list are of one kind
MAX_ATTEMPTS = 5  # of the product: then a task is a dead letter
STRATA, STRIDE = 1_999, 744  # a prime, and a step that visits all of it in no order
NEARLY = 0.95  # utilisation from which waits explode


def warnings_of(scenario: Scenario) -> list[str]:
    """Say when work arrives faster than it can be done, for anybody or for one skill."""
    found = []
    for who, load in utilisation(scenario).items():
        what = "work arrives faster than" if load >= 1 else "hardly more can be done than"
        if load >= 1:
            text = f"{what} {who} can do it: utilisation {load:.0%}; the queue grows for ever"
            found.append(text)
        elif load >= NEARLY:
            found.append(f"{who} will be busy {load:.0%} of the time: waits will be long")
    return found


def utilisation(scenario: Scenario, seed: int = 0) -> dict[str, float]:
    """Expected utilisation of the whole team, and of those who can do each skill.

    Returns
    -------
    dict of str to float
        ``the team`` first, then ``agents with python >= 2`` and the like, and last ``the people
        who answer``, where they are few.
    """
    if scenario.load.kind == "dump":
        return {}
    plan = scenario.changed(horizon_h=1e4) if scenario.load.kind == "poisson" else scenario
    sample = list(islice((w for a in arrivals(plan, seed) for w in a.works), SAMPLE))
    team = team_of(scenario, seed)
    demand_h: dict[str, float] = {"the team": 0.0}
    able_to: dict[str, list[Worker]] = {"the team": team}
    n_attempts = 0.0
    for number, work in enumerate(sample):
        required = work.draft.skills
        name = f"agents with {required[0].name} >= {required[0].level}" if required else "the team"
        if name not in able_to:
            able_to[name] = [worker for worker in team if _has(worker, required[0])]
        able = able_to[name]
        attempts, hours = _expected(scenario, able, work, number)
        n_attempts += attempts
        demand_h["the team"] += hours
        if required:
            demand_h[name] = demand_h.get(name, 0.0) + hours
    per_hour = scenario.load.tasks_per_day / 24 / max(len(sample), 1)
    found = {
        name: hours * per_hour / sum(worker.places for worker in able_to[name])
        for name, hours in demand_h.items()
    }
    if scenario.people.count and scenario.asks_people:
        found["the people who answer"] = _people_h(scenario, n_attempts) * per_hour
    return found


def _people_h(scenario: Scenario, n_attempts: float) -> float:
    """Hours of questions of so many attempts, for each person."""
    people, projects = scenario.people, scenario.projects
    judged = sum(project.weight for project in projects if project.completion == "person")
    questions = scenario.faults.blocker + judged / sum(project.weight for project in projects)
    answer_h = mean_of(people.answer_min, people.answer_spread) / 60
    return n_attempts * questions * answer_h / people.count


def _has(worker: Worker, required: Skill) -> bool:
    return any(
        skill.name == required.name and skill.level >= required.level
        for skill in worker.profile.skills
    )


def _expected(
    scenario: Scenario, able: list[Worker], work: Work, number: int
) -> tuple[float, float]:
    """Attempts at a task, and their hours."""
    behaviour, human_min = scenario.behaviour, work.human_min
    worker = able[number % len(able)]
    # The next attempt is another agent's: a few of them stand for all.
    again = sum(_p_again(scenario, able[(number + k) % len(able)], work) for k in OTHERS)
    again /= len(OTHERS)
    attempts = sum(again**n for n in range(MAX_ATTEMPTS))
    # Evenly spread over the quantiles: a few very long tasks would decide the mean of a sample.
    share = (number * STRIDE % STRATA + 0.5) / STRATA
    if behaviour.duration == "fitted":
        seconds = duration_s(worker.pace, human_min, share)
    elif behaviour.duration == "exponential":
        seconds = 60 * exponential(behaviour.mean_min, share)
    else:
        seconds = 60 * behaviour.mean_min
    return attempts, attempts * seconds / 3600


def _p_again(scenario: Scenario, worker: Worker, work: Work) -> float:
    """Probability that an attempt is not the last: given up, or found to be wrong."""
    behaviour, review = scenario.behaviour, scenario.review
    if behaviour.success == "fitted":
        right = p_success(worker.ability[work.draft.kind], work.human_min)
    else:
        right = behaviour.success
    if all(project.completion == "auto" for project in scenario.projects):
        return (1 - right) * behaviour.gives_up
    found = behaviour.gives_up + (1 - behaviour.gives_up) * review.finds
    return (1 - right) * found + right * review.false_alarms

"""The learned scorer: arithmetic on forecasts, that a record proves with the model and without."""

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from pm_agent.domain.assignment import TaskAssigned
from pm_agent.domain.decision_record import packed
from pm_agent.domain.envelope import SYSTEM, Event
from pm_agent.domain.task import CancelTask, TaskDraft
from pm_agent.domain.team_record import TEAM_FACTS
from pm_agent.features.assignment.facts import FACTS
from pm_agent.features.assignment.forecast_facts import FAILED_FACTS, FORECAST_FACTS
from pm_agent.features.assignment.learned import (
    ARITHMETIC,
    ARITHMETICS,
    EXPONENTS,
    FACT_NAMES,
    LearnedScorer,
    of_record,
)
from pm_agent.features.assignment.scoring import FactorsScorer
from pm_agent.features.assignment.view import Explanation, ScorerOf, differences, explain
from pm_agent.kernel.types import Policy
from pm_agent.ports import Scorer
from tests.scenario import (
    ADA,
    BOB,
    EVE,
    PERSON,
    START_US,
    Scenario,
    a_project,
    accept,
    an_agent,
    an_import,
    complete,
    lift_hold,
    place_hold,
    reject,
    release,
    request_id,
    skills,
    wait,
)

F = {name: i for i, name in enumerate(FACT_NAMES)}


class ByEstimate:
    """Forecasts that follow from the estimate and the agent's success alone."""

    version = "v1-0123abcd"

    def forecast(self, facts: NDArray[np.float32]) -> NDArray[np.float32]:
        minutes = facts[:, F["estimate_min"]] + 1
        chance = facts[:, F["agent_success"]]
        return np.stack([chance, minutes, 3 * minutes, minutes / 50, chance / 0.5], axis=1)


class ByPriority:
    """Urgent tasks are dear."""

    version = "v5-0123abcd"

    def forecast(self, facts: NDArray[np.float32]) -> NDArray[np.float32]:
        is_urgent = facts[:, F["priority"]] == 3
        advantage, cost = np.where(is_urgent, 9, 1), np.where(is_urgent, 2, 0.1)
        one = np.ones(len(facts))
        return np.stack([one / 2, 10 * one, 30 * one, cost, advantage], axis=1)


class Same:
    """Forecasts given row by row."""

    version = "v2-0123abcd"

    def __init__(self, *rows: tuple[float, ...]) -> None:
        self.rows = np.array(rows, dtype=np.float32)

    def forecast(self, facts: NDArray[np.float32]) -> NDArray[np.float32]:
        return self.rows


def board(policy: Policy | None = None) -> Scenario:
    scenario = Scenario(LearnedScorer(ByEstimate()), policy)
    scenario.given(a_project(), an_agent(skills=skills(rust=3)), an_agent(BOB))
    for minutes in (90, 5, 30, 60):
        scenario.new_task(f"{minutes} minutes", estimate_min=minutes)
    return scenario


def with_model(version: str) -> Scorer | None:
    scorer = LearnedScorer(ByEstimate())
    return scorer if scorer.version == version else None


def without(version: str) -> Scorer | None:
    return None


def explained(given: TaskAssigned, models: ScorerOf) -> Explanation:
    return explain(Event(9, START_US, 1, str(SYSTEM), "r", given), given, models)


def test_the_shorter_of_equal_tasks_goes_first() -> None:
    scenario = board(Policy(exploration=0.0, reserve=0.0))
    titles = []
    for _ in range(4):
        given = scenario.assigned()
        titles.append(scenario.task(given.task_id).title)
        scenario.given(complete(given.task_id, given.lease_token))
    assert titles == ["5 minutes", "30 minutes", "60 minutes", "90 minutes"]


def test_a_record_recomputes_with_the_model_and_without() -> None:
    scenario = board(Policy(exploration=1.0, near_tie=0.5, reserve=0.5))
    for number in range(4):
        given = scenario.assigned()
        for models in (with_model, without):
            assert differences(given.decision, given.task_id, models) == []
        if number % 2:
            scenario.given(release(given.task_id, given.lease_token, reason="failed"))
        else:
            scenario.given(complete(given.task_id, given.lease_token))
    scenario.verify()


def test_a_matching_by_forecasts_recomputes_too() -> None:
    scenario = Scenario(LearnedScorer(ByEstimate()))
    scenario.given(a_project(), an_agent(), an_agent(BOB))
    until_us = START_US + 3_600_000_000
    scenario.given(wait(ADA, until_us), wait(BOB, until_us))
    scenario.when(an_import(TaskDraft(title="a"), TaskDraft(title="b", estimate_min=40)))
    found = scenario.of_kind(TaskAssigned)
    assert len(found) == 2
    for given in found:
        assert given.decision.matching is not None
        for models in (with_model, without):
            assert differences(given.decision, given.task_id, models) == []


def test_an_explanation_says_whether_the_model_was_at_hand() -> None:
    given = board().assigned()
    told = explained(given, with_model)
    assert (told.recomputed, told.rescored_by) == (True, "model")
    assert explained(given, without).rescored_by == "stored forecasts"
    assert told.version == f"{ARITHMETIC.name}.v1-0123abcd"
    assert set(told.chosen.facts) == {*FACTS, *FORECAST_FACTS, *FAILED_FACTS}
    logs = {name: np.log2(value) for name, value in told.chosen.factors.items()}
    weighed = sum(told.weights[name] * value for name, value in logs.items())
    assert weighed == pytest.approx(told.chosen.score, abs=1e-4)


def test_another_model_of_the_same_name_does_not_pass_for_it() -> None:
    class Liar(ByEstimate):
        def forecast(self, facts: NDArray[np.float32]) -> NDArray[np.float32]:
            return super().forecast(facts) * 2

    given = board().assigned()
    assert differences(given.decision, given.task_id, lambda _: LearnedScorer(Liar())) != []


@pytest.mark.parametrize("field", ["scores", "factors", "version"])
def test_a_forged_record_is_found_out_without_the_model(field: str) -> None:
    given = board().assigned()
    record = given.decision
    factors = record.factor_rows.copy()
    factors[0, 0] *= 1.5
    changes = {
        "scores": packed(record.score_values + 1),
        "factors": packed(factors),
        "version": "learned-9.v1-0123abcd",
    }
    forged = msgspec.structs.replace(record, **{field: changes[field]})
    assert differences(forged, given.task_id, without) != []


@pytest.mark.parametrize(
    "better",
    [
        (0.9, 30, 90, 1, 1),  # likelier
        (0.5, 10, 90, 1, 1),  # shorter
        (0.5, 30, 60, 1, 1),  # surer
        (0.5, 30, 90, 0.5, 1),  # cheaper
        (0.5, 30, 90, 1, 2),  # others would do worse
    ],
)
def test_a_better_forecast_has_a_higher_score(better: tuple[float, ...]) -> None:
    facts = np.ones((2, len(FACT_NAMES)), dtype=np.float32)
    good, plain = LearnedScorer(Same(better, (0.5, 30, 90, 1, 1))).score(facts).values
    assert good > plain


@pytest.mark.parametrize("fact", ["priority", "age_h", "n_unblocks", "critical_path_h", "rarity"])
def test_a_task_worth_more_or_that_few_can_do_has_a_higher_score(fact: str) -> None:
    facts = np.ones((2, len(FACT_NAMES)), dtype=np.float32)
    facts[0, F[fact]] = 2
    first, second = (
        LearnedScorer(Same((0.5, 30, 90, 1, 1), (0.5, 30, 90, 1, 1))).score(facts).values
    )
    assert first > second


def test_a_forecast_of_nothing_is_still_a_score() -> None:
    facts = np.zeros((1, len(FACT_NAMES)), dtype=np.float32)
    assert np.isfinite(LearnedScorer(Same((0, 0, 0, 0, 0))).score(facts).values).all()


def test_rarity_follows_the_agents_and_their_skills() -> None:
    scenario = Scenario(LearnedScorer(ByEstimate()))
    scenario.given(a_project(), an_agent(skills=skills(rust=3)), an_agent(BOB))
    scenario.new_task("rare", skills=skills(rust=2))
    assert rarity(scenario) == 2.0
    scenario.given(an_agent(BOB, skills=skills(rust=4)))
    scenario.new_task("rare no more", skills=skills(rust=2))
    assert rarity(scenario) == 1.0


def rarity(scenario: Scenario) -> float:
    given = scenario.assigned()
    scenario.given(complete(given.task_id, given.lease_token))
    return float(given.decision.fact_rows[0, F["rarity"]])


def test_a_record_of_an_older_arithmetic_recomputes_as_it_was() -> None:
    given, old = board().assigned(), ARITHMETICS["learned-1"]
    record = given.decision  # nobody has failed: the scores are those of that time
    was = msgspec.structs.replace(
        record,
        version="learned-1.v1-0123abcd",
        facts=packed(record.fact_rows[:, [F[name] for name in old.fact_names]]),
        factors=packed(record.factor_rows[:, : len(old.exponents)]),
    )
    assert differences(was, given.task_id, without) == []
    assert (
        "escalation" not in explained(msgspec.structs.replace(given, decision=was), without).weights
    )


def test_a_short_task_far_behind_in_its_class_is_a_candidate() -> None:
    scenario = Scenario(LearnedScorer(ByEstimate()), Policy(exploration=0.0, reserve=0.0))
    scenario.given(a_project(), an_agent())
    long = [TaskDraft(title=f"long {n}", estimate_min=400 + n) for n in range(120)]
    scenario.given(an_import(*long, TaskDraft(title="short", estimate_min=5)))
    given = scenario.assigned()
    assert scenario.task(given.task_id).title == "short"
    assert given.decision.n_candidates == 100
    scenario.given(complete(given.task_id, given.lease_token))
    scenario.new_task("shorter", estimate_min=3)
    assert scenario.task(scenario.assigned().task_id).title == "shorter"
    scenario.verify()


def test_a_scorer_is_told_how_all_agents_do_at_a_kind_of_task() -> None:
    scenario = Scenario(LearnedScorer(ByEstimate()))
    scenario.given(a_project(), an_agent(), an_agent(BOB))
    seen = []
    for agent_id in (ADA, BOB):
        scenario.new_task("a fix", kind="fix")
        given = scenario.assigned(agent_id)
        seen.append([float(given.decision.fact_rows[0, F[name]]) for name in TEAM_FACTS])
        scenario.after(minutes=10)
        scenario.given(complete(given.task_id, given.lease_token, agent_id))
    assert seen[0] == [0.5, 0.0, 0.0]
    assert seen[1] == pytest.approx([2 / 3, 1.0, 10.0])


class ByEstimateAndShadow(FactorsScorer):
    """Rules decide; the model says what it would have done."""

    shadow: Scorer | None = LearnedScorer(ByEstimate())


class Broken:
    version = "v4-0123abcd"

    def forecast(self, facts: NDArray[np.float32]) -> NDArray[np.float32]:
        raise MemoryError


def shadowed(scorer: Scorer, share: float) -> TaskAssigned:
    scenario = Scenario(scorer, Policy(exploration=0.0, reserve=0.0, shadow=share))
    scenario.given(a_project(), an_agent())
    scenario.new_task("urgent", estimate_min=300, priority=3)
    scenario.new_task("short", estimate_min=1, priority=0)
    given = scenario.assigned()
    assert scenario.task(given.task_id).title == "urgent"
    scenario.verify()
    return given


def test_a_shadow_s_choice_stands_beside_the_one_that_was_made() -> None:
    given = shadowed(ByEstimateAndShadow(), 1.0)
    record, said = given.decision, given.decision.shadow
    assert said is not None
    assert (record.version, said.version) == ("factors-1", "learned-3.v1-0123abcd")
    assert (given.task_id, said.task_id) == ("T-1", "T-2")
    assert (said.accepted, said.accepted_of_chosen) == (0.5, 0.5)
    assert len(record.fact_rows[0]) == len(FACTS)
    told = explained(given, without)
    assert told.recomputed
    assert told.shadow is not None
    assert told.shadow.task_id == "T-2"


def test_no_shadow_is_asked_outside_its_share() -> None:
    assert shadowed(ByEstimateAndShadow(), 0.0).decision.shadow is None
    assert shadowed(FactorsScorer(), 1.0).decision.shadow is None


def test_a_shadow_that_fails_harms_no_claim() -> None:
    scorer = ByEstimateAndShadow()
    scorer.shadow = LearnedScorer(Broken())
    assert shadowed(scorer, 1.0).decision.shadow is None


class AllAlike:
    """Forecasts the same of everything: what is left is the arithmetic."""

    version = "v3-0123abcd"

    def forecast(self, facts: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.tile(np.array([0.5, 30, 90, 1, 1], dtype=np.float32), (len(facts), 1))


def known_agents(*shares: tuple[str, float]) -> Scenario:
    """Agents with ten outcomes each, of which they had such a share accepted."""
    scenario = Scenario(LearnedScorer(AllAlike()), Policy(exploration=0.0, reserve=0.0))
    scenario.given(a_project(completion="person"), *(an_agent(who) for who, _ in shares))
    for agent_id, share in shares:
        for number in range(10):
            task_id = scenario.new_task(f"{agent_id} {number}")
            given = scenario.assigned(agent_id)
            scenario.given(complete(task_id, given.lease_token, agent_id))
            scenario.given(accept(task_id) if number < 10 * share else reject(task_id))
            if number >= 10 * share:
                cancelled = CancelTask(request_id=request_id(), principal=PERSON, task_id=task_id)
                scenario.given(cancelled)
    return scenario


def test_after_a_rejection_the_next_attempt_goes_to_a_stronger_agent() -> None:
    scenario = known_agents((ADA, 0.7), (BOB, 0.2), (EVE, 0.9))
    failed = scenario.new_task("failed")
    given = scenario.assigned(ADA)
    scenario.given(complete(failed, given.lease_token, ADA), reject(failed))
    scenario.after(minutes=10)  # its pause is over
    fresh = scenario.new_task("fresh")
    weak = scenario.assigned(BOB)
    assert weak.task_id == fresh  # although the other waits longer
    told = explained(weak, with_model)
    assert told.chosen.factors["escalation"] == 1.0
    assert told.next_best[0].task_id == failed
    assert told.next_best[0].factors["escalation"] < 0.5
    strong = scenario.assigned(EVE)
    assert strong.task_id == failed
    assert explained(strong, without).chosen.factors["escalation"] == 1.0
    assert differences(strong.decision, failed, without) == []


def test_what_failed_waits_for_nobody_stronger_when_there_is_nothing_else() -> None:
    scenario = known_agents((ADA, 0.9), (BOB, 0.4))
    failed = scenario.new_task("failed")
    given = scenario.assigned(ADA)
    scenario.given(complete(failed, given.lease_token, ADA), reject(failed))
    scenario.after(minutes=10)
    assert scenario.assigned(BOB).task_id == failed


class ByAgent:
    """The more often an agent succeeds, the dearer it is."""

    version = "v4-0123abcd"

    def forecast(self, facts: NDArray[np.float32]) -> NDArray[np.float32]:
        chance = facts[:, F["agent_success"]]
        cost = np.where(chance > 0.8, 20, 1)
        return np.stack([chance, cost, cost, cost, (chance / cost) / 0.2], axis=1)


def test_a_new_task_goes_to_the_cheap_one_of_waiting_agents_and_then_to_the_strong_one() -> None:
    scenario = known_agents((EVE, 0.9), (ADA, 0.6))
    scenario.engine.scorer = LearnedScorer(ByAgent())
    until_us = scenario.now_us + 3_600_000_000
    scenario.given(wait(EVE, until_us), wait(ADA, until_us))  # the strong one waits longer
    scenario.when(an_import(TaskDraft(title="new")))
    (given,) = scenario.of_kind(TaskAssigned)
    assert given.agent_id == ADA
    assert given.decision.matching is not None
    assert differences(given.decision, given.task_id, without) == []
    scenario.given(complete(given.task_id, given.lease_token, ADA), wait(ADA, until_us))
    scenario.given(reject(given.task_id))
    scenario.after(minutes=10)
    (again,) = [g for g in scenario.of_kind(TaskAssigned) if g.task_id == given.task_id]
    assert again.agent_id == EVE


def test_a_forecast_sets_how_long_a_task_may_be_silent_and_what_it_is_given() -> None:
    scenario = Scenario(LearnedScorer(Same((0.5, 20, 40, 2.0, 1))))
    scenario.given(a_project(), an_agent())
    scenario.new_task(estimate_min=10)
    given = scenario.assigned()
    longest_min = 20 * 2 ** (1.645 / 1.282)  # log-normal: 95 of 100 stay below
    assert given.budget_us / 60e6 == pytest.approx(2 * longest_min, rel=1e-3)
    spread = np.log(2) / 1.2816
    assert given.reserved.cost_microusd / 1e6 == pytest.approx(2 * np.exp(spread**2 / 2), rel=1e-3)
    scenario.verify()


def test_an_estimate_stands_in_where_a_model_has_seen_no_price() -> None:
    scenario = Scenario(LearnedScorer(Same((0.5, 20, 40, 1.0, 1))))
    scenario.given(a_project(), an_agent())
    scenario.new_task(estimate_min=10)
    given, policy = scenario.assigned(), scenario.policy
    assert given.reserved.tokens == 10 * policy.tokens_per_estimated_min


def test_no_more_is_promised_than_a_project_has_left() -> None:
    scenario = Scenario(LearnedScorer(Same((0.5, 20, 40, 5.0, 1))))
    scenario.given(a_project(cost_cap_microusd=1_000_000), an_agent())
    scenario.new_task(estimate_min=10)
    assert scenario.assigned().reserved.cost_microusd == 1_000_000
    scenario.verify()


def dear_and_cheap(left_usd: float) -> Scenario:
    """A project that has so much left, an urgent task of some $2, and one of $0.1."""
    scenario = Scenario(LearnedScorer(ByPriority()), Policy(exploration=0.0, reserve=0.0))
    cap = round(left_usd * 1e6)
    scenario.given(a_project(cost_cap_microusd=cap), an_agent(), an_agent(BOB))
    scenario.given(
        an_import(
            TaskDraft(title="dear", priority=3, estimate_min=1),
            TaskDraft(title="cheap", priority=1, estimate_min=1),
        )
    )
    return scenario


def test_what_is_expected_to_cost_more_than_is_left_waits_while_something_else_fits() -> None:
    assert dear_and_cheap(left_usd=9).assigned().task_id == "T-1"
    scenario = dear_and_cheap(left_usd=1)
    given = scenario.assigned()
    assert given.task_id == "T-2"
    assert differences(given.decision, given.task_id, without) == []
    scenario.given(complete(given.task_id, given.lease_token))
    scenario.verify()


def test_a_cap_keeps_nothing_back_in_other_projects() -> None:
    scenario = dear_and_cheap(left_usd=1)
    scenario.given(a_project("P-app"))
    dear = scenario.new_task("dear", project_id="P-app", priority=3, estimate_min=1)
    assert scenario.assigned().task_id == dear


def test_when_nothing_fits_a_task_is_given_with_all_that_is_left() -> None:
    scenario = dear_and_cheap(left_usd=0.09)
    given = scenario.assigned()
    assert given.task_id == "T-1"
    assert given.reserved.cost_microusd == 90_000
    scenario.verify()


def test_waiting_agents_too_get_what_fits() -> None:
    scenario = dear_and_cheap(left_usd=1)
    scenario.given(place_hold("workspace", "main"))
    until_us = scenario.now_us + 3_600_000_000
    scenario.given(wait(ADA, until_us), wait(BOB, until_us), lift_hold("workspace", "main"))
    first, *_ = scenario.of_kind(TaskAssigned)
    assert first.task_id == "T-2"
    assert first.decision.matching is not None


def test_an_explanation_tells_what_was_expected_and_set_aside() -> None:
    scenario = Scenario(LearnedScorer(Same((0.5, 20, 40, 2.0, 1))))
    scenario.given(a_project(), an_agent())
    scenario.new_task(estimate_min=10)
    given = scenario.assigned()
    told = explained(given, without)
    assert told.expected is not None
    assert told.expected.accepted == 0.5
    assert (told.expected.minutes_low, told.expected.minutes_high) == (10, 40)
    assert (told.expected.cost_low_usd, told.expected.cost_usd) == (1, 2)
    assert told.expected.cost_high_usd == 4
    assert told.reserved_usd == given.reserved.cost_microusd / 1e6


def test_of_hundreds_that_wait_the_only_one_that_may_take_a_task_gets_it() -> None:
    scenario = Scenario(LearnedScorer(AllAlike()))
    crowd = [f"A-{number}" for number in range(150)]
    until_us = START_US + 3_600_000_000
    scenario.given(a_project(), *(an_agent(one) for one in crowd))
    scenario.given(*(wait(one, until_us) for one in crowd))
    scenario.given(*(place_hold("agent", one) for one in crowd if one != "A-77"))
    scenario.when(an_import(TaskDraft(title="new")))
    assert [given.agent_id for given in scenario.of_kind(TaskAssigned)] == ["A-77"]


def test_a_record_of_rules_is_none_of_a_model() -> None:
    rows = np.ones((2, len(EXPONENTS)), dtype=np.float32)
    assert of_record("factors-1", rows) is None
    assert of_record(f"{ARITHMETIC.name}.v3-ab", rows[:, :3]) is None
    assert of_record(f"{ARITHMETIC.name}.v3-ab", rows) is not None

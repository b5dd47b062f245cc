"""Standing filters: what is pushed matches them, and a vanished agent keeps nothing back."""

import pytest

from pm_agent.domain.assignment import AssignmentExpired, TaskAssigned
from pm_agent.domain.envelope import SYSTEM
from pm_agent.domain.subscription import (
    MAX_PER_AGENT,
    NotePush,
    PushFailed,
    Subscribed,
    TaskPushed,
    Unsubscribed,
)
from pm_agent.domain.task import UpdateTask
from pm_agent.domain.time import MINUTE_US
from pm_agent.kernel.effects import PushTask
from tests.scenario import (
    ADA,
    BOB,
    PERSON,
    Scenario,
    a_project,
    a_task,
    agent_principal,
    an_agent,
    an_import,
    claim,
    complete,
    heartbeat,
    leave,
    of_person,
    progress,
    request_id,
    skills,
    subscribe,
    unsubscribe,
    wait,
)

HOOK = "https://agents.example.org/hook"


@pytest.fixture
def pair(team: Scenario) -> Scenario:
    """A-ada and A-bob know Python and work on P-web and P-app."""
    team.given(a_project("P-app"))
    for agent_id in (ADA, BOB):
        team.given(an_agent(agent_id, skills=skills(python=3)))
    return team


def waits(scenario: Scenario, agent_id: str = ADA) -> None:
    scenario.when(wait(agent_id, scenario.now_us + 10 * MINUTE_US))


@pytest.mark.parametrize(
    ("wanted", "draft", "other"),
    [
        ({"labels": ("api", "ui")}, {"labels": ("ui",)}, {"labels": ("docs",)}),
        ({"min_priority": 2}, {"priority": 3}, {"priority": 1}),
        ({"skills": ("Python",)}, {"skills": skills(python=2)}, {}),
        ({"paths": ("src/api",)}, {"path_hints": ("src/api/http.py",)}, {"path_hints": ("src/a",)}),
        ({"project_ids": ("P-app",)}, {"project_id": "P-app"}, {}),
    ],
    ids=["labels", "priority", "skills", "paths", "projects"],
)
def test_who_waits_is_woken_by_a_task_that_matches_and_by_no_other(
    pair: Scenario, wanted: dict, draft: dict, other: dict
) -> None:
    pair.given(subscribe(**wanted))
    waits(pair)
    pair.given(a_task("not this", **other))
    assert pair.of_kind(TaskAssigned) == []
    pair.given(a_task("this", **draft))
    assert [(e.task_id, e.agent_id, e.is_offered) for e in pair.of_kind(TaskAssigned)] == [
        ("T-2", ADA, True)
    ]


def test_a_wait_finds_at_once_what_matches_however_deep_it_lies(pair: Scenario) -> None:
    for _ in range(150):
        pair.new_task(priority=3)
    wanted = pair.new_task(priority=0, labels=("api",))
    pair.given(subscribe(labels=("api",)))
    waits(pair)
    assert pair.result["task_id"] == wanted
    pair.restart()


def test_what_an_agent_asks_for_itself_is_not_filtered(pair: Scenario) -> None:
    pair.given(subscribe(labels=("api",)))
    pair.new_task()
    waits(pair)
    assert pair.result["outcome"] == "waiting"
    assert pair.assigned().task_id == "T-1"


def test_any_of_several_subscriptions_is_enough(pair: Scenario) -> None:
    pair.given(subscribe(labels=("api",)), subscribe(min_priority=3))
    waits(pair)
    pair.given(a_task(priority=3))
    assert pair.of_kind(TaskAssigned)[0].agent_id == ADA


def test_others_take_what_a_subscriber_does_not_want(pair: Scenario) -> None:
    pair.given(subscribe(labels=("api",)))
    waits(pair)
    waits(pair, BOB)
    pair.given(a_task())
    assert pair.of_kind(TaskAssigned)[0].agent_id == BOB


def test_subscribers_are_matched_with_others_as_far_as_they_want_it(pair: Scenario) -> None:
    pair.given(subscribe(labels=("api",)))
    waits(pair)
    waits(pair, BOB)
    drafts = [a_task(f"t{n}", labels=labels).draft for n, labels in enumerate(((), ("api",)))]
    pair.given(an_import(*drafts))
    given = {e.agent_id: e for e in pair.of_kind(TaskAssigned)}
    assert {a: e.task_id for a, e in given.items()} == {ADA: "T-2", BOB: "T-1"}
    assert given[ADA].decision.matching is not None


def test_a_task_that_comes_to_match_wakes_too(pair: Scenario) -> None:
    pair.new_task()
    pair.given(subscribe(labels=("api",)))
    waits(pair)
    pair.given(
        UpdateTask(request_id=request_id(), principal=PERSON, task_id="T-1", labels=("api",))
    )
    assert pair.of_kind(TaskAssigned)[0].agent_id == ADA


def test_without_its_last_subscription_an_agent_is_offered_everything(pair: Scenario) -> None:
    pair.when(subscribe(labels=("api",))).then(Subscribed)
    waits(pair)
    pair.new_task()
    pair.when(unsubscribe("S-1"))
    assert [type(e) for e in pair.events] == [Unsubscribed, TaskAssigned]
    pair.when(unsubscribe("S-1")).then_refused("unknown_subscription")


def test_a_reserved_task_that_nobody_confirms_is_free_again(pair: Scenario) -> None:
    pair.given(subscribe(labels=("api",)))
    waits(pair)
    pair.given(a_task(labels=("api",)))
    pair.given(wait(BOB, pair.now_us + 20 * MINUTE_US))
    pair.after(minutes=10)
    assert [type(e) for e in pair.events] == [AssignmentExpired, TaskAssigned]
    assert pair.of_kind(TaskAssigned)[0].agent_id == BOB
    assert pair.task("T-1").failures == 0


# -- webhooks -------------------------------------------------------------------------------------


@pytest.fixture
def hooked(pair: Scenario) -> Scenario:
    """A-ada is reached by a webhook for tasks with the label api."""
    pair.given(subscribe(url=HOOK, labels=("api",)))
    return pair


def pushes(scenario: Scenario) -> list[str]:
    pending = scenario.engine.outbox.pending.values()
    return [e.effect_id for e in pending if isinstance(e.want, PushTask)]


def noted(scenario: Scenario, failure: str = "") -> NotePush:
    return NotePush(
        request_id=request_id(),
        principal=SYSTEM,
        effect_id=pushes(scenario)[0],
        subscription_id="S-1",
        task_id="T-1",
        failure=failure,
    )


def test_a_webhook_waits_by_itself_and_asks_for_a_push(hooked: Scenario) -> None:
    hooked.given(a_task())
    assert hooked.of_kind(TaskAssigned) == []
    hooked.given(a_task(labels=("api",)))
    assert hooked.of_kind(TaskAssigned)[0].is_offered
    assert len(pushes(hooked)) == 1
    hooked.after(seconds=1).given(heartbeat())  # the agent calls: the task is confirmed
    hooked.after(minutes=2)
    assert "T-2" in hooked.world.assignments


def test_a_webhook_goes_on_after_the_task_and_after_a_restart(hooked: Scenario) -> None:
    hooked.given(a_task(labels=("api",)), complete("T-1", 1))
    hooked.given(a_task(labels=("api",)))
    assert hooked.of_kind(TaskAssigned)[0].task_id == "T-2"
    hooked.given(complete("T-2", 1))
    hooked.restart()
    hooked.step([])
    hooked.given(a_task(labels=("api",)))
    assert hooked.of_kind(TaskAssigned)[0].task_id == "T-3"


def test_a_poll_that_ends_does_not_end_the_webhook(hooked: Scenario) -> None:
    waits(hooked)
    hooked.after(minutes=11)
    hooked.given(a_task(labels=("api",)))
    assert hooked.of_kind(TaskAssigned)[0].agent_id == ADA


def test_a_push_that_is_given_up_frees_the_task_and_is_kept_as_a_dead_letter(
    hooked: Scenario,
) -> None:
    hooked.given(a_task(labels=("api",)))
    hooked.after(seconds=1)
    hooked.when(noted(hooked, "it answered 500")).then(PushFailed, AssignmentExpired)
    assert hooked.world.subscriptions["S-1"].dead[0].reason == "it answered 500"
    assert hooked.task("T-1").is_ready
    hooked.after(minutes=5)
    assert hooked.task("T-1").is_ready  # nothing is pushed before the agent was heard
    hooked.given(heartbeat())
    assert hooked.of_kind(TaskAssigned)[0].agent_id == ADA


def test_a_push_that_arrived_is_noted_once(hooked: Scenario) -> None:
    hooked.given(a_task(labels=("api",)))
    command = noted(hooked)
    hooked.when(command).then(TaskPushed)
    assert pushes(hooked) == []
    again = of_person(command, SYSTEM)
    hooked.when(again).then_refused("unknown_subscription")


def test_a_push_is_pointless_when_the_task_is_no_longer_the_agents(hooked: Scenario) -> None:
    hooked.given(a_task(labels=("api",)))
    hooked.after(seconds=61)
    assert pushes(hooked) == []


def test_a_failed_push_takes_nothing_from_an_agent_that_works_on_it(hooked: Scenario) -> None:
    hooked.given(a_task(labels=("api",)), progress("T-1", 1))
    hooked.when(noted(hooked, "cut off")).then(PushFailed)
    assert "T-1" in hooked.world.assignments


def test_no_webhook_no_push(hooked: Scenario) -> None:
    hooked.given(unsubscribe("S-1"), a_task(labels=("api",)))
    assert hooked.of_kind(TaskAssigned) == []


def test_who_leaves_subscribes_to_nothing(hooked: Scenario) -> None:
    hooked.given(leave(ADA))
    assert hooked.world.subscriptions == {}
    hooked.given(a_task(labels=("api",)))
    assert hooked.of_kind(TaskAssigned) == []


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/x",
        "http://localhost:8470/v1/tokens",
        "https://10.1.2.3/",
        "http://169.254.169.254/latest/meta-data",
        "http://[::1]/",
        "http://[::ffff:192.168.0.1]/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://db.internal/",
        "http://intranet/",
        "ftp://example.org/",
        "https://user:word@example.org/",
        "https://example.org:99999/",
        "https://example.org:0/",
        "https://exa mple.org/",
        "https://example..org/",
        f"https://{'a' * 64}.example.org/",
        "https://1\u30022\u30023\u30024.com/",
        "http://[64:ff9b::a9fe:a9fe]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[64:ff9b:1::a00:1]/",
        "http://[::127.0.0.1]/",
        "http://[::ffff:0:10.0.0.1]/",
        "http://[fec0::1]/",
        "http://[fd00::1]/",
        "no address",
    ],
)
def test_a_webhook_to_what_only_the_server_can_reach_is_refused(pair: Scenario, url: str) -> None:
    pair.when(subscribe(url=url)).then_refused("address_refused")


def test_there_is_an_end_to_subscriptions(pair: Scenario) -> None:
    for n in range(MAX_PER_AGENT):
        pair.given(subscribe(labels=(f"l{n}",)))
    pair.when(subscribe(labels=("more",))).then_refused("too_many_subscriptions")
    pair.when(subscribe(BOB, project_ids=("P-no",))).then_refused("unknown_project")
    pair.given(subscribe(BOB, labels=("l1",)))
    pair.when(subscribe(BOB, labels=("l1",))).then_refused("already_exists")
    pair.when(of_person(subscribe(BOB), agent_principal(ADA))).then_refused("forbidden")
    pair.when(unsubscribe("S-1", BOB)).then_refused("forbidden")
    pair.when(claim()).then()

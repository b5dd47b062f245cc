"""What clients remember is held against the journal: lost, doubled, or never asked for."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from pm_agent.domain.assignment import (
    CompletionAccepted,
    CompletionSubmitted,
    LeaseRegranted,
    ReportProgress,
    TaskReleased,
)
from pm_agent.domain.envelope import Command, Event
from pm_agent.domain.time import DAY_US
from pm_agent.kernel.chain import unseal
from pm_agent.kernel.invariants import FENCED, SINGLE_LEASE, SINGLE_WRITER, Violation
from pm_agent.kernel.types import ErrorInfo
from pm_agent.ports import GENESIS, Head
from simulation.clients import Asked
from simulation.history import DURABLE_ACK, IDEMPOTENT, Evidence, check_epochs, check_histories
from tests.scenario import (
    BOB,
    Scenario,
    a_project,
    a_task,
    accept,
    an_agent,
    claim,
    complete,
    progress,
)

changed = msgspec.structs.replace


class Told:
    """A scenario whose clients remember what they were told."""

    def __init__(self, completion: str = "auto") -> None:
        self.scenario = Scenario()
        self.asked: list[Asked] = []
        for command in (
            a_project(completion=completion),
            an_agent(),
            a_task(),
            claim(),
            progress("T-1", 1),
        ):
            self.ask(command)

    def ask(self, command: Command) -> None:
        self.scenario.when(command)
        self.asked.append(Asked(command, [self.scenario.reply]))

    @property
    def events(self) -> list[Event]:
        return [unseal(stored) for stored in self.scenario.journal]

    def check(self, events: list[Event] | None = None) -> list[Violation]:
        journal = self.events if events is None else events
        return check_histories(Evidence(journal, self.scenario.stored_requests), self.asked)

    def broken(self, events: list[Event] | None = None) -> set[str]:
        return {violation.invariant for violation in self.check(events)}


@pytest.fixture
def told() -> Told:
    return Told()


def with_data(event: Event, **fields: Any) -> Event:
    return changed(event, data=changed(event.data, **fields))


def test_a_true_history_is_no_violation(told: Told) -> None:
    told.ask(progress("T-1", 7))  # refused
    told.ask(told.asked[-2].command)  # asked again
    told.ask(complete("T-1", 1))
    assert told.check() == []


def test_what_was_acknowledged_must_be_in_the_journal(told: Told) -> None:
    assert told.broken(told.events[:-1]) == {DURABLE_ACK}


def test_an_acknowledged_lease_must_be_in_the_journal(told: Told) -> None:
    events = told.events
    events[3] = with_data(events[3], agent_id=BOB)
    assert DURABLE_ACK in told.broken(events)


def test_a_request_has_one_effect(told: Told) -> None:
    told.ask(a_task("another"))
    last = told.events[-1]
    doubled = [*told.events, changed(told.events[4], position=last.position + 1)]
    assert told.broken(doubled) == {IDEMPOTENT}
    after_a_day = changed(doubled[-1], at_us=doubled[4].at_us + DAY_US)
    assert told.broken([*told.events, after_a_day]) == set()


def test_the_same_request_gets_the_same_answer(told: Told) -> None:
    asked = told.asked[-1]
    asked.replies.append(changed(asked.replies[0], result=b'{"percent":11}'))
    assert told.broken() == {IDEMPOTENT}


def test_a_retry_is_not_refused_when_its_request_had_its_effect(told: Told) -> None:
    asked = told.asked[-1]
    refusal = ErrorInfo("stale_lease", "", "")
    asked.replies.append(changed(asked.replies[0], result=b"", error=refusal))
    assert told.broken() == {IDEMPOTENT}


def test_another_body_under_the_same_request_id_is_refused(told: Told) -> None:
    asked = told.asked[-1]
    assert isinstance(asked.command, ReportProgress)
    told.asked.append(Asked(changed(asked.command, percent=99), asked.replies))
    assert told.broken() == {IDEMPOTENT}


def test_a_write_is_taken_under_the_token_that_it_named(told: Told) -> None:
    asked = told.asked[-1]
    asked.command = changed(asked.command, lease_token=2)
    assert FENCED in told.broken()


def chosen_late() -> Told:
    """Ada's work came too late and was kept, while Bob had the task; a person chose it."""
    told = Told()
    told.ask(an_agent(BOB))
    told.scenario.after(minutes=60)
    told.ask(claim(BOB))
    told.ask(complete("T-1", 1))
    told.ask(accept("T-1", lease_token=1))
    kinds = [type(event.data) for event in told.events[-4:]]
    assert kinds == [TaskReleased, LeaseRegranted, CompletionSubmitted, CompletionAccepted]
    return told


def taken_late() -> Told:
    """Ada's work came too late and was taken under a new lease; then a person said yes."""
    told = Told("person")
    told.scenario.after(minutes=60)
    told.ask(complete("T-1", 1))
    told.ask(accept("T-1", lease_token=1))
    assert isinstance(told.events[-1].data, CompletionAccepted)
    return told


def as_of(told: Told, command: Command) -> set[str]:
    """What is found when the last effect is said to have come of another command."""
    last = told.asked.pop().command
    same = {"request_id": last.request_id, "principal": last.principal}
    told.asked.append(Asked(changed(command, **same), []))
    return told.broken()


@pytest.mark.parametrize("story", [chosen_late, taken_late])
def test_a_verdict_on_late_work_names_the_lease_that_was_lost(story: Callable[[], Told]) -> None:
    assert story().check() == []
    assert as_of(story(), accept("T-1", lease_token=1)) == set()


@pytest.mark.parametrize("story", [chosen_late, taken_late])
@pytest.mark.parametrize("word", [complete, progress])
def test_no_word_of_the_agent_itself_does_what_a_verdict_does(
    story: Callable[[], Told], word: Callable[..., Command]
) -> None:
    assert as_of(story(), word("T-1", 1)) == {FENCED}


def test_nothing_is_in_the_journal_that_nobody_asked_for(told: Told) -> None:
    told.asked.pop()
    assert told.broken() == {DURABLE_ACK}


def test_nobody_else_writes_under_a_lease(told: Told) -> None:
    events = told.events
    events[4] = changed(events[4], principal=f"agent:{BOB}")
    assert SINGLE_LEASE in told.broken(events)


def test_an_epoch_ends_where_the_next_one_was_taken(told: Told) -> None:
    evidence = Evidence(told.events, [])
    first = Head(0, GENESIS, 1)
    assert check_epochs(evidence, [first, Head(5, GENESIS, 2)]) == []
    found = check_epochs(evidence, [first, Head(3, GENESIS, 2)])
    assert [violation.invariant for violation in found] == [SINGLE_WRITER] * 2

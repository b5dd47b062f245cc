"""Few people and many questions."""

from collections.abc import Callable
from functools import partial

import pytest

from pm_agent.domain.time import MINUTE_US
from simulation.attention import Answer, Desk, People, Question
from simulation.causes import Luck
from simulation.timeline import Timeline


class Asked:
    """A desk, what was asked there, and the order of the answers."""

    def __init__(self, people: People) -> None:
        self.timeline = Timeline()
        self.people = people
        self.answers: list[Answer] = []
        self.desk = Desk(self.timeline, people.count, self.answers.append)
        self.order: list[int] = []

    def ask(self, number: int, is_open: Callable[[], bool] = lambda: True) -> None:
        spans_us = (self.people.lies_us(Luck(0), number), self.people.work_us(Luck(0), number))
        self.desk.ask(Question(number, *spans_us, partial(self.order.append, number), is_open))

    def play(self) -> None:
        while self.timeline.advance():
            pass


def test_one_person_answers_one_question_after_the_other() -> None:
    asked = Asked(People(count=1, person_min=0.001))
    for number in range(20):
        asked.ask(number)
    asked.play()
    worked_us = sum(answer.worked_us for answer in asked.answers)
    assert asked.timeline.now_us == pytest.approx(worked_us, abs=MINUTE_US)
    assert len(asked.order) == 20


def test_attention_without_end_lets_no_question_wait_for_another() -> None:
    alone = Asked(People())
    alone.ask(7)
    alone.play()
    many = Asked(People())
    for number in range(20):
        many.ask(number)
    many.play()
    assert alone.answers[0] in many.answers


def test_what_was_settled_before_anybody_began_costs_no_time() -> None:
    asked = Asked(People(count=1))
    asked.ask(1, is_open=lambda: False)
    asked.play()
    assert (asked.order, asked.answers) == ([], [])


def test_questions_are_answered_as_they_are_seen() -> None:
    asked = Asked(People(count=1, person_min=30))
    for number in range(30):
        asked.ask(number)
    asked.play()
    lies_us = {n: Luck(0).span_us(n, "person", 30, 1.0) for n in range(30)}
    assert asked.order == sorted(range(30), key=lambda n: lies_us[n])

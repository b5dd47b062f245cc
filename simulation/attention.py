"""People who answer: few, and one question at a time.

A question lies until somebody turns to it, waits until one of them is free, and then takes a part
of their day. So a ladder that asks less is answered sooner where it does ask.
"""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from simulation.causes import ANSWER_MIN, PERSON_MIN, PERSON_SPREAD, Luck, mean_of
from simulation.timeline import Timeline


class People(msgspec.Struct, frozen=True):
    """How many people answer, and how fast.

    Attributes
    ----------
    count : int
        0: as many as there are questions; nothing waits for a free one, and an answer takes no
        time but what it lies.
    person_min : float
        Median until somebody turns to a question, were all of them free.
    answer_min : float
        Median of the work that an answer is.
    """

    count: int = 0
    person_min: float = PERSON_MIN
    answer_min: float = ANSWER_MIN

    def lies_us(self, luck: Luck, incident: int) -> int:
        """How long a question about an incident lies, were all of them free."""
        return luck.span_us(incident, "person", self.person_min, PERSON_SPREAD)

    def work_us(self, luck: Luck, incident: int) -> int:
        """How much work the answer is."""
        return luck.span_us(incident, "answer", self.answer_min)

    @property
    def mean_min(self) -> float:
        """Until an answer, when no other question waits."""
        lies_min = mean_of(self.person_min, PERSON_SPREAD)
        return lies_min + (mean_of(self.answer_min) if self.count else 0.0)


class Answer(NamedTuple):
    """A question that was answered."""

    about: int  # number of the incident, or of the task
    asked_us: int
    waited_us: int  # from the question
    worked_us: int


class Question(NamedTuple):
    """Something that a person has to answer."""

    about: int
    lies_us: int  # until somebody turns to it, were all of them free
    work_us: int  # that the answer is
    answered: Callable[[], None]  # called when the answer comes
    is_open: Callable[[], bool]  # whether anybody still needs it


class Desk:
    """Where questions lie: first seen, first answered.

    Parameters
    ----------
    count
        How many people answer; 0: as many as there are questions, and an answer is no work.
    on_answer
        Told of every answer, also of those that nobody needed any more when they came. A question
        that was settled before anybody began with it costs no time and has none.

    Attributes
    ----------
    n_open : int
        Questions that wait for their answer.
    """

    def __init__(self, timeline: Timeline, count: int, on_answer: Callable[[Answer], None]) -> None:
        self.n_open = 0
        self._timeline = timeline
        self._count = self._n_free = count
        self._on_answer = on_answer
        self._queue: deque[tuple[Question, int]] = deque()

    def ask(self, question: Question) -> None:
        """Lay a question on the desk."""
        self.n_open += 1
        happens = self._seen if self._count else self._answer
        self._timeline.after(question.lies_us, happens, question, self._timeline.now_us)

    def _seen(self, question: Question, asked_us: int) -> None:
        self._queue.append((question, asked_us))
        self._serve()

    def _serve(self) -> None:
        while self._n_free and self._queue:
            question, asked_us = self._queue.popleft()
            if question.is_open():
                self._n_free -= 1
                self._timeline.after(question.work_us, self._finish, question, asked_us)
            else:
                self.n_open -= 1

    def _finish(self, question: Question, asked_us: int) -> None:
        self._n_free += 1
        self._answer(question, asked_us, question.work_us)
        self._serve()

    def _answer(self, question: Question, asked_us: int, worked_us: int = 0) -> None:
        self.n_open -= 1
        waited_us = self._timeline.now_us - asked_us
        self._on_answer(Answer(question.about, asked_us, waited_us, worked_us))
        question.answered()

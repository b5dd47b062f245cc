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

    @property
    def mean_min(self) -> float:
        """Until an answer, when no other question waits."""
        lies_min = mean_of(self.person_min, PERSON_SPREAD)
        return lies_min + (mean_of(self.answer_min) if self.count else 0.0)


class Answer(NamedTuple):
    """A question that was answered."""

    incident: int
    waited_us: int  # from the question
    worked_us: int


class _Question(NamedTuple):
    incident: int
    asked_us: int
    answered: Callable[[], None]
    is_open: Callable[[], bool]


class Desk:
    """Where questions lie: first asked, first answered.

    Attributes
    ----------
    answers : list of Answer
        Also those that nobody needed any more when they came; a question that was settled before
        anybody began with it costs no time and is none of them.
    """

    def __init__(self, timeline: Timeline, people: People, luck: Luck) -> None:
        self.answers: list[Answer] = []
        self._timeline = timeline
        self._people = people
        self._luck = luck
        self._n_free = people.count
        self._queue: deque[_Question] = deque()

    def ask(self, incident: int, answered: Callable[[], None], is_open: Callable[[], bool]) -> None:
        """Ask about an incident; ``answered`` is called when an answer comes."""
        question = _Question(incident, self._timeline.now_us, answered, is_open)
        lies_us = self._luck.span_us(incident, "person", self._people.person_min, PERSON_SPREAD)
        happens = self._seen if self._people.count else self._answered
        self._timeline.after(lies_us, happens, question)

    def _seen(self, question: _Question) -> None:
        self._queue.append(question)
        self._serve()

    def _serve(self) -> None:
        while self._n_free and self._queue:
            question = self._queue.popleft()
            if question.is_open():
                self._n_free -= 1
                work_us = self._luck.span_us(question.incident, "answer", self._people.answer_min)
                self._timeline.after(work_us, self._finish, question, work_us)

    def _finish(self, question: _Question, work_us: int) -> None:
        self._n_free += 1
        self._answered(question, work_us)
        self._serve()

    def _answered(self, question: _Question, work_us: int = 0) -> None:
        waited_us = self._timeline.now_us - question.asked_us
        self.answers.append(Answer(question.incident, waited_us, work_us))
        question.answered()

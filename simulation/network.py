"""A network that loses, doubles, delays and reorders requests and replies."""

from collections.abc import Callable
from random import Random

from pm_agent.domain.envelope import Command
from pm_agent.domain.time import MINUTE_US, SECOND_US
from simulation.coordinator import Answer, Answered, Site
from simulation.faults import Faults
from simulation.timeline import Timeline

LATE_US = (SECOND_US, 5 * MINUTE_US)
LATENCY_US = (200, 5_000)


class Network:
    """Carries requests to the coordinators and replies back."""

    def __init__(self, timeline: Timeline, faults: Faults, site: Site, random: Random) -> None:
        self._timeline = timeline
        self._faults = faults
        self._site = site
        self._random = random

    def ask(self, command: Command, answer: Answer) -> None:
        """Send a request; its reply, or a copy of it, may reach ``answer`` at any later time."""
        strikes = self._faults.strikes
        if strikes("request_lost"):
            return

        def reply(answered: Answered) -> None:
            self._return(answered, answer)

        delay_us = self._latency_us()
        if strikes("request_late"):
            delay_us += self._faults.span_us("request_late", *LATE_US)
        self._timeline.after(delay_us, self._site.deliver, command, reply)
        if strikes("request_doubled"):
            delay_us += self._faults.span_us("request_doubled", *LATE_US)
            self._timeline.after(delay_us, self._site.deliver, command, reply)

    def tell(self, listener: Callable[[], None]) -> None:
        """Wake somebody who waits, unless the word is lost."""
        if not self._faults.strikes("wake_lost"):
            self._timeline.after(self._latency_us(), listener)

    def _return(self, answered: Answered, answer: Answer) -> None:
        if self._faults.strikes("reply_lost"):
            return
        delay_us = self._latency_us()
        if self._faults.strikes("reply_late"):
            delay_us += self._faults.span_us("reply_late", *LATE_US)
        self._timeline.after(delay_us, answer, answered)

    def _latency_us(self) -> int:
        low, high = LATENCY_US
        return low + int(self._random.random() * (high - low))

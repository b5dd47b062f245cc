"""What every client of the product does: ask, wait, ask again with the same request id, remember.

Each client keeps a history of what it asked and what it was told. Nothing else decides afterwards
whether the product kept its word (`simulation.history`).
"""

from collections.abc import Callable
from random import Random

import msgspec

from pm_agent.domain.envelope import Command, Principal
from pm_agent.domain.time import MINUTE_US, SECOND_US
from pm_agent.kernel.types import Reply
from simulation.coordinator import Answered
from simulation.faults import Faults
from simulation.network import Network
from simulation.timeline import Timeline

Then = Callable[[Reply | None], None]  # None: nobody answered, however often it was asked

TIMEOUT_US = 10 * SECOND_US
TRIES = 5
RETRY_US = (SECOND_US, MINUTE_US)


class Asked(msgspec.Struct):
    """One request as its client remembers it: sent once or more often, answered at times."""

    command: Command
    replies: list[Reply] = []


class World(msgspec.Struct, frozen=True):
    """What every client lives in."""

    timeline: Timeline
    faults: Faults
    network: Network


class Client:
    """Somebody who asks.

    Attributes
    ----------
    history : list of Asked
        Everything that was ever asked under this principal.
    """

    def __init__(self, around: World, principal: Principal, random: Random) -> None:
        self.around = around
        self.principal = principal
        self.random = random
        self.history: list[Asked] = []
        self._n_requests = 0

    def request_id(self) -> str:
        self._n_requests += 1
        return f"{self.principal.id}-{self._n_requests}"

    def ask(self, command: Command, then: Then, tries: int = TRIES) -> None:
        """Ask until somebody answers, and go on with the answer."""
        asked = Asked(command)
        self.history.append(asked)
        _Call(self, asked, then, tries).send()

    def say(self, command: Command) -> None:
        """Ask once and do not wait; an answer is remembered all the same."""
        self.ask(command, lambda _: None, tries=1)

    def later(self, low_us: int, high_us: int, happening: Callable[[], None]) -> None:
        """Let something happen at a random instant."""
        self.around.timeline.after(self.random.randrange(low_us, high_us), happening)


class _Call:
    """A request under way."""

    def __init__(self, client: Client, asked: Asked, then: Then, tries: int) -> None:
        self._client = client
        self._asked = asked
        self._then = then
        self._n_left = tries
        self._is_over = False

    def send(self) -> None:
        if self._is_over:
            return
        around = self._client.around
        if self._n_left == 0:
            self._is_over = True
            self._then(None)
            return
        self._n_left -= 1
        around.network.ask(self._asked.command, self._answered)
        around.timeline.after(TIMEOUT_US, self._timed_out, self._n_left)

    def _answered(self, answered: Answered) -> None:
        if isinstance(answered, Reply):
            self._asked.replies.append(answered)
            if not self._is_over:
                self._is_over = True
                self._then(answered)

    def _timed_out(self, n_left: int) -> None:
        """Nobody answered, or only to say that nobody can: the same to a client that waits."""
        if not self._is_over and n_left == self._n_left:
            pause_us = self._client.random.randrange(*RETRY_US) if n_left else 0
            self._client.around.timeline.after(pause_us, self.send)

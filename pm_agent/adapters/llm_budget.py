"""What a language model may cost a day, what it did cost, and when to leave it alone for a while.

Spending is counted in memory: a restart begins the day anew. What calls have cost for good stands
in the journal, on tasks, agents and projects.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple

import genai_prices
from anthropic.types import Usage

from pm_agent.domain.time import DAY_US, SECOND_US

MICRO = 1_000_000
PROVIDER = "anthropic"
PRICES = f"genai-prices {genai_prices.__version__}"
BATCH_SHARE = Decimal("0.5")  # of the price, for messages that wait in a batch
# What the budget counts for a model that the table does not know: more than any known one costs.
DEAR_INPUT, DEAR_OUTPUT = Decimal(30), Decimal(150)  # micro-dollars a token


class Price(NamedTuple):
    """What a call has cost."""

    microusd: int
    prices: str  # version of the table; empty: the model is not in it, and the price is a guess


def price_of(model: str, usage: Usage, *, is_batch: bool = False) -> Price:
    """Price of a call, from the table inside the package; nothing is fetched."""
    read = usage.cache_read_input_tokens or 0
    written = usage.cache_creation_input_tokens or 0
    every = usage.input_tokens + read + written
    counted = genai_prices.Usage(
        input_tokens=every,
        cache_read_tokens=read,
        cache_write_tokens=written,
        output_tokens=usage.output_tokens,
    )
    try:
        found = genai_prices.calc_price(counted, model_ref=model, provider_id=PROVIDER)
    except LookupError:
        guess = every * DEAR_INPUT + usage.output_tokens * DEAR_OUTPUT
        return Price(round(guess), "")
    usd = found.total_price * (BATCH_SHARE if is_batch else 1)
    return Price(round(usd * MICRO), PRICES)


def dearest(model: str, input_chars: int, max_tokens: int) -> int:
    """Micro-dollars that a call may cost at most: a token a character, and a full answer."""
    usage = Usage(input_tokens=input_chars, output_tokens=max_tokens)
    return price_of(model, usage).microusd


class Budget:
    """Money of one day, UTC. What calls under way may cost is set aside until they are back."""

    def __init__(self, microusd_a_day: int, now_us: Callable[[], int]) -> None:
        self._a_day = microusd_a_day
        self._now_us = now_us
        self._day = 0
        self._spent = 0
        self._set_aside = 0

    def set_aside(self, microusd: int, *, kept: float = 0.0) -> bool:
        """Ask for money; False when the day's is not enough, less a share kept for others."""
        day = self._now_us() // DAY_US
        if day != self._day:
            self._day, self._spent = day, 0
        if self._spent + self._set_aside + microusd > self._a_day * (1 - kept):
            return False
        self._set_aside += microusd
        return True

    def settle(self, set_aside: int, spent: int) -> None:
        """Give back what was set aside, and count what was spent of it."""
        self._set_aside -= set_aside
        self._spent += spent


class CircuitBreaker:
    """Leaves a failing service alone: after some failures in a row, for longer and longer.

    When the time is over one call is let through; its success closes the circuit again.
    """

    FAILURES = 5
    FIRST_US, LONGEST_US = 30 * SECOND_US, 600 * SECOND_US

    def __init__(self, now_us: Callable[[], int]) -> None:
        self._now_us = now_us
        self._failures = 0
        self._closed_from_us = 0

    def lets_through(self) -> bool:
        """Whether to call now."""
        if self._failures < self.FAILURES:
            return True
        if self._now_us() < self._closed_from_us:
            return False
        self._closed_from_us = self._now_us() + self.FIRST_US  # one trial at a time
        return True

    def succeeded(self) -> None:
        self._failures = 0

    def failed(self) -> None:
        self._failures += 1
        over = self._failures - self.FAILURES
        if over >= 0:
            span_us = min(self.FIRST_US << min(over, 10), self.LONGEST_US)
            self._closed_from_us = self._now_us() + span_us

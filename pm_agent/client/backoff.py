"""How long to wait before going on, with full jitter, so that many do not come back at once."""

import random

from pm_agent.api.handlers.assignments import ClaimAnswer
from pm_agent.client.errors import BUSY, ApiError

BACKOFF_FIRST_S, BACKOFF_MAX_S = 0.1, 5.0


def backoff_s(n_failures: int) -> float:
    """Pause before another try, after so many before this one."""
    doubled = BACKOFF_FIRST_S * 2 ** min(
        n_failures, 16
    )  # a float has an end, patience may have none
    return random.uniform(0, min(BACKOFF_MAX_S, doubled))


def pause_after(error: Exception) -> float:
    """Pause in a loop that never ends; a refusal that waiting does not change is raised."""
    if isinstance(error, ApiError) and error.status not in (0, *BUSY):
        raise error
    return random.uniform(0, BACKOFF_MAX_S)


def pause_without_task(claimed: ClaimAnswer) -> float:
    """Pause before asking again where there was no task."""
    return float(claimed.retry_after_s or BACKOFF_MAX_S)

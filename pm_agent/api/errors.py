"""Refusals at the wire: which HTTP status a code has, and one body for all of them.

HTTP gets a problem document (RFC 9457), MCP the same fields in a result with ``isError``. Callers
test ``code``; ``next_step`` is written for the language models that read it.

::

    PMError
    ├── MalformedJson      malformed_json
    ├── TooLarge           too_large
    ├── UnknownRoute       unknown_route
    ├── MethodNotAllowed   method_not_allowed
    └── InternalError      internal_error
"""

import logging
import math
import random
import secrets
from collections.abc import Iterator

import msgspec
from pydantic import ValidationError

from pm_agent.domain.errors import (
    Conflict,
    Forbidden,
    InsufficientScope,
    InvalidInput,
    NotFound,
    PMError,
    PreconditionRequired,
    RateLimited,
    StartError,
    Unauthenticated,
    Unavailable,
    VersionMismatch,
)
from pm_agent.kernel.types import ErrorInfo

log = logging.getLogger(__name__)

PROBLEM_TYPE = "application/problem+json"
PROBLEMS_URI = "https://pm-agent.dev/problems/"
# Who is refused for the server's sake comes back within the first, which is about what a restart of
# the coordinator takes, and within the second at twice the load that can be served.
RETRY_SOON_S, RETRY_LATE_S = 2.0, 30.0
TWICE = 2.0
MAX_NAMED = 20  # fields named in one refusal


class MalformedJson(PMError):
    """The body is not JSON."""

    code = "malformed_json"
    default_next_step = "Send a JSON object in UTF-8."


class TooLarge(PMError):
    """The body is too large."""

    code = "too_large"
    default_next_step = "Send less in one request; split a large import into several."


class UnknownRoute(PMError):
    """There is nothing at this address."""

    code = "unknown_route"
    default_next_step = "See /docs or /openapi.json for what there is."


class MethodNotAllowed(PMError):
    """This address does not take that method."""

    code = "method_not_allowed"
    default_next_step = "Use one of the methods named in the Allow header."


class InternalError(PMError):
    """Something went wrong inside."""

    code = "internal_error"
    default_next_step = (
        "Try again with the same request id; if it persists, tell an operator the id."
    )


class Refused(Exception):
    """The core's refusal, as its reply carried it."""

    def __init__(self, info: ErrorInfo) -> None:
        self.info = info
        super().__init__(f"{info.code}: {info.message}")


class FieldError(msgspec.Struct, frozen=True):
    """What is wrong with one field."""

    field: str
    message: str


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An RFC 9457 problem document."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    next_step: str
    errors: list[FieldError] = []
    retry_after_s: int = 0  # send the same request again after so many seconds
    scope: str = ""  # that a token needs for this


# The status of each branch of the tree; a leaf has that of its nearest ancestor here.
_BRANCHES: dict[type[PMError], int] = {
    PMError: 400,
    InvalidInput: 422,
    NotFound: 404,
    Unauthenticated: 401,
    Forbidden: 403,
    Conflict: 409,
    VersionMismatch: 412,
    PreconditionRequired: 428,
    Unavailable: 503,
    RateLimited: 429,
    StartError: 500,
    MalformedJson: 400,
    TooLarge: 413,
    UnknownRoute: 404,
    MethodNotAllowed: 405,
    InternalError: 500,
}


def _tree(root: type[PMError]) -> Iterator[type[PMError]]:
    yield root
    for child in root.__subclasses__():
        yield from _tree(child)


STATUS: dict[str, int] = {
    kind.code: next(_BRANCHES[parent] for parent in kind.__mro__ if parent in _BRANCHES)
    for kind in _tree(PMError)
}
_TITLES = {code: code.replace("_", " ").capitalize() for code in STATUS}


def problem_of(error: PMError | ErrorInfo) -> Problem:
    """Problem document of a refusal."""
    return Problem(
        type=PROBLEMS_URI + error.code,
        title=_TITLES.get(error.code, error.code),
        status=STATUS.get(error.code, 400),
        detail=error.message,
        code=error.code,
        next_step=error.next_step,
    )


def problem_of_fields(errors: list[FieldError]) -> Problem:
    """Problem of an input that does not fit its model; each field is named."""
    named = "; ".join(f"{e.field}: {e.message}" for e in errors[:3])
    more = f" (and {len(errors) - 3} more)" if len(errors) > 3 else ""  # noqa: PLR2004 - three are named
    problem = problem_of(InvalidInput(f"{named}{more}."))
    return msgspec.structs.replace(problem, errors=errors[:MAX_NAMED])


def problem_of_validation(error: ValidationError) -> Problem:
    """As above, from pydantic. The values sent are left out: they may be secret or huge."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return problem_of_fields(
        [
            FieldError(".".join(str(part) for part in one["loc"]) or "body", one["msg"])
            for one in found
        ]
    )


def problem_of_crash(error: Exception, operation: str) -> Problem:
    """Log an exception that nobody expected, and tell the caller nothing but an id to quote."""
    identifier = secrets.token_hex(4)
    log.error("internal error %s in %s", identifier, operation, exc_info=error)
    return problem_of(InternalError(f"Something went wrong inside; its id is {identifier}."))


def problem_from(error: Exception, operation: str, load: float = 0.0) -> Problem:
    """Problem for anything an operation can raise; ``load`` as `pm_agent.runtime.admission`."""
    if isinstance(error, Refused):
        problem = problem_of(error.info)
    elif isinstance(error, PMError):
        problem = problem_of(error)
    elif isinstance(error, ValidationError):
        return problem_of_validation(error)
    else:
        return problem_of_crash(error, operation)
    if isinstance(error, InsufficientScope):
        return msgspec.structs.replace(problem, scope=error.scope)
    if isinstance(error, RateLimited):
        return msgspec.structs.replace(problem, retry_after_s=math.ceil(error.retry_after_s))
    if problem.status == STATUS[Unavailable.code]:
        pause_s = retry_after_s(load, random.random())
        return msgspec.structs.replace(problem, retry_after_s=pause_s)
    return problem


def retry_after_s(load: float, draw: float) -> int:
    """Whole seconds after which somebody refused shall come back, with full jitter.

    Parameters
    ----------
    load
        1.0 is a full house.
    draw
        Uniform in [0, 1): callers that were refused together come back apart.

    References
    ----------
    Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    longest_s = RETRY_SOON_S + (RETRY_LATE_S - RETRY_SOON_S) * min(load / TWICE, 1.0)
    return max(1, math.ceil(draw * longest_s))


def headers_of(problem: Problem, metadata_url: str = "") -> list[tuple[bytes, bytes]]:
    """Return response headers that belong to a problem.

    ``metadata_url`` is where clients learn which authorisation server makes tokens for us.

    References
    ----------
    RFC 6750, section 3 (challenges); RFC 9728, section 5.1 (``resource_metadata``).
    """
    if problem.retry_after_s:
        return [(b"retry-after", b"%d" % problem.retry_after_s)]
    challenge = ['Bearer realm="pm-agent"']
    if problem.scope:
        challenge += ['error="insufficient_scope"', f'scope="{problem.scope}"']
    elif problem.status != STATUS[Unauthenticated.code]:
        return []
    if metadata_url:
        challenge.append(f'resource_metadata="{metadata_url}"')
    return [(b"www-authenticate", ", ".join(challenge).encode())]

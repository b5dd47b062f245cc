"""What can come back in place of an answer."""

from typing import Any

import httpx

Json = dict[str, Any]
BUSY = frozenset({429, 502, 503, 504})  # come back later, whoever says so
UNAUTHENTICATED, NOT_FOUND, SERVER_ERROR = 401, 404, 500
UNREACHABLE_NEXT = "Check the address and that the server runs ('pm-agent status'), then try again."


class ApiError(Exception):
    """PM Agent refused a request, or could not be reached in time.

    Attributes
    ----------
    code : str
        Stable name of the refusal, such as ``stale_lease``; ``unreachable`` when no answer came.
    message, next_step : str
        What happened, and what to do next.
    status : int
        HTTP status; 0 when there was no answer.
    """

    def __init__(self, code: str, message: str, next_step: str = "", status: int = 0) -> None:
        self.code = code
        self.message = message
        self.next_step = next_step
        self.status = status
        super().__init__(f"{code}: {message} {next_step}".strip())


def refusal(status: int, problem: Json) -> ApiError:
    """Make an error of a problem document; of an empty one when the answer was not ours."""
    if not problem:
        message = f"The answer with status {status} did not come from PM Agent."
        return ApiError("unreachable", message, UNREACHABLE_NEXT, status)
    message = str(
        problem.get("message") or problem.get("detail") or problem.get("title") or "Refused."
    )
    return ApiError(str(problem["code"]), message, str(problem.get("next_step") or ""), status)


def problem_in(response: httpx.Response) -> Json:
    """Return an answer's problem document; an empty one when it holds none of ours."""
    try:
        body = response.json()
    except ValueError:  # not JSON, or not text
        return {}
    is_ours = isinstance(body, dict) and isinstance(body.get("code"), str)
    return body if is_ours else {}

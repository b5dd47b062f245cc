"""What a stream of events says, line by line."""

import json

import httpx

from pm_agent.client.errors import Json, problem_in, refusal


def stream_of(agent_id: str | None) -> tuple[str, Json]:
    """Path and first parameters of the stream of the workspace or of one agent."""
    return (f"/v1/agents/{agent_id}/events" if agent_id else "/v1/events"), {}


def require_stream(response: httpx.Response) -> None:
    """Refuse an answer that is no stream; one from a proxy passes."""
    if response.is_success:
        return
    error = refusal(response.status_code, problem_in(response))
    if error.code == "unreachable":
        error.status = 0
    raise error


def event_in(line: str) -> Json | None:
    """Return the event of one line of a stream, if it holds one."""
    if not line.startswith("data: "):
        return None
    event: Json = json.loads(line[len("data: ") :])
    return event

"""Speak to a PM Agent server: one method per operation, the same for `Client` and `AsyncClient`.

A write carries a request id that is made once and kept over its retries, so a lost reply never
means a second effect. Connection errors, overload, and answers that do not come from PM Agent
itself (a proxy answers a bare 404 while the server comes back) are tried again with full jitter
until ``patience_s`` is used up. What PM Agent refuses is raised as `ApiError` at once.

Imports nothing of the product: it can be copied into another program.
"""

import asyncio
import json
import random
import time
import uuid
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Coroutine,
    Generator,
    Iterable,
    Iterator,
    Mapping,
)
from typing import Any, Generic, Literal, Self, TypeVar

import httpx

Json = dict[str, Any]
Answer = TypeVar("Answer")  # Json, or a coroutine of it
Scope = Literal["workspace", "project", "agent", "task"]
Skills = Iterable[str | Mapping[str, Any]]

PATIENCE_S = 60.0  # longer than a restart of the server with Ray, measured at 10 to 20 s
BACKOFF_FIRST_S, BACKOFF_MAX_S = 0.1, 5.0
REQUEST_S = 30.0
LONG_POLL_S = 50  # proxies and load balancers commonly cut at 60 s
POLL_SLACK_S = 15.0
STREAM_S = 45.0  # a quiet stream gives a sign of life every 15 s
POSITION_HEADER = "X-PM-Position"
BUSY = frozenset({429, 502, 503, 504})  # come back later, whoever says so
NOT_FOUND, SERVER_ERROR = 404, 500


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


class _Call:
    """One request and the decision, after each answer, whether to send it again."""

    def __init__(
        self, method: str, path: str, *, json: Json | None, params: Json | None, timeout_s: float
    ) -> None:
        self.method = method
        self.path = path
        self.json = json
        self.params = params
        self.timeout_s = timeout_s
        self.pause_s = 0.0
        self._n_failures = 0
        self._give_up_at: float | None = None

    def read(self, response: httpx.Response, patience_s: float) -> Json | None:
        """Return the answer, or None when the call is to be repeated after ``pause_s``.

        Raises
        ------
        ApiError
            PM Agent refused, or patience is used up.
        """
        body = _json_of(response)
        if response.is_success and body is not None:
            return body
        is_ours = body is not None and isinstance(body.get("code"), str)
        status = response.status_code
        error = _refusal(status, body if is_ours and body is not None else {})
        is_bare = not is_ours and (status in (NOT_FOUND, *BUSY) or status >= SERVER_ERROR)
        if not (status in BUSY or is_bare or response.is_success):
            raise error
        self._plan(patience_s, _retry_after_s(response), error)
        return None

    def lost(self, cause: httpx.TransportError, patience_s: float) -> None:
        """No answer came: plan another try.

        Raises
        ------
        ApiError
            Patience is used up.
        """
        what = f"No answer to {self.method} {self.path} ({type(cause).__name__})."
        self._plan(patience_s, 0.0, ApiError("unreachable", what, _UNREACHABLE_NEXT))

    def _plan(self, patience_s: float, at_least_s: float, error: ApiError) -> None:
        now = time.monotonic()
        if self._give_up_at is None:  # a long poll may fail late: patience begins with trouble
            self._give_up_at = now + patience_s
        longest_s = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2**self._n_failures)
        self._n_failures += 1
        self.pause_s = at_least_s + random.uniform(0, longest_s)
        if now + self.pause_s > self._give_up_at:
            raise error


class _Operations(Generic[Answer]):
    """The operations, written once for both clients."""

    def __init__(self, patience_s: float) -> None:
        self.patience_s = patience_s
        self.position = 0  # highest journal position seen; queries wait until they hold it

    # -- agents -------------------------------------------------------------------------------

    def register_agent(
        self,
        name: str,
        *,
        skills: Skills = (),
        capacity: int = 1,
        kind: Literal["remote", "managed"] = "remote",
        sends_heartbeats: bool = False,
        project_ids: Iterable[str] = (),
        request_id: str | None = None,
    ) -> Answer:
        """Register an agent, or change its profile. Skills are names, or ``{name, level}``."""
        return self._write(
            "POST",
            "/v1/agents",
            request_id,
            name=name,
            skills=list(skills),
            capacity=capacity,
            kind=kind,
            sends_heartbeats=sends_heartbeats,
            project_ids=list(project_ids),
        )

    def heartbeat_agent(self, agent_id: str, *, request_id: str | None = None) -> Answer:
        return self._write("POST", f"/v1/agents/{agent_id}/heartbeat", request_id)

    def get_agent_status(self, agent_id: str) -> Answer:
        return self._query(f"/v1/agents/{agent_id}")

    def list_agents(self, **filters: Any) -> Answer:
        return self._query("/v1/agents", **filters)

    def leave_team(self, agent_id: str, *, request_id: str | None = None) -> Answer:
        return self._write("POST", f"/v1/agents/{agent_id}/leave", request_id)

    def subscribe(self, agent_id: str, *, request_id: str | None = None, **wanted: Any) -> Answer:
        """Be offered only tasks that match; ``webhook_url`` says where to post them.

        Filters are ``skills``, ``labels``, ``project_ids``, ``paths`` and ``min_priority``.
        """
        path = f"/v1/agents/{agent_id}/subscriptions"
        return self._write("POST", path, request_id, **wanted)

    def unsubscribe(self, subscription_id: str, *, request_id: str | None = None) -> Answer:
        return self._write("DELETE", f"/v1/subscriptions/{subscription_id}", request_id)

    # -- each other ---------------------------------------------------------------------------

    def read_messages(
        self,
        agent_id: str,
        *,
        acknowledge: Iterable[str] = (),
        thread_id: str | None = None,
        limit: int | None = None,
        request_id: str | None = None,
    ) -> Answer:
        """Let go the messages that were read, and show those that wait, or one thread."""
        return self._write(
            "POST",
            f"/v1/agents/{agent_id}/messages/read",
            request_id,
            acknowledge=list(acknowledge) or None,
            thread_id=thread_id,
            limit=limit,
        )

    def send_agent_message(
        self, to: str, *, text: str, request_id: str | None = None, **fields: Any
    ) -> Answer:
        return self._write("POST", f"/v1/agents/{to}/messages", request_id, text=text, **fields)

    def broadcast_update(
        self, *, text: str, request_id: str | None = None, **fields: Any
    ) -> Answer:
        """Tell the team, or with ``audience`` and ``target`` a project or those with a skill."""
        return self._write("POST", "/v1/broadcasts", request_id, text=text, **fields)

    def request_collaboration(
        self,
        task_id: str,
        *,
        lease_token: int,
        need: str,
        request_id: str | None = None,
        **fields: Any,
    ) -> Answer:
        return self._write(
            "POST",
            f"/v1/tasks/{task_id}/collaborations",
            request_id,
            lease_token=lease_token,
            need=need,
            **fields,
        )

    def respond_to_collaboration(
        self, collaboration_id: str, *, accept: bool, note: str = "", request_id: str | None = None
    ) -> Answer:
        path = f"/v1/collaborations/{collaboration_id}/respond"
        return self._write("POST", path, request_id, accept=accept, note=note)

    def handoff_task(
        self,
        task_id: str,
        *,
        lease_token: int,
        to: str,
        note: str,
        request_id: str | None = None,
        **fields: Any,
    ) -> Answer:
        return self._write(
            "POST",
            f"/v1/tasks/{task_id}/handoff",
            request_id,
            lease_token=lease_token,
            to=to,
            note=note,
            **fields,
        )

    def respond_to_handoff(
        self, handoff_id: str, *, accept: bool, note: str = "", request_id: str | None = None
    ) -> Answer:
        path = f"/v1/handoffs/{handoff_id}/respond"
        return self._write("POST", path, request_id, accept=accept, note=note)

    # -- work ---------------------------------------------------------------------------------

    def request_next_task(
        self, agent_id: str, *, project_id: str | None = None, request_id: str | None = None
    ) -> Answer:
        path = f"/v1/agents/{agent_id}/next-task"
        return self._write("POST", path, request_id, project_id=project_id)

    def wait_for_task(
        self,
        agent_id: str,
        *,
        timeout_s: int = LONG_POLL_S,
        project_id: str | None = None,
        request_id: str | None = None,
    ) -> Answer:
        """Ask for a task and wait for one up to ``timeout_s`` (at most 50)."""
        return self._write(
            "POST",
            f"/v1/agents/{agent_id}/wait",
            request_id,
            wait_s=timeout_s,
            timeout_s=timeout_s,
            project_id=project_id,
        )

    def report_task_progress(
        self,
        task_id: str,
        *,
        lease_token: int,
        percent: int,
        note: str = "",
        where: str = "",
        usage: Json | None = None,
        expect_silence_s: int | None = None,
        request_id: str | None = None,
    ) -> Answer:
        """Say how far the work is. ``usage`` is what was used since the last report."""
        return self._write(
            "POST",
            f"/v1/tasks/{task_id}/progress",
            request_id,
            lease_token=lease_token,
            percent=percent,
            note=note,
            where=where,
            usage=usage,
            expect_silence_s=expect_silence_s,
        )

    def complete_task(
        self,
        task_id: str,
        *,
        lease_token: int,
        summary: str,
        evidence: Json | None = None,
        usage: Json | None = None,
        request_id: str | None = None,
    ) -> Answer:
        """Hand the work in. ``evidence`` may hold ``commit``, ``branch`` and ``links``."""
        return self._write(
            "POST",
            f"/v1/tasks/{task_id}/complete",
            request_id,
            lease_token=lease_token,
            summary=summary,
            evidence=evidence,
            usage=usage,
        )

    def report_blocker(
        self,
        task_id: str,
        *,
        lease_token: int,
        description: str,
        severity: Literal["low", "medium", "high"] = "medium",
        release: bool = False,
        request_id: str | None = None,
        **kind: Any,
    ) -> Answer:
        """Say what stops the work; ``release`` gives the task back, else the agent waits.

        ``kind`` may hold ``blocker_type``, ``needs_task_ids`` and ``needs_skills``.
        """
        return self._write(
            "POST",
            f"/v1/tasks/{task_id}/blockers",
            request_id,
            lease_token=lease_token,
            description=description,
            severity=severity,
            release=release,
            **kind,
        )

    def report_fix(
        self,
        blocker_id: str,
        *,
        lease_token: int,
        worked: bool,
        note: str = "",
        request_id: str | None = None,
    ) -> Answer:
        """Say whether the step under way against a blocker has helped."""
        path = f"/v1/blockers/{blocker_id}/fix"
        return self._write(
            "POST", path, request_id, lease_token=lease_token, worked=worked, note=note
        )

    def acknowledge_blocker(self, blocker_id: str, *, request_id: str | None = None) -> Answer:
        return self._write("POST", f"/v1/blockers/{blocker_id}/acknowledge", request_id)

    def list_blockers(self, **filters: Any) -> Answer:
        return self._query("/v1/blockers", **filters)

    def resolve_blocker(
        self, blocker_id: str, *, resolution: str, request_id: str | None = None
    ) -> Answer:
        path = f"/v1/blockers/{blocker_id}/resolve"
        return self._write("POST", path, request_id, resolution=resolution)

    def release_task(
        self,
        task_id: str,
        *,
        lease_token: int,
        reason: Literal["released", "failed", "blocked", "stopped"] = "released",
        note: str = "",
        request_id: str | None = None,
    ) -> Answer:
        return self._write(
            "POST",
            f"/v1/tasks/{task_id}/release",
            request_id,
            lease_token=lease_token,
            reason=reason,
            note=note,
        )

    def log_decision(
        self,
        task_id: str,
        *,
        decision: str,
        lease_token: int | None = None,
        affects: Iterable[str] = (),
        request_id: str | None = None,
    ) -> Answer:
        return self._write(
            "POST",
            f"/v1/tasks/{task_id}/decisions",
            request_id,
            lease_token=lease_token,
            decision=decision,
            affects=list(affects) or None,
        )

    def log_artifact(
        self,
        task_id: str,
        *,
        name: str,
        uri: str,
        note: str = "",
        lease_token: int | None = None,
        request_id: str | None = None,
    ) -> Answer:
        return self._write(
            "POST",
            f"/v1/tasks/{task_id}/artifacts",
            request_id,
            lease_token=lease_token,
            name=name,
            uri=uri,
            note=note,
        )

    # -- planning -----------------------------------------------------------------------------

    def create_project(
        self,
        name: str,
        *,
        completion: Literal["auto", "command", "person"] = "auto",
        gate: Json | None = None,
        request_id: str | None = None,
        **limits: Any,
    ) -> Answer:
        """Create a project. ``gate`` holds ``argv``, ``cwd`` and ``timeout_s``."""
        return self._write(
            "POST",
            "/v1/projects",
            request_id,
            name=name,
            completion=completion,
            gate=gate,
            **limits,
        )

    def update_project(
        self, project_id: str, *, request_id: str | None = None, **changes: Any
    ) -> Answer:
        return self._write("PATCH", f"/v1/projects/{project_id}", request_id, **changes)

    def import_tasks(
        self, project_id: str, tasks: Iterable[Json], *, request_id: str | None = None
    ) -> Answer:
        """Create many tasks, all or none; dependencies may name keys of the same import."""
        path = f"/v1/projects/{project_id}/import"
        return self._write("POST", path, request_id, tasks=list(tasks))

    def create_task(
        self, project_id: str, *, title: str, request_id: str | None = None, **fields: Any
    ) -> Answer:
        path = f"/v1/projects/{project_id}/tasks"
        return self._write("POST", path, request_id, title=title, **fields)

    def update_task(self, task_id: str, *, request_id: str | None = None, **changes: Any) -> Answer:
        return self._write("PATCH", f"/v1/tasks/{task_id}", request_id, **changes)

    def cancel_task(
        self, task_id: str, *, reason: str = "", request_id: str | None = None
    ) -> Answer:
        return self._write("POST", f"/v1/tasks/{task_id}/cancel", request_id, reason=reason)

    def reopen_task(self, task_id: str, *, reason: str, request_id: str | None = None) -> Answer:
        return self._write("POST", f"/v1/tasks/{task_id}/reopen", request_id, reason=reason)

    def approve_task(
        self, task_id: str, *, report: str = "", request_id: str | None = None
    ) -> Answer:
        """Accept work in review, or lift the approval hold of a task."""
        return self._write("POST", f"/v1/tasks/{task_id}/approve", request_id, report=report)

    def reject_task(
        self,
        task_id: str,
        *,
        reasons: Iterable[str],
        report: str = "",
        request_id: str | None = None,
    ) -> Answer:
        """Reject work in review, with reasons for the next attempt."""
        path = f"/v1/tasks/{task_id}/reject"
        return self._write("POST", path, request_id, reasons=list(reasons), report=report)

    def place_hold(
        self,
        *,
        scope: Scope,
        target_id: str = "",
        kind: str = "paused",
        reason: str = "",
        until: str | None = None,
        request_id: str | None = None,
    ) -> Answer:
        return self._write(
            "POST",
            "/v1/holds",
            request_id,
            scope=scope,
            target_id=target_id,
            kind=kind,
            reason=reason,
            until=until,
        )

    def lift_hold(
        self,
        *,
        scope: Scope,
        target_id: str = "",
        kind: str | None = None,
        request_id: str | None = None,
    ) -> Answer:
        return self._write(
            "POST", "/v1/holds/lift", request_id, scope=scope, target_id=target_id, kind=kind
        )

    def issue_token(self, *, owner: Json, label: str = "", request_id: str | None = None) -> Answer:
        """Make an access token; its secret is shown this once.

        ``owner`` holds ``kind`` (agent or person), ``id`` and ``role`` (worker, lead or admin).
        """
        return self._write("POST", "/v1/tokens", request_id, owner=owner, label=label)

    def revoke_token(self, sha256: str, *, request_id: str | None = None) -> Answer:
        return self._delete(f"/v1/tokens/{sha256}", request_id)

    def issue_key(
        self,
        *,
        owner: Json,
        scopes: Iterable[str] = (),
        project_ids: Iterable[str] = (),
        lasts_days: int = 90,
        label: str = "",
        request_id: str | None = None,
    ) -> Answer:
        """Make an API key; it is shown this once. ``owner`` as for `issue_token`."""
        return self._write(
            "POST",
            "/v1/keys",
            request_id,
            owner=owner,
            scopes=list(scopes),
            project_ids=list(project_ids),
            lasts_days=lasts_days,
            label=label,
        )

    def list_keys(self) -> Answer:
        return self._query("/v1/keys")

    def rotate_key(
        self, key_id: str, *, overlap_h: int = 24, request_id: str | None = None
    ) -> Answer:
        """Make a key's successor; the old one lasts ``overlap_h`` hours longer."""
        path = f"/v1/keys/{key_id}/rotate"
        return self._write("POST", path, request_id, overlap_h=overlap_h)

    def revoke_key(self, key_id: str, *, request_id: str | None = None) -> Answer:
        return self._delete(f"/v1/keys/{key_id}", request_id)

    def exchange_token(
        self,
        *,
        scopes: Iterable[str] = (),
        lasts_s: int = 900,
        request_id: str | None = None,
    ) -> Answer:
        """Exchange the key or token of this client for one that lasts minutes."""
        return self._write("POST", "/v1/token", request_id, scopes=list(scopes), lasts_s=lasts_s)

    def deny_token(self, token_id: str | None = None, *, request_id: str | None = None) -> Answer:
        """Shut a short-lived token out; without an id the one of this client."""
        return self._write("POST", "/v1/token/deny", request_id, token_id=token_id)

    def hand_over(self, *, drain_s: int = 2, request_id: str | None = None) -> Answer:
        """Let another server take the workspace over; this one writes no more."""
        return self._write("POST", "/v1/handover", request_id, wait_s=drain_s, drain_s=drain_s)

    # -- reading ------------------------------------------------------------------------------

    def get_status(self) -> Answer:
        return self._query("/v1/status")

    def get_project_status(self, project_id: str) -> Answer:
        return self._query(f"/v1/projects/{project_id}")

    def list_projects(self) -> Answer:
        return self._query("/v1/projects")

    def search_tasks(self, **filters: Any) -> Answer:
        return self._query("/v1/tasks", **filters)

    def get_task_context(
        self, task_id: str, *, response_format: Literal["concise", "detailed"] = "concise"
    ) -> Answer:
        path = f"/v1/tasks/{task_id}/context"
        return self._query(path, response_format=response_format)

    def explain_assignment(self, task_id: str, *, attempt: int | None = None) -> Answer:
        return self._query(f"/v1/tasks/{task_id}/explanation", attempt=attempt)

    def get_task_history(self, task_id: str, *, limit: int | None = None) -> Answer:
        return self._query(f"/v1/tasks/{task_id}/history", limit=limit)

    # -- sending ------------------------------------------------------------------------------

    def _perform(self, call: _Call) -> Answer:
        raise NotImplementedError

    def _write(self, method: str, path: str, request_id: str | None, **fields: Any) -> Answer:
        wait_s = fields.pop("wait_s", 0)
        body = {name: value for name, value in fields.items() if value is not None}
        body["request_id"] = request_id or uuid.uuid4().hex
        timeout_s = wait_s + POLL_SLACK_S if wait_s else REQUEST_S
        return self._perform(_Call(method, path, json=body, params=None, timeout_s=timeout_s))

    def _delete(self, path: str, request_id: str | None) -> Answer:
        params = {"request_id": request_id or uuid.uuid4().hex}  # a DELETE has no body
        return self._perform(_Call("DELETE", path, json=None, params=params, timeout_s=REQUEST_S))

    def _query(self, path: str, **filters: Any) -> Answer:
        params = {name: value for name, value in filters.items() if value is not None}
        return self._perform(_Call("GET", path, json=None, params=params, timeout_s=REQUEST_S))

    def _headers(self) -> dict[str, str]:
        return {POSITION_HEADER: str(self.position)} if self.position else {}

    def _note_position(self, response: httpx.Response) -> None:
        seen = response.headers.get(POSITION_HEADER, "")
        if seen.isdecimal():
            self.position = max(self.position, int(seen))


class Client(_Operations[Json]):
    """A blocking client.

    Parameters
    ----------
    base_url
        Of the server, such as ``http://127.0.0.1:8000``.
    token
        Access token of an agent or a person.
    patience_s
        How long a call is retried, counted from its first failure.
    transport
        Another way to the server; for tests.

    Raises
    ------
    ApiError
        From every operation.
    """

    refused = ApiError

    def __init__(
        self,
        base_url: str,
        token: str = "",
        *,
        patience_s: float = PATIENCE_S,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        super().__init__(patience_s)
        self._http = httpx.Client(
            base_url=base_url, headers=_authorization(token), transport=transport
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def tasks(
        self, agent_id: str, *, project_id: str | None = None, timeout_s: int = LONG_POLL_S
    ) -> Iterator[Json]:
        """Every task that is given to an agent, as `AsyncClient.tasks`."""
        while True:
            try:
                claimed = self.wait_for_task(agent_id, project_id=project_id, timeout_s=timeout_s)
            except ApiError as error:
                time.sleep(_pause_after(error))
                continue
            if claimed.get("outcome") == "assigned":
                yield claimed
            elif claimed.get("outcome") == "none":
                time.sleep(float(claimed.get("retry_after_s") or BACKOFF_MAX_S))

    def events(self, *, agent_id: str | None = None, after: int | None = None) -> Generator[Json]:
        """Events as they happen, as `AsyncClient.events`."""
        path, params = _stream_of(agent_id)
        while True:
            params |= {} if after is None else {"after": after}
            try:
                with self._http.stream("GET", path, params=params, timeout=STREAM_S) as response:
                    if not response.is_success:
                        response.read()
                    _require_stream(response)
                    for line in response.iter_lines():
                        event = _event_in(line)
                        if event is not None:
                            after = int(event["position"])
                            yield event
            except (httpx.TransportError, ApiError) as error:
                time.sleep(_pause_after(error))

    def _perform(self, call: _Call) -> Json:
        while True:
            try:
                response = self._http.request(
                    call.method,
                    call.path,
                    json=call.json,
                    params=call.params,
                    headers=self._headers(),
                    timeout=call.timeout_s,
                )
            except httpx.TransportError as error:
                call.lost(error, self.patience_s)
            else:
                self._note_position(response)
                answer = call.read(response, self.patience_s)
                if answer is not None:
                    return answer
            time.sleep(call.pause_s)


class AsyncClient(_Operations[Coroutine[Any, Any, Json]]):
    """The same for asyncio; operations are awaited. Parameters as for `Client`."""

    refused = ApiError

    def __init__(
        self,
        base_url: str,
        token: str = "",
        *,
        patience_s: float = PATIENCE_S,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__(patience_s)
        self._http = httpx.AsyncClient(
            base_url=base_url, headers=_authorization(token), transport=transport
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        await self._http.aclose()

    async def tasks(
        self, agent_id: str, *, project_id: str | None = None, timeout_s: int = LONG_POLL_S
    ) -> AsyncIterator[Json]:
        """Every task that is given to an agent, waiting again and again; it never ends by itself.

        Finish or release a task before asking the iterator for the next one. An unreachable server
        is waited for; a refusal is raised.
        """
        while True:
            try:
                claimed = await self.wait_for_task(
                    agent_id, project_id=project_id, timeout_s=timeout_s
                )
            except ApiError as error:
                await asyncio.sleep(_pause_after(error))
                continue
            if claimed.get("outcome") == "assigned":
                yield claimed
            elif claimed.get("outcome") == "none":
                await asyncio.sleep(float(claimed.get("retry_after_s") or BACKOFF_MAX_S))

    async def events(
        self, *, agent_id: str | None = None, after: int | None = None
    ) -> AsyncGenerator[Json]:
        """Events of the workspace, or of what concerns one agent; it never ends by itself.

        ``after`` is a journal position to begin after; left out, it begins with what comes now.
        A broken stream is taken up where it was, and nothing is missed; a refusal is raised.
        """
        path, params = _stream_of(agent_id)
        while True:
            params |= {} if after is None else {"after": after}
            try:
                async with self._http.stream(
                    "GET", path, params=params, timeout=STREAM_S
                ) as response:
                    if not response.is_success:
                        await response.aread()
                    _require_stream(response)
                    async for line in response.aiter_lines():
                        event = _event_in(line)
                        if event is not None:
                            after = int(event["position"])
                            yield event
            except (httpx.TransportError, ApiError) as error:
                await asyncio.sleep(_pause_after(error))

    async def _perform(self, call: _Call) -> Json:
        while True:
            try:
                response = await self._http.request(
                    call.method,
                    call.path,
                    json=call.json,
                    params=call.params,
                    headers=self._headers(),
                    timeout=call.timeout_s,
                )
            except httpx.TransportError as error:
                call.lost(error, self.patience_s)
            else:
                self._note_position(response)
                answer = call.read(response, self.patience_s)
                if answer is not None:
                    return answer
            await asyncio.sleep(call.pause_s)


def _pause_after(error: Exception) -> float:
    """Seconds to wait before going on; a refusal that waiting does not change is raised."""
    if isinstance(error, ApiError) and error.status not in (0, *BUSY):
        raise error
    return random.uniform(0, BACKOFF_MAX_S)


def _stream_of(agent_id: str | None) -> tuple[str, Json]:
    return (f"/v1/agents/{agent_id}/events" if agent_id else "/v1/events"), {}


def _require_stream(response: httpx.Response) -> None:
    """Refuse an answer that is no stream; one from a proxy passes."""
    if response.is_success:
        return
    body = _json_of(response) or {}
    error = _refusal(response.status_code, body if isinstance(body.get("code"), str) else {})
    if error.code == "unreachable":
        error.status = 0
    raise error


def _event_in(line: str) -> Json | None:
    """Return the event of one line of a stream, if it holds one."""
    if not line.startswith("data: "):
        return None
    event: Json = json.loads(line[len("data: ") :])
    return event


_UNREACHABLE_NEXT = (
    "Check the address and that the server runs ('pm-agent status'), then try again."
)


def _authorization(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def _json_of(response: httpx.Response) -> Json | None:
    try:
        body = response.json()
    except ValueError:  # not JSON, or not text
        return None
    return body if isinstance(body, dict) else None


def _refusal(status: int, body: Json) -> ApiError:
    if not body:
        message = f"The answer with status {status} did not come from PM Agent."
        return ApiError("unreachable", message, _UNREACHABLE_NEXT, status)
    message = str(body.get("message") or body.get("detail") or body.get("title") or "Refused.")
    return ApiError(str(body["code"]), message, str(body.get("next_step") or ""), status)


def _retry_after_s(response: httpx.Response) -> float:
    text = response.headers.get("Retry-After", "")
    try:
        return max(0.0, float(text))
    except ValueError:  # absent, or a date
        return 0.0

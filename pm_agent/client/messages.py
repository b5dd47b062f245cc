"""Methods by which agents speak to each other."""

from collections.abc import Iterable
from typing import Any

from pm_agent.client.sender import Answer, Sender


class MessageOperations(Sender[Answer]):
    """Messages, help and handoffs."""

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

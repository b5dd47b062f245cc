"""Methods by which agents speak to each other."""

from collections.abc import Iterable
from typing import Any

from pm_agent.api.handlers.collaborations import HandoffAnswer, HelpAnswer
from pm_agent.client.request import Request
from pm_agent.client.sender import Sender, operation
from pm_agent.features.collaboration.decide import CollaborationResult
from pm_agent.features.handoff.decide import HandoffResult
from pm_agent.features.messages.decide import SentResult
from pm_agent.features.messages.view import InboxPage


class MessageOperations(Sender):
    """Messages, help and handoffs."""

    @operation
    def read_messages(
        self,
        agent_id: str,
        *,
        acknowledge: Iterable[str] = (),
        thread_id: str | None = None,
        limit: int | None = None,
        request_id: str | None = None,
    ) -> Request[InboxPage]:
        """Let go the messages that were read, and show those that wait, or one thread."""
        return self._write(
            InboxPage,
            "POST",
            f"/v1/agents/{agent_id}/messages/read",
            request_id,
            acknowledge=list(acknowledge) or None,
            thread_id=thread_id,
            limit=limit,
        )

    @operation
    def send_agent_message(
        self, /, to: str, *, text: str, request_id: str | None = None, **fields: Any
    ) -> Request[SentResult]:
        return self._write(
            SentResult, "POST", f"/v1/agents/{to}/messages", request_id, text=text, **fields
        )

    @operation
    def broadcast_update(
        self, /, *, text: str, request_id: str | None = None, **fields: Any
    ) -> Request[SentResult]:
        """Tell the team, or with ``audience`` and ``target`` a project or those with a skill."""
        return self._write(SentResult, "POST", "/v1/broadcasts", request_id, text=text, **fields)

    @operation
    def request_collaboration(
        self,
        /,
        task_id: str,
        *,
        lease_token: int,
        need: str,
        request_id: str | None = None,
        **fields: Any,
    ) -> Request[CollaborationResult]:
        return self._write(
            CollaborationResult,
            "POST",
            f"/v1/tasks/{task_id}/collaborations",
            request_id,
            lease_token=lease_token,
            need=need,
            **fields,
        )

    @operation
    def respond_to_collaboration(
        self, collaboration_id: str, *, accept: bool, note: str = "", request_id: str | None = None
    ) -> Request[HelpAnswer]:
        path = f"/v1/collaborations/{collaboration_id}/respond"
        return self._write(HelpAnswer, "POST", path, request_id, accept=accept, note=note)

    @operation
    def handoff_task(
        self,
        /,
        task_id: str,
        *,
        lease_token: int,
        to: str,
        note: str,
        request_id: str | None = None,
        **fields: Any,
    ) -> Request[HandoffResult]:
        return self._write(
            HandoffResult,
            "POST",
            f"/v1/tasks/{task_id}/handoff",
            request_id,
            lease_token=lease_token,
            to=to,
            note=note,
            **fields,
        )

    @operation
    def respond_to_handoff(
        self, handoff_id: str, *, accept: bool, note: str = "", request_id: str | None = None
    ) -> Request[HandoffAnswer]:
        path = f"/v1/handoffs/{handoff_id}/respond"
        return self._write(HandoffAnswer, "POST", path, request_id, accept=accept, note=note)

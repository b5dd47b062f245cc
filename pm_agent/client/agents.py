"""Methods about agents, and what they are offered."""

from collections.abc import Iterable
from typing import Any, Literal

from pm_agent.api.handlers.agents import RegisterAnswer
from pm_agent.api.handlers.subscriptions import SubscribeAnswer
from pm_agent.client.request import Request
from pm_agent.client.sender import Sender, Skills, operation
from pm_agent.features.subscriptions.decide import SubscriptionResult
from pm_agent.features.team.decide import HeartbeatResult, LeaveResult
from pm_agent.features.team.view import AgentPage, AgentStatus


class AgentOperations(Sender):
    """Who agents are, whether they are there, and what they want to be offered."""

    @operation
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
    ) -> Request[RegisterAnswer]:
        """Register an agent, or change its profile. Skills are names, or ``{name, level}``."""
        return self._write(
            RegisterAnswer,
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

    @operation
    def heartbeat_agent(
        self, agent_id: str, *, request_id: str | None = None
    ) -> Request[HeartbeatResult]:
        return self._write(HeartbeatResult, "POST", f"/v1/agents/{agent_id}/heartbeat", request_id)

    @operation
    def get_agent_status(self, agent_id: str) -> Request[AgentStatus]:
        return self._query(AgentStatus, f"/v1/agents/{agent_id}")

    @operation
    def list_agents(self, /, **filters: Any) -> Request[AgentPage]:
        return self._query(AgentPage, "/v1/agents", **filters)

    @operation
    def leave_team(self, agent_id: str, *, request_id: str | None = None) -> Request[LeaveResult]:
        return self._write(LeaveResult, "POST", f"/v1/agents/{agent_id}/leave", request_id)

    @operation
    def subscribe(
        self, /, agent_id: str, *, request_id: str | None = None, **wanted: Any
    ) -> Request[SubscribeAnswer]:
        """Be offered only tasks that match; ``webhook_url`` says where to post them.

        Filters are ``skills``, ``labels``, ``project_ids``, ``paths`` and ``min_priority``.
        """
        path = f"/v1/agents/{agent_id}/subscriptions"
        return self._write(SubscribeAnswer, "POST", path, request_id, **wanted)

    @operation
    def unsubscribe(
        self, subscription_id: str, *, request_id: str | None = None
    ) -> Request[SubscriptionResult]:
        return self._write(
            SubscriptionResult, "DELETE", f"/v1/subscriptions/{subscription_id}", request_id
        )

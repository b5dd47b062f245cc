"""Methods about agents, and what they are offered."""

from collections.abc import Iterable
from typing import Any, Literal

from pm_agent.client.sender import Answer, Sender, Skills


class AgentOperations(Sender[Answer]):
    """Who agents are, whether they are there, and what they want to be offered."""

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

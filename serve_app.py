"""The Ray Serve application: settings → coordinator handle → ASGI app. Wiring only.

``pm-agent up`` runs it embedded; on a cluster: ``serve run serve_app:build data=/srv/pm-agent``.
"""

from typing import Any

from ray import serve

from actors.coordinator import RemoteCoordinator, launch
from actors.exposure import keep_replica_private
from pm_agent.settings import Settings

# Every waiting agent holds one request; Serve's default of 5 would queue the sixth.
MAX_ONGOING_REQUESTS = 10_000


class IngressReplica:
    """Builds the ASGI app inside the replica, where its event loop runs."""

    def __init__(self, settings_json: str) -> None:
        self._settings = Settings.model_validate_json(settings_json)

    def __serve_build_asgi_app__(self) -> Any:
        # Only here: whoever deploys imports this module as well, and has no use for 20 MiB.
        from pm_agent.api.http import build_app  # noqa: PLC0415
        from pm_agent.bootstrap import build_ingress  # noqa: PLC0415

        if self._settings.ray_address == "local":
            keep_replica_private()
        ingress = build_ingress(RemoteCoordinator(self._settings.workspace), self._settings)
        ingress.is_behind_haproxy = self._settings.haproxy and self._settings.ray_address == "local"
        return build_app(
            ingress,
            allowed_hosts=self._settings.allowed_hosts,
            mcp_fast_path=self._settings.mcp_fast_path,
            require_if_match=self._settings.require_if_match,
        )


def application(settings: Settings) -> Any:
    """One ingress replica: a second one buys a zero-gap failover for 88 MiB."""
    deployment: Any = serve.deployment(
        name="ingress",
        num_replicas=1,
        max_ongoing_requests=MAX_ONGOING_REQUESTS,
        ray_actor_options={"num_cpus": 0},
        health_check_period_s=1,
        health_check_timeout_s=5,
        graceful_shutdown_timeout_s=2,
    )
    wrapped = serve.ingress()(IngressReplica)
    return deployment(wrapped).bind(settings.model_dump_json())


def build(args: dict[str, str]) -> Any:
    """Application for ``serve run serve_app:build KEY=VALUE …``; keys are those of `Settings`."""
    settings = Settings(**args)  # type: ignore[arg-type]  # strings, converted by pydantic
    launch(settings)
    return application(settings)

"""A Serve application for the conformance runner, which can send no access token.

Below its prefix, `/mcp` is the product's own endpoint with an administrator's token added to each
request, and `/fixtures` serves the runner's fixtures through the same `McpEndpoint`. Under `/fast`
there is the product's again, with its fast path on.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from ray import serve
from starlette.types import Receive, Scope, Send

from actors.coordinator import RemoteCoordinator
from pm_agent.api.errors import Problem
from pm_agent.api.http import build_app
from pm_agent.api.mcp import McpEndpoint
from pm_agent.bootstrap import build_ingress
from pm_agent.settings import Settings
from tests.services.conformance_server import build_fixture_server

PREFIX = "/conformance"
PRODUCT = f"{PREFIX}/mcp"
FIXTURES = f"{PREFIX}/fixtures"
FAST = f"{PREFIX}/fast/mcp"


class Replica:
    """Builds both, as the product's replica does."""

    def __init__(self, settings_json: str) -> None:
        self._settings = Settings.model_validate_json(settings_json)

    def __serve_build_asgi_app__(self) -> Any:
        settings = self._settings
        ingress = build_ingress(RemoteCoordinator(settings.workspace), settings)
        hosts = settings.allowed_hosts
        product = build_app(ingress, allowed_hosts=hosts)
        second = build_ingress(RemoteCoordinator(settings.workspace), settings)
        fast = build_app(second, allowed_hosts=hosts, mcp_fast_path=True)
        fixtures = McpEndpoint(build_fixture_server(), _everybody, hosts)
        token = settings.admin_token_path.read_text().strip().encode()

        @asynccontextmanager
        async def lifespan(_: FastAPI) -> AsyncIterator[None]:
            async with product.lifespan(), fast.lifespan(), fixtures.run():
                yield

        shell = FastAPI(lifespan=lifespan)

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await shell(scope, receive, send)
            elif scope["path"].endswith("/fixtures"):
                await fixtures(scope, receive, send)
            else:
                headers = [*scope["headers"], (b"authorization", b"Bearer " + token)]
                path = scope["path"]
                chosen = fast if "/fast/" in path else product
                asked = {**scope, "headers": headers, "path": path.replace("/fast", "")}
                await chosen(asked, receive, send)

        return app


async def _everybody(scope: Scope) -> tuple[Problem, str] | None:
    return None


def run(settings: Settings) -> None:
    """Deploy it beside the product, on the Ray that this process has joined."""
    deployment: Any = serve.deployment(
        name="conformance", max_ongoing_requests=100, ray_actor_options={"num_cpus": 0}
    )
    wrapped = serve.ingress()(Replica)
    application = deployment(wrapped).bind(settings.model_dump_json())
    serve.run(application, name="conformance", route_prefix=PREFIX)

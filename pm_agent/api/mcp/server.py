"""What is served: all handlers in one server of the SDK."""

import importlib.metadata
from typing import Any

from mcp.server.caching import CacheHint
from mcp.server.lowlevel.server import Server
from mcp_types import CancelledNotificationParams, ServerCapabilities

from pm_agent.api.mcp.completions import Completions
from pm_agent.api.mcp.door import Door
from pm_agent.api.mcp.endpoint import McpEndpoint
from pm_agent.api.mcp.fast_path import FastPath
from pm_agent.api.mcp.guide import INSTRUCTIONS
from pm_agent.api.mcp.news import Listening
from pm_agent.api.mcp.prompts import Prompts
from pm_agent.api.mcp.resources import Resources
from pm_agent.api.mcp.tools import Tools
from pm_agent.api.operations import OPERATIONS

MINUTE_MS = 60_000


def build_endpoint(
    door: Door, allowed_hosts: tuple[str, ...], *, fast_path: bool = False
) -> McpEndpoint:
    """Make the product's MCP endpoint.

    Parameters
    ----------
    allowed_hosts
        Host names under which it is served, beside the loopback ones.
    fast_path
        Whether plain tool calls go past the SDK.
    """
    tools = Tools(door)
    server = _server(door, tools)
    fast = FastPath(tools, _identity(server), allowed_hosts) if fast_path else None
    quick = frozenset(o.name for o in OPERATIONS if o.in_mcp and not o.parks)
    return McpEndpoint(server, door.gate, allowed_hosts, fast, quick)


class ProductServer(Server[Any]):
    """The SDK's server, which says of itself what is so.

    The SDK takes for granted that who serves ``subscriptions/listen`` tells of changed tools and
    prompts, too. Ours change with a release, not under a client's eyes.
    """

    def get_capabilities(self, *args: Any, **kwargs: Any) -> ServerCapabilities:
        told = super().get_capabilities(*args, **kwargs)
        for feature in (told.tools, told.prompts):
            if feature is not None:
                feature.list_changed = False
        return told


def _server(door: Door, tools: Tools) -> Server[Any]:
    resources = Resources(door)
    prompts = Prompts(door, resources)
    server = ProductServer(
        "pm-agent",
        version=importlib.metadata.version("pm-agent"),
        title="PM Agent",
        description="Task board and coordinator for teams of coding agents.",
        instructions=INSTRUCTIONS,
        # What is listed follows from the token's role; templates and prompts change with a release.
        cache_hints={
            "tools/list": CacheHint(ttl_ms=MINUTE_MS),
            "prompts/list": CacheHint(ttl_ms=MINUTE_MS),
            "resources/templates/list": CacheHint(ttl_ms=MINUTE_MS),
        },
        get_tool_input_schema=tools.input_schema,
        on_list_tools=tools.list,
        on_call_tool=tools.call,
        on_list_resources=resources.list,
        on_list_resource_templates=resources.templates,
        on_read_resource=resources.read,
        on_list_prompts=prompts.list,
        on_get_prompt=prompts.get,
        on_completion=Completions(door).complete,
        on_subscriptions_listen=Listening(door, resources).listen,
    )
    # Spans that nobody reads: no exporter of them is set up anywhere in the product.
    server.middleware.clear()
    server.add_notification_handler(
        "notifications/cancelled", CancelledNotificationParams, tools.cancelled
    )
    return server


def _identity(server: Server[Any]) -> dict[str, Any]:
    """Name and version, in the order in which the SDK tells them."""
    told = {"name": server.name, "title": server.title, "version": server.version}
    return {**told, "description": server.description}

"""MCP: the table of operations for the agents themselves.

`endpoint` is the ASGI application, `server` what it serves: tools (the table's rows), resources
(its queries, by URI), prompts and completions. `door` knows who asks and performs operations;
`fast_path` is a shortcut for tools, off by default.

The SDK's low-level server is used directly: it takes each tool's schemas as they are, where
`MCPServer` would want a Python function per tool to derive them from. It serves both eras of the
protocol and keeps no session, so that any replica answers any request.
"""

from pm_agent.api.mcp.door import Door
from pm_agent.api.mcp.endpoint import McpEndpoint
from pm_agent.api.mcp.server import build_endpoint

__all__ = ["Door", "McpEndpoint", "build_endpoint"]

"""The wire: HTTP and MCP as renderers of one table of operations.

`operations.py` is the table; `schemas.py` says what comes in, the features' result structs say what
goes out, `convert.py` translates. `http.py` and `mcp.py` render the table; `errors.py` and
`auth.py` serve both, and `handlers.py` holds what is more than one command and its reply. Nothing
here decides anything about tasks.
"""

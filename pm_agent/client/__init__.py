"""Speak to a PM Agent server: one method per operation, the same for `Client` and `AsyncClient`.

A write carries a request id that is made once and kept over its retries, so a lost reply never
means a second effect. Connection errors, overload, and answers that do not come from PM Agent
itself (a proxy answers a bare 404 while the server comes back) are tried again with full jitter
until ``patience_s`` is used up. What PM Agent refuses is raised as `ApiError` at once.

Results are the structs that the server renders, decoded from the bytes of the answer. An API key
(``pmk_…``) goes over the wire for the exchange alone: requests carry short-lived tokens, renewed
before they end and when one is refused.
"""

from pm_agent.client.asynchronous import AsyncClient
from pm_agent.client.blocking import Client
from pm_agent.client.errors import ApiError

__all__ = ["ApiError", "AsyncClient", "Client"]

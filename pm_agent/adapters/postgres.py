"""Connections to PostgreSQL, and its errors in words that help. No SQL of ours is in here.

Passwords stay out of every message: a server is named by `place`, and where the driver's own words
could repeat a part of the address they are not passed on.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import asyncpg

from pm_agent.domain.errors import JournalUnavailable, PMError, StartError

SCHEMA = "pm_agent"  # of all our tables, so that a database can be shared with other programs
CONNECT_TIMEOUT_S = 10.0
STATEMENT_TIMEOUT_S = 30.0
LOCK_TIMEOUT_S = 5.0  # far above any commit of ours
CLIENT_GRACE_S = 5.0  # how much longer than the server the client waits for a statement
# A connection whose other side is gone is noticed after about a minute instead of two hours.
KEEPALIVE = {"tcp_keepalives_idle": "30", "tcp_keepalives_interval": "10"}
KEEPALIVE_PROBES = "3"

# The statement may have been committed: its answer, or the connection, was lost.
LOST = (
    OSError,  # TimeoutError among them
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InternalClientError,
)
FAILURES = (*LOST, asyncpg.PostgresError)

# SQLSTATE → what happened, what to do
_TOLD: dict[str, tuple[str, str]] = {
    "28P01": ("it refused the password", "Correct the password in the database URL."),
    "28000": ("it does not let this user in", "Correct the user in the database URL."),
    "3D000": ("there is no such database", "Create it with 'createdb', or correct the URL."),
    "42501": (
        "this user lacks a right",
        f"Grant it: CREATE on the database at first, then all rights in the schema {SCHEMA}.",
    ),
    "25006": (
        "it is read-only",
        "Give the address of the primary server, and check default_transaction_read_only.",
    ),
    "53300": (
        "it has no connection left",
        "A coordinator needs two: raise max_connections, or end other clients.",
    ),
    "53100": ("its disk is full", "Make room on the database server's disk."),
    "57P03": ("it is starting up or shutting down", "Try again in a few seconds."),
    "55P03": ("somebody else holds a lock for too long", "Look for it in pg_stat_activity."),
    "57014": ("a statement took too long", "Look at the server's load and at its locks."),
}


def place(url: str) -> str:
    """Name of a database without password or options: ``postgresql://user@host:5432/name``."""
    try:
        require_address(url)
    except StartError:  # what cannot be understood may hold a password anywhere
        return "the database"
    parts = urlsplit(url)
    user, _, hosts = parts.netloc.rpartition("@")
    user = user.partition(":")[0]
    hosts = hosts or parse_qs(parts.query).get("host", [""])[-1]
    shown = f"{user}@{unquote(hosts)}" if user else unquote(hosts)
    return f"postgresql://{shown}{quote(unquote(parts.path))}"


async def connect(
    url: str,
    *,
    application: str = "pm-agent",
    statement_timeout_s: float = STATEMENT_TIMEOUT_S,
    connect_timeout_s: float = CONNECT_TIMEOUT_S,
    read_only: bool = False,
) -> Any:
    """Open a connection with our settings.

    Raises
    ------
    StartError
        The address cannot be understood.
    OSError, asyncpg.PostgresError, asyncpg.InterfaceError
        See `told` for words.
    """
    require_address(url)
    settings = {
        "application_name": application,
        "search_path": f"{SCHEMA}, public",  # public: there extensions put their functions
        "synchronous_commit": "on",
        "statement_timeout": _ms(statement_timeout_s),
        "lock_timeout": _ms(min(LOCK_TIMEOUT_S, statement_timeout_s)),
        # A coordinator that is paused inside a transaction must not hold its row for ever.
        "idle_in_transaction_session_timeout": _ms(2 * LOCK_TIMEOUT_S),
        "timezone": "UTC",
        **KEEPALIVE,
        "tcp_keepalives_count": KEEPALIVE_PROBES,
    }
    if read_only:
        settings["default_transaction_read_only"] = "on"
    return await asyncpg.connect(
        url,
        timeout=connect_timeout_s,
        command_timeout=statement_timeout_s + CLIENT_GRACE_S,
        server_settings=settings,
    )


def require_address(url: str) -> None:
    """Refuse what is no address of PostgreSQL, without repeating it.

    Raises
    ------
    StartError
    """
    try:
        parts = urlsplit(url)
        hosts = parts.netloc.rpartition("@")[2].split(",")
        is_right = (
            parts.scheme in ("postgresql", "postgres")
            and bool(parts.netloc or parts.query)
            and parts.netloc.count("@") <= 1  # a bare one in a password would move the host
            and all(re.fullmatch(r"(\[[^]]*\]|[^:]*)(:\d+)?", host) for host in hosts)
        )
        parse_qs(parts.query, strict_parsing=bool(parts.query))
    except ValueError:
        is_right = False
    if not is_right:
        message = "The database URL cannot be understood."
        step = "Write postgresql://USER:PASSWORD@HOST:5432/DATABASE, with @ : / as %40 %3A %2F."
        raise StartError(message, step)


@contextmanager
def failures_told(url: str, *, is_starting: bool) -> Iterator[None]:
    """Turn the driver's errors into ours: `StartError` while starting, else unavailable."""
    try:
        yield
    except PMError:
        raise
    except (*FAILURES, ValueError) as error:
        raise told(error, url, is_starting=is_starting) from error


def told(error: Exception, url: str, *, is_starting: bool) -> PMError:
    """Say what a driver's error means and what to do about it."""
    what, step = _explained(error)
    kind = StartError if is_starting else JournalUnavailable
    return kind(f"The journal {place(url)} cannot be used: {what}.", step)


def _explained(error: Exception) -> tuple[str, str | None]:
    known = _TOLD.get(getattr(error, "sqlstate", None) or "")
    if known:
        return known
    if isinstance(error, asyncpg.PostgresError):
        return f"{type(error).__name__}: {error}".rstrip("."), None
    if isinstance(error, socket.gaierror):
        return "its host name is unknown", "Correct the host in the database URL."
    if isinstance(error, ssl.SSLError):
        return "the encrypted connection failed", "Check sslmode and the certificates."
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        return "it did not answer in time", "Check that the server runs and can be reached."
    if isinstance(error, OSError):
        return "nobody listens there", "Start the server, or correct host and port in the URL."
    # The driver's words about an address may repeat parts of it.
    return type(error).__name__, "Check the database URL and the server's log."


def _ms(seconds: float) -> str:
    return str(max(1, round(seconds * 1000)))

"""Where a webhook may go: not to this machine, nor to a network behind it.

An address written by an agent must not make the server call what only the server can reach. Names
are looked at here; what they resolve to is looked at again when the call is made.
"""

from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

from pm_agent.domain.errors import AddressRefused

_LOCAL_NAMES = ("localhost", "local", "internal", "lan", "home.arpa", "localdomain")


def require_public_url(url: str, *, may_be_private: bool) -> str:
    """Return the host of an http(s) URL, or refuse one that is not public.

    Raises
    ------
    AddressRefused
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        message = "url: it is not well formed."
        raise AddressRefused(message) from error
    if parts.scheme not in ("http", "https") or not host:
        message = "url: only http:// and https:// addresses can be called."
        raise AddressRefused(message)
    if parts.username or parts.password:
        message = "url: it holds a name or a password."
        raise AddressRefused(message, "Pushes are signed; check the signature instead.")
    if may_be_private:
        return host
    if host.split(".")[-1].isdigit() or ":" in host:
        try:
            is_public = is_public_address(ip_address(host))
        except ValueError:  # 127.1, 0x7f.1: forms that a resolver reads and a reader does not
            is_public = False
    else:
        is_public = "." in host and not any(
            host == name or host.endswith("." + name) for name in _LOCAL_NAMES
        )
    if not is_public:
        message = f"url: {host} is this machine or a private network."
        raise AddressRefused(message)
    return host


def is_public_address(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address is of the open internet."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if inner is not None:
            return is_public_address(inner)
    return address.is_global and not address.is_multicast

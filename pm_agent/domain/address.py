"""Where a webhook may go: not to this machine, nor to a network behind it.

An address written by an agent must not make the server call what only the server can reach. Names
are looked at here; what they resolve to is looked at again when the call is made.
"""

import re
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

from pm_agent.domain.errors import AddressRefused

# Names as resolvers read them; others come in their ASCII form ("xn--").
_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*")
_UNICAST = IPv6Network("2000::/3")  # all of IPv6 that is given out; the rest is somebody's inside
_NAT64 = IPv6Network("64:ff9b::/96")  # leads to the IPv4 address in its last 32 bits; RFC 6052
_LOCAL_NAMES = ("localhost", "local", "internal", "lan", "home.arpa", "localdomain")


def require_public_url(url: str, *, may_be_private: bool) -> str:
    """Return the host of an http(s) URL, or refuse one that is not public.

    Raises
    ------
    AddressRefused
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        message = "webhook_url: it is not well formed."
        raise AddressRefused(message) from error
    if parts.scheme not in ("http", "https") or not host:
        message = "webhook_url: only http:// and https:// addresses can be called."
        raise AddressRefused(message)
    if parts.username or parts.password:
        message = "webhook_url: it holds a name or a password."
        raise AddressRefused(message, "Pushes are signed; check the signature instead.")
    if port == 0 or not (":" in host or _NAME.fullmatch(host)):
        message = "webhook_url: no server can have this name and port."
        raise AddressRefused(message)
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
        message = f"webhook_url: {host} is this machine or a private network."
        raise AddressRefused(message)
    return host


def is_public_address(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address is of the open internet."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if address in _NAT64:
            inner = IPv4Address(int(address) & 0xFFFF_FFFF)
        if inner is not None:
            return is_public_address(inner)
        if address not in _UNICAST:
            return False
    return address.is_global and not address.is_multicast

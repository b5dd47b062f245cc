"""Pushes over HTTP: signed, to public addresses, without following anything.

The receiver checks ``X-PM-Signature: t=SECONDS,v1=HEX``: the HMAC-SHA256, with the secret that the
subscription was answered with, of ``SECONDS.BODY``. An old time is a replay. ``X-PM-Delivery`` is
the same when a push is sent again.
"""

import asyncio
import hmac
import socket
from hashlib import sha256
from ipaddress import ip_address

import httpx

from pm_agent.domain.address import is_public_address, require_public_url
from pm_agent.domain.errors import AddressRefused
from pm_agent.domain.time import SECOND_US
from pm_agent.ports import Clock, DeliveryFailed, Push

TIMEOUT_S = 5.0  # for any one part of a push
WHOLE_S = 15.0  # for all of it: a receiver that answers drop by drop holds a place of few
SIGNATURE, DELIVERY = "X-PM-Signature", "X-PM-Delivery"


class WebhookNotifier:
    """Posts pushes to the addresses of subscriptions.

    Parameters
    ----------
    clock
        Stamps the signatures.
    may_be_private
        Whether this machine and its networks may be called; for tests and closed networks.
    """

    def __init__(self, clock: Clock, *, may_be_private: bool = False) -> None:
        self._clock = clock
        self._may_be_private = may_be_private
        self._http = httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False)

    async def deliver(self, push: Push) -> None:
        """Post one push.

        Raises
        ------
        DeliveryFailed
            The address may not be called, cannot be reached, or does not answer with 2xx.
        """
        try:
            async with asyncio.timeout(WHOLE_S):
                request = await self._request(push)
                response = await self._http.send(request, stream=True)  # its body is not read
        except AddressRefused as error:
            raise DeliveryFailed(error.message, is_final=True) from error
        except (httpx.InvalidURL, UnicodeError) as error:  # no name that could be looked up
            raise DeliveryFailed(type(error).__name__, is_final=True) from error
        except (httpx.HTTPError, OSError) as error:
            raise DeliveryFailed(type(error).__name__) from error
        await response.aclose()
        if not response.is_success:
            reason = f"it answered {response.status_code}"
            raise DeliveryFailed(reason)

    async def close(self) -> None:
        await self._http.aclose()

    async def _request(self, push: Push) -> httpx.Request:
        """Make the request to an address looked up just now: what was checked is what is called."""
        require_public_url(push.url, may_be_private=self._may_be_private)
        url = httpx.URL(push.url)
        port = url.port or (443 if url.scheme == "https" else 80)
        address = await self._resolved(url.host, port)
        stamp = self._clock.now_us() // SECOND_US
        return self._http.build_request(
            "POST",
            url.copy_with(host=address),
            content=push.payload,
            headers={
                "Host": url.netloc.decode(),
                "Content-Type": "application/json",
                "User-Agent": "pm-agent",
                DELIVERY: push.delivery_id,
                SIGNATURE: signature(push.secret, stamp, push.payload),
            },
            extensions={"sni_hostname": url.host},
        )

    async def _resolved(self, host: str, port: int) -> str:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [str(entry[4][0]) for entry in found]
        if not self._may_be_private:
            for address in addresses:
                if not is_public_address(ip_address(address.partition("%")[0])):
                    message = f"webhook_url: {host} leads to a private address."
                    raise AddressRefused(message)
        return addresses[0]


def signature(secret: str, stamp_s: int, payload: bytes) -> str:
    """Value of the signature header."""
    signed = hmac.new(secret.encode(), b"%d.%b" % (stamp_s, payload), sha256).hexdigest()
    return f"t={stamp_s},v1={signed}"

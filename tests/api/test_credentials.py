"""Keys and short-lived tokens at both doors: who gets in, with what, and for how long."""

import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from pm_agent.adapters.issuer_oauth import OutsideIssuer
from pm_agent.adapters.secrets_memory import SecretsInMemory
from pm_agent.adapters.tokens_jwt import ShortTokens
from pm_agent.domain.access import AccessRefused
from pm_agent.domain.time import SECOND_US
from pm_agent.runtime.credentials import Credentials
from tests.api.conftest import ADMIN, LEAD, Stack, running
from tests.api.test_refusals import problem_in, refuses

HERE, OUTSIDE = "http://localhost", "https://login.example"


async def key(stack: Stack, name: str = "Ada", **more: Any) -> dict[str, Any]:
    owner = {"kind": "agent", "id": name, "role": more.pop("role", "worker")}
    return await stack.ok("POST", "/v1/keys", json={"owner": owner, **more})


async def exchanged(stack: Stack, credential: str, **more: Any) -> str:
    return str((await stack.ok("POST", "/v1/token", credential, json=more))["access_token"])


@pytest.fixture
def later(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Move the ingress's clock."""
    start_us = stack.ingress.now_us()
    shift = [0]
    monkeypatch.setattr(stack.ingress, "now_us", lambda: start_us + shift[0])

    def move(seconds: float) -> None:
        shift[0] += int(seconds * SECOND_US)

    return move


async def test_a_key_lets_its_owner_in_with_its_scopes_alone(stack: Stack) -> None:
    await stack.project()
    made = await key(stack, scopes=["pm:read"])
    assert made["key"].startswith(f"pmk_{made['key_id']}_")
    await stack.ok("GET", "/v1/projects/P-web", made["key"])
    body = {"name": "Ada"}
    problem = await refuses(
        stack, 403, "insufficient_scope", "POST", "/v1/agents", made["key"], json=body
    )
    assert problem["scope"] == "pm:work"
    response = await stack.call("POST", "/v1/agents", made["key"], json=body)
    assert 'error="insufficient_scope", scope="pm:work"' in response.headers["www-authenticate"]
    assert made["key"].removeprefix(f"pmk_{made['key_id']}_") not in json.dumps(
        [repr(known) for known in stack.ingress.world.api_keys.values()]
    )


@pytest.mark.parametrize("change", [lambda k: k[:-1] + "A" * (k[-1] != "A"), lambda k: k + "x"])
async def test_a_key_that_is_nearly_right_is_wrong(stack: Stack, change: Any) -> None:
    made = (await key(stack))["key"]
    for wrong in (change(made), made.rpartition("_")[0], f"{made.rpartition('_')[0]}_"):
        problem_in(await stack.call("GET", "/v1/projects", wrong), 401, "unauthenticated")


async def test_the_same_request_gives_the_same_key(stack: Stack) -> None:
    first = await key(stack, request_id="once")
    assert (await key(stack, request_id="once"))["key"] == first["key"]
    listed = await stack.ok("GET", "/v1/keys")
    assert [one["key_id"] for one in listed["keys"]] == [first["key_id"]]
    assert first["key"] not in json.dumps(listed)


async def test_a_key_ends_when_it_expires_is_rotated_or_revoked(stack: Stack, later: Any) -> None:
    made = await key(stack, lasts_days=2)
    path = f"/v1/keys/{made['key_id']}"
    newer = await stack.ok("POST", f"{path}/rotate", json={"overlap_h": 1})
    for one in (made, newer):
        await stack.ok("GET", "/v1/projects", one["key"])
    later(3_700)
    problem = problem_in(
        await stack.call("GET", "/v1/projects", made["key"]), 401, "unauthenticated"
    )
    assert "expired" in problem["detail"]
    await stack.ok("GET", "/v1/projects", newer["key"])
    await stack.ok("DELETE", f"/v1/keys/{newer['key_id']}")
    problem_in(await stack.call("GET", "/v1/projects", newer["key"]), 401, "unauthenticated")


async def test_the_last_use_of_a_key_is_noted_now_and_then(stack: Stack) -> None:
    made = await key(stack)
    assert "used_at" not in (await stack.ok("GET", "/v1/keys"))["keys"][0]
    for _ in range(2):
        await stack.ok("GET", "/v1/projects", made["key"])
        await stack.note_access()
    position = stack.position
    await stack.ok("GET", "/v1/projects", made["key"])
    await stack.note_access()
    assert stack.position == position  # an event an hour is enough
    assert (await stack.ok("GET", "/v1/keys"))["keys"][0]["used_at"]


# -- short-lived tokens ---------------------------------------------------------------------------


async def test_a_key_is_exchanged_for_a_token_that_lasts_minutes(stack: Stack, later: Any) -> None:
    made = await key(stack)
    token = await exchanged(stack, made["key"], scopes=["pm:read"])
    header, claims = (
        jwt.get_unverified_header(token),
        jwt.decode(token, options={"verify_signature": False}),
    )
    assert header["alg"] == "EdDSA"
    assert claims["sub"] == "agent:A-ada"
    assert claims["exp"] - claims["iat"] == 900
    keys = (await stack.call("GET", "/.well-known/jwks.json", "")).json()["keys"]
    assert [one["kid"] for one in keys] == [header["kid"]]
    assert "d" not in keys[0]
    await stack.ok("GET", "/v1/projects", token)
    await refuses(stack, 403, "insufficient_scope", "POST", "/v1/agents", token, json={"name": "A"})
    later(901)
    problem = problem_in(await stack.call("GET", "/v1/projects", token), 401, "unauthenticated")
    assert "expired" in problem["detail"]


async def test_a_token_is_verified_once(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    token = await exchanged(stack, (await key(stack))["key"])
    asked: list[str] = []
    verify = ShortTokens.verify

    def counted(tokens: ShortTokens, token: str, now_s: int) -> Any:
        asked.append(token)
        return verify(tokens, token, now_s)

    monkeypatch.setattr(ShortTokens, "verify", counted)
    for _ in range(5):
        await stack.ok("GET", "/v1/projects", token)
    assert len(asked) == 1


async def test_an_exchange_widens_and_prolongs_nothing(stack: Stack) -> None:
    made = await key(stack, scopes=["pm:read"])
    body = {"scopes": ["pm:work"]}
    await refuses(stack, 403, "insufficient_scope", "POST", "/v1/token", made["key"], json=body)
    token = await exchanged(stack, made["key"])
    await refuses(stack, 403, "forbidden", "POST", "/v1/token", token, json={})
    await refuses(stack, 422, "invalid_input", "POST", "/v1/token", ADMIN, json={"lasts_s": 901})


async def test_with_a_key_go_the_tokens_it_was_exchanged_for(stack: Stack) -> None:
    made = await key(stack)
    token, others = await exchanged(stack, made["key"]), await exchanged(stack, LEAD)
    await stack.ok("GET", "/v1/projects", token)
    await stack.ok("DELETE", f"/v1/keys/{made['key_id']}")
    problem_in(await stack.call("GET", "/v1/projects", token), 401, "unauthenticated")
    await stack.ok("GET", "/v1/projects", others)


async def test_a_token_can_be_shut_out(stack: Stack) -> None:
    made = (await key(stack))["key"]
    own, named, kept = [await exchanged(stack, made) for _ in range(3)]
    await stack.ok("POST", "/v1/token/deny", own, json={})
    jti = jwt.decode(named, options={"verify_signature": False})["jti"]
    await refuses(stack, 403, "forbidden", "POST", "/v1/token/deny", kept, json={"token_id": jti})
    await refuses(stack, 409, "conflict", "POST", "/v1/token/deny", made, json={})
    await stack.ok("POST", "/v1/token/deny", json={"token_id": jti})
    for token in (own, named):
        problem_in(await stack.call("GET", "/v1/projects", token), 401, "unauthenticated")
    await stack.ok("GET", "/v1/projects", kept)


async def test_old_signing_keys_verify_until_their_tokens_have_ended(
    stack: Stack, later: Any
) -> None:
    tokens = stack.ingress.credentials.tokens
    token = await exchanged(stack, LEAD)
    tokens.rotate(stack.ingress.now_us() // SECOND_US)
    newer = await exchanged(stack, LEAD)
    assert len((await stack.call("GET", "/.well-known/jwks.json", "")).json()["keys"]) == 2
    for one in (token, newer):
        await stack.ok("GET", "/v1/projects", one)
    later(16 * 60)
    assert len((await stack.call("GET", "/.well-known/jwks.json", "")).json()["keys"]) == 1
    tokens.rotate(stack.ingress.now_us() // SECOND_US)
    assert len(tokens._secrets.read("signing")) == 2


# -- an authorisation server outside --------------------------------------------------------------


class LoginServer:
    """An authorisation server that signs with RSA, as most do."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(65537, 2048)
        self.asked: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.path)
        if request.url.path == "/.well-known/oauth-authorization-server":
            return httpx.Response(200, json={"jwks_uri": f"{OUTSIDE}/keys"})
        if request.url.path == "/keys":
            public = RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
            return httpx.Response(200, json={"keys": [{**public, "kid": "r1", "alg": "RS256"}]})
        return httpx.Response(404)

    def token(self, kid: str = "r1", **claims: Any) -> str:
        now_s = int(time.time())
        all_claims = {
            "iss": OUTSIDE,
            "aud": f"{HERE}/mcp",
            "sub": "kim",
            "iat": now_s,
            "exp": now_s + 300,
            "jti": "j1",
            "scope": "openid pm:read",
            **claims,
        }
        return jwt.encode(all_claims, self._key, "RS256", headers={"kid": kid})


LOGIN = LoginServer()


@pytest.fixture
async def outside() -> AsyncIterator[Stack]:
    """The stack that also trusts the authorisation server."""
    LOGIN.asked.clear()
    secrets = SecretsInMemory()
    audiences = (HERE, f"{HERE}/mcp")
    issuer = OutsideIssuer(OUTSIDE, audiences, transport=httpx.MockTransport(LOGIN))
    credentials = Credentials(secrets, ShortTokens(secrets, HERE, audiences), issuer)
    async with running(credentials=credentials, mcp=False) as stack:
        yield stack


async def test_a_token_from_outside_is_worth_its_scopes(outside: Stack) -> None:
    await outside.project()
    token = LOGIN.token()
    await outside.ok("GET", "/v1/projects/P-web", token)
    await outside.ok("GET", "/v1/projects/P-web", token)
    assert LOGIN.asked == ["/.well-known/oauth-authorization-server", "/keys"]
    await refuses(outside, 403, "forbidden", "POST", "/v1/projects", token, json={"name": "x"})
    lead = LOGIN.token(scope="pm:read pm:plan", jti="j2")
    await outside.ok("POST", "/v1/projects", lead, json={"name": "Other"})
    agent = LOGIN.token(sub="agent:A-bob", scope="pm:work", jti="j3")
    assert (await outside.ok("POST", "/v1/agents", agent, json={"name": "Bob"}))["agent_id"]
    some = LOGIN.token(jti="j4", pm_projects=["P-other"])
    listed = await outside.ok("GET", "/v1/projects", some)
    assert [one["project_id"] for one in listed["projects"]] == ["P-other"]


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "https://elsewhere.example"},
        {"exp": 1},
        {"nbf": 2**40},
        {"jti": None},
        {"kid": "r2"},
        {"pm_projects": []},
        {"pm_projects": "P-web"},
        {"iss": "https://evil.example"},
    ],
)
async def test_a_token_from_outside_that_is_not_for_us_is_refused(
    outside: Stack, claims: dict[str, Any]
) -> None:
    token = LOGIN.token(**claims)
    problem_in(await outside.call("GET", "/v1/projects", token), 401, "unauthenticated")


async def test_clients_learn_where_tokens_come_from(outside: Stack, stack: Stack) -> None:
    refused = await outside.call("GET", "/v1/projects", "")
    url = f"{HERE}/.well-known/oauth-protected-resource/mcp"
    assert f'resource_metadata="{url}"' in refused.headers["www-authenticate"]
    described = (await outside.call("GET", url, "")).json()
    assert described["resource"] == f"{HERE}/mcp"
    assert described["authorization_servers"] == [OUTSIDE]
    assert "pm:read" in described["scopes_supported"]
    problem_in(await stack.call("GET", url, ""), 404, "unknown_route")


# -- in the history -------------------------------------------------------------------------------


async def test_every_refused_credential_is_in_the_history(stack: Stack) -> None:
    for credential in ("", "wrong", "wrong", "pmk_aaaaaaaaaaaa_x", "ey.ey.ey"):
        await stack.call("GET", "/v1/projects", credential)
    position = stack.position
    await stack.note_access()
    event = await stack.ingress.event_at(position + 1)
    assert event is not None
    assert isinstance(event.data, AccessRefused)
    assert sum(one.n for one in event.data.refusals) == 5
    assert not any("wrong" in one.reason.split() for one in event.data.refusals)
    await stack.note_access()
    assert stack.position == position + 1


async def test_refusals_of_a_flood_take_little_room(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pm_agent.runtime.access_notes.MAX_REFUSALS", 3)
    for n in range(9):
        stack.ingress.refuse_stranger(f"192.0.2.{n}", "no token")
    position = stack.position
    await stack.note_access()
    event = await stack.ingress.event_at(position + 1)
    assert event is not None
    assert isinstance(event.data, AccessRefused)
    assert [one.n for one in event.data.refusals] == [1, 1, 1, 6]

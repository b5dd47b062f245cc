"""Access tokens and keys: known by hash or MAC, managed by administrators."""

from typing import Any

from pm_agent.domain.access import (
    AccessRefused,
    DenyToken,
    IssueKey,
    IssueToken,
    KeyExpirySet,
    KeyIssued,
    KeyRevoked,
    KeysUsed,
    NoteKeysUsed,
    NoteRefusals,
    Refusals,
    RevokeKey,
    RevokeToken,
    RotateKey,
    TokenDenied,
    TokenIssued,
    TokenRevoked,
)
from pm_agent.domain.envelope import SYSTEM, Principal
from pm_agent.domain.time import DAY_US, HOUR_US
from tests.scenario import ADA, PERSON, WEB, Scenario, agent_principal, of_person, request_id

HASH = "ab" * 32


def issue(owner: Principal) -> IssueToken:
    return IssueToken(request_id=request_id(), principal=PERSON, sha256=HASH, owner=owner)


def revoke() -> RevokeToken:
    return RevokeToken(request_id=request_id(), principal=PERSON, sha256=HASH)


def test_a_token_belongs_to_its_owner_until_it_is_revoked(team: Scenario) -> None:
    team.when(issue(agent_principal(ADA))).then(TokenIssued)
    assert team.world.tokens[HASH].owner == agent_principal(ADA)
    assert team.result == {"owner": "agent:A-ada", "role": "worker"}
    team.when(revoke()).then(TokenRevoked)
    assert team.world.tokens == {}


def test_issuing_the_same_token_again_writes_nothing(team: Scenario) -> None:
    team.given(issue(agent_principal(ADA)))
    team.when(issue(agent_principal(ADA))).then()


def test_only_a_known_token_is_revoked(team: Scenario) -> None:
    team.when(revoke()).then_refused("not_found")


def test_nobody_but_an_administrator_manages_tokens(team: Scenario) -> None:
    lead = Principal("person", "lee", "lead")
    for command in (issue(lead), revoke()):
        for principal in (lead, agent_principal(ADA)):
            team.when(of_person(command, principal)).then_refused("forbidden")


# -- API keys -------------------------------------------------------------------------------------


def issue_key(key_id: str = "k1", owner: Principal | None = None, **more: Any) -> IssueKey:
    return IssueKey(
        request_id=request_id(),
        principal=PERSON,
        key_id=key_id,
        mac="cd" * 32,
        pepper="1",
        owner=owner or agent_principal(ADA),
        **more,
    )


def rotate_key(key_id: str = "k1", to: str = "k2", **more: Any) -> RotateKey:
    return RotateKey(
        request_id=request_id(),
        principal=PERSON,
        key_id=key_id,
        new_key_id=to,
        mac="ef" * 32,
        pepper="1",
        overlap_us=more.pop("overlap_us", HOUR_US),
        **more,
    )


def revoke_key(key_id: str = "k1") -> RevokeKey:
    return RevokeKey(request_id=request_id(), principal=PERSON, key_id=key_id)


def test_a_key_has_no_more_rights_than_its_owners_role(team: Scenario) -> None:
    team.when(issue_key(scopes=("pm:read",), project_ids=(WEB,))).then(KeyIssued)
    assert team.world.api_keys["k1"].scopes == ("pm:read",)
    team.when(issue_key("k2", scopes=("pm:plan",))).then_refused("invalid_input")
    team.when(issue_key("k2", project_ids=("P-none",))).then_refused("unknown_project")
    team.when(issue_key("k2")).then(KeyIssued)
    assert team.result["scopes"] == ["pm:read", "pm:talk", "pm:work"]
    assert team.result.get("expires_at", "") == ""


def test_an_owner_has_two_live_keys_at_most(team: Scenario) -> None:
    team.given(issue_key("k1", lasts_us=HOUR_US), issue_key("k2"))
    team.when(issue_key("k3")).then_refused("too_many_keys")
    team.when(rotate_key("k2", "k3")).then_refused("too_many_keys")
    team.when(issue_key("k3", Principal("person", "pat", "lead"))).then(KeyIssued)
    team.after(minutes=61)
    team.when(issue_key("k4")).then(KeyIssued)


def test_a_rotated_key_lasts_a_while_beside_its_successor(team: Scenario) -> None:
    team.given(issue_key(scopes=("pm:read",), label="ci", lasts_us=DAY_US))
    changes = team.world.access_changes
    team.when(rotate_key()).then(KeyIssued, KeyExpirySet)
    old, new = team.world.api_keys["k1"], team.world.api_keys["k2"]
    assert old.expires_at_us - new.issued_at_us == HOUR_US
    assert new.expires_at_us - new.issued_at_us == DAY_US
    assert (new.scopes, new.label, new.owner) == (old.scopes, old.label, old.owner)
    assert team.world.access_changes > changes
    team.when(rotate_key("k9")).then_refused("not_found")


def test_a_rotation_never_prolongs_the_old_key(team: Scenario) -> None:
    team.given(issue_key(lasts_us=HOUR_US))
    before = team.world.api_keys["k1"].expires_at_us
    team.given(rotate_key(overlap_us=DAY_US))
    assert team.world.api_keys["k1"].expires_at_us == before


def test_a_revoked_key_is_gone(team: Scenario) -> None:
    team.given(issue_key())
    team.when(revoke_key()).then(KeyRevoked)
    assert team.world.api_keys == {}
    team.when(revoke_key()).then_refused("not_found")


def test_the_last_use_of_keys_is_noted_by_the_system_alone(team: Scenario) -> None:
    team.given(issue_key())
    note = NoteKeysUsed(request_id=request_id(), principal=SYSTEM, key_ids=("k1", "gone"))
    team.when(note).then(KeysUsed)
    assert team.world.api_keys["k1"].used_at_us > 0
    team.when(of_person(note, PERSON)).then_refused("forbidden")


# -- short tokens, and refusals -------------------------------------------------------------------


def test_a_denied_token_is_remembered_until_its_end(team: Scenario) -> None:
    def deny(token_id: str) -> DenyToken:
        ends_us = team.now_us + HOUR_US
        return DenyToken(
            request_id=request_id(), principal=PERSON, token_id=token_id, until_us=ends_us
        )

    team.when(deny("j1")).then(TokenDenied)
    team.when(deny("j1")).then()
    team.after(minutes=61)
    team.given(deny("j2"))
    assert set(team.world.denied) == {"j2"}


def test_refusals_are_written_into_the_history_by_the_system_alone(team: Scenario) -> None:
    seen = (Refusals("no token", "192.0.2.1", 3),)
    note = NoteRefusals(request_id=request_id(), principal=SYSTEM, refusals=seen)
    team.when(note).then(AccessRefused)
    assert team.events == [AccessRefused(refusals=seen)]
    team.when(of_person(note, PERSON)).then_refused("forbidden")


def test_nobody_but_an_administrator_manages_keys(team: Scenario) -> None:
    team.given(issue_key())
    lead = Principal("person", "lee", "lead")
    for command in (issue_key("k2"), rotate_key(), revoke_key()):
        for principal in (lead, agent_principal(ADA)):
            team.when(of_person(command, principal)).then_refused("forbidden")

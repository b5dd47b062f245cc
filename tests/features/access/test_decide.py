"""Access tokens: known by their hash, managed by administrators."""

from pm_agent.domain.access import IssueToken, RevokeToken, TokenIssued, TokenRevoked
from pm_agent.domain.envelope import Principal
from tests.scenario import ADA, PERSON, Scenario, agent_principal, of_person, request_id

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

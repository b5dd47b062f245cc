import pytest

from pm_agent.domain.envelope import Principal
from pm_agent.domain.errors import RateLimited
from pm_agent.runtime.admission import Limits
from pm_agent.runtime.clock import SystemClock
from pm_agent.runtime.ingress import Ingress
from tests.runtime.line import Line
from tests.scenario import ADA, BOB, agent_principal


async def test_an_agent_that_claims_in_a_loop_is_told_when_to_come_back() -> None:
    limits = Limits(claims_per_s=0.5, claims_burst=2)
    ingress = Ingress(Line(), SystemClock(), limits)
    ada = agent_principal(ADA)
    ingress.pace.require_work(ada, "claim")
    ingress.pace.require_work(ada, "claim")
    with pytest.raises(RateLimited) as refused:
        ingress.pace.require_work(ada, "claim")
    assert 0 < refused.value.retry_after_s <= 2
    assert ADA in refused.value.message
    ingress.pace.require_work(ada, "progress")  # whoever works may say so as often as need be
    ingress.pace.require_work(agent_principal(BOB), "claim")
    for _ in range(9):
        ingress.pace.require_work(Principal("person", "pat", "lead"), "claim")


async def test_strangers_are_limited_by_their_address() -> None:
    ingress = Ingress(Line(), SystemClock(), Limits(strangers_per_s=0.01, strangers_burst=1))
    ingress.refuse_stranger("192.0.2.1")
    with pytest.raises(RateLimited):
        ingress.refuse_stranger("192.0.2.1")
    ingress.refuse_stranger("192.0.2.2")

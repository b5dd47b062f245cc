"""Signs of life and standing offers."""

from random import Random

from pm_agent.domain.agent import Agent
from pm_agent.domain.task import Skill
from pm_agent.kernel.presence import Offer, Presence

ADA = Agent(id="A-ada", name="ada")
BOB = Agent(id="A-bob", name="bob", skills=(Skill("rust", 2),))
EVE = Agent(id="A-eve", name="eve")


def test_who_was_never_heard_is_as_old_as_the_process() -> None:
    presence = Presence(started_us=100)
    assert presence.heard_at("A-ada") == 100
    presence.hear("A-ada", 150)
    assert presence.heard_at("A-ada") == 150


def test_offers_stand_by_signature_longest_waiting_first() -> None:
    presence = Presence()
    presence.stand(EVE, Offer("A-eve", 1, 90))
    presence.stand(BOB, Offer("A-bob", 2, 90))
    presence.stand(ADA, Offer("A-ada", 3, 90))
    assert presence.signatures() == [EVE.signature, BOB.signature]
    assert [o.agent_id for o in presence.waiting(ADA.signature, 10)] == ["A-eve", "A-ada"]


def test_an_agent_has_one_offer() -> None:
    presence = Presence()
    presence.stand(ADA, Offer("A-ada", 1, 90))
    presence.stand(ADA, Offer("A-ada", 5, 95))
    assert [o.until_us for o in presence.waiting(ADA.signature, 10)] == [95]
    presence.withdraw("A-ada")
    presence.withdraw("A-ada")
    assert presence.offers == {}
    assert presence.signatures() == []


def test_offers_that_ran_out_are_dropped_on_the_way() -> None:
    presence = Presence()
    presence.stand(ADA, Offer("A-ada", 1, 50))
    presence.stand(EVE, Offer("A-eve", 2, 90))
    assert [o.agent_id for o in presence.waiting(ADA.signature, 50)] == ["A-eve"]
    assert list(presence.offers) == ["A-eve"]


def test_of_many_offers_some_are_drawn_and_keep_their_order() -> None:
    presence = Presence()
    agents = [Agent(id=f"A-{number}", name=str(number)) for number in range(100)]
    for since_us, agent in enumerate(agents):
        presence.stand(agent, Offer(agent.id, since_us, 90 if since_us else 10))
    drawn = [o.since_us for o in presence.drawn(ADA.signature, 50, 20, Random(1))]
    assert len(drawn) >= 19
    assert drawn == sorted(set(drawn))
    assert drawn != list(range(1, 20))  # not those that wait longest
    assert len(list(presence.drawn(ADA.signature, 50, 200, Random(1)))) == 99
    assert "A-0" not in presence.offers  # it has run out


def test_an_offer_is_found_again_after_the_profile_changed() -> None:
    presence = Presence()
    presence.stand(BOB, Offer("A-bob", 1, 90))
    presence.withdraw("A-bob")  # by then the agent may have other skills
    assert presence.signatures() == []


def test_offers_are_asked_for_one_by_one_while_others_come_to_an_end() -> None:
    presence = Presence()
    for number, agent in enumerate((ADA, EVE), start=1):
        presence.stand(agent, Offer(agent.id, number, 90))
    queue = presence.queue(ADA.signature, 10)
    assert next(queue).agent_id == "A-ada"
    presence.withdraw("A-ada")
    presence.withdraw("A-eve")
    assert list(queue) == []

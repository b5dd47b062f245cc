import asyncio
from typing import Any

import pytest

from pm_agent.runtime import mailbox
from pm_agent.runtime.mailbox import Mailboxes, MailboxFull


class Recorder:
    """Notes its life; answers when it may."""

    def __init__(self, *, is_open: bool = True) -> None:
        self.life: list[str] = []
        self.may_go_on, self.is_busy = asyncio.Event(), asyncio.Event()
        if is_open:
            self.may_go_on.set()

    async def start(self) -> None:
        self.life.append("start")

    async def receive(self, message: Any) -> Any:
        self.is_busy.set()
        await self.may_go_on.wait()
        if message == "fail":
            raise ValueError(message)
        self.life.append(message)
        return f"heard {message}"

    async def stop(self) -> None:
        self.life.append("stop")


async def test_an_actor_starts_answers_and_stops() -> None:
    mailboxes, actor = Mailboxes(), Recorder()
    assert mailboxes.activate("a", lambda: actor)
    assert "a" in mailboxes
    assert await mailboxes.ask("a", "x") == "heard x"
    await mailboxes.stop()
    assert mailboxes.ids() == []
    assert actor.life == ["start", "x", "stop"]


async def test_an_id_is_alive_once() -> None:
    mailboxes, first, second = Mailboxes(), Recorder(), Recorder()
    assert mailboxes.activate("a", lambda: first)
    assert not mailboxes.activate("a", lambda: second)
    await mailboxes.stop()
    assert second.life == []


async def test_messages_are_taken_one_at_a_time_in_order() -> None:
    mailboxes, actor = Mailboxes(), Recorder(is_open=False)
    mailboxes.activate("a", lambda: actor)
    asked = [asyncio.create_task(mailboxes.ask("a", str(i))) for i in range(5)]
    await actor.is_busy.wait()
    assert actor.life == ["start"]
    actor.may_go_on.set()
    await asyncio.gather(*asked)
    assert actor.life == ["start", "0", "1", "2", "3", "4"]
    await mailboxes.stop()


async def test_a_busy_actor_holds_up_no_other() -> None:
    mailboxes, busy = Mailboxes(), Recorder(is_open=False)
    mailboxes.activate("busy", lambda: busy)
    mailboxes.activate("free", Recorder)
    asked = asyncio.create_task(mailboxes.ask("busy", "x"))
    await busy.is_busy.wait()
    assert await mailboxes.ask("free", "y") == "heard y"
    busy.may_go_on.set()
    await asked
    await mailboxes.stop()


async def test_a_failing_message_fails_its_sender_alone() -> None:
    mailboxes = Mailboxes()
    mailboxes.activate("a", Recorder)
    with pytest.raises(ValueError, match="fail"):
        await mailboxes.ask("a", "fail")
    assert await mailboxes.ask("a", "x") == "heard x"
    await mailboxes.stop()


async def test_a_sender_that_goes_away_holds_up_nobody() -> None:
    mailboxes, actor = Mailboxes(), Recorder(is_open=False)
    mailboxes.activate("a", lambda: actor)
    asked = asyncio.create_task(mailboxes.ask("a", "x"))
    await actor.is_busy.wait()
    asked.cancel()
    actor.may_go_on.set()
    assert await mailboxes.ask("a", "y") == "heard y"
    await mailboxes.stop()


async def test_a_full_mailbox_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailbox, "MAX_MAILBOX", 2)
    mailboxes, actor = Mailboxes(), Recorder(is_open=False)
    mailboxes.activate("a", lambda: actor)
    asked = [asyncio.create_task(mailboxes.ask("a", "1"))]
    await actor.is_busy.wait()
    asked += [asyncio.create_task(mailboxes.ask("a", m)) for m in "23"]
    await asyncio.sleep(0)
    with pytest.raises(MailboxFull):
        await mailboxes.ask("a", "4")
    actor.may_go_on.set()
    await asyncio.gather(*asked)
    await mailboxes.stop()


async def test_nobody_is_asked_under_an_unknown_id() -> None:
    with pytest.raises(KeyError):
        await Mailboxes().ask("a", "x")


async def test_passivation_lets_an_actor_take_what_waits_for_it() -> None:
    mailboxes, actor = Mailboxes(), Recorder(is_open=False)
    mailboxes.activate("a", lambda: actor)
    asked = [asyncio.create_task(mailboxes.ask("a", m)) for m in "xy"]
    await actor.is_busy.wait()
    ending = asyncio.create_task(mailboxes.passivate("a"))
    await asyncio.sleep(0)
    with pytest.raises(KeyError):
        await mailboxes.ask("a", "late")
    actor.may_go_on.set()
    await ending
    assert [await one for one in asked] == ["heard x", "heard y"]
    assert actor.life[-1] == "stop"
    await mailboxes.passivate("a")  # once more does nothing


async def test_a_successor_may_begin_while_its_predecessor_takes_its_last_messages() -> None:
    mailboxes, first, second = Mailboxes(), Recorder(is_open=False), Recorder()
    mailboxes.activate("a", lambda: first)
    asked = asyncio.create_task(mailboxes.ask("a", "x"))
    await first.is_busy.wait()
    ending = asyncio.create_task(mailboxes.passivate("a"))
    await asyncio.sleep(0)
    assert mailboxes.activate("a", lambda: second)
    first.may_go_on.set()
    await ending
    assert await asked == "heard x"
    assert await mailboxes.ask("a", "y") == "heard y"
    await mailboxes.stop()
    assert second.life == ["start", "y", "stop"]


async def test_an_actor_that_cannot_start_leaves_its_id_free() -> None:
    class Broken(Recorder):
        async def start(self) -> None:
            await asyncio.sleep(0)
            raise OSError("no disk")

    mailboxes, broken = Mailboxes(), Broken()
    mailboxes.activate("a", lambda: broken)
    life = mailboxes._lives["a"]
    with pytest.raises(KeyError):
        await mailboxes.ask("a", "x")
    assert broken.life == ["stop"]
    with pytest.raises(OSError, match="no disk"):
        await life
    assert mailboxes.activate("a", Recorder)
    assert await mailboxes.ask("a", "x") == "heard x"
    await mailboxes.stop()


async def test_a_thousand_actors_live_side_by_side() -> None:
    mailboxes = Mailboxes()
    for i in range(1_000):
        mailboxes.activate(f"a{i}", Recorder)
    answers = await asyncio.gather(*(mailboxes.ask(f"a{i}", "x") for i in range(1_000)))
    assert answers == ["heard x"] * 1_000
    await mailboxes.stop()
    assert mailboxes.ids() == []

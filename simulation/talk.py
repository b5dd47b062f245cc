"""What simulated agents say to each other: messages, calls for help, handoffs, and the answers.

It draws from random numbers of its own, so that who talks does not change who works.
"""

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

import msgspec

from pm_agent.domain.agent import LeaveTeam
from pm_agent.domain.collaboration import RequestCollaboration, RespondToCollaboration
from pm_agent.domain.envelope import Command
from pm_agent.domain.handoff import HandOffTask, RespondToHandoff
from pm_agent.domain.ids import AgentId, MessageId
from pm_agent.domain.message import AcknowledgeMessages, BroadcastUpdate, SendMessage
from pm_agent.domain.subscription import Subscribe, TaskFilter, Unsubscribe
from pm_agent.domain.world import World as Board
from pm_agent.kernel.types import Reply

if TYPE_CHECKING:
    from simulation.agents import Agent, Lease

TALKS = 0.15  # of the times at which an agent thinks
ANSWERS = 0.5  # who is asked something mostly answers before it runs out
ANSWER_US = (60, 3_600)  # seconds that others have to answer
_result: Any = msgspec.json.decode


class Talk:
    """One agent's words, and what it has read.

    Attributes
    ----------
    seen : list of MessageId
        What it read, each when it saw it first, in that order.
    """

    def __init__(self, agent: "Agent", random: Random, board: Callable[[], Board]) -> None:
        self._agent = agent
        self._random = random
        self._board = board
        self.seen: list[MessageId] = []

    def think(self) -> None:
        """Read, and now and then say something."""
        self._read()
        is_asked = bool(self._handed() or self._invited())
        if self._agent.is_diligent or self._random.random() > (ANSWERS if is_asked else TALKS):
            return
        acts = (
            *[self._write] * 4,
            *[self._answer] * 4,
            *[self._hand_over] * 3,
            self._ask_for_help,
            self._broadcast,
            self._subscribe,
            self._unsubscribe,
        )
        command = self._answer() if is_asked else self._random.choice(acts)()
        if command is not None:
            self._agent.ask(command, lambda reply: self._told(command, reply))
        elif not self._agent.held and self._random.random() < 0.05:
            self._agent.ask(self._command(LeaveTeam, agent_id=self._agent.id), self._left)

    def _command(self, kind: type[Command], /, **fields: Any) -> Command:
        agent = self._agent
        return kind(request_id=agent.request_id(), principal=agent.principal, **fields)

    def _read(self) -> None:
        """See what waits, in the order in which it came; acknowledge some of it."""
        inbox = self._board().inboxes.get(self._agent.id)
        if inbox is None:
            return
        known = set(self.seen)
        self.seen += [message_id for message_id in inbox.unread if message_id not in known]
        if self._random.random() < 0.3:
            read = inbox.unread[: self._random.randrange(1, 30)]
            self._agent.ask(
                self._command(AcknowledgeMessages, agent_id=self._agent.id, message_ids=read),
                lambda _: None,
            )

    # -- what there is to say -----------------------------------------------------------------

    def _other(self) -> AgentId:
        others = [a for a in self._board().agents if a != self._agent.id]
        return self._random.choice([*others, "A-nobody"])

    def _urgency(self) -> str:
        return self._random.choice(("normal", "normal", "urgent"))

    def _write(self) -> Command:
        reply_to = self._random.choice(self.seen[-5:]) if self.seen else ""
        return self._command(
            SendMessage, to=self._other(), text="a word", urgency=self._urgency(), reply_to=reply_to
        )

    def _broadcast(self) -> Command:
        audience, target = self._random.choice((("team", ""), ("project", "P-1"), ("skill", "sql")))
        return self._command(
            BroadcastUpdate, audience=audience, target=target, text="to all", urgency="normal"
        )

    def _ask_for_help(self) -> Command | None:
        return self._about_own(self._call_for_help)

    def _hand_over(self) -> Command | None:
        return self._about_own(self._handoff)

    def about(self, lease: "Lease") -> Command:
        """A call for help or a handoff under a lease that may be another's, or over."""
        return self._random.choice((self._call_for_help, self._handoff))(lease)

    def _taker(self) -> AgentId:
        """Mostly one that has room, else nearly every handoff would be refused or run out."""
        agents = self._board().agents.values()
        free = [a.id for a in agents if len(a.active) < a.capacity and a.id != self._agent.id]
        return self._random.choice(free) if free and self._random.random() < 0.7 else self._other()

    def _about_own(self, say: Callable[["Lease"], Command]) -> Command | None:
        held = list(self._agent.held.items())
        return say(self._random.choice(held)) if held else None

    def _call_for_help(self, lease: "Lease") -> Command:
        about = self._random.choice(["", *list(self._board().blockers)[-3:]])  # not always its own
        return self._under(lease, RequestCollaboration, need="who knows this?", blocker_id=about)

    def _handoff(self, lease: "Lease") -> Command:
        return self._under(
            lease, HandOffTask, to=self._taker(), note="half of it", where="branch x"
        )

    def _under(self, lease: "Lease", kind: type[Command], /, **fields: Any) -> Command:
        within_s = self._random.randrange(*ANSWER_US)
        return self._command(
            kind, task_id=lease[0], lease_token=lease[1], answer_within_s=within_s, **fields
        )

    def _subscribe(self) -> Command:
        wanted = self._random.choice(
            (
                TaskFilter(labels=(self._random.choice(("api", "web")),)),
                TaskFilter(min_priority=self._random.randrange(3)),
                TaskFilter(skills=(self._random.choice(("api", "sql")),)),
            )
        )
        url = self._random.choice(("", "https://agents.example.org/", "http://10.0.0.1/"))
        return self._command(
            Subscribe, agent_id=self._agent.id, filter=wanted, url=url, secret="s" if url else ""
        )

    def _unsubscribe(self) -> Command | None:
        own = self._board().watchlists.of_agent.get(self._agent.id)
        if not own:
            return None
        return self._command(Unsubscribe, subscription_id=self._random.choice(list(own)))

    def _answer(self) -> Command | None:
        """Answer what is open, at times what is not one's own, or over."""
        accept = self._random.random() < 0.6
        if handed := self._handed():
            return self._command(RespondToHandoff, handoff_id=handed[0], accept=accept)
        if invited := self._invited():
            return self._command(
                RespondToCollaboration, collaboration_id=invited[0], accept=accept, note="from me"
            )
        if self._random.random() < 0.1:
            number = self._random.randrange(1, 9)
            return self._command(RespondToHandoff, handoff_id=f"H-{number}", accept=True)
        return None

    def _handed(self) -> list[str]:
        handoffs = self._board().handoffs.values()
        return [h.id for h in handoffs if h.receiver_id == self._agent.id]

    def _invited(self) -> list[str]:
        calls = self._board().collaborations.values()
        return [c.id for c in calls if self._agent.id in c.invited]

    # -- what came of it ----------------------------------------------------------------------

    def _told(self, command: Command, reply: Reply | None) -> None:
        if isinstance(command, RespondToHandoff) and reply is not None and reply.error is None:
            found = _result(reply.result)
            if found["state"] == "accepted":
                self._agent.held[found["task_id"]] = found["lease_token"]

    def _left(self, reply: Reply | None) -> None:
        if reply is None or reply.error is None:
            self._agent.forget_registration()

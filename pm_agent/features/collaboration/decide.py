"""Who is asked for help, and who gives it."""

import msgspec

from pm_agent.domain.blocker import Blocker
from pm_agent.domain.collaboration import (
    Collaboration,
    CollaborationAccepted,
    CollaborationDeclined,
    CollaborationExpired,
    CollaborationRequested,
    ExpireCollaboration,
    RequestCollaboration,
    RespondToCollaboration,
)
from pm_agent.domain.envelope import Body, EventData
from pm_agent.domain.errors import (
    InvalidInput,
    NotCapable,
    UnknownBlocker,
    UnknownCollaboration,
    WrongState,
)
from pm_agent.domain.ids import (
    AgentId,
    BlockerId,
    TaskId,
    collaboration_id,
    message_id,
    number_of,
)
from pm_agent.domain.message import (
    MessageSent,
)
from pm_agent.domain.task import Skill, Task, normal_skills
from pm_agent.domain.time import SECOND_US, iso
from pm_agent.domain.world import World
from pm_agent.kernel.candidates import best_agents
from pm_agent.kernel.fencing import (
    require_member,
    require_running,
)
from pm_agent.kernel.mail import Letter, is_full, name_of, write_answer, write_letter
from pm_agent.kernel.types import Context, Decision, Result

# Asked at once. One may be away or say no; more than three would read a question that two of them
# answer in vain.
INVITED_AT_ONCE = 3


class CollaborationResult(Result, frozen=True, kw_only=True):
    """Where a request for help stands: open, accepted, declined or expired."""

    collaboration_id: str
    task_id: str
    state: str
    thread_id: str
    blocker_id: str = ""  # what it is about, if one was named
    invited: list[str] = []
    until: str = ""
    next_step: str = ""


def request(world: World, command: RequestCollaboration, context: Context) -> Decision:
    """Ask the best of those who could help with a running task, or with a blocker of it."""
    task, held = require_running(world, command.principal, command.task_id, command.lease_token)
    blocker = _require_blocker(world, task, command.blocker_id) if command.blocker_id else None
    needed = blocker.needs_skills if blocker else ()
    skills = normal_skills(command.skills) or needed or task.skills
    able = _invitable(world, context, task, skills, without=(held.agent_id,))
    if not able:
        wanted = ", ".join(skill.name for skill in skills) or "any skill"
        message = f"No other agent could help with {task.id} now ({wanted})."
        raise NotCapable(message, "Use report_blocker, so that a person hears of it.")
    number = world.tables.collaborations_requested + 1
    request_id = collaboration_id(number)
    until_us = context.now_us + command.answer_within_s * SECOND_US
    invited = able[:INVITED_AT_ONCE]
    letter = write_letter(
        world,
        context,
        invited,
        command.need,
        kind="help_wanted",
        task_id=task.id,
        about_id=request_id,
        blocker_id=command.blocker_id,
    )
    requested = CollaborationRequested(
        collaboration_id=request_id,
        number=number,
        task_id=task.id,
        agent_id=held.agent_id,
        need=letter.body.ref,
        thread_id=letter.event.thread_id,
        until_us=until_us,
        invited=tuple(invited),
        skills=skills,
        blocker_id=command.blocker_id,
    )
    result = CollaborationResult(
        collaboration_id=request_id,
        task_id=task.id,
        state="open",
        thread_id=letter.event.thread_id,
        blocker_id=command.blocker_id,
        invited=invited,
        until=iso(until_us),
        next_step="Go on with what you can do; the answer comes as a message.",
    )
    return Decision(events=[requested, letter.event], bodies=[letter.body], result=result)


def _require_blocker(world: World, task: Task, blocker_id: BlockerId) -> Blocker:
    """Return an open blocker of the task, or refuse."""
    blocker = world.blockers.get(blocker_id)
    if blocker is None:
        message = f"There is no blocker {blocker_id[:40]}."
        raise UnknownBlocker(message)
    if blocker.task_id != task.id:
        message = f"Blocker {blocker.id} stops {blocker.task_id}, not {task.id}."
        raise InvalidInput(message, "Name a blocker of this task, or none.")
    if not blocker.is_open:
        message = f"Blocker {blocker.id} was resolved already."
        raise WrongState(message, "Read its resolution in get_task_context; ask without it.")
    return blocker


def respond(world: World, command: RespondToCollaboration, context: Context) -> Decision:
    """Say yes, which gives the help to this agent alone, or no, which asks the next one."""
    known = _require_collaboration(world, command.collaboration_id)
    helper = _invited(known, command)
    require_member(world, helper)
    if command.accept:
        return _accepted(world, command, context, known, helper)
    return _declined(world, command, context, known, helper)


def _accepted(
    world: World,
    command: RespondToCollaboration,
    context: Context,
    known: Collaboration,
    helper: AgentId,
) -> Decision:
    if known.asker_id != _holder(world, known.task_id):
        message = f"{known.asker_id} does not work on {known.task_id} any more."
        raise UnknownCollaboration(message)
    if _is_settled(world, known):
        message = f"Blocker {known.blocker_id} is resolved already."
        raise UnknownCollaboration(message)
    about = f" ({known.blocker_id})" if known.blocker_id else ""
    words = f"{helper} helps with {known.task_id}{about}."
    letter = _answer(world, context, known, words, said=command.note)
    accepted = CollaborationAccepted(
        collaboration_id=known.id,
        task_id=known.task_id,
        agent_id=helper,
        asker_id=known.asker_id,
        blocker_id=known.blocker_id,
    )
    next_step = (
        f"Read get_task_context of {known.task_id}; write to {known.asker_id} with "
        f"send_agent_message and reply_to {known.thread_id}."
    )
    if known.blocker_id:
        next_step = (
            f"{next_step} When you know what to do, say it with resolve_blocker "
            f"{known.blocker_id}: the task goes on, and the answer is remembered."
        )
    result = CollaborationResult(
        collaboration_id=known.id,
        task_id=known.task_id,
        state="accepted",
        thread_id=known.thread_id,
        blocker_id=known.blocker_id,
        next_step=next_step,
    )
    return Decision(events=[accepted, letter.event], bodies=[letter.body], result=result)


def _declined(
    world: World,
    command: RespondToCollaboration,
    context: Context,
    known: Collaboration,
    helper: AgentId,
) -> Decision:
    task = world.tasks.get(known.task_id)
    others = (
        _invitable(world, context, task, known.skills, without=(*known.invited, known.asker_id))
        if task is not None and known.asker_id == _holder(world, task.id)
        else []
    )
    next_one = others[0] if others else ""
    events: list[EventData] = [
        CollaborationDeclined(
            collaboration_id=known.id,
            task_id=known.task_id,
            agent_id=helper,
            invited_next=next_one,
            blocker_id=known.blocker_id,
        )
    ]
    bodies: list[Body] = []
    n_letters = 0
    if command.note.strip() and not world.agents[known.asker_id].left_at_us:
        letter = _answer(world, context, known, "", said=command.note)
        events.append(letter.event)
        bodies.append(letter.body)
        n_letters = 1
    if next_one:
        events.append(_invitation(world, known, next_one, n_letters))
    elif set(known.invited) <= {*known.declined, helper}:
        why = "Everybody who could help said no."
        ended = _expired(world, context, known, why, n_letters)
        events += ended.events
        bodies += ended.bodies
    result = msgspec.structs.replace(_result(known), state="declined")
    return Decision(events=events, bodies=bodies, result=result)


def _invitation(world: World, known: Collaboration, to: AgentId, n_before: int) -> MessageSent:
    """The asker's own words, to one more agent."""
    number = world.tables.messages_sent + 1 + n_before
    return MessageSent(
        message_id=message_id(number),
        number=number,
        recipients=(to,),
        thread_id=known.thread_id,
        text=known.need,
        sender=f"agent:{known.asker_id}",
        kind="help_wanted",
        about_task=known.task_id,
        about_id=known.id,
        blocker_id=known.blocker_id,
    )


def expire(world: World, command: ExpireCollaboration, context: Context) -> Decision:
    """End a request that nobody took up in time, or whose blocker is resolved."""
    known = _require_collaboration(world, command.collaboration_id)
    if _is_settled(world, known):
        return Decision(events=[_over(known)], result=_result(known))
    if context.now_us < known.until_us:
        return Decision(result=_result(known), check_again_us=known.until_us)
    return _expired(world, context, known, "Nobody took it up in time.")


def _expired(
    world: World, context: Context, known: Collaboration, why: str, n_before: int = 0
) -> Decision:
    events: list[EventData] = [_over(known)]
    bodies: list[Body] = []
    if not world.agents[known.asker_id].left_at_us:
        words = f"No help for {known.task_id}: {why} report_blocker tells a person."
        letter = _answer(world, context, known, words, n_before=n_before)
        events.append(letter.event)
        bodies.append(letter.body)
    return Decision(events=events, bodies=bodies, result=_result(known))


def _over(known: Collaboration) -> CollaborationExpired:
    return CollaborationExpired(
        collaboration_id=known.id,
        task_id=known.task_id,
        agent_id=known.asker_id,
        blocker_id=known.blocker_id,
    )


def _is_settled(world: World, known: Collaboration) -> bool:
    """Whether it names a blocker that is resolved: then nobody needs to help or to hear of it."""
    blocker = world.blockers.get(known.blocker_id)
    return bool(known.blocker_id) and (blocker is None or not blocker.is_open)


def _result(known: Collaboration) -> CollaborationResult:
    return CollaborationResult(
        collaboration_id=known.id,
        task_id=known.task_id,
        state="expired",
        thread_id=known.thread_id,
        blocker_id=known.blocker_id,
    )


def _require_collaboration(world: World, identifier: str) -> Collaboration:
    known = world.collaborations.get(identifier)
    if known is None:
        was = 0 < number_of(identifier) <= world.tables.collaborations_requested
        what = "is over: it was taken up or has expired" if was else "does not exist"
        message = f"The request for help {identifier[:40]} {what}."
        raise UnknownCollaboration(message)
    return known


def _invited(known: Collaboration, command: RespondToCollaboration) -> AgentId:
    """Return the invited agent that answers, or refuse."""
    who = command.principal.id
    if who not in known.invited:
        message = f"{name_of(command.principal)} was not asked to help with {known.task_id}."
        raise UnknownCollaboration(message)
    if who in known.declined:
        message = f"{who} has declined {known.id} already."
        raise WrongState(message, "Nothing more to answer.")
    return who


def _invitable(
    world: World,
    context: Context,
    task: Task,
    skills: tuple[Skill, ...],
    without: tuple[AgentId, ...],
) -> list[AgentId]:
    able = best_agents(world, context, task, skills, without)
    return [agent_id for agent_id in able if not is_full(world, agent_id)]


def _holder(world: World, task_id: TaskId) -> AgentId:
    held = world.assignments.get(task_id)
    return held.agent_id if held else ""


def _answer(
    world: World,
    context: Context,
    known: Collaboration,
    words: str,
    *,
    said: str = "",
    n_before: int = 0,
) -> Letter:
    """Tell who asked what became of it."""
    return write_answer(
        world,
        context,
        known.asker_id,
        words,
        said=said,
        kind="help_answer",
        thread_id=known.thread_id,
        task_id=known.task_id,
        about_id=known.id,
        blocker_id=known.blocker_id,
        n_before=n_before,
    )

"""Two hundred texts that give orders, in every text field of every operation: they stay texts.

The fields are found in the schemas of the table of operations, so that a new one is tried by
itself. All fields with all texts are held against the rules alone, where nothing has to be sent;
over HTTP each field gets some of them.
"""

import itertools
import json
from collections.abc import AsyncIterator, Iterator
from collections.abc import Set as AbstractSet
from random import Random
from typing import Any, NamedTuple

import msgspec
import pytest
from pydantic import ValidationError

from pm_agent.api.convert import to_command
from pm_agent.api.openapi import path_fields
from pm_agent.api.operations import OPERATIONS, Operation
from pm_agent.catalog import CATALOG
from pm_agent.domain.access import ROLE_SCOPES
from pm_agent.domain.envelope import Principal
from pm_agent.domain.errors import PMError
from pm_agent.kernel.types import Context
from tests.api.conftest import ADMIN, LEAD, OWNERS, Stack, running
from tests.api.rest_server import GENEROUS
from tests.api.test_refusal_matrix import FIELDS, IDS
from tests.injections import INJECTIONS

PLAIN = "plain words"
Json = dict[str, Any]


class Place(NamedTuple):
    """A text field of an operation: the names on the way to it, numbers in lists."""

    operation: Operation
    at: tuple[str | int, ...]


def _places() -> Iterator[Place]:
    for operation in OPERATIONS:
        if operation.kind == "command" and operation.name != "hand_over":
            schema = operation.input.model_json_schema()
            for at in _texts(schema, schema.get("$defs", {})):
                if at[0] not in path_fields(operation):
                    yield Place(operation, at)


def _texts(schema: Json, shapes: Json) -> Iterator[tuple[str | int, ...]]:
    """Where a schema takes words of any kind."""
    if "$ref" in schema:
        schema = shapes[schema["$ref"].rsplit("/", 1)[-1]]
    for one in schema.get("anyOf", ()):
        yield from _texts(one, shapes)
    if schema.get("type") == "string" and not {"enum", "const", "format"} & set(schema):
        yield ()
    for name, inner in schema.get("properties", {}).items():
        yield from ((name, *at) for at in _texts(inner, shapes))
    if schema.get("type") == "array":
        yield from ((0, *at) for at in _texts(schema.get("items", {}), shapes))


PLACES = list(dict.fromkeys(_places()))
# What stands in the other fields, so that most of it is accepted.
GIVEN = IDS | FIELDS | {"to": "A-bob", "handoff_id": "H-1", "collaboration_id": "C-1",
    "subscription_id": "S-1", "acknowledge": ["M-1"]}  # fmt: skip
GIVEN_TO: dict[str, Json] = {
    "approve_task": {"task_id": "T-3"},
    "reject_task": {"task_id": "T-3"},
    "reopen_task": {"task_id": "T-4"},
    "place_hold": {"target_id": "P-web"},
    "respond_to_handoff": {"accept": False},
    "respond_to_collaboration": {"collaboration_id": "C-2"},
}
# They make a secret on the way, so the rules alone cannot be asked.
MAKES_SECRETS = {"issue_token", "issue_key", "rotate_key", "exchange_token", "deny_token"}
# What a rule reads out of a text: to which others it is alike, and the digest of a project's
# settings, the words of its gate among them.
READ_OUT = {"sketch", "version"}


def body_of(place: Place, text: str) -> Json:
    """A call that is well formed, with a text in its place."""
    operation, at = place
    model = operation.input
    body: Json = {
        name: GIVEN.get(name, "X-1")
        for name, field in model.model_fields.items()
        if field.is_required() or name in IDS or name in path_fields(operation)
        or name == "lease_token"
    }  # fmt: skip
    body = json.loads(json.dumps(body | GIVEN_TO.get(operation.name, {})))
    if operation.name == "register_agent":
        body["name"] = "Ada"
    inside: Any = body
    for name, following in itertools.pairwise(at):
        if isinstance(inside, dict):
            empty: Any = [{}] if isinstance(following, int) else {}
            inside = inside.setdefault(name, empty)
        else:
            inside = inside[name]
    if isinstance(inside, list):
        inside[:] = [text]
    else:
        inside[at[-1]] = text
    return body


def principal_for(operation: Operation) -> Principal:
    """Who may call it: the agent if it may, else a lead, else an administrator."""
    for who in (ADA, OWNERS[LEAD], OWNERS[ADMIN]):
        if operation.scope in ROLE_SCOPES[who.role]:
            return who
    raise AssertionError(operation.name)


ADA = Principal("agent", "A-ada", "worker")


@pytest.fixture
async def board() -> AsyncIterator["Board"]:
    async with running(mcp=False, limits=GENEROUS) as stack:
        yield await Board.of(stack)


class Board:
    """Ada and Bob at work, and something of every kind to speak about."""

    def __init__(self, stack: Stack, tokens: dict[str, str]) -> None:
        self.stack = stack
        self.tokens = tokens

    @classmethod
    async def of(cls, stack: Stack) -> "Board":
        await stack.project(token_cap=10_000_000)
        await stack.project("Seen", completion="person")
        tokens = {}
        for name in ("Ada", "Bob"):
            agent_id, tokens[name] = await stack.agent(name, capacity=9)
            await stack.task(title=f"Work of {name}")
            await stack.claim(agent_id, tokens[name])
        say = stack.ok
        ada, bob = tokens["Ada"], tokens["Bob"]
        lease = {"lease_token": 1}
        await say("POST", "/v1/tasks/T-1/blockers", ada, json=lease | {"description": "stuck"})
        await say("POST", "/v1/tasks/T-2/handoff", bob, json=lease | {"to": "A-ada", "note": "x"})
        await say("POST", "/v1/tasks/T-2/collaborations", bob, json=lease | {"need": "x"})
        await say("POST", "/v1/agents/A-ada/messages", bob, json={"text": "x"})
        await say("POST", "/v1/agents/A-ada/subscriptions", ada, json={"labels": ["api"]})
        await stack.task("P-seen")
        await stack.claim("A-bob", bob)
        await say("POST", "/v1/tasks/T-3/complete", bob, json=lease | {"summary": "x"})
        await stack.task(labels=["cancelled"])
        await say("POST", "/v1/tasks/T-4/cancel", json={"reason": "x"})
        return cls(stack, tokens)

    def decided(self, place: Place, text: str) -> Any:
        """What the rules make of a call with a text in this place; its error code when refused."""
        operation, engine = place.operation, self.stack.loop.engine
        assert operation.command is not None
        try:
            given = operation.input.model_validate(body_of(place, text))
        except ValidationError:
            return "invalid"
        world = engine.world
        context = Context(
            now_us=world.tables.now_us,
            random=Random(7),
            scorer=engine.scorer,
            presence=engine.presence,
            policy=engine.policy,
            pending_effects=engine.outbox.pending,
        )
        try:
            who = principal_for(operation)
            command = to_command(operation.command, given, who, "r-1", context.now_us)
            decision = CATALOG.deciders[operation.command](world, command, context)
        except PMError as error:
            return error.code
        texts = {body.ref: body.text for body in decision.bodies}
        events = [[type(event).__name__, msgspec.to_builtins(event)] for event in decision.events]
        return _with_texts([events, msgspec.to_builtins(decision.result)], texts)


def _with_texts(value: Any, texts: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: _with_texts(one, texts) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_with_texts(one, texts) for one in value]
    return texts.get(value, value) if isinstance(value, str) else value


# -- the rules alone ------------------------------------------------------------------------------

RULED = [place for place in PLACES if place.operation.name not in MAKES_SECRETS]


def test_fields_are_found_wherever_words_may_stand() -> None:
    found = {(place.operation.name, *place.at) for place in PLACES}
    assert {
        ("report_blocker", "description"),
        ("complete_task", "evidence", "links", 0),
        ("import_tasks", "tasks", 0, "acceptance_criteria", 0),
        ("subscribe", "webhook_url"),
    } <= found


async def test_most_fields_are_tried_with_calls_that_are_accepted(board: "Board") -> None:
    refused: set[str] = set()
    accepted: set[str] = set()
    for place in RULED:
        if place.at != ("request_id",):
            is_refused = isinstance(board.decided(place, PLAIN), str)
            (refused if is_refused else accepted).add(place.operation.name)
    # a project of that name, or a hold of that target: there is none
    assert refused - accepted == {"request_next_task", "wait_for_task", "lift_hold"}


async def test_no_text_decides_anything(board: "Board") -> None:
    """Events and results differ in the text alone from those of a call with plain words."""
    for place in RULED:
        plain = board.decided(place, PLAIN)
        for text in INJECTIONS:
            decided = board.decided(place, text)
            if isinstance(decided, str):  # refused, so nothing changes
                continue
            tried = place.operation.name, place.at, text
            assert not isinstance(plain, str), tried
            assert list(_differences(plain, decided)) == [], tried


def _differences(plain: Any, other: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """What differs although it was not a text that was given."""
    if isinstance(plain, dict) and isinstance(other, dict) and plain.keys() == other.keys():
        for key, value in plain.items():
            yield from _differences(value, other[key], key)
    elif isinstance(plain, list) and isinstance(other, list) and len(plain) == len(other):
        for one, its_other in zip(plain, other, strict=True):
            yield from _differences(one, its_other, name)
    elif isinstance(plain, str) and "plain" in plain.lower() and isinstance(other, str):
        return
    elif plain != other and name not in READ_OUT:
        yield name, plain, other


# -- over the wire --------------------------------------------------------------------------------

# They end what the others speak about, so they come last.
ENDING = ("complete_task", "release_task", "leave_team")
QUERIES = [o for o in OPERATIONS if o.kind == "query" and not o.streams]
OF_TASKS = {"create_task", "update_task", "import_tasks"}  # for people and leads
# Ours alone: what must be obeyed, and what to do next.
OURS = {"directives", "next_step", "notice", "reason", "remedy", "code", "type"}
# One of them stands beside every text: its author, or that it is data.
SAYS_WHOSE = {"agent_id", "by", "sender", "notice"}


def privileged(stack: Stack) -> Any:
    """What no words of a worker may change: holds, access, policies, and what is another's."""
    world = stack.loop.engine.world
    project = world.projects["P-web"]
    return msgspec.to_builtins(
        [
            world.tables.workspace_holds,
            [one.holds for one in world.projects.values()],
            [one.holds for one in world.tasks.values() if one.holds],
            [(one.id, one.role, one.holds) for one in world.agents.values()],
            [world.tokens, world.api_keys],
            [project.completion, project.gate, project.token_cap, project.cost_cap_microusd],
            [
                world.tasks["T-2"],
                world.assignments["T-2"],
                world.tasks["T-3"],
                world.agents["A-bob"],
            ],
        ],
        str_keys=True,
    )


async def test_words_change_nothing_privileged_and_come_back_as_words_of_their_author(
    board: Board,
) -> None:
    stack, ada, bob = board.stack, board.tokens["Ada"], board.tokens["Bob"]
    before = privileged(stack)
    texts = itertools.cycle(INJECTIONS)
    said = [(place, ada) for place in PLACES]
    said += [(place, LEAD) for place in PLACES if place.operation.name in OF_TASKS]
    sent: set[str] = set()
    for place, token in sorted(said, key=lambda one: one[0].operation.name in ENDING):
        for text in itertools.islice(texts, 5):
            answer = await _asked(board, place.operation, body_of(place, text), token)
            sent |= {text} if "code" not in answer else set()
    assert privileged(stack) == before
    assert len(sent) > 150
    await stack.ingress.reach(stack.position)
    shown: set[str] = set()
    for operation, token in itertools.product(QUERIES, (bob, ADMIN)):
        body = {name: value for name, value in IDS.items() if name in path_fields(operation)}
        answer = await _asked(board, operation, body, token)
        for way, beside in _shown(answer, sent):
            assert not OURS & set(way), (operation.name, way)
            assert beside & SAYS_WHOSE, (operation.name, way)
            shown.add(operation.name)
    assert {"get_task_context", "get_task_history", "list_blockers", "search_tasks"} <= shown


async def _asked(board: Board, operation: Operation, body: Json, token: str) -> Json:
    """Answer of a call, in which no secret is."""
    path = operation.path
    for name in path_fields(operation):
        path = path.replace("{" + name + "}", str(body.pop(name)))
    more = {"params": body} if operation.method in ("GET", "DELETE") else {"json": body}
    response = await board.stack.call(operation.method, path, token, **more)
    assert response.status_code < 500, (operation.name, response.text)
    secrets = (LEAD, *board.tokens.values())  # one of the texts guesses the administrator's
    assert not [one for one in secrets if one in response.text], (operation.name, body)
    answer: Json = response.json()
    return answer


def _shown(
    value: Any, texts: set[str], way: tuple[str, ...] = (), beside: AbstractSet[str] = frozenset()
) -> Iterator[tuple[tuple[str, ...], AbstractSet[str]]]:
    """Where texts stand in an answer: the names on the way, and all fields beside those."""
    if isinstance(value, dict):
        for name, one in value.items():
            yield from _shown(one, texts, (*way, name), beside | value.keys())
    elif isinstance(value, list):
        for one in value:
            yield from _shown(one, texts, way, beside)
    elif isinstance(value, str) and any(text.strip() in value for text in texts):
        yield way, beside

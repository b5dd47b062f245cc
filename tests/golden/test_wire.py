"""A client of an earlier release still works with this server.

Two golden files a release, written once and never changed. ``wire_v1.jsonl`` is a conversation:
every request as the release's own client sent it, and what it was answered. ``openapi_v1.json`` is
the contract in full, for the fields that no conversation touches. To write the next ones, give
their version to `write` from a Python prompt.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from pm_agent.adapters.journal_memory import MemoryJournal
from pm_agent.api.http import build_app
from pm_agent.api.openapi import REFERENCE, document
from pm_agent.api.operations import OPERATIONS
from pm_agent.api.routes import Routes
from pm_agent.bootstrap import engine_builder
from pm_agent.client import ApiError, AsyncClient
from pm_agent.domain.access import IssueToken
from pm_agent.domain.envelope import SYSTEM, Principal
from pm_agent.features.assignment.scoring import FactorsScorer
from pm_agent.kernel.types import Policy
from pm_agent.runtime.clock import SystemClock
from pm_agent.runtime.coordinator_loop import CoordinatorLoop
from pm_agent.runtime.ingress import Ingress
from pm_agent.runtime.secret import digest_of
from tests.golden.test_golden import keep

FOLDER = Path(__file__).parent
Json = dict[str, Any]
OWNERS = {
    "secret-of-root": Principal("person", "root", "admin"),
    "secret-of-ada": Principal("agent", "A-ada"),
    "secret-of-bob": Principal("agent", "A-bob"),
}
# Fields whose values a client acts on; of all others it relies on the type.
ACTED_ON = frozenset(
    {"outcome", "state", "code", "status", "task_id", "agent_id", "project_id", "blocker_id"}
    | {"lease_token", "attempt", "percent", "created", "logged"}
)


class Exchange(msgspec.Struct, kw_only=True):
    """One request and its answer."""

    operation: str
    method: str
    path: str  # with its query
    token: str
    body: Json | None = None
    status: int
    reply: Json


# -- the server, and the conversation --------------------------------------------------------------


@asynccontextmanager
async def serving() -> AsyncIterator[httpx.ASGITransport]:
    """Run an empty workspace that knows the three tokens."""
    build = engine_builder(Policy(exploration=0.0), FactorsScorer(), seed=1)
    loop = CoordinatorLoop(MemoryJournal(), build, SystemClock())
    await loop.start()
    issue = [
        IssueToken(
            request_id=secret, principal=SYSTEM, sha256=digest_of(secret), owner=owner, label=""
        )
        for secret, owner in OWNERS.items()
    ]
    await loop.submit([*issue], [])
    ingress = Ingress(loop, SystemClock())
    app = build_app(ingress, mcp=False)
    async with app.lifespan():
        await ingress.reach(len(OWNERS))
        yield httpx.ASGITransport(app=app)
    await loop.stop()


async def converse(root: AsyncClient, ada: AsyncClient, bob: AsyncClient) -> None:
    """Use every operation, and meet the refusals that clients act on."""
    web = await _begin(root, ada, bob)
    task = await _work(root, ada, bob, web)
    await _judge(root, ada, task)
    await _plan_and_look(root, web, task)
    await root.hand_over(drain_s=0)
    root.patience_s = 0.0
    await refusal(root.create_task(web, title="Late"))


async def _begin(root: AsyncClient, ada: AsyncClient, bob: AsyncClient) -> str:
    web: str = (await root.create_project("Web", completion="person")).project_id
    await root.update_project(web, max_in_progress=9)
    await root.list_projects()
    skills: list[Any] = ["python", {"name": "sql", "level": 4}]
    await ada.register_agent("Ada", skills=skills, capacity=2)
    await root.register_agent("Cleo", project_ids=[web])
    await refusal(bob.request_next_task("A-bob"))
    await bob.register_agent("Bob")
    await ada.heartbeat_agent("A-ada")
    nothing = await ada.request_next_task("A-ada")
    assert nothing.outcome == "none"
    assert (await ada.wait_for_task("A-ada", timeout_s=0)).outcome == "waiting"
    return web


async def _work(root: AsyncClient, ada: AsyncClient, bob: AsyncClient, web: str) -> str:
    made = await root.create_task(
        web,
        title="Write the API",
        key="api",
        description="All of it.",
        priority="high",
        skills=["python"],
        estimate_min=30,
        acceptance_criteria=["It answers."],
        labels=["core"],
        needs_approval=True,
    )
    await root.update_task(made.task_id, title="Write the whole API", priority="urgent")
    await root.approve_task(made.task_id)
    got = await ada.wait_for_task("A-ada", project_id=web)
    assert got.outcome == "assigned"
    task: str = got.task_id
    mine: Json = {"lease_token": got.lease_token}
    await ada.report_task_progress(
        task, **mine, percent=40, note="Half.", where="api", usage={"tokens": 9, "cost_usd": 0.1}
    )
    await refusal(ada.report_task_progress(task, lease_token=99, percent=50))
    await refusal(bob.report_task_progress(task, **mine, percent=50))
    await refusal(ada.report_task_progress(task, **mine, percent=101))
    await refusal(ada.get_task_context("T-99"))
    await refusal(ada.create_project("Mine"))
    await ada.log_decision(task, **mine, decision="JSON only.")
    await ada.log_artifact(task, **mine, name="spec", uri="docs/api.md", note="A draft.")
    stuck = await ada.report_blocker(task, **mine, description="Which port?", severity="low")
    await root.resolve_blocker(stuck.blocker_id, resolution="8000.")
    await ada.get_task_context(task, response_format="detailed")
    await ada.explain_assignment(task)
    await ada.get_agent_status("A-ada")
    await ada.release_task(task, **mine, note="Later.")
    await refusal(ada.complete_task(task, **mine, summary="Late."))
    return task


async def _judge(root: AsyncClient, ada: AsyncClient, task: str) -> None:
    got = await ada.request_next_task("A-ada")
    mine: Json = {"lease_token": got.lease_token}
    evidence = {"commit": "4f2a91c", "branch": "api", "links": ["https://example.org/1"]}
    await ada.complete_task(task, **mine, summary="Done.", evidence=evidence)
    await root.reject_task(task, reasons=["No tests."], report="See CI.")
    await root.lift_hold(scope="task", target_id=task)
    got = await ada.request_next_task("A-ada")
    await ada.complete_task(task, lease_token=got.lease_token, summary="With tests.")
    await root.approve_task(task, report="Good.")
    await root.reopen_task(task, reason="A fault was found.")
    await root.cancel_task(task, reason="Not needed.")


async def _plan_and_look(root: AsyncClient, web: str, task: str) -> None:
    drafts: list[Json] = [{"title": "One", "key": "1"}, {"title": "Two", "dependencies": ["1"]}]
    await root.import_tasks(web, drafts)
    await root.place_hold(scope="project", target_id=web, kind="paused", reason="A holiday.")
    await root.search_tasks(project_id=web, state="open", limit=1)
    await root.get_project_status(web)
    await root.lift_hold(scope="project", target_id=web)
    await root.list_agents(limit=2)
    await root.get_task_history(task, limit=5)
    await root.get_status()
    owner = {"kind": "person", "id": "pat", "role": "lead"}
    issued = await root.issue_token(owner=owner, label="laptop")
    await root.revoke_token(digest_of("secret-of-bob"))
    assert len(issued.sha256) == len(digest_of(""))


async def refusal(call: Any) -> None:
    with pytest.raises(ApiError):
        await call


# -- writing ---------------------------------------------------------------------------------------


class Recorder(httpx.AsyncBaseTransport):
    """Passes requests on, and keeps them with their answers."""

    def __init__(self, inner: httpx.AsyncBaseTransport, exchanges: list[Exchange]) -> None:
        self._inner = inner
        self._exchanges = exchanges

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._inner.handle_async_request(request)
        reply = json.loads(await response.aread())
        reply |= {name: "pma_" for name in ("token", "access_token") if name in reply}
        operation, _ = Routes(OPERATIONS).find(request.url.path, request.method)
        self._exchanges.append(
            Exchange(
                operation=operation.name,
                method=request.method,
                path=request.url.raw_path.decode(),
                token=request.headers["authorization"].removeprefix("Bearer "),
                body=json.loads(request.content) if request.content else None,
                status=response.status_code,
                reply=reply,
            )
        )
        return response


async def recorded() -> list[Exchange]:
    exchanges: list[Exchange] = []
    async with serving() as transport:
        clients = [
            AsyncClient("http://localhost", secret, transport=Recorder(transport, exchanges))
            for secret in OWNERS
        ]
        await converse(*clients)
        for client in clients:
            await client.aclose()
    return exchanges


def write(version: str) -> None:
    """Write both golden files of a release, such as ``v2``."""
    exchanges = asyncio.run(recorded())
    assert {e.operation for e in exchanges} == {o.name for o in OPERATIONS}
    keep(f"wire_{version}.jsonl", b"".join(msgspec.json.encode(e) + b"\n" for e in exchanges))
    contract = json.dumps(document(version), indent=1, sort_keys=True) + "\n"
    keep(f"openapi_{version}.json", contract.encode())


# -- what an old conversation is answered today ----------------------------------------------------


def missing(then: Any, now: Any, where: str) -> Iterator[str]:
    """Say what a client of then would miss in an answer of now."""
    if isinstance(then, dict):
        if not isinstance(now, dict):
            yield f"{where} is no object"
            return
        for name, value in then.items():
            if name not in now:
                yield f"{where}.{name} is missing"
            elif name in ACTED_ON and now[name] != value:
                yield f"{where}.{name} was {value!r} and is {now[name]!r}"
            else:
                yield from missing(value, now[name], f"{where}.{name}")
    elif isinstance(then, list):
        if not isinstance(now, list) or bool(then) > bool(now):
            yield f"{where} is no list, or empty"
        elif then:
            yield from missing(then[0], now[0], f"{where}[0]")
    elif kind_of(then) != kind_of(now):
        yield f"{where} was {then!r} and is {now!r}"


def kind_of(value: Any) -> str:
    """JSON's own types: a whole number may get a fraction."""
    return "number" if type(value) in (int, float) else type(value).__name__


def conversation(path: Path) -> list[Exchange]:
    return [msgspec.json.decode(line, type=Exchange) for line in path.read_bytes().splitlines()]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("wire_*.jsonl")), ids=lambda path: path.stem)
async def test_an_old_client_is_answered_as_it_was(path: Path) -> None:
    problems, position = [], "0"
    async with serving() as transport:
        http = httpx.AsyncClient(transport=transport, base_url="http://localhost")
        for number, then in enumerate(conversation(path), start=1):
            headers = {"Authorization": f"Bearer {then.token}", "X-PM-Position": position}
            now = await http.request(then.method, then.path, headers=headers, json=then.body)
            position = now.headers.get("X-PM-Position", position)
            where = f"{path.name}:{number} {then.operation}"
            if now.status_code != then.status:
                problems.append(f"{where}: status {now.status_code}, was {then.status}")
            problems += missing(then.reply, now.json(), where)
        await http.aclose()
    assert problems == []


# -- what an old contract promised -----------------------------------------------------------------


class Contracts:
    """Two OpenAPI documents, and what the newer one takes away."""

    def __init__(self, then: Json, now: Json) -> None:
        self._then, self._now = then, now
        self._seen: set[tuple[str, str]] = set()

    def broken(self) -> Iterator[str]:
        for path, methods in self._then["paths"].items():
            for method, then in methods.items():
                now = self._now["paths"].get(path, {}).get(method)
                where = f"{method} {path}"
                if now is None:
                    yield f"{where} is gone"
                    continue
                yield from self._parameters(then, now, where)
                yield from self._body(then, now, where)
                yield from self._responses(then, now, where)

    def _parameters(self, then: Json, now: Json, where: str) -> Iterator[str]:
        known = {(p["in"], p["name"]): p for p in then["parameters"]}
        for key, parameter in {(p["in"], p["name"]): p for p in now["parameters"]}.items():
            if parameter["required"] and key not in known:
                yield f"{where}: {key} is required now"
        for key in known.keys() - {(p["in"], p["name"]) for p in now["parameters"]}:
            yield f"{where}: {key} is gone"

    def _body(self, then: Json, now: Json, where: str) -> Iterator[str]:
        for kind, content in then.get("requestBody", {}).get("content", {}).items():
            taken = now.get("requestBody", {}).get("content", {}).get(kind)
            if taken is None:
                yield f"{where}: {kind} is not taken any more"
            else:
                yield from self._takes_less(content["schema"], taken["schema"], where)

    def _responses(self, then: Json, now: Json, where: str) -> Iterator[str]:
        for status, response in then["responses"].items():
            if not status.startswith("2"):
                continue
            if status not in now["responses"]:
                yield f"{where}: it does not answer {status} any more"
                continue
            for kind, content in response["content"].items():
                given = now["responses"][status]["content"][kind]["schema"]
                yield from self._gives_less(content["schema"], given, f"{where}: result")

    def _both(self, then: Json, now: Json) -> tuple[Json, Json]:
        return _at(self._then, then), _at(self._now, now)

    def _takes_less(self, then: Json, now: Json, where: str) -> Iterator[str]:
        """Walk what is sent: nothing may be newly required, gone, or narrower."""
        if self._is_seen(then, f"in {now.get('$ref', '')}"):
            return
        then, now = self._both(then, now)
        for name in set(now.get("required", ())) - set(then.get("required", ())):
            yield f"{where}.{name} is required now"
        for name, field in then.get("properties", {}).items():
            if name not in now.get("properties", {}):
                yield f"{where}.{name} is not taken any more"
            else:
                yield from self._takes_less(field, now["properties"][name], f"{where}.{name}")
        if "enum" in now:
            for word in set(then.get("enum", ())) - set(now["enum"]):
                yield f"{where}: {word!r} is not taken any more"
        for limit in ("maxLength", "maxItems", "maximum", "minLength", "minItems", "minimum"):
            if limit in now and limit not in then:
                yield f"{where}: {limit} is new"
            elif limit in now and (now[limit] - then[limit]) * (-1 if limit[1] == "a" else 1) > 0:
                yield f"{where}: {limit} is tighter"
        yield from self._parts(then, now, where, self._takes_less)

    def _gives_less(self, then: Json, now: Json, where: str) -> Iterator[str]:
        """Walk what is answered: nothing may be gone, or become optional."""
        if self._is_seen(then, f"out {now.get('$ref', '')}"):
            return
        then, now = self._both(then, now)
        for name, field in then.get("properties", {}).items():
            if name not in now.get("properties", {}):
                yield f"{where}.{name} is gone"
            else:
                yield from self._gives_less(field, now["properties"][name], f"{where}.{name}")
        for name in set(then.get("required", ())) - set(now.get("required", ())):
            yield f"{where}.{name} may be missing now"
        yield from self._parts(then, now, where, self._gives_less)

    def _parts(self, then: Json, now: Json, where: str, walk: Any) -> Iterator[str]:
        if then.get("type") != now.get("type") and "anyOf" not in now:
            yield f"{where} was {then.get('type')} and is {now.get('type')}"
        if "items" in then and "items" in now:
            yield from walk(then["items"], now["items"], f"{where}[]")
        for one, other in zip(then.get("anyOf", ()), now.get("anyOf", ()), strict=False):
            yield from walk(one, other, where)

    def _is_seen(self, then: Json, way: str) -> bool:
        reference = then.get("$ref")
        if reference is None:
            return False
        key = (reference, way)
        is_seen = key in self._seen
        self._seen.add(key)
        return is_seen


def _at(contract: Json, schema: Json) -> Json:
    """Return a schema itself, whatever refers to it."""
    reference = schema.get("$ref")
    if reference is None:
        return schema
    found: Json = contract["components"]["schemas"][reference.removeprefix(REFERENCE)]
    return found


@pytest.mark.parametrize("path", sorted(FOLDER.glob("openapi_*.json")), ids=lambda path: path.stem)
def test_an_old_contract_is_kept(path: Path) -> None:
    then = json.loads(path.read_text())
    now = json.loads(json.dumps(document("now")))
    assert list(Contracts(then, now).broken()) == []


# -- the checks themselves see what they should ----------------------------------------------------


def test_a_field_that_is_gone_or_changed_is_missed() -> None:
    then = {"task_id": "T-1", "percent": 5, "notes": [{"text": "a"}], "cost": 1}
    assert list(missing(then, {**then, "cost": 1.5, "new": None}, "r")) == []
    assert list(missing(then, {**then, "task_id": "T-2"}, "r")) == [
        "r.task_id was 'T-1' and is 'T-2'"
    ]
    assert list(missing(then, {**then, "notes": [{}]}, "r")) == ["r.notes[0].text is missing"]
    assert list(missing(then, {**then, "notes": []}, "r")) == ["r.notes is no list, or empty"]
    assert list(missing(then, {**then, "cost": "1"}, "r")) == ["r.cost was 1 and is '1'"]


def test_a_contract_that_takes_or_gives_less_is_broken() -> None:
    def broken(change: Any) -> list[str]:
        now = json.loads(json.dumps(document("now")))
        change(now["paths"], now["components"]["schemas"])
        return list(Contracts(json.loads(json.dumps(document("now"))), now).broken())

    def set_in(schemas: Json, name: str, **fields: Any) -> None:
        schemas["ReportProgressInput"]["properties"][name] |= fields

    assert broken(lambda *_: None) == []
    assert broken(lambda paths, _: paths.pop("/v1/status")) == ["get /v1/status is gone"]
    where = "post /v1/tasks/{task_id}/progress"
    gone = broken(lambda _, schemas: schemas["ReportProgressInput"]["properties"].pop("note"))
    assert gone == [f"{where}.note is not taken any more"]
    needed = broken(lambda _, schemas: schemas["ReportProgressInput"]["required"].append("note"))
    assert needed == [f"{where}.note is required now"]
    tight = broken(lambda _, schemas: set_in(schemas, "note", maxLength=5))
    assert tight == [f"{where}.note: maxLength is tighter"]
    less = broken(lambda _, schemas: schemas["ProgressResult"]["properties"].pop("percent"))
    assert less[0] == f"{where}: result.percent is gone"

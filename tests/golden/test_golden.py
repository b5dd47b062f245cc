"""Journals of earlier releases still fold to the world they folded to then.

A golden journal is written once and never changed; a new release adds a file. To write the next
one, give its name to `write` from a Python prompt, and commit the file. ``MANIFEST`` names all
golden files with the release they are of; docs/upgrading.md has the whole procedure.
"""

import importlib.metadata
import itertools
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pm_agent.domain.access import IssueToken, RevokeToken
from pm_agent.domain.envelope import SYSTEM
from pm_agent.domain.instruction import AbandonEffect, StoreInstructions
from pm_agent.domain.project import UpdateProject
from pm_agent.domain.task import (
    CancelTask,
    LogArtifact,
    LogDecision,
    ReopenTask,
    SetCriticalPaths,
    UpdateTask,
)
from pm_agent.domain.upcast import EVENT_TYPES
from pm_agent.domain.world import World
from pm_agent.kernel.chain import unseal
from pm_agent.kernel.invariants import Watch, check_replay, check_world
from pm_agent.ports import StoredEvent
from tests.driver_stream import record, through_engine
from tests.scenario import PERSON, Scenario, a_project, an_agent, complete, release, request_id

FOLDER = Path(__file__).parent


class Golden(msgspec.Struct):
    """First line of a golden file: what the events below it fold to."""

    fingerprint: str
    n_events: int


def write(name: str) -> None:
    """Write a new golden journal: a line about its world, then one line an event."""
    scenario = Scenario()
    through_engine(record(seed=2026, n_turns=60), scenario)
    _rest(scenario)
    journal = scenario.journal
    head = Golden(scenario.engine.world.fingerprint(), len(journal))
    keep(f"{name}.jsonl", b"".join(msgspec.json.encode(one) + b"\n" for one in (head, *journal)))


def keep(name: str, content: bytes) -> None:
    """Write a golden file of this release, and its line in the manifest."""
    path = FOLDER / name
    assert not path.exists(), f"{path} is golden: it is never changed"
    path.write_bytes(content)
    line = f"{sha256(content).hexdigest()}  {name}  {importlib.metadata.version('pm-agent')}\n"
    with (FOLDER / "MANIFEST").open("a") as manifest:
        manifest.write(line)


def _rest(scenario: Scenario) -> None:
    """Events of the kinds that the recorded stream does not bring."""

    def person() -> dict[str, Any]:
        return {"request_id": request_id(), "principal": PERSON}

    scenario.given(an_agent(capacity=9), a_project("P-gold", cost_cap_microusd=10**9))
    first = scenario.new_task("first", "P-gold", description="a text", estimate_min=30)
    second = scenario.new_task("second", "P-gold", dependencies=(first,), estimate_min=60)
    scenario.given(
        UpdateTask(**person(), task_id=first, priority=3, labels=("api",)),
        UpdateProject(**person(), project_id="P-gold", max_in_progress=3),
        SetCriticalPaths(**person(), project_id="P-gold", minutes={first: 60}),
        LogDecision(**person(), task_id=first, decision="dates are UTC", affects=(second,)),
        LogArtifact(**person(), task_id=first, name="api", uri="docs/api.md", note="a draft"),
        IssueToken(**person(), sha256="ab" * 32, owner=PERSON, label="laptop"),
        RevokeToken(**person(), sha256="ab" * 32),
    )
    given = scenario.assigned(project_id="P-gold")
    answer = _effect(scenario, first)
    scenario.given(
        StoreInstructions(**answer, lease_token=given.lease_token, text="1. Read.", writer="rules"),
        complete(first, given.lease_token),
    )
    scenario.assigned(project_id="P-gold")
    scenario.given(AbandonEffect(**_effect(scenario, second), reason="no answer"))
    scenario.after(minutes=21)  # A-ada is lost
    scenario.given(CancelTask(**person(), task_id=second, reason="no need"))
    scenario.given(ReopenTask(**person(), task_id=second, reason="needed after all"))
    agents = itertools.cycle(["A-bob", "A-ada"])
    while scenario.state(second) != "dead_letter":
        scenario.after(minutes=6)
        given = scenario.assigned(agent := next(agents), "P-gold")
        scenario.given(release(second, given.lease_token, agent, reason="failed"))
    scenario.after(days=8)
    scenario.verify()


def _effect(scenario: Scenario, task_id: str) -> dict[str, Any]:
    """What an answer to the pending effect of a task has to name."""
    effects = scenario.engine.outbox.pending.values()
    effect_id = next(e.effect_id for e in effects if e.task_id == task_id)
    return {
        "request_id": request_id(),
        "principal": SYSTEM,
        "effect_id": effect_id,
        "task_id": task_id,
    }


def read(path: Path) -> tuple[Golden, list[StoredEvent]]:
    head, *lines = path.read_bytes().splitlines()
    events = [msgspec.json.decode(line, type=StoredEvent) for line in lines]
    return msgspec.json.decode(head, type=Golden), events


@pytest.mark.parametrize("path", sorted(FOLDER.glob("v*.jsonl")), ids=lambda path: path.stem)
def test_a_golden_journal_folds_to_its_recorded_world(path: Path) -> None:
    golden, events = read(path)
    assert len(events) == golden.n_events
    assert check_replay(events, golden.fingerprint) == []


@pytest.mark.parametrize("path", sorted(FOLDER.glob("v*.jsonl")), ids=lambda path: path.stem)
def test_a_golden_journal_keeps_every_promise(path: Path) -> None:
    _, events = read(path)
    watch, world = Watch(), World()
    for stored in events:
        event = unseal(stored)
        assert watch.observe(event) == []
        world.apply(event)
    assert check_world(world) == []


def test_golden_files_are_never_changed_and_none_is_missing() -> None:
    listed = {}
    for line in (FOLDER / "MANIFEST").read_text().splitlines():
        digest, name, _ = line.split()
        listed[name] = digest
    kept = {path.name for path in FOLDER.iterdir() if path.suffix in (".jsonl", ".json")}
    assert set(listed) == kept
    for name, digest in listed.items():
        assert sha256((FOLDER / name).read_bytes()).hexdigest() == digest, name


def test_this_release_has_its_golden_journal_and_wire() -> None:
    lines = [line.split() for line in (FOLDER / "MANIFEST").read_text().splitlines()]
    release = importlib.metadata.version("pm-agent")
    kinds = {name.partition("_")[0] for _, name, version in lines if version == release}
    assert {"wire", "openapi"} <= kinds
    assert kinds - {"wire", "openapi"}, f"no golden journal of {release}"


def test_the_first_golden_journal_holds_every_kind_of_its_time() -> None:
    _, events = read(FOLDER / "v1.jsonl")
    kinds = {stored.kind for stored in events}
    assert kinds <= set(EVENT_TYPES)
    assert len(kinds) == 27

"""``pm-agent why | verify | replay | export``: what happened, and proof that it did.

They read the journal itself; the server need not run, and may.
"""

import asyncio
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from pm_agent.bootstrap import open_journal_readonly
from pm_agent.catalog import CATALOG
from pm_agent.cli.console import (
    DataOption,
    JsonOption,
    err,
    out,
    print_json,
    refusals,
    settings_with,
)
from pm_agent.domain.assignment import TaskAssigned
from pm_agent.domain.errors import UnknownTask
from pm_agent.domain.time import iso
from pm_agent.domain.world import Tables, World
from pm_agent.features.assignment.scoring import SCORERS
from pm_agent.features.assignment.view import Explanation, differences, explain
from pm_agent.kernel import snapshot as snapshots
from pm_agent.kernel.chain import is_intact, unseal
from pm_agent.kernel.engine import Engine
from pm_agent.kernel.invariants import Violation, Watch, check_world
from pm_agent.kernel.types import Policy, body_ref
from pm_agent.ports import GENESIS, Journal
from pm_agent.settings import Settings

PAGE = 2_000


class Report(msgspec.Struct):
    """What ``verify`` found."""

    journal: str
    events: int = 0
    assignments: int = 0
    double_assignments: int = 0
    bodies_erased: int = 0
    head_sha256: str = ""
    fingerprint: str = ""
    snapshot_position: int = 0
    problems: list[str] = []

    @property
    def is_clean(self) -> bool:
        return not self.problems


def why(
    task: Annotated[str, typer.Argument(help="T-… whose assignment to explain.")],
    attempt: Annotated[int, typer.Option(help="Which attempt; 0 is the newest.")] = 0,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Explain an assignment from its record, and compute it again; exit 1 on a difference."""
    settings = settings_with(data=data)
    with refusals():
        found = asyncio.run(_explanation(settings, task, attempt))
    if as_json:
        print_json(found)
    else:
        _print_explanation(found)
    if not found.recomputed:
        raise typer.Exit(1)


def verify(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Recompute chain, invariants, decisions and replay of the journal; exit 1 on a problem."""
    settings = settings_with(data=data)
    with refusals():
        report = asyncio.run(verify_journal(settings))
    if as_json:
        print_json(report)
    else:
        out.print(f"journal      {report.journal}")
        out.print(f"events       {report.events}, chain head {report.head_sha256[:16]}…")
        out.print(
            f"assignments  {report.assignments}, {report.double_assignments} double, "
            "each recomputed from its record"
        )
        out.print(f"world        {report.fingerprint[:16]}… (replay, and snapshot + tail)")
        if report.bodies_erased:
            out.print(f"texts        {report.bodies_erased} erased")
        for problem in report.problems:
            err.print(f"[red]problem[/]      {problem}", highlight=False)
        out.print("[green]verified[/]" if report.is_clean else "[red]NOT verified[/]")
    if not report.is_clean:
        raise typer.Exit(1)


def replay(
    data: DataOption = None,
    to: Annotated[int, typer.Option(help="Stop at this position; 0 is the end.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Fold the journal from the beginning and show the world it gives."""
    settings = settings_with(data=data)
    with refusals():
        engine = asyncio.run(_replayed(settings, to))
    world = engine.world
    counts = {p: {s: n for s, n in c.items() if n} for p, c in world.counts.items()}
    summary = {
        "position": world.position,
        "at": iso(world.tables.now_us) if world.position else "",
        "epoch": world.tables.epoch,
        "fingerprint": world.fingerprint(),
        "tasks": counts,
        "ready": len(world.ready),
        "agents": len(world.agents),
        "assignments": len(world.assignments),
        "pending_effects": len(engine.outbox.pending),
    }
    if as_json:
        print_json(summary)
    else:
        for name, value in summary.items():
            out.print(f"{name:16} {value}")


def export(
    target: Annotated[Path, typer.Argument(help="New file for the copy.")],
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a consistent copy of the journal while it is in use."""
    settings = settings_with(data=data)
    with refusals():
        position = asyncio.run(_export(settings, target))
    if as_json:
        print_json({"path": str(target), "position": position})
    else:
        out.print(f"{target}: {position} events. Check it with 'pm-agent verify --data FOLDER'.")


async def verify_journal(settings: Settings) -> Report:
    """Check everything that the journal alone can prove."""
    journal = open_journal_readonly(settings.journal_path, settings.workspace)
    report = Report(journal=str(settings.journal_path))
    try:
        engine = _fresh_engine(settings)
        watch = Watch(recompute=differences)
        previous, expected = GENESIS, 1
        total = (await journal.head()).position
        with _progress() as progress:
            bar = progress.add_task("verify", total=total)
            while page := await journal.read(engine.world.position, PAGE):
                for stored in page:
                    if stored.position != expected:
                        report.problems.append(f"position {expected} is missing")
                        return report
                    if not is_intact(stored, previous):
                        report.problems.append(f"chain broken at position {stored.position}")
                        return report
                    previous, expected = stored.hash, expected + 1
                    event = unseal(stored)
                    _note(report, watch.observe(event))
                    engine.replay([stored])
                    report.assignments += isinstance(event.data, TaskAssigned)
                progress.update(bar, completed=expected - 1)
        _note(report, watch.compare(engine.world))
        _note(report, check_world(engine.world))
        report.events = expected - 1
        report.head_sha256 = previous.hex()
        report.fingerprint = engine.world.fingerprint()
        await _check_snapshot(journal, report, settings)
        await _check_bodies(journal, report)
    finally:
        await journal.close()
    return report


async def _check_snapshot(journal: Journal, report: Report, settings: Settings) -> None:
    """Replay from the newest snapshot must give the same world."""
    saved = await journal.load_snapshot(snapshots.SCHEMA_VERSION)
    if saved is None:
        return
    report.snapshot_position = saved.position
    world, outbox = snapshots.load(saved)
    engine = _fresh_engine(settings)
    engine.world, engine.outbox = world, outbox
    while page := await journal.read(engine.world.position, PAGE):
        engine.replay(page)
    if engine.world.fingerprint() != report.fingerprint:
        report.problems.append(
            f"replay: snapshot {saved.position} and the events after it give another world"
        )


async def _check_bodies(journal: Journal, report: Report) -> None:
    """Texts must match the salted hashes in the events; erased ones are counted."""
    after = 0
    while page := await journal.read(after, PAGE):
        after = page[-1].position
        refs = [ref for stored in page for ref in _refs(stored.payload)]
        found = await journal.read_bodies(refs)
        report.bodies_erased += len(set(refs)) - len(found)
        for ref, body in found.items():
            if body_ref(body.salt, body.text) != ref:
                report.problems.append(f"text {ref[:16]}… does not match its hash")


def _refs(payload: bytes) -> list[str]:
    raw: dict[str, object] = msgspec.json.decode(payload)
    names = ("description", "note", "summary", "report", "resolution", "decision", "text")
    return [
        value
        for n in names
        if isinstance(value := raw.get(n), str) and len(value) == 64  # noqa: PLR2004 - hex SHA-256
    ]


def _note(report: Report, found: list[Violation]) -> None:
    for violation in found:
        report.problems.append(f"{violation.invariant}: {violation.detail}")
        if violation.invariant == "single-lease":
            report.double_assignments += 1


async def _replayed(settings: Settings, to: int) -> Engine:
    journal = open_journal_readonly(settings.journal_path, settings.workspace)
    try:
        engine = _fresh_engine(settings)
        total = to or (await journal.head()).position
        with _progress() as progress:
            bar = progress.add_task("replay", total=total)
            while engine.world.position < total:
                left = total - engine.world.position
                page = await journal.read(engine.world.position, min(PAGE, left))
                if not page:
                    break
                engine.replay(page)
                progress.update(bar, completed=engine.world.position)
    finally:
        await journal.close()
    return engine


async def _explanation(settings: Settings, task: str, attempt: int) -> Explanation:
    journal = open_journal_readonly(settings.journal_path, settings.workspace)
    try:
        for stored in reversed(await journal.read_subject(task, 10_000)):
            if stored.kind != "TaskAssigned":
                continue
            event = unseal(stored)
            assert isinstance(event.data, TaskAssigned)
            if attempt in (0, event.data.attempt):
                return explain(event, event.data)
    finally:
        await journal.close()
    message = f"Task {task} was never assigned" + (f" in attempt {attempt}." if attempt else ".")
    raise UnknownTask(message, "Check the id with 'pm-agent tasks'.")


async def _export(settings: Settings, target: Path) -> int:
    journal = open_journal_readonly(settings.journal_path, settings.workspace)
    try:
        await journal.backup(str(target))
        return (await journal.head()).position
    finally:
        await journal.close()


def _fresh_engine(settings: Settings) -> Engine:
    world = World(Tables(workspace_id=settings.workspace))
    return Engine(CATALOG, SCORERS["factors"](), Policy(), world=world)


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} events"),
        TimeRemainingColumn(),
        console=err,
        transient=True,
    )


def _print_explanation(found: Explanation) -> None:
    out.print(
        f"[bold]{found.task_id}[/] went to [bold]{found.agent_id}[/] at {found.assigned_at}, "
        f"attempt {found.attempt}, lease token {found.lease_token}"
    )
    out.print(
        f"policy {found.policy} ({found.version}); rank {found.rank} of {found.n_candidates} "
        f"candidates, {found.n_eligible} eligible; propensity {found.propensity}, seed {found.seed}"
    )
    shown = [found.chosen, *found.next_best]
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    table.add_column("weight", justify="right", style="dim")
    for place, candidate in enumerate(shown):
        table.add_column(candidate.task_id, justify="right", style="bold" if place == 0 else None)
    table.add_row("score", "", *(f"{candidate.score:.3f}" for candidate in shown))
    for name, weight in found.weights.items():
        values = (f"{candidate.factors[name]:.2f}" for candidate in shown)
        table.add_row(name, f"{weight:g}", *values)
    out.print(table)
    for difference in found.differences:
        err.print(f"[red]difference[/] {difference}", highlight=False)
    out.print(
        "[green]recomputed: the record gives the same scores and the same choice[/]"
        if found.recomputed
        else "[red]the record does not recompute[/]"
    )

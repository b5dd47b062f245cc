"""``pm-agent why | verify | replay``: what happened, and proof that it did.

They read the journal itself; the server need not run, and may.
"""

import asyncio
import re
from collections.abc import Sequence
from typing import Annotated

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from pm_agent.bootstrap import journal_place, open_journal_readonly
from pm_agent.catalog import CATALOG
from pm_agent.cli.console import (
    DataOption,
    JsonOption,
    err,
    events_bar,
    out,
    print_json,
    refusals,
    settings_with,
)
from pm_agent.cli.verdict import late_lines
from pm_agent.domain.assignment import TaskAssigned
from pm_agent.domain.errors import JournalCorrupt, UnknownTask
from pm_agent.domain.tables import Tables
from pm_agent.domain.time import iso
from pm_agent.domain.world import World
from pm_agent.features.assignment.scoring import SCORERS
from pm_agent.features.assignment.view import (
    ExplainedExpectation,
    Explanation,
    ScorerOf,
    differences,
    explain,
)
from pm_agent.features.backlog.history import DeadLetter, dead_letter, history_refs
from pm_agent.features.backlog.late import LateWork, undecided_by
from pm_agent.kernel import snapshot as snapshots
from pm_agent.kernel.chain import is_intact, unseal
from pm_agent.kernel.engine import Engine
from pm_agent.kernel.invariants import Violation, Watch, check_world
from pm_agent.kernel.types import Policy, body_digest
from pm_agent.ports import GENESIS, Journal
from pm_agent.settings import Settings

PAGE = 2_000
NOTED = re.compile(r"[0-9a-f]{16,64}")  # a chain head, or its beginning as `verify` prints it
REF = re.compile(r"([0-9a-f]+\.)?[0-9a-f]{64}")  # of a text: the instant, and its salted SHA-256


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
    """Explain an assignment from its record, and compute it again; exit 1 on a difference.

    Of a dead letter the evidence is shown too: how its attempts ended, and where their work lies;
    and of late work that was kept, how to decide about it.
    """
    settings = settings_with(data=data)
    with refusals():
        found, dead, late = asyncio.run(_explanation(settings, task, attempt))
    if as_json:
        more: dict[str, object] = {"dead_letter": dead} if dead else {}
        more |= {"late_work": late} if late else {}
        print_json({**msgspec.to_builtins(found), **more})
    else:
        _print_explanation(found)
        if dead is not None:
            _print_dead_letter(dead)
        if late:
            out.print("", late_lines(late), sep="\n", highlight=False)
    if not found.recomputed:
        raise typer.Exit(1)


def verify(
    data: DataOption = None,
    head: Annotated[
        list[str] | None,
        typer.Option(
            help="A chain head that an earlier verify printed, kept elsewhere: all or its first "
            "16 digits or more. May be repeated. Shows whether the end was cut off since."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Recompute chain, invariants, decisions and replay of the journal; exit 1 on a problem."""
    settings = settings_with(data=data)
    noted = [one.lower().rstrip("…") for one in head or []]
    if not all(NOTED.fullmatch(one) for one in noted):
        raise typer.BadParameter("a head is 16 to 64 hexadecimal digits", param_hint="--head")
    with refusals():
        report = asyncio.run(verify_journal(settings, noted))
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


async def verify_journal(settings: Settings, noted: Sequence[str] = ()) -> Report:
    """Check everything that the journal alone can prove, and that it holds the heads noted before.

    A chain of hashes shows what was changed inside, not that whole events are gone from its very
    end: for that somebody outside has to remember a head.
    """
    journal = open_journal_readonly(settings)
    report = Report(journal=journal_place(settings))
    missing = set(noted)
    try:
        engine = _fresh_engine(settings)
        models = _models(settings)
        watch = Watch(recompute=lambda record, task_id: differences(record, task_id, models))
        previous, expected = GENESIS, 1
        total = (await journal.head()).position
        with events_bar("verify") as tell:
            while page := await journal.read(engine.world.position, PAGE):
                for stored in page:
                    if stored.position != expected:
                        report.problems.append(f"position {expected} is missing")
                        return report
                    if not is_intact(stored, previous):
                        report.problems.append(f"chain broken at position {stored.position}")
                        return report
                    previous, expected = stored.hash, expected + 1
                    if missing:
                        hexed = stored.hash.hex()
                        missing -= {one for one in missing if hexed.startswith(one)}
                    event = unseal(stored)
                    _note(report, watch.observe(event))
                    engine.replay([stored])
                    report.assignments += isinstance(event.data, TaskAssigned)
                tell(expected - 1, total)
        _note(report, watch.compare(engine.world))
        _note(report, check_world(engine.world))
        report.problems += [
            f"no event has the hash {one}…: events were cut off the end since it was noted, or "
            "this is another journal"
            for one in sorted(missing)
        ]
        report.events = expected - 1
        report.head_sha256 = previous.hex()
        report.fingerprint = engine.world.fingerprint()
        await _check_snapshot(journal, report, settings)
        await _check_bodies(journal, report)
        await _check_requests(journal, report)
    finally:
        await journal.close()
    return report


async def _check_requests(journal: Journal, report: Report) -> None:
    """Replies kept for retries stand in no chain; a journal that seals them says if one changed."""
    try:
        await journal.read_requests(0)
    except JournalCorrupt as error:
        report.problems.append(error.message)


async def _check_snapshot(journal: Journal, report: Report, settings: Settings) -> None:
    """Replay from the newest snapshot must give the same world."""
    saved = await journal.load_snapshot(snapshots.SCHEMA_VERSION)
    if saved is None:
        return
    report.snapshot_position = saved.position
    if not snapshots.is_whole(saved):
        report.problems.append(f"snapshot {saved.position} is damaged; a start does not use it")
        return
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
            if not ref.endswith(body_digest(body.salt, body.text)):
                report.problems.append(f"text {ref[:16]}… does not match its hash")


def _refs(payload: bytes) -> list[str]:
    raw: dict[str, object] = msgspec.json.decode(payload)
    names = ("description", "note", "summary", "report", "resolution", "decision", "text")
    return [value for n in names if isinstance(value := raw.get(n), str) and REF.fullmatch(value)]


def _note(report: Report, found: list[Violation]) -> None:
    for violation in found:
        report.problems.append(f"{violation.invariant}: {violation.detail}")
        if violation.invariant == "single-lease":
            report.double_assignments += 1


async def _replayed(settings: Settings, to: int) -> Engine:
    journal = open_journal_readonly(settings)
    try:
        engine = _fresh_engine(settings)
        total = to or (await journal.head()).position
        with events_bar("replay") as tell:
            while engine.world.position < total:
                left = total - engine.world.position
                page = await journal.read(engine.world.position, min(PAGE, left))
                if not page:
                    break
                engine.replay(page)
                tell(engine.world.position, total)
    finally:
        await journal.close()
    return engine


async def _explanation(
    settings: Settings, task: str, attempt: int
) -> tuple[Explanation, DeadLetter | None, list[LateWork]]:
    journal = open_journal_readonly(settings)
    try:
        events = [unseal(stored) for stored in await journal.read_subject(task, 10_000)]
        for event in reversed(events):
            if isinstance(event.data, TaskAssigned) and attempt in (0, event.data.attempt):
                bodies = await journal.read_bodies(history_refs(events))
                texts = {ref: body.text for ref, body in bodies.items()}
                models = _models(settings)
                explained = explain(event, event.data, models, events)
                return explained, dead_letter(events, texts), undecided_by(events)
    finally:
        await journal.close()
    message = f"Task {task} was never assigned" + (f" in attempt {attempt}." if attempt else ".")
    raise UnknownTask(message, "Check the id with 'pm-agent tasks'.")


def _models(settings: Settings) -> ScorerOf:
    """Learned scorers by version, from the registry beside the journal."""
    from actors.scorers import ModelShelf

    return ModelShelf(settings).scorer


def _fresh_engine(settings: Settings) -> Engine:
    world = World(Tables(workspace_id=settings.workspace))
    return Engine(CATALOG, SCORERS["factors"](), Policy(), world=world)


def _expected(told: ExplainedExpectation, reserved_usd: float) -> str:
    costs = f"${told.cost_usd:.2f} (${told.cost_low_usd:.2f} to ${told.cost_high_usd:.2f})"
    return (
        f"expected: accepted with {told.accepted:.0%}, {told.minutes:.0f} minutes of work "
        f"({told.minutes_low:.0f} to {told.minutes_high:.0f} in eight cases of ten), "
        f"{costs if told.cost_usd else 'cost unknown'}; ${reserved_usd:.2f} set aside"
    )


def _print_dead_letter(dead: DeadLetter) -> None:
    out.print(f"\n[red]dead letter[/] since {dead.at}: {dead.reason}")
    table = Table(box=None, pad_edge=False)
    for column in ("token", "agent", "ended", "%", "where", "last words"):
        table.add_column(column)
    for a in dead.attempts:
        table.add_row(
            str(a.lease_token), a.agent_id, a.outcome, str(a.percent), Text(a.where), Text(a.note)
        )
    for c in dead.candidates:
        where = " ".join((c.branch, c.commit, *c.links)).strip()
        table.add_row(
            str(c.lease_token), c.agent_id, "came too late", "100", Text(where), Text(c.summary)
        )
    out.print(table)


def _print_explanation(found: Explanation) -> None:
    out.print(
        f"[bold]{found.task_id}[/] went to [bold]{found.agent_id}[/] at {found.assigned_at}, "
        f"attempt {found.attempt}, lease token {found.lease_token}"
    )
    out.print(
        f"policy {found.policy} ({found.version}); rank {found.rank} of {found.n_candidates} "
        f"candidates, {found.n_eligible} eligible; propensity {found.propensity}, seed {found.seed}"
    )
    if found.matching is not None:
        out.print(
            f"matched with others: {found.matching.n_agents} waiting agents, "
            f"{found.matching.n_tasks} tasks, on the world at position {found.matching.tick}. "
            "The price of a task is what the others lose without it; no candidate has a higher "
            "score less price than the chosen one"
        )
    judged = found.assessment
    if judged is not None:
        stands_in = f", in a model's place ({judged.stands_in})" if judged.stands_in else ""
        prompt = f", {judged.prompt}, ${judged.cost_usd:.6f}" if judged.prompt else ""
        out.print(
            f"assessed before by {judged.by}{stands_in}{prompt}: level {judged.level}, "
            f"{judged.minutes} minutes; it counts where nothing was given",
            highlight=False,
        )
    if found.expected is not None:
        out.print(_expected(found.expected, found.reserved_usd), highlight=False)
    if found.shadow is not None:
        same = "the same" if found.shadow.task_id == found.task_id else found.shadow.task_id
        out.print(
            f"{found.shadow.version}, asked as a shadow, would have chosen {same} "
            f"(score {found.shadow.score:.3f})"
        )
    shown = [found.chosen, *found.next_best]
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    table.add_column("weight", justify="right", style="dim")
    for place, candidate in enumerate(shown):
        table.add_column(candidate.task_id, justify="right", style="bold" if place == 0 else None)
    table.add_row("score", "", *(f"{candidate.score:.3f}" for candidate in shown))
    if found.matching is not None:
        table.add_row("price", "", *(f"{candidate.price:.3f}" for candidate in shown))
        gains = (f"{candidate.score - candidate.price:.3f}" for candidate in shown)
        table.add_row("score less price", "", *gains)
    for name, weight in found.weights.items():
        values = (f"{candidate.factors[name]:.2f}" for candidate in shown)
        table.add_row(name, f"{weight:g}", *values)
    out.print(table)
    for difference in found.differences:
        err.print(f"[red]difference[/] {difference}", highlight=False)
    if found.rescored_by == "stored forecasts":
        out.print(
            f"[yellow]model {found.version} is not at hand[/]: its forecasts are those of the "
            "record; all that follows from them was computed again"
        )
    out.print(
        "[green]recomputed: the record gives the same scores and the same choice[/]"
        if found.recomputed
        else "[red]the record does not recompute[/]"
    )

"""Process faults on the whole system under load, and the proof that nothing promised was broken.

Agents in processes of their own work through a fault proxy on ``pm-agent up`` with Ray, while its
processes are killed and frozen, its network breaks and its disk fills. Every client keeps its own
history; at the end these are compared with the journal (`benchmarks.chaos_check`), and the journal
with itself (`pm-agent verify`). The same faults and checks on the roadmap's own design
(`benchmarks.chaos_zpopmax`) show that they can fail.
"""

import asyncio
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Literal

import msgspec

from benchmarks import chaos_database
from benchmarks.chaos_check import Verdict, check
from benchmarks.chaos_crew import ChaosPlan, ClientProcesses, client_plans, enrol
from benchmarks.chaos_faults import Moment, Observer, Stage, play, schedule
from benchmarks.chaos_history import OK, Line, read
from benchmarks.chaos_product import LOST_S, ProductSubject, Subject
from benchmarks.chaos_report import ChaosReport, conclude, summed
from benchmarks.chaos_zpopmax import ZpopmaxSubject
from benchmarks.fault_proxy import FaultProxy
from benchmarks.report import progress, rounded
from benchmarks.scratch import scratch

# Of the journal's file system: at rest, and for each command that is to come.
DISK_MIB, DISK_BYTES_A_COMMAND = 512, 8_192
DATABASE_MINUTES, DATABASE_SHARE = 1.0, 0.1  # of a part is on PostgreSQL; a minute at least
DATA = "data"  # folder of the journal
SystemName = Literal["pm-agent", "zpopmax", "zpopmax-aof"]
JournalName = Literal["sqlite", "postgres"]


def run(
    plan: ChaosPlan,
    parent: Path | None = None,
    *,
    system: SystemName = "pm-agent",
    journal: JournalName = "sqlite",
    evidence: Path | None = None,
) -> ChaosReport:
    """Run one part.

    Parameters
    ----------
    system
        ``pm-agent``; or the roadmap's own design, ``zpopmax``, ``zpopmax-aof``.
    journal
        Of PM Agent.
    evidence
        Where histories, journal file and log are kept when a promise was broken.
    """
    n_commands = plan.rate_per_s * plan.minutes * 60
    disk_mib = DISK_MIB + round(n_commands * DISK_BYTES_A_COMMAND / 2**20)
    with scratch(parent) as folder, small_disk(folder / DATA, disk_mib) as (data, why_not):
        report = ChaosReport(
            system=system,
            seeds=[plan.seed],
            agents=plan.agents,
            rate_per_s=plan.rate_per_s,
            open_tasks=plan.open_tasks,
        )
        subject = _subject(system, journal, data, folder / "output.log")
        kinds = plan.kinds or subject.kinds
        if why_not and "disk_full" in kinds:
            report.not_possible["disk_full"] = why_not
            kinds = tuple(kind for kind in kinds if kind != "disk_full")
        report.journal = subject.journal
        try:
            asyncio.run(_run(plan, folder, subject, kinds, report))
        finally:
            subject.clear()
        conclude(report, kinds)
        if report.failures and evidence is not None:
            kept = evidence / f"evidence-{report.journal}-{plan.seed}"
            shutil.copytree(folder, kept, dirs_exist_ok=True)
            report.notes.append(f"histories, journal and log are kept in {kept}")
    return report


def run_both(
    plan: ChaosPlan, parent: Path | None = None, *, evidence: Path | None = None
) -> ChaosReport:
    """Every kind of fault on SQLite, then a shorter part on PostgreSQL, whose server is killed."""
    if why_not := chaos_database.missing():
        report = run(plan, parent, evidence=evidence)
        report.not_possible["kill_database"] = why_not
        return report
    first = run(plan, parent, evidence=evidence)
    kinds = ("kill_database", "kill_coordinator")
    minutes = max(DATABASE_MINUTES, plan.minutes * DATABASE_SHARE)
    second = msgspec.structs.replace(plan, minutes=minutes, kinds=kinds)
    return summed([first, run(second, parent, journal="postgres", evidence=evidence)])


def _subject(system: SystemName, journal: JournalName, data: Path, log: Path) -> Subject:
    if system == "pm-agent":
        return ProductSubject(data, log, on_postgres=journal == "postgres")
    return ZpopmaxSubject(data, log, is_appending=system == "zpopmax-aof")


@contextmanager
def small_disk(folder: Path, mib: int = DISK_MIB) -> Iterator[tuple[Path, str]]:
    """Mount a small file system on a folder; where that is not allowed, say why and go without."""
    folder.mkdir()
    mounting = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=755", "pm-chaos", str(folder)],  # noqa: S607 - found by PATH
        capture_output=True,
        text=True,
        check=False,
    )
    if mounting.returncode != 0:
        yield folder, mounting.stderr.strip() or "mounting a small file system is not allowed"
        return
    try:
        yield folder, ""
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False)  # noqa: S607 - as above


async def _run(
    plan: ChaosPlan, folder: Path, subject: Subject, kinds: tuple[str, ...], report: ChaosReport
) -> None:
    random = Random(plan.seed)
    histories = folder / "histories"
    histories.mkdir()
    try:
        progress(f"chaos: starting {subject.name}")
        report.start_up_s.append(rounded(await subject.start()))
        cast = await enrol(subject.port, subject.token, plan)
        async with FaultProxy("127.0.0.1", subject.port) as proxy:
            crew = ClientProcesses(
                client_plans(cast, plan, proxy.port, histories, repeats=subject.is_idempotent),
                folder,
            )
            stage = Stage(
                system=subject,
                crew=crew,
                proxy=proxy,
                observer=Observer(histories),
                random=random,
                lost_s=LOST_S,
                disk=folder / DATA,
            )
            async with crew.working():
                start_s = time.monotonic()
                moments = await _play(plan, stage, kinds, report)
                left_s = start_s + plan.minutes * 60 - time.monotonic()
                await asyncio.sleep(max(0.0, left_s))
                report.seconds = rounded(time.monotonic() - start_s)
            report.notes += crew.complaints
        progress("chaos: waiting for the leases of those who are gone")
        await asyncio.sleep(LOST_S + 2.0)
    finally:
        await subject.stop()
    progress("chaos: comparing histories with what was kept")
    lines = {path.stem: read(path) for path in sorted(histories.glob("*.jsonl"))}
    verdict = check(lines, await subject.truth(report))
    _fill_in(report, lines, moments, verdict)


async def _play(
    plan: ChaosPlan, stage: Stage, kinds: tuple[str, ...], report: ChaosReport
) -> list[Moment]:
    moments: list[Moment] = []
    planned = schedule(kinds, plan.minutes * 60, stage.random)
    try:
        await play(stage, planned, moments)
    except* RuntimeError as failed:
        report.failures += [str(error) for error in failed.exceptions]
    stage.observer.look()
    end_s = time.time()
    for moment in moments:
        report.faults[moment.kind] = report.faults.get(moment.kind, 0) + 1
        if moment.broken:
            report.found["not_as_promised"] = report.found.get("not_as_promised", 0) + 1
            report.examples.append(f"{moment.kind}: {moment.broken}")
        if moment.note:
            report.notes.append(f"{moment.kind}: {moment.note}")
        pair = tuple(
            rounded((stage.observer.first_success(after_s) or end_s) - after_s)  # end: or longer
            for after_s in (moment.at_s, moment.healed_s)
        )
        report.samples.setdefault(moment.kind, []).append((pair[0], pair[1]))
    return moments


def _fill_in(
    report: ChaosReport, lines: dict[str, list[Line]], moments: list[Moment], verdict: Verdict
) -> None:
    told = [line for history in lines.values() for line in history]
    report.commands = len({line.request_id for line in told if line.event == "sent"})
    report.claims = len({line.request_id for line in told if line.is_grant})
    report.errors = dict(
        sorted(
            Counter(
                line.code or str(line.status)
                for line in told
                if line.event != "sent" and line.status not in OK
            ).items()
        )
    )
    report.double_assignments += verdict.double_assignments
    report.acked_lost = verdict.acked_lost
    report.expired_leases = verdict.n_expired
    for name, n in verdict.violations.items():
        report.found[name] = report.found.get(name, 0) + n
    report.examples += verdict.examples

"""What a chaos run hands back: JSON for machines, a table for people, parts that add up.

A part of a long run is one file. Sums keep every sample, so percentiles are those of all parts.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.report import percentile, rounded

LEAST_CLAIMS_PER_S = 3.0
# What is promised of a killed process, in seconds from the kill to the next success (p99).
PROMISED_S = {"kill_coordinator": 4.0, "kill_database": 10.0}
# What the parts of a long run must come to.
STOPS = ("stop_coordinator", "stop_agents")
LONG_RUN = {
    "kill_coordinator": 100,
    "kill_replica": 100,
    "kill_database": 20,
    "stops": 60,
    "claims": 60_000,
}
PART = "part-{seed}-{started}.json"
AND = " and "  # between the journals of a sum


class Percentiles(msgspec.Struct):
    """Of seconds; the largest is what a promise must cover."""

    p50: float
    p99: float
    max: float


class ChaosReport(msgspec.Struct, kw_only=True):
    """Outcome of one part or of several.

    Attributes
    ----------
    faults
        How often each kind fired.
    not_possible
        Kinds that this machine cannot do, with the reason.
    errors
        Replies that were no success, and requests without a reply, by code.
    found
        Violations by name.
    unavailable_s, recovery_s
        From the fault, and from the end of its cause, to the first success of a request that was
        sent after it, as clients saw it.
    failures
        Promises that were broken, and what kept the run from proving anything.
    too_slow
        Kinds that were away for longer than promised; they fail the run too. Of a sum, by the
        percentiles of all parts.
    lacking
        Of a sum: what a long run still lacks.
    samples
        Behind ``unavailable_s`` and ``recovery_s``.
    """

    benchmark: str = "chaos"
    system: str = "pm-agent"
    journal: str = ""
    seeds: list[int] = []
    seconds: float = 0.0
    start_up_s: list[float] = []
    agents: int = 0
    rate_per_s: float = 0.0
    open_tasks: int = 0
    faults: dict[str, int] = {}
    not_possible: dict[str, str] = {}
    commands: int = 0
    claims: int = 0
    claims_per_s: float = 0.0
    errors: dict[str, int] = {}
    double_assignments: int = 0
    acked_lost: int = 0
    violations: int = 0
    expired_leases: int = 0
    found: dict[str, int] = {}
    examples: list[str] = []
    notes: list[str] = []
    unavailable_s: dict[str, Percentiles] = {}
    recovery_s: dict[str, Percentiles] = {}
    verified_events: int = 0
    verified_assignments: int = 0
    failures: list[str] = []
    too_slow: list[str] = []
    lacking: dict[str, int] = {}
    samples: dict[str, list[tuple[float, float]]] = {}  # kind → (unavailable, recovery)

    @property
    def passed(self) -> bool:
        return not (self.failures or self.too_slow)


def conclude(report: ChaosReport, kinds: Sequence[str]) -> None:
    """Fill in what follows from the rest, and decide whether the run passed."""
    report.claims_per_s = rounded(report.claims / max(report.seconds, 1e-9))
    report.violations = sum(report.found.values())
    for kind, pairs in sorted(report.samples.items()):
        report.unavailable_s[kind] = _percentiles([unavailable for unavailable, _ in pairs])
        report.recovery_s[kind] = _percentiles([recovery for _, recovery in pairs])
    report.too_slow = [
        f"{kind}: away for {away.p99} s (p99), promised are {PROMISED_S[kind]:g}"
        for kind, away in report.unavailable_s.items()
        if away.p99 > PROMISED_S.get(kind, float("inf"))
    ]
    for name in ("double_assignments", "acked_lost", "violations"):
        if n := getattr(report, name):
            report.failures.append(f"{n} {name.replace('_', ' ')}")
    if report.claims_per_s < LEAST_CLAIMS_PER_S:
        report.failures.append(
            f"{report.claims_per_s} claims/s is below {LEAST_CLAIMS_PER_S}: too little to prove "
            "anything"
        )
    missing = [kind for kind in kinds if not report.faults.get(kind)]
    if missing:
        report.failures.append(f"never fired: {', '.join(missing)}")


def _percentiles(seconds: list[float]) -> Percentiles:
    return Percentiles(*(rounded(percentile(seconds, share)) for share in (0.50, 0.99, 1.0)))


def write_part(report: ChaosReport, folder: Path, started: int) -> Path:
    """Add one part to a folder of them."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / PART.format(seed=report.seeds[0], started=started)
    path.write_bytes(msgspec.json.encode(report))
    return path


def sum_parts(folder: Path) -> ChaosReport:
    """Sum all parts in a folder, and tell what a long run still lacks.

    Raises
    ------
    ValueError
        There is none, or they are of different systems.
    """
    total = summed(_parts_in(folder))
    reached = {
        **total.faults,
        "stops": sum(total.faults.get(kind, 0) for kind in STOPS),
        "claims": total.claims,
    }
    lacking = {what: wanted - reached.get(what, 0) for what, wanted in LONG_RUN.items()}
    total.lacking = {what: n for what, n in lacking.items() if n > 0}
    return total


def next_seed(folder: Path) -> int:
    """Seed of a part to be added to a folder: another than its parts had."""
    return 1 + max((int(path.name.split("-")[1]) for path in _part_files(folder)), default=0)


def _part_files(folder: Path) -> list[Path]:
    return sorted(folder.glob(PART.format(seed="*", started="*")))


def _parts_in(folder: Path) -> list[ChaosReport]:
    parts = [
        msgspec.json.decode(path.read_bytes(), type=ChaosReport) for path in _part_files(folder)
    ]
    if not parts:
        raise ValueError(f"There are no parts in {folder}.")
    if len({part.system for part in parts}) > 1:
        raise ValueError(f"The parts in {folder} are of different systems.")
    return parts


def summed(parts: Sequence[ChaosReport]) -> ChaosReport:
    """Sum parts, of one journal or of several.

    The sum passes if no part failed and it is fast enough as a whole: one of 100 kills may take
    longer than promised.
    """
    last = parts[-1]
    total = ChaosReport(
        system=last.system,
        journal=AND.join(dict.fromkeys(j for part in parts for j in part.journal.split(AND))),
        agents=last.agents,
        rate_per_s=last.rate_per_s,
        open_tasks=last.open_tasks,
        faults=_sum(part.faults for part in parts),
        errors=_sum(part.errors for part in parts),
        found=_sum(part.found for part in parts),
    )
    for part in parts:
        total.not_possible |= part.not_possible
        for name in (
            "seconds",
            "commands",
            "claims",
            "double_assignments",
            "acked_lost",
            "expired_leases",
            "verified_events",
            "verified_assignments",
        ):
            setattr(total, name, getattr(total, name) + getattr(part, name))
        for name in ("seeds", "start_up_s", "examples", "notes"):
            getattr(total, name).extend(getattr(part, name))
        for kind, pairs in part.samples.items():
            total.samples.setdefault(kind, []).extend(pairs)
    conclude(total, ())
    total.failures = [
        f"part of seed {part.seeds[0]} on {part.journal}: {failure}"
        for part in parts
        for failure in part.failures
    ]
    return total


def _sum(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return dict(sorted(total.items()))


def as_json(report: ChaosReport) -> str:
    """One JSON object on one line."""
    return msgspec.json.encode(report).decode()


def show(report: ChaosReport) -> None:
    """Print one table, and below it what went wrong."""
    console = Console()
    table = Table(
        title=f"chaos: {report.system} on {report.journal}, {report.agents} agents, "
        f"{report.rate_per_s:g} commands/s, {report.open_tasks:,} open tasks",
        title_justify="left",
    )
    table.add_column("fault", no_wrap=True)
    for name in ("n", "away p50 s", "p99 s", "max s", "after its end p50 s", "max s"):
        table.add_column(name, justify="right")
    for kind, n in sorted(report.faults.items()):
        away, back = report.unavailable_s[kind], report.recovery_s[kind]
        values = (away.p50, away.p99, away.max, back.p50, back.max)
        table.add_row(kind, str(n), *(f"{value:.2f}" for value in values))
    for kind, why in report.not_possible.items():
        table.add_row(kind, f"not possible here: {why}")
    console.print(table)
    console.print(
        f"{report.commands:,} commands, {report.claims:,} claims ({report.claims_per_s:g}/s) in "
        f"{report.seconds:.0f} s; seeds {report.seeds}"
    )
    console.print(
        f"{report.double_assignments} double assignments, {report.acked_lost} acknowledged and "
        f"lost, {report.violations} violations {report.found or ''}"
    )
    console.print(
        f"errors that clients saw and outlived: {report.errors or 'none'}", highlight=False
    )
    if report.verified_events:
        console.print(
            f"verify: {report.verified_events:,} events, {report.verified_assignments:,} "
            f"assignments, {report.expired_leases:,} leases that ended by silence"
        )
    for text in (*report.notes, *report.examples):
        console.print(f"  {text}", highlight=False, markup=False)
    if report.lacking:
        lacking = ", ".join(f"{n:,} {what}" for what, n in report.lacking.items())
        console.print(f"a long run still lacks: {lacking}", highlight=False)
    for failure in (*report.failures, *report.too_slow):
        console.print(f"[red]failed[/]: {failure}", highlight=False)
    if report.passed:
        console.print("[green]passed[/]")

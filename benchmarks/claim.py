"""Claims over the real HTTP surface: Ray Serve with HAProxy, SQLite with ``synchronous=FULL``.

The server is `pm-agent up` in its own processes, the load generator another process on raw sockets;
all of them share this machine, so what the load generator uses is reported apart. A backlog of
10,000 tasks, 40 % of them ready, is topped up between the timed windows, in which agents only
claim; ``lifecycle_64`` runs whole lifecycles. Doubles are counted from the clients' own histories.

PostgreSQL's clients speak to it directly, with no HTTP, authentication, skills or scoring between.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import peers_hermes, peers_postgres
from benchmarks.history import count_doubles
from benchmarks.lifecycles import drive_claims
from benchmarks.load import Window, play
from benchmarks.load_generator import LoadPlan
from benchmarks.population import BACKLOG, N_PARKED, Population, populate, refill
from benchmarks.product import Product, attach, running
from benchmarks.report import (
    Case,
    Plan,
    Report,
    add_ratio,
    middle,
    number,
    percentile,
    progress,
    rounded,
)
from benchmarks.scratch import scratch

CLIENTS = (1, 20, 64, 200)
OPEN_RATE_PER_S = 200.0
OPEN_CLIENTS = 16  # connections made beforehand; more are opened as needed
USED_SHARE = 0.6  # of the ready tasks, at most, in one window
LIFECYCLE_CLIENTS = 64


def run(
    plan: Plan,
    parent: Path | None = None,
    *,
    url: str | None = None,
    token: str = "",
    no_ray: bool = False,
) -> Report:
    """Run the whole benchmark.

    Parameters
    ----------
    url, token
        A server that runs already, and an administrator's token for it; else one is started.
    no_ray
        Start it as one process, without Ray.
    """
    report = Report(benchmark="claim")
    with scratch(parent) as folder:
        with _product(folder, url, token, no_ray=no_ray) as product:
            population = asyncio.run(populate(product))
            _measure(plan, population, report)
        asyncio.run(_peers(plan, folder, report))
    for clients in CLIENTS:
        case = f"closed_{clients}"
        theirs = number(report.peers, f"postgres_{case}", "claims_per_s")
        ours = number(report.cases, case, "claims_per_s")
        add_ratio(report, f"{case}_vs_postgres", ours, theirs)
        theirs = number(report.peers, f"hermes_{case}", "claims_per_s")
        add_ratio(report, f"{case}_vs_hermes", ours, theirs)
    return report


@contextmanager
def _product(folder: Path, url: str | None, token: str, *, no_ray: bool) -> Iterator[Product]:
    if url is not None:
        yield attach(url, token)
        return
    progress("claim: starting pm-agent up" + (" --no-ray" if no_ray else ""))
    with running(folder / "product", no_ray=no_ray) as product:
        progress(f"claim: ready after {product.cold_start_s:.1f} s")
        yield product


def _measure(plan: Plan, population: Population, report: Report) -> None:
    cases: dict[str, dict[str, Any]] = {
        f"closed_{clients}": {"clients": clients} for clients in CLIENTS
    }
    cases[f"open_{OPEN_RATE_PER_S:.0f}_parked_{N_PARKED}"] = {
        "clients": OPEN_CLIENTS,
        "rate_per_s": OPEN_RATE_PER_S,
        "parked": population.parked,
    }
    cases[f"lifecycle_{LIFECYCLE_CLIENTS}"] = {"clients": LIFECYCLE_CLIENTS, "kind": "lifecycles"}
    progress("claim: warm-up")
    _window(population, plan.warm_up_s, clients=LIFECYCLE_CLIENTS, kind="lifecycles")
    for case, load in cases.items():
        windows = []
        for turn in range(1, plan.runs + 1):
            progress(f"claim: {case}, run {turn} of {plan.runs}")
            windows.append(_window(population, plan.seconds, seed=turn, **load))
        for window in windows:
            if window.result.errors:
                progress(f"claim: {case}: errors {window.result.errors}")
        report.cases.append(_over_runs([_case(case, window) for window in windows]))


def _over_runs(cases: Sequence[Case]) -> Case:
    """As `middle`, but doubles and errors add up: one in any run is one too many."""
    merged = middle(cases)
    for name in ("doubles", "errors", "nothing"):
        merged[name] = sum(int(case[name]) for case in cases)
    return merged


def _window(population: Population, seconds: float, **load: Any) -> Window:
    product = population.product
    n_ready = asyncio.run(refill(population))
    plan = LoadPlan(
        host=product.host,
        port=product.port,
        agents=population.agents,
        seconds=seconds,
        limit=int(n_ready * USED_SHARE),
        **load,
    )
    return play(plan, product)


def _case(case: str, window: Window) -> Case:
    result = window.result
    n_requests = max(1, result.n_requests)
    made: Case = {"case": case}
    if result.n_lifecycles:
        made["lifecycles_per_s"] = rounded(result.n_lifecycles / result.elapsed_s)
    made |= {
        "claims_per_s": rounded(result.n_claims / result.elapsed_s),
        "p50_ms": rounded(percentile(result.claims_s, 0.50) * 1e3),
        "p99_ms": rounded(percentile(result.claims_s, 0.99) * 1e3),
        "doubles": count_doubles(result.writes),
        "errors": sum(result.errors.values()),
        "nothing": result.n_nothing,
        "requests": result.n_requests,
        "parked": result.n_parked,
        "client_cpu_s": rounded(result.client_cpu_s),
        "client_cpu_us_per_request": rounded(result.client_cpu_s / n_requests * 1e6),
        "client_late_p99_ms": rounded(percentile(result.lateness_s, 0.99) * 1e3),
    }
    if window.server_cpu_s:
        made["server_cpu_us_per_request"] = rounded(window.server_cpu_s / n_requests * 1e6)
    return made


# -- peers ----------------------------------------------------------------------------------------


async def _peers(plan: Plan, folder: Path, report: Report) -> None:
    if why := peers_postgres.missing():
        report.peers.append({"case": "postgres", "peer": "postgres", "note": why})
    else:
        progress("claim: starting postgres")
        async with peers_postgres.postgres(folder) as queue:
            await queue.refill(BACKLOG)
            await drive_claims(queue, LIFECYCLE_CLIENTS, plan.warm_up_s)
            for clients in CLIENTS:
                case = f"postgres_closed_{clients}"
                known = []
                for turn in range(1, plan.runs + 1):
                    progress(f"claim: {case}, run {turn} of {plan.runs}")
                    await queue.refill(BACKLOG)
                    known.append((await drive_claims(queue, clients, plan.seconds)).as_claims(case))
                report.peers.append({**middle(known), "peer": "postgres"})
    if why := peers_hermes.missing():
        report.peers.append({"case": "hermes", "peer": "hermes", "note": why})
        return
    for clients in peers_hermes.CLIENTS:
        progress(f"claim: hermes, {clients} processes")
        run = peers_hermes.measure(folder, clients, plan.seconds)
        report.peers.append({**run.as_claims(f"hermes_closed_{clients}"), "peer": "hermes"})

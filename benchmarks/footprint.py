"""What PM Agent costs while nothing happens: memory, time to start, memory per waiting agent.

``ray`` and ``no_ray``: memory of the whole process tree, and seconds from the start of
``pm-agent up`` to the first 200 of ``/readyz``. ``parked``: growth of that memory by 1,000 agents
that wait for a task, each on a connection of its own, divided by their number.

Memory is PSS, in which a page shared by several processes is counted once. The load generator's own
memory is no part of it.
"""

import asyncio
import time
from pathlib import Path

from benchmarks.load import playing
from benchmarks.load_generator import AgentKey, LoadPlan
from benchmarks.population import N_PARKED, waiters
from benchmarks.product import Product, running
from benchmarks.report import Case, Plan, Report, middle, progress, rounded
from benchmarks.scratch import scratch

SETTLE_S = 3.0  # what was needed for the start only is gone a moment after it is ready
KIB_PER_MIB = 1024
PARKED_S = 3.0
WARM_UP_AGENTS = 50


def run(plan: Plan, parent: Path | None = None, *, no_ray: bool = False) -> Report:
    """Run the whole benchmark.

    Parameters
    ----------
    no_ray
        Only the cases without Ray.
    """
    report = Report(benchmark="footprint")
    with scratch(parent) as folder:
        for case, is_bare in (("no_ray", True), ("ray", False)):
            if no_ray and not is_bare:
                continue
            starts, parked = [], []
            for turn in range(1, plan.runs + 1):
                progress(f"footprint: {case}, start {turn} of {plan.runs}")
                with running(folder / f"{case}-{turn}", no_ray=is_bare) as product:
                    time.sleep(SETTLE_S)
                    starts.append(_start_case(case, product))
                    if is_bare == no_ray:  # with Ray, unless only the other is asked for
                        progress(f"footprint: parking {N_PARKED:,} agents")
                        parked.append(_parked_case(product))
            report.cases.append(middle(starts))
            if parked:
                report.cases.append(middle(parked))
    return report


def _start_case(case: str, product: Product) -> Case:
    return {
        "case": case,
        "pss_mib": rounded(product.pss_mib()),
        "cold_start_s": rounded(product.cold_start_s),
        "processes": product.n_processes(),
    }


def _parked_case(product: Product) -> Case:
    agents = asyncio.run(waiters(product))
    # Once without a look: what a burst of new connections leaves behind in buffers and pools is no
    # part of what a waiting agent takes.
    _memory_with(product, agents[:WARM_UP_AGENTS])
    before_mib = product.pss_mib()
    with_mib, n_parked = _memory_with(product, agents)
    growth_mib = with_mib - before_mib
    return {
        "case": "parked",
        "agents": n_parked,
        "growth_mib": rounded(growth_mib),
        "kib_per_agent": rounded(growth_mib * KIB_PER_MIB / max(1, n_parked)),
    }


def _memory_with(product: Product, agents: list[AgentKey]) -> tuple[float, int]:
    """Memory while these agents are parked, and how many of them were."""
    plan = LoadPlan(
        host=product.host, port=product.port, agents=[], clients=0, parked=agents, seconds=PARKED_S
    )
    with playing(plan) as load:
        load.wait_for("start")
        pss_mib = product.pss_mib()
        load.wait_for("stop")
        return pss_mib, load.result().n_parked

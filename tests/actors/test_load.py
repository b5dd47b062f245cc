import asyncio

import pytest

from simulation.load import Plan, run
from tests.actors.conftest import Product


@pytest.mark.timeout(180)
async def test_the_live_system_on_ray_does_what_its_simulation_says(product: Product) -> None:
    plan = Plan(tasks_per_day=5_000, speed=600, agents=120, minutes=0.15, seed=3)
    found = await asyncio.to_thread(run, plan, url=product.settings.url, token=product.admin_token)
    assert (found.errors, found.doubles) == (0, 0), found.error_codes
    assert found.assigned == found.created > 200
    # As without Ray (tests/simulation/test_load.py): the server's share of the wait, and the rate.
    assert found.assignment_ms.mean - found.simulated_wait_ms < 1_000
    assert found.done_per_min == pytest.approx(found.simulated_per_min, rel=0.25)

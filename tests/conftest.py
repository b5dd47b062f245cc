"""Fixtures for all tests."""

from collections.abc import Iterator

import pytest

from tests.scenario import Scenario, a_project, an_agent


@pytest.fixture
def empty() -> Iterator[Scenario]:
    """A workspace without anything in it; its invariants are checked to the end."""
    scenario = Scenario()
    yield scenario
    scenario.verify()


@pytest.fixture
def team(empty: Scenario) -> Scenario:
    """A workspace with the project P-web and the agent A-ada."""
    empty.given(a_project(), an_agent())
    return empty

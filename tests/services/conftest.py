"""The product on Ray behind HAProxy, started by the first test that wants it."""

from collections.abc import Iterator

import pytest

from tests.actors.conftest import Product, running_product


@pytest.fixture(scope="session")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    with running_product(tmp_path_factory.mktemp("product")) as product:
        yield product

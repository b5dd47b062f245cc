"""The official conformance runner against the product's endpoint, through HAProxy and Ray Serve."""

from pathlib import Path

import pytest

from tests.actors.conftest import Product
from tests.services import conformance_app
from tests.services.node import run

HERE = Path(__file__).parent
KNOWN = HERE / "expected_failures.yml"
KNOWN_OF_PRODUCT = HERE / "expected_failures_product.yml"


@pytest.fixture(scope="module")
def address(product: Product) -> str:
    """Of the product, with both applications of `conformance_app` below it."""
    conformance_app.run(product.settings)
    return product.settings.url


def judge(address: str, folder: Path, *arguments: str) -> None:
    ran = run("conformance", "server", "--url", address, "-o", "out", *arguments, folder=folder)
    assert "=== SUMMARY ===" in ran.output or "Test Results" in ran.output, ran.errors
    assert ran.code == 0, ran.output[-4_000:]


def test_the_newest_revision_is_met_in_full(address: str, tmp_path: Path) -> None:
    judge(address + conformance_app.FIXTURES, tmp_path, "--requirements", "2026-07-28")


def test_the_older_revision_is_met_but_for_what_needs_a_session(
    address: str, tmp_path: Path
) -> None:
    chosen = ("--requirements", "2025-11-25", "--expected-failures", str(KNOWN))
    judge(address + conformance_app.FIXTURES, tmp_path, *chosen)


@pytest.mark.parametrize(
    "scenario",
    ["json-schema-2020-12", "http-header-validation", "http-custom-header-server-validation"],
)
def test_scenarios_that_the_revision_does_not_require_yet_pass_too(
    address: str, tmp_path: Path, scenario: str
) -> None:
    judge(
        address + conformance_app.FIXTURES,
        tmp_path,
        "--scenario",
        scenario,
        "--spec-version",
        "2026-07-28",
    )


@pytest.mark.parametrize("door", [conformance_app.PRODUCT, conformance_app.FAST])
@pytest.mark.parametrize(
    ("scenario", "revision"),
    [
        ("server-initialize", "2025-11-25"),
        ("ping", "2025-11-25"),
        ("tools-list", "2025-11-25"),
        ("resources-list", "2025-11-25"),
        ("prompts-list", "2025-11-25"),
        ("server-stateless", "2026-07-28"),
        ("tools-list", "2026-07-28"),
        ("resources-list", "2026-07-28"),
        ("prompts-list", "2026-07-28"),
        ("sep-2164-resource-not-found", "2026-07-28"),
        ("dns-rebinding-protection", "2026-07-28"),
        ("caching", "2026-07-28"),
        ("http-header-validation", "2026-07-28"),
    ],
)
def test_the_product_itself_passes_what_needs_no_fixture(
    address: str, tmp_path: Path, scenario: str, revision: str, door: str
) -> None:
    chosen = ("--scenario", scenario, "--spec-version", revision)
    known = ("--expected-failures", str(KNOWN_OF_PRODUCT))
    judge(address + door, tmp_path, *chosen, *(known if scenario == "server-stateless" else ()))

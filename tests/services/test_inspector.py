"""The official inspector, as a command, in both eras of the protocol."""

import json
from pathlib import Path
from typing import Any

import pytest

from pm_agent.api.operations import OPERATIONS
from tests.actors.conftest import Product
from tests.services.node import run

ERAS = ("legacy", "modern")
PORTABLE = ("--strict", "--quiet", "--format", "json")


def inspect(product: Product, folder: Path, era: str, *arguments: str) -> Any:
    ran = run(
        "mcp-inspector",
        "--cli",
        f"{product.settings.url}/mcp",
        "--transport",
        "http",
        "--protocol-era",
        era,
        "--header",
        f"Authorization: Bearer {product.admin_token}",
        *arguments,
        folder=folder,
    )
    assert ran.code == 0, (ran.output[-2_000:], ran.errors[-2_000:])
    return json.loads(ran.output)["result"]


@pytest.mark.parametrize("era", ERAS)
def test_every_tool_has_schemas_that_all_clients_can_use(
    product: Product, tmp_path: Path, era: str
) -> None:
    listed = inspect(product, tmp_path, era, "--method", "tools/list", *PORTABLE)
    assert [tool["name"] for tool in listed["tools"]] == [o.name for o in OPERATIONS if o.in_mcp]


@pytest.mark.parametrize("era", ERAS)
def test_a_tool_is_called_and_its_result_fits_its_schema(
    product: Product, tmp_path: Path, era: str
) -> None:
    call = ("--method", "tools/call", "--tool-name", "list_projects", "--format", "json")
    found = inspect(product, tmp_path, era, *call)
    assert "projects" in found["structuredContent"]
    assert not found.get("isError")


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(
    ("method", "key"),
    [
        ("resources/list", "resources"),
        ("resources/templates/list", "resourceTemplates"),
        ("prompts/list", "prompts"),
    ],
)
def test_resources_and_prompts_are_listed(
    product: Product, tmp_path: Path, era: str, method: str, key: str
) -> None:
    assert inspect(product, tmp_path, era, "--method", method, "--format", "json")[key]

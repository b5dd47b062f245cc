from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it has no stubs

from pm_agent.api.openapi import REFERENCE, document, text
from pm_agent.api.operations import OPERATIONS
from tests.api.conftest import Stack


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    return document("1.0")


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_every_operation_is_described(described: dict[str, Any]) -> None:
    found = {
        (entry["operationId"], method.upper(), path)
        for path, methods in described["paths"].items()
        for method, entry in methods.items()
    }
    assert found == {(o.name, o.method, o.path) for o in OPERATIONS}


def test_every_reference_leads_somewhere_and_every_schema_is_one(
    described: dict[str, Any],
) -> None:
    schemas = described["components"]["schemas"]
    for reference in references(described):
        assert reference.removeprefix(REFERENCE) in schemas
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)


def test_every_path_parameter_is_declared_and_left_out_of_the_body(
    described: dict[str, Any],
) -> None:
    for operation in OPERATIONS:
        entry = described["paths"][operation.path][operation.method.lower()]
        declared = {p["name"] for p in entry["parameters"] if p["in"] == "path"}
        assert declared == {p[1:-1] for p in operation.path.split("/") if p.startswith("{")}
        body = described["components"]["schemas"][operation.input.__name__]
        assert not declared & set(body["properties"])


def test_every_operation_declares_its_refusals_as_problems(described: dict[str, Any]) -> None:
    for methods in described["paths"].values():
        for entry in methods.values():
            for status in ("401", "403", "422", "429", "503"):
                assert "application/problem+json" in entry["responses"][status]["content"]
            for status in ("429", "503"):
                assert "Retry-After" in entry["responses"][status]["headers"]


async def test_the_document_and_the_page_that_shows_it_are_served(stack: Stack) -> None:
    served = await stack.call("GET", "/openapi.json", token="")
    assert served.json()["openapi"] == "3.1.0"
    page = await stack.call("GET", "/docs", token="")
    assert page.status_code == 200


def test_the_committed_document_is_the_one_that_is_served() -> None:
    committed = (Path(__file__).parents[2] / "docs" / "openapi.json").read_text()
    assert committed == text(), "python -m pm_agent.api.openapi > docs/openapi.json"


async def test_the_scope_of_an_operation_stands_in_its_entry(described: dict[str, Any]) -> None:
    for operation in OPERATIONS:
        entry = described["paths"][operation.path][operation.method.lower()]
        assert entry["security"] == [{"token": [operation.scope]}]

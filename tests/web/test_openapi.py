"""The API does what its description says: Schemathesis sends what fits it and what does not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.web.conftest import Filled, app_without_gallery, listening, serve_copy
from web import guard, resources
from web.settings import ServerSettings

EXAMPLES = int(os.environ.get("RETRACE_API_EXAMPLES", "6"))
"""Requests of each kind for each operation; more find more."""


description = app_without_gallery().openapi()
described = schemathesis.openapi.from_dict(description).exclude(path="/api/v1/events")  # it does not end


@pytest.fixture(scope="module")
def fuzzed(filled: Filled, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    """Address of one server for all operations, and an admin's header: what one did, the next one finds."""
    # Strangers are asked who they are before their bodies are too long for them.
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr(guard, "_STRANGERS_BYTES", ServerSettings().max_body_bytes)
    server = serve_copy(filled, tmp_path_factory.mktemp("fuzzed") / "g")
    server.user("admin", "admin")
    for _ in range(40):  # requests with small ids do not revoke the token that they are sent with
        server.token("admin", "viewer")
    header = {"Authorization": f"Bearer {server.token('admin', 'admin')}"}
    with listening(server.app) as url:
        yield url, header
    server.close()
    monkeypatch.undo()


@described.parametrize()
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
def test_it_answers_as_described(case: Any, fuzzed: tuple[str, dict[str, str]]) -> None:
    url, header = fuzzed
    # What fits the description may still be refused: a cursor of no page, a user that there is not.
    case.call_and_validate(base_url=url, headers=header, excluded_checks=[positive_data_acceptance])


def test_everything_has_a_name_a_text_and_says_how_it_fails() -> None:
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            named = f"{method} {path}"
            assert operation["description"], named
            assert operation["summary"], named
            problem = operation["responses"]["422"]["content"]["application/problem+json"]["schema"]
            assert problem == {"$ref": "#/components/schemas/Problem"}, named
            assert set(operation["responses"]) >= {"401", "403", "404", "409", "422", "default"}, named


def test_every_answer_has_an_example_that_it_could_be() -> None:
    schemas = description["components"]["schemas"]
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            for status, answer in operation["responses"].items():
                schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
                name = (schema.get("$ref") or schema.get("items", {}).get("$ref", "")).rpartition("/")[2]
                if status.startswith("2") and name:
                    example = schemas[name]["examples"][0]
                    model = getattr(resources, name)
                    shown = model.model_validate(example).model_dump(mode="json", exclude_unset=True)
                    assert shown == example, name
                else:
                    assert not (status.startswith("2") and schema), f"{method} {path} answers without a model"


def test_the_description_says_how_to_log_in() -> None:
    assert set(description["components"]["securitySchemes"]) == {"token", "session"}
    assert description["paths"]["/api/v1/session"]["post"]["security"] == []
    assert "security" not in description["paths"]["/api/v1/tracklets"]["get"]


def test_every_object_that_clients_send_has_an_example() -> None:
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            body = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if body is not None:
                schema = description["components"]["schemas"][body["schema"]["$ref"].rpartition("/")[2]]
                assert schema.get("examples"), f"{method} {path}: {schema['title']}"

"""The API does what its description says: Schemathesis sends what fits it and what does not."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from typing import Any

import httpx2 as httpx
import jsonschema_rs
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


def test_every_parameter_body_and_answer_has_an_example_that_fits() -> None:
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            for named, thing in _exchanged(operation):
                schema = _resolved(thing["schema"])
                if schema.get("format") == "binary":  # pictures, videos and archives
                    continue
                examples = _examples(thing)
                assert examples, f"{method} {path}: {named}"
                for example in examples:
                    whole = {**schema, "components": description["components"]}
                    assert jsonschema_rs.is_valid(whole, example), f"{method} {path}: {named} {example}"


def _exchanged(operation: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What goes to an operation and comes back from it, each with its schema."""
    for parameter in map(_resolved, operation.get("parameters", [])):
        yield f"{parameter['in']} {parameter['name']}", parameter
    for kind, body in operation.get("requestBody", {}).get("content", {}).items():
        yield kind, body
    for status, answer in operation["responses"].items():
        for name, header in answer.get("headers", {}).items():
            yield f"{status} {name}", header
        for kind, body in answer.get("content", {}).items():
            yield f"{status} {kind}", body


def _examples(thing: dict[str, Any]) -> list[Any]:
    if "example" in thing:
        return [thing["example"]]
    schema = _resolved(thing["schema"])
    each = _resolved(schema.get("items", {})).get("examples", [])
    return schema.get("examples") or [[example] for example in each]


def _resolved(thing: dict[str, Any]) -> dict[str, Any]:
    """What a reference points to; anything else is itself."""
    if "$ref" not in thing:
        return thing
    _, _, kind, name = thing["$ref"].split("/")
    found: dict[str, Any] = description["components"][kind][name]
    return found


def test_a_session_can_send_its_token_with_every_change() -> None:
    csrf = {"$ref": "#/components/parameters/CsrfToken"}
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            changes = method != "get" and operation.get("security") != []
            assert operation.get("parameters", []).count(csrf) == changes, f"{method} {path}"


def test_the_description_is_the_same_each_time_it_is_asked_for(fuzzed: tuple[str, dict[str, str]]) -> None:
    url, header = fuzzed
    first, again = (httpx.get(f"{url}/api/v1/openapi.json", headers=header).json() for _ in range(2))
    assert first == again == description


def test_the_events_are_described_as_they_are_sent() -> None:
    content = description["paths"]["/api/v1/events"]["get"]["responses"]["200"]["content"]
    stream = content["text/event-stream"]
    events = re.findall(r"event: (\w+)\ndata: (.+)\n", stream["example"])
    assert {name for name, _ in events} <= stream["x-events"].keys() == {"begin", "tracklets", "job"}
    for name, data in events:
        held = _resolved(stream["x-events"][name])
        assert jsonschema_rs.is_valid({**held, "components": description["components"]}, json.loads(data))

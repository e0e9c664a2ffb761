"""What OpenAPI says beyond the handlers: how callers prove who they are, and examples of every answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from web.api.events import EVENTS

_EXAMPLES = Path(__file__).parent / "examples.json"

_SCHEMES = {
    "token": {"type": "http", "scheme": "bearer", "description": "An API token, made on the page Account."},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "retrace_session",
        "description": "Set by POST /session; changes also need the header X-CSRF-Token.",
    },
}
_PUBLIC = {("/api/v1/health", "get"), ("/api/v1/session", "post"), ("/api/v1/invitation", "post")}
_CHANGES = {"post", "put", "patch", "delete"}
_CSRF = {
    "name": "X-CSRF-Token",
    "in": "header",
    "required": False,
    "description": "`csrf_token` of /session, for changes in a session; API tokens need none.",
    "schema": {"type": "string"},
    "example": "bX2kq0",
}


def complete(description: dict[str, Any]) -> dict[str, Any]:
    """Adds the ways to log in, what events hold, and an example to each model that has none; once."""
    components = description["components"]
    components["securitySchemes"] = _SCHEMES
    components["parameters"] = {"CsrfToken": _CSRF}
    for held in EVENTS.values():
        components["schemas"].setdefault(held.__name__, held.model_json_schema())
    description["security"] = [{name: []} for name in _SCHEMES]
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            if (path, method) in _PUBLIC:
                operation["security"] = []
            elif method in _CHANGES:
                csrf = {"$ref": "#/components/parameters/CsrfToken"}
                operation["parameters"] = [*operation.get("parameters", []), csrf]
    for name, example in json.loads(_EXAMPLES.read_text(encoding="utf-8")).items():
        components["schemas"][name].setdefault("examples", [example])
    return description

"""What OpenAPI says beyond the handlers: how callers prove who they are, and examples of every answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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


def complete(description: dict[str, Any]) -> dict[str, Any]:
    """Adds the ways to log in, and an example to each model that has none."""
    components = description["components"]
    components["securitySchemes"] = _SCHEMES
    description["security"] = [{name: []} for name in _SCHEMES]
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            if (path, method) in _PUBLIC:
                operation["security"] = []
    for name, example in json.loads(_EXAMPLES.read_text(encoding="utf-8")).items():
        components["schemas"][name].setdefault("examples", [example])
    return description

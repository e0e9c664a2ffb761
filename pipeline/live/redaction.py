"""URIs without the credentials in them."""

from __future__ import annotations

import re

# Up to the last @ before a blank or quote: a password may itself hold @, : and /.
_CREDENTIALS = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*://)[^\s\"'<>]*@")
_QUERY = re.compile(r"(?P<uri>[a-zA-Z][a-zA-Z0-9+.-]*://[^\s\"'<>?]*)\?[^\s\"'<>]*")


def redact(uri: str) -> str:
    """A URI without user, password and query."""
    return _QUERY.sub(r"\g<uri>", _CREDENTIALS.sub(r"\g<scheme>", uri))

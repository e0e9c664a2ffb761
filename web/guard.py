"""What every request passes: its host, its size, who sends it; and the headers of every answer.

Cookies are sent by a browser with whatever page asks it to. So a change made with one must also show the
session's CSRF token, which only our own pages know, and must not come from another site by what the
browser says (Origin, Sec-Fetch-Site).
"""

from __future__ import annotations

import hmac
import logging
from http import HTTPStatus
from urllib.parse import urlsplit

from anyio import CancelScope, to_thread
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from storage.account_records import Session
from storage.errors import DatabaseUnavailable
from web.access import Caller
from web.problems import problem
from web.services import Services
from web.settings import LOOPBACK_NAMES, is_loopback
from web.tokens import API_PREFIX, new_token, token_hash

_log = logging.getLogger(__name__)

COOKIE = "retrace_session"
_SAFE = ("GET", "HEAD", "OPTIONS")
_STRANGERS_BYTES = 16_000  # of the body of somebody who is not logged in
_UPLOADS = "/api/v1/uploads"  # its handler counts for itself

_CSP = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": _CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


class TooLarge(HTTPException):
    """More of a request's body came than is read."""

    def __init__(self, limit: int) -> None:
        super().__init__(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a request may have {limit} bytes")


class Guard:
    """ASGI middleware around the app."""

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app, self._services = app, services
        self._hosts = LOOPBACK_NAMES | services.settings.allowed_hosts | {services.settings.host}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["method"] == "HEAD":
            await self._head(scope, receive, send)
            return
        headers = Headers(scope=scope)
        cookie: list[str] = []
        send = _with_headers(send, scope["scheme"] == "https", cookie)
        refusal = self._misdirected(scope, headers)
        if refusal is None:
            try:
                refusal = await self._identify(scope, headers, cookie)
            except DatabaseUnavailable:
                refusal = problem(503, "the database does not answer: try again", {"Retry-After": "5"})
        if refusal is None and not scope["path"].startswith(_UPLOADS):
            known = "retrace.caller" in scope
            limit = self._services.settings.max_body_bytes if known else _STRANGERS_BYTES
            receive = _limited(receive, limit)
            if int(headers.get("content-length") or 0) > limit:
                refusal = problem(413, f"a request may have {limit} bytes")
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        await self._answered(scope, receive, send)

    async def _head(self, scope: Scope, receive: Receive, send: Send) -> None:
        """What GET would answer, by the same rules, without its body (RFC 9110, 9.3.2)."""
        headers = [each for each in scope["headers"] if each[0] != b"range"]  # it is for GET alone
        with CancelScope() as rest:

            async def sending(message: Message) -> None:
                if message["type"] == "http.response.start":
                    await send(message)
                    await send({"type": "http.response.body", "body": b""})
                    rest.cancel()  # the body may be a stream that does not end

            await self({**scope, "method": "GET", "headers": headers}, receive, sending)

    async def _answered(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the app answer; what it fails at is answered here, with the headers of every answer."""
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except Exception as error:  # noqa: BLE001 - the outermost frame of a request
            # The message may name files or people: it goes to the log, never to the client.
            _log.error("%s %s failed", scope["method"], scope["path"], exc_info=error)
            if not begun:
                await problem(500, "the server failed; its log says why")(scope, receive, send)

    def _misdirected(self, scope: Scope, headers: Headers) -> ASGIApp | None:
        """A name that is not ours may be another site's, pointed at us (DNS rebinding)."""
        if not self._encrypted(scope):
            return problem(421, "passwords and pictures cross a network in the clear here: use https")
        host = _host(headers.get("host", ""))
        if host not in self._hosts:
            return problem(421, "this server is not called so: start it with --allowed-host to let it be")
        if not (headers.get("content-length") or "0").isdecimal():
            return problem(400, "Content-Length is no number")
        return None

    def _encrypted(self, scope: Scope) -> bool:
        """Whether nobody on the way can read along: TLS, here or at the proxy, or this very machine."""
        if scope["scheme"] == "https" or not self._services.settings.trusted_proxies:
            return True
        return is_loopback(client_address(scope)) and is_loopback(_host(Headers(scope=scope).get("host", "")))

    async def _identify(self, scope: Scope, headers: Headers, cookie: list[str]) -> ASGIApp | None:
        """Note the caller in the scope; the refusal if there is something wrong with them."""
        authorization = headers.get("authorization")
        if authorization is not None:
            return await self._by_token(scope, authorization)
        if scope["method"] not in _SAFE and not self._same_site(scope, headers):
            return problem(403, "the request comes from another site")
        token = _cookie(headers)
        if token is None or scope["path"].startswith("/static/"):
            return None
        session = await to_thread.run_sync(
            self._session, token, scope["method"] in _SAFE, cookie, scope["scheme"]
        )
        if session is None:
            cookie.append(_expired(scope["scheme"]))
            return None
        if scope["method"] not in _SAFE:
            given = headers.get("x-csrf-token", "")
            if not hmac.compare_digest(given.encode(), session.csrf_token.encode()):
                return problem(403, "the header X-CSRF-Token is missing or old: reload the page")
        scope["retrace.caller"] = Caller(
            session.user, session.user.role, "session", client_address(scope), session
        )
        return None

    async def _by_token(self, scope: Scope, authorization: str) -> ASGIApp | None:
        kind, _, token = authorization.partition(" ")
        found = None
        if kind.lower() == "bearer" and token.startswith(API_PREFIX):
            accounts, now = self._services.gallery.accounts, self._services.clock()
            found = await to_thread.run_sync(accounts.token, token_hash(token.strip()), now)
        if found is None:
            return problem(401, "this token is not known, or has expired", {"WWW-Authenticate": "Bearer"})
        known, user = found
        scope["retrace.caller"] = Caller(user, known.role, "token", client_address(scope), token_id=known.id)
        return None

    def _session(self, token: str, may_rotate: bool, cookie: list[str], scheme: str) -> Session | None:
        settings, accounts, now = (
            self._services.settings,
            self._services.gallery.accounts,
            self._services.clock(),
        )
        session = accounts.session(
            token_hash(token),
            now,
            idle_s=settings.idle_s,
            absolute_s=settings.absolute_s,
            grace_s=settings.grace_s,
        )
        if session is not None and may_rotate and now - session.rotated > settings.rotate_s:
            fresh = new_token()
            if accounts.rotate_session(session.id, token_hash(token), token_hash(fresh), now):
                cookie.append(session_cookie(fresh, scheme))
        return session

    def _same_site(self, scope: Scope, headers: Headers) -> bool:
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return False
        origin = headers.get("origin")
        if origin is None:
            return True
        return urlsplit(origin).netloc == headers.get("host", "") and origin != "null"


def session_cookie(token: str, scheme: str) -> str:
    """The Set-Cookie header of a session; the server, not the browser, decides how long it lasts."""
    secure = "; Secure" if scheme == "https" else ""
    return f"{COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict{secure}"


def _expired(scheme: str) -> str:
    return session_cookie("", scheme) + "; Max-Age=0"


def _cookie(headers: Headers) -> str | None:
    return cookie_parser(headers.get("cookie", "")).get(COOKIE) or None


def _host(header: str) -> str:
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""


def client_address(scope: Scope) -> str:
    """Where a request comes from; behind a trusted proxy, as that says."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def _limited(receive: Receive, limit: int) -> Receive:
    """The body, at most so many bytes of it, whatever its header promised."""
    taken = 0

    async def counted() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > limit:
            raise TooLarge(limit)
        return message

    return counted


def _with_headers(send: Send, https: bool, cookie: list[str]) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
            if https:
                headers["Strict-Transport-Security"] = "max-age=31536000"
            headers.setdefault("Cache-Control", "no-store")  # faces must not stay in caches
            if "set-cookie" not in headers:  # a log-in's own counts
                for each in cookie:
                    headers.append("Set-Cookie", each)
        await send(message)

    return sending

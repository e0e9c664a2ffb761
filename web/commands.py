"""The command `serve`; the libraries it needs are imported when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import socket

    import uvicorn

    from storage.gallery import Gallery
    from web.settings import ServerSettings


def serve(
    gallery: Annotated[Path, typer.Option("--gallery", help="Folder of the gallery.")],
    listen: Annotated[
        str, typer.Option(help="HOST:PORT. Beyond this machine only with TLS or a trusted proxy.")
    ] = "127.0.0.1:8765",
    tls_cert: Annotated[Path | None, typer.Option(help="PEM file; the server then speaks https.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM file of its key.")] = None,
    trusted_proxy: Annotated[
        list[str] | None, typer.Option(help="Address of a proxy that speaks TLS and sets X-Forwarded-For.")
    ] = None,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(help="Name by which browsers call the server, such as retrace.example.org."),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="YAML file over configs/default.yaml.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="key.sub=value, over the configuration.")
    ] = None,
    database: Annotated[
        str | None,
        typer.Option("--database", envvar="RETRACE_DATABASE_URL", help="SQLAlchemy URL of its tables."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda:0, ... for detector and embedder.")] = None,
) -> None:
    """Serve the pages and the API of a gallery until told to stop."""
    try:
        import uvicorn

        from web.app import create_app
    except ImportError as error:
        raise ImportError(
            f"the server needs the package {error.name}: pip install 'retrace-reid[web]'"
        ) from error

    from pipeline.config import load_config
    from pipeline.live.health import parse_address
    from pipeline.memory import return_large_blocks
    from storage.gallery import Gallery
    from web.assembly import assemble
    from web.settings import ServerSettings, check

    host, port = parse_address(listen)
    settings = ServerSettings(
        host, port, tls_cert, tls_key, tuple(trusted_proxy or ()), frozenset(allowed_host or ())
    )
    check(settings)
    loaded = load_config(config, set_ or [])
    return_large_blocks()
    url = database or loaded.storage.database_url
    with Gallery.open(gallery, url=url) as opened, _listener(host, port) as listener:
        _invite_first(opened, settings)
        app = create_app(assemble(opened, loaded, settings, device))
        typer.echo(f"Retrace is at {settings.url} (stop with Ctrl-C)")
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                ssl_certfile=tls_cert,
                ssl_keyfile=tls_key,
                proxy_headers=bool(settings.trusted_proxies),
                forwarded_allow_ips=list(settings.trusted_proxies) or None,
                server_header=False,
                access_log=False,
                log_level="warning",
                timeout_graceful_shutdown=5,
            )
        )
        _serve_until_told(server, listener)


def _serve_until_told(server: uvicorn.Server, listener: socket.socket) -> None:
    """Run until SIGTERM or Ctrl-C, and come back.

    In the main thread uvicorn would die of the signal, with the gallery not closed and its index not saved.
    """
    import signal
    import threading

    def stop(number: int, frame: object) -> None:
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    thread = threading.Thread(target=server.run, args=([listener],), name="server")
    thread.start()
    thread.join()


def _listener(host: str, port: int) -> socket.socket:
    """A socket that listens, or the reason why there cannot be one."""
    import socket

    from pipeline.live.health import AddressError

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
        # Connections inherit it. Else each answer waits 40 ms between its headers and its body for the client
        # to confirm the headers: asyncio asks for it only where the socket's protocol is spelled out.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        raise AddressError(
            f"cannot listen on {host}:{port} ({error.strerror or error}): another server may have it; give "
            "this one another --listen HOST:PORT"
        ) from error


def _invite_first(gallery: Gallery, settings: ServerSettings) -> None:
    """Until somebody can log in as an admin, each start prints a link with which to become the first."""
    import time

    from web.invitations import invite

    admins = [user for user in gallery.accounts.users() if user.role == "admin" and user.enabled]
    if any(user.has_password for user in admins):
        return
    admin = admins[0] if admins else gallery.accounts.add_user("admin", "admin")
    path, _ = invite(gallery, admin.id, time.time(), days=1)
    typer.echo(
        f"Nobody can log in yet. Choose the password of '{admin.name}' within a day, once, at\n"
        f"  {settings.url}{path}"
    )

"""A server over a small real gallery, and clients of every role."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, cast

import pytest
import uvicorn
from argon2 import profiles
from fastapi import FastAPI
from fastapi.testclient import TestClient
from painted import BLACK, BLUE, GREEN, RED, WHITE, YELLOW, Painted, Scene, make_scene
from starlette.datastructures import State
from starlette.middleware import Middleware

from pipeline.config import Config, load_config
from pipeline.ingest import ingest
from pipeline.video import SourceSpec
from storage.account_records import Role
from storage.gallery import Gallery
from web.app import create_app
from web.assembly import assemble
from web.guard import Guard
from web.passwords import Passwords
from web.services import Services
from web.settings import ServerSettings
from web.tokens import new_token, token_hash

PASSWORD = "a horse, a battery, a staple"
URL = "http://127.0.0.1:8765"

HERE = (Painted(RED, BLUE, 10, 40), Painted(GREEN, BLACK, 250, 60, dx=-2))
THERE = (
    Painted(RED, BLUE, 200, 50, dx=-1),
    Painted(YELLOW, WHITE, 20, 60),
    Painted(GREEN, BLACK, 100, 80, dx=0.5),
)
NUM_TRACKLETS = len(HERE) + len(THERE)


@dataclass(frozen=True)
class Filled:
    """A gallery folder to copy, with what it was made of."""

    folder: Path
    scenes: dict[str, Scene]

    def config(self, camera: str = "here") -> Config:
        """Painted people are found by their colours, and where the scene's file says."""
        boxes = self.scenes[camera].boxes
        return load_config(
            overrides=["embedder.name=colour_stripes", "detector.name=mot_file", f"detector.path={boxes}"]
        )


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Filled:
    folder = tmp_path_factory.mktemp("painted")
    scenes = {"here": make_scene(folder, "here", HERE, 60), "there": make_scene(folder, "there", THERE, 60)}
    made = Filled(folder / "g", scenes)
    with Gallery.open(made.folder, create=True) as gallery:
        for (camera, scene), start in zip(scenes.items(), (1000.0, 1100.0), strict=True):
            ingest(gallery, [SourceSpec(camera, str(scene.video), start)], made.config(camera))
    return made


@dataclass
class Clock:
    """The server's clock, set by the test."""

    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Server:
    """A server in this process.

    Attributes:
        users: Passwordless clients are made for these.
    """

    services: Services
    app: FastAPI
    clock: Clock
    clients: list[TestClient] = field(default_factory=list)

    @property
    def gallery(self) -> Gallery:
        return self.services.gallery

    def close(self) -> None:
        """End it."""
        for client in self.clients:
            client.close()
        self.services.jobs.close()
        self.gallery.close()

    def anybody(self) -> TestClient:
        """A client without an account."""
        client = TestClient(self.app, base_url=URL, follow_redirects=False, client=("192.0.2.7", 1))
        self.clients.append(client)
        return client

    def user(self, name: str, role: Role, cameras: list[str] | None = None) -> None:
        """A user with the usual password."""
        user = self.gallery.accounts.add_user(
            name, role, None if cameras is None else frozenset(cameras), now=self.clock()
        )
        self.gallery.accounts.set_password(user.id, self.services.passwords.hash(PASSWORD), self.clock())

    def logged_in(self, name: str) -> TestClient:
        """A client of a user, with the header that changes need."""
        client = self.anybody()
        answer = client.post("/api/v1/session", json={"name": name, "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        client.headers["X-CSRF-Token"] = answer.json()["csrf_token"]
        return client

    def client(self, role: Role, cameras: list[str] | None = None) -> TestClient:
        """A client of a new user with this role, called as the role is."""
        if self.gallery.accounts.user_named(role) is None:
            self.user(role, role, cameras)
        return self.logged_in(role)

    def token(self, name: str, role: Role, expires: float | None = None) -> str:
        """An API token of a user."""
        user = self.gallery.accounts.user_named(name)
        assert user is not None
        token = new_token("rt_")
        self.gallery.accounts.add_token(
            user.id, "test", token_hash(token), token[:8], role, expires, self.clock()
        )
        return token


@cache
def app_without_gallery() -> FastAPI:
    """Every test's app has its routes: to prepare them takes most of a second."""
    return create_app(cast(Any, None))


def serve_copy(filled: Filled, folder: Path, config: Config | None = None, **settings: Any) -> Server:
    """A server over a copy of the painted gallery; close it."""
    shutil.copytree(filled.folder, folder)
    gallery, clock = Gallery.open(folder), Clock()
    services = assemble(
        gallery, config or filled.config(), ServerSettings(**settings), clock=clock,
        passwords=Passwords(profiles.CHEAPEST),  # hundreds of log-ins, and no secret
    )  # fmt: skip
    app = copy(app_without_gallery())
    app.state = State({"services": services, "error_page": app.state.error_page})
    app.user_middleware = [Middleware(Guard, services=services)]
    return Server(services, app, clock)


@contextmanager
def listening(app: FastAPI) -> Iterator[str]:
    """The app behind a real socket of this machine; the address of it."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        runner = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=2))
        thread = threading.Thread(target=runner.run, args=([listener],), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        runner.should_exit = True
        thread.join(10)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium; a module of tests shares it."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs chromium: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def make_server(filled: Filled, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Servers over copies of the painted gallery."""
    made: list[Server] = []

    def make(config: Config | None = None, **settings: Any) -> Server:
        made.append(serve_copy(filled, tmp_path / f"g{len(made)}", config, **settings))
        return made[-1]

    yield make
    for server in made:
        server.close()


@pytest.fixture
def server(make_server: Callable[..., Server]) -> Server:
    return make_server()

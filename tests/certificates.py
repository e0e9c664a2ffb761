"""Certificates as cameras have them: signed by nobody but themselves."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


def self_signed(path: Path, name: str = "IP:127.0.0.1") -> Path:
    """A PEM file of a key and its certificate for `name`, such as IP:127.0.0.1 or DNS:localhost."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the certificate, is missing: apt-get install openssl")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=camera",
         "-addext", f"subjectAltName={name}", "-keyout", str(path), "-out", f"{path}.crt"],
        check=True, capture_output=True,
    )  # fmt: skip
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path

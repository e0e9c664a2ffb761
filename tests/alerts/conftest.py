"""A real gallery with people in plain colours, and the plug-in that tells colours apart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.embedding import Embedder, build_embedder
from pipeline.plugins import PluginSettings
from storage.gallery import Gallery


@pytest.fixture(scope="session")
def embedder() -> Embedder:
    return build_embedder(PluginSettings(name="colour_stripes"))


@pytest.fixture
def gallery(tmp_path: Path) -> Iterator[Gallery]:
    with Gallery.open(tmp_path / "gallery", create=True) as opened:
        yield opened

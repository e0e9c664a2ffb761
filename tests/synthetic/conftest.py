from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_pack import write_tiny_pack

from synthetic.renderer import Renderer


@pytest.fixture(scope="session")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A people pack of box-shaped characters."""
    return write_tiny_pack(tmp_path_factory.mktemp("assets") / "pack")


@pytest.fixture(scope="session")
def renderer() -> Iterator[Renderer]:
    """An OpenGL context, or a skip that says what is missing."""
    try:
        made = Renderer()
    except RuntimeError as error:
        pytest.skip(str(error))
    with made:
        yield made

"""One built network per variant and test run, with the weights of the golden numbers."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import golden
from models.ste_nvan import VARIANTS, Architecture, EmbeddingModel

ROOT = Path(__file__).resolve().parents[2]
TINY = Architecture((0, 1, 1, 0), stripes=16, window=2, temporal_reduction=True, width=4, depths=(1, 1, 1, 1))


@pytest.fixture(scope="session", autouse=True)
def _two_threads() -> None:
    torch.set_num_threads(min(2, torch.get_num_threads()))


@pytest.fixture(scope="session")
def golden_numbers() -> dict[str, np.ndarray]:
    """The reference embeddings: all numbers where they are at hand, else the small copy's."""
    full = ROOT.parent / "shared" / "golden" / "embeddings.npz"
    return dict(np.load(full if full.exists() else ROOT / "tests" / "data" / "golden_embeddings.npz"))


@pytest.fixture(scope="session")
def golden_clips() -> torch.Tensor:
    """`(2, 8, 3, 256, 128)`."""
    return golden.golden_clips(2019)


@pytest.fixture(scope="session", params=VARIANTS)
def golden_model(request: pytest.FixtureRequest) -> Iterator[EmbeddingModel]:
    """Each variant once."""
    original = golden.formula_tensor
    golden.formula_tensor = _formula_tensor  # the variants share most tensors; draw each once
    try:
        yield golden.formula_model(request.param, 2019)
    finally:
        golden.formula_tensor = original


_formula_tensor = cache(golden.formula_tensor)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Architecture:
    """A small relative of `ste_nvan`, known to the library as the variant `tiny`."""
    monkeypatch.setitem(VARIANTS, "tiny", TINY)
    return TINY

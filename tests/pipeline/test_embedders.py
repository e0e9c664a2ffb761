"""One contract for every embedder, and what is made of clip embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from painted import BLACK, BLUE, GREEN, RED, WHITE, Painted, paint

from models.checkpoint import save_checkpoint
from models.ste_nvan import Architecture, EmbeddingModel
from models.weights import MissingWeights
from pipeline import plugins
from pipeline.crops import encode_jpeg
from pipeline.embedding import (
    build_embedder,
    embed_images,
    embed_tracklets,
    named_embedder,
    settings_of,
    unit,
)
from pipeline.plugins import PluginSettings, UnknownPlugin

TINY = Architecture(
    non_local=(0, 2, 3, 0), stripes=16, window=2, temporal_reduction=True, width=8, depths=(1, 2, 3, 1)
)


def person(top: tuple[int, int, int], trousers: tuple[int, int, int], step: int = 0) -> np.ndarray:
    """A crop of a painted person, a little shifted and shaded by `step`."""
    image = paint([Painted(top, trousers, 6 + step % 3, 4, 0, height=110)], 0, 60, 120)
    return np.clip(image.astype(int) + 3 * step, 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch

    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    model = EmbeddingModel(TINY)
    model.reset_parameters(torch.Generator().manual_seed(0))
    save_checkpoint(model.eval(), path, {})
    return path


@pytest.fixture(scope="session")
def tiny_openvino(tmp_path_factory: pytest.TempPathFactory) -> Path:
    openvino = pytest.importorskip("openvino", reason="the extra openvino is not installed")
    from openvino import opset13 as ops

    kernels = np.random.default_rng(0).normal(size=(8, 3, 8, 8)).astype(np.float32)
    picture = ops.parameter([1, 3, 256, 128], np.float32)
    maps = ops.relu(ops.convolution(picture, kernels, [8, 8], [0, 0], [0, 0], [1, 1]))  # (1, 8, 32, 16)
    rows = ops.reduce_mean(maps, np.array([3]), keep_dims=False)
    path = tmp_path_factory.mktemp("openvino") / "tiny.xml"
    openvino.save_model(openvino.Model(ops.reshape(rows, np.array([1, 256]), False), [picture]), path)
    return path


@pytest.fixture(params=plugins.available("embedders"))
def embedder(request: pytest.FixtureRequest) -> Any:
    options: dict[str, Any] = {}
    if request.param == "ste_nvan":
        options["weights"] = str(request.getfixturevalue("tiny_checkpoint"))
    if request.param == "openvino_reid":
        options["weights"] = str(request.getfixturevalue("tiny_openvino"))
    return build_embedder(PluginSettings(name=request.param, **options))


def clip(top: tuple[int, int, int], trousers: tuple[int, int, int]) -> list[np.ndarray]:
    return [person(top, trousers, step) for step in range(8)]


def test_rows_do_not_depend_on_their_company(embedder: Any) -> None:
    clips = [clip(RED, BLUE), clip(GREEN, BLACK), clip(WHITE, BLUE)]
    together = unit(embedder.embed(clips))
    assert together.shape == (3, embedder.spec.dimension)
    assert together.dtype == np.float32
    for row, alone in zip(together, clips, strict=True):
        np.testing.assert_allclose(unit(embedder.embed([alone]))[0], row, atol=2e-5)


def test_the_spec_loads_the_same_embedder_again(embedder: Any) -> None:
    again = build_embedder(settings_of(embedder.spec))
    assert again.spec.same_as(embedder.spec)
    np.testing.assert_allclose(again.embed([clip(RED, BLUE)]), embedder.embed([clip(RED, BLUE)]), rtol=1e-4)


def test_a_tracklet_is_one_unit_vector_whatever_its_length(embedder: Any) -> None:
    crops = [person(RED, BLUE, i) for i in range(16)]
    rows = embed_images(embedder, [crops[:n] for n in (1, 5, 8, 11, 16)] + [[]], batch_clips=3)
    assert rows[-1] is None
    for row in rows[:-1]:
        assert row is not None
        assert np.linalg.norm(row) == pytest.approx(1, abs=1e-5)


def test_crops_of_any_size(embedder: Any) -> None:
    sizes = [person(RED, BLUE)[:h, :w] for h, w in ((3, 3), (1, 1), (120, 60), (7, 50))]
    large = np.repeat(np.repeat(person(RED, BLUE), 6, 0), 6, 1)
    assert all(row is not None for row in embed_images(embedder, [[image] for image in [*sizes, large]], 4))


def test_damaged_crops_are_left_out_and_a_tracklet_of_them_has_none(embedder: Any) -> None:
    good = [encode_jpeg(person(RED, BLUE, i), 95) for i in range(4)]
    whole, holed, broken = embed_tracklets(embedder, [good, [*good, b"\xff\xd8 torn"], [b"\xff\xd8", b""]], 4)
    assert broken is None
    assert whole is not None
    assert holed is not None
    np.testing.assert_allclose(whole, holed, atol=1e-6)


def test_colours_tell_people_apart() -> None:
    stripes = build_embedder(PluginSettings(name="colour_stripes"))
    red, shaded, green = unit(
        stripes.embed([[person(RED, BLUE)], [person(RED, BLUE, 6)], [person(GREEN, BLACK)]])
    )
    assert red @ shaded > 0.8 > red @ green
    assert stripes.fallback


def test_a_row_without_direction_is_no_embedding() -> None:
    assert np.isnan(unit(np.zeros((1, 4)))).all()
    np.testing.assert_allclose(unit(np.array([[3.0, 4.0]])), [[0.6, 0.8]])


def test_variants_are_names_of_embedders() -> None:
    assert named_embedder("nvan_spatial") == PluginSettings(name="ste_nvan", variant="nvan_spatial")
    assert named_embedder("ste_nvan") == PluginSettings(name="ste_nvan", variant="ste_nvan")
    assert named_embedder("colour_stripes") == PluginSettings(name="colour_stripes")
    with pytest.raises(UnknownPlugin, match=r"colour_stripes.*nvan_spatial"):
        named_embedder("osnet")


def test_missing_and_wrong_weights_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.weights.DEFAULT_EMBEDDER", None)
    with pytest.raises(MissingWeights, match="--embedder-weights"):
        build_embedder(PluginSettings(name="ste_nvan"))
    with pytest.raises(MissingWeights, match=r"absent\.safetensors"):
        build_embedder(PluginSettings(name="ste_nvan", weights=str(tmp_path / "absent.safetensors")))
    text = tmp_path / "text.safetensors"
    text.write_text("these are no weights")
    with pytest.raises(ValueError, match=r"text\.safetensors"):
        build_embedder(PluginSettings(name="ste_nvan", weights=str(text)))


def test_a_changed_file_is_another_model(tiny_checkpoint: Path, tmp_path: Path) -> None:
    import torch

    model = EmbeddingModel(TINY)
    model.reset_parameters(torch.Generator().manual_seed(1))
    other = tmp_path / "other.safetensors"
    save_checkpoint(model.eval(), other, {})
    specs = [
        build_embedder(PluginSettings(name="ste_nvan", weights=str(p))).spec for p in (tiny_checkpoint, other)
    ]
    assert not specs[0].same_as(specs[1])


def test_an_absent_device_is_refused_by_name(tiny_checkpoint: Path) -> None:
    with pytest.raises(ValueError, match="no device 'cuda:93'"):
        build_embedder(PluginSettings(name="ste_nvan", weights=str(tiny_checkpoint), device="cuda:93"))

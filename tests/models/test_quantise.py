"""8-bit weights: rounding by hand, the search for scales, and that embeddings stay where they are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from models.checkpoint import load_model, official_key, save_checkpoint
from models.preprocess import Preprocessing
from models.quantise import QuantisationError, dequantise, pack, quantise, unpack
from models.ste_nvan import Architecture, EmbeddingModel, build

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
LATER_STAGES = ("backbone.stages.2.", "backbone.stages.3.")
SMALL = Architecture(
    (0, 2, 3, 0), stripes=16, window=2, temporal_reduction=True, width=16, depths=(1, 2, 3, 1)
)


@pytest.mark.parametrize(
    ("weight", "values", "scale"),
    [
        ([[1.27, -1.27, 0.01]], [[127, -127, 1]], [0.01]),
        ([[0.0, 0.0, 0.0]], [[0, 0, 0]], [torch.finfo(torch.float32).tiny]),
        ([[-0.5, 0.0, 0.0]], [[-127, 0, 0]], [0.5 / 127]),
        ([[127.0, 1.0, 0.0], [0.0, -2.54, 0.02]], [[127, 1, 0], [0, -127, 1]], [1.0, 0.02]),
    ],
)
def test_by_hand(weight: list[list[float]], values: list[list[int]], scale: list[float]) -> None:
    found, scales = quantise(torch.tensor(weight))
    assert found.dtype == torch.int8
    assert found.tolist() == values
    torch.testing.assert_close(scales, torch.tensor(scale))


@pytest.mark.parametrize("shape", [(5, 7), (3, 4, 3, 3), (1, 1, 1, 1), (0, 4)])
def test_no_weight_moves_by_more_than_its_step(shape: tuple[int, ...]) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    values, scale = quantise(weight)
    assert values.shape == weight.shape
    assert scale.shape == shape[:1]
    step = scale.reshape(-1, *[1] * (len(shape) - 1))
    assert bool(((dequantise(values, scale) - weight).abs() <= 2 * step).all())


def test_subnormal_and_huge_weights_keep_their_scale_positive_and_finite() -> None:
    values, scale = quantise(torch.tensor([[1e-42, 0.0], [3e38, -1.0]]))
    assert bool((scale > 0).all())
    assert bool(scale.isfinite().all())
    assert bool(dequantise(values, scale).isfinite().all())


def test_the_search_beats_the_largest_weight() -> None:
    weight = torch.randn((2, 200_000), generator=torch.Generator().manual_seed(1))
    weight[:, 0] = 100  # costs all others a coarser step
    plain = weight.abs().amax(1, keepdim=True) / 127
    error_of_plain = ((weight / plain).round() * plain - weight).square().sum(1)
    error = (dequantise(*quantise(weight)) - weight).square().sum(1)
    assert bool((error < 0.8 * error_of_plain).all())


@pytest.mark.parametrize(
    ("weight", "values"),
    [
        ([127, 0.4, 0.4, 0.3], [127, 1, 0, 0]),
        ([-127, -0.4, -0.3, -0.41], [-127, 0, 0, -1]),
        ([127, 0.4, -0.4, 0.3], [127, 0, 0, 0]),
        ([126.6, 126.6, 126.6, -127], [126, 127, 127, -127]),
    ],
)
def test_rounding_is_balanced(weight: list[float], values: list[int]) -> None:
    found, scale = quantise(torch.tensor([weight]))
    assert sorted(found[0].tolist()) == sorted(values)
    assert abs(float(found.float().sum() * scale) - sum(weight)) <= 0.55


@pytest.mark.parametrize("shape", [(16, 512), (16, 32, 3, 3), (8, 3, 7, 7)])
def test_the_errors_of_a_channel_add_up_to_nothing(shape: tuple[int, ...]) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    values, scale = quantise(weight)
    error = (dequantise(values, scale) - weight).flatten(1) / scale[:, None]
    assert float(error.sum(1).abs().max()) <= 0.51
    assert float(error.square().mean().sqrt()) < 0.4  # rounding alone: 1 / sqrt(12) = 0.29


def test_each_channel_has_a_scale_of_its_own() -> None:
    weight = torch.randn((4, 64), generator=torch.Generator().manual_seed(2))
    sizes = torch.tensor([1.0, 1e-3, 1e3, 1e-8])[:, None]
    for row, exact in zip(dequantise(*quantise(weight * sizes)), weight * sizes, strict=True):
        assert float((row - exact).norm() / exact.norm()) < 0.01


def test_packing_leaves_vectors_and_counters_and_comes_back() -> None:
    tensors = {"a": torch.randn(4, 9), "b": torch.randn(4), "n": torch.tensor(3), "e": torch.zeros(2, 2)}
    packed, errors = pack(tensors)
    assert packed.keys() == {"a", "a.scale", "b", "n", "e", "e.scale"}
    assert errors.keys() == {"a", "e"}
    assert errors["e"] == 0 < errors["a"] < 0.01
    back = unpack(packed)
    assert back.keys() == tensors.keys()
    assert all(torch.equal(back[key], tensors[key]) for key in ("b", "n", "e"))
    again, _ = pack(back)
    assert torch.equal(again["a"], packed["a"])  # what is packed already loses nothing more


def test_packed_weights_without_sound_scales_are_named() -> None:
    packed, _ = pack({f"w{n}": torch.ones(2, 2) for n in range(6)})
    for n in range(6):
        packed[f"w{n}.scale"] = torch.zeros(2)
    with pytest.raises(QuantisationError, match=r"^w0\.scale is not finite and above 0; .* and 2 more$"):
        unpack(packed)


def with_outliers(model: EmbeddingModel) -> EmbeddingModel:
    """One weight of every seventh channel is 30 times the usual, as trained networks may have them."""
    with torch.no_grad():
        for tensor in model.parameters():
            if tensor.ndim > 1:
                rows = tensor.flatten(1).clone()
                rows[::7, 0] = 30 * rows.std()
                tensor.copy_(rows.reshape(tensor.shape))
    return model


@pytest.mark.parametrize("outliers", [False, True])
def test_embeddings_stay_where_they_are(tmp_path: Path, outliers: bool) -> None:
    generator = torch.Generator().manual_seed(3)
    model = build(SMALL, preprocessing=Preprocessing(width=64), generator=generator).eval()
    model = with_outliers(model) if outliers else model
    for storage in ("float32", "int8"):
        save_checkpoint(model, tmp_path / storage, {}, storage=storage)
    clips = torch.randn((6, 8, 3, 16, 4), generator=generator)
    clips = clips.repeat_interleave(16, 3).repeat_interleave(16, 4)
    with torch.inference_mode():
        exact, stored = (load_model(tmp_path / storage)(clips) for storage in ("float32", "int8"))
    assert float(torch.cosine_similarity(exact, stored).min()) > 0.999


def test_maps_of_real_weights_and_real_crops_stay_where_they_are() -> None:
    weights = SHARED / "weights" / "backbone" / "torchvision_V1_conv1_to_layer2_and_all_bn.pt"
    folder = SHARED / "data" / "market1501_train"
    if not weights.exists() or not folder.exists():
        pytest.skip(f"{weights} or {folder} is not on this machine")
    import cv2

    model = build("resnet50_fpl").eval()
    published = torch.load(weights, weights_only=True)
    named = {key: official_key(key).removeprefix("features.backbone.") for key in model.state_dict()}
    exact = {
        key: published[name]
        for key, name in named.items()
        if name in published and not key.startswith(("head.", *LATER_STAGES))
    }
    assert len(exact) > 100
    crops = [cv2.imread(str(path))[..., ::-1] for path in sorted(folder.glob("*.jpg"))[::1000]]
    frames = torch.from_numpy(model.preprocessing.clip(crops))
    maps = []
    for tensors in (exact, unpack(pack(exact)[0])):
        model.load_state_dict(tensors, strict=False)
        with torch.inference_mode():
            x = model.backbone.pool(model.backbone.norm(model.backbone.conv(frames)).relu())
            maps.append(model.backbone.stages[1](model.backbone.stages[0](x, 1), 1).mean((2, 3)))
    assert float(torch.cosine_similarity(*maps).min()) > 0.9999  # 0.9990 without balanced rounding
    centre = maps[0].mean(0)
    assert float(torch.cosine_similarity(maps[0] - centre, maps[1] - centre).min()) > 0.995

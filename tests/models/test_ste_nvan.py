"""The six variants against the released code's numbers, and what the network accepts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from models.checkpoint import to_official
from models.complexity import count_multiply_adds, count_parameters
from models.ste_nvan import VARIANTS, Architecture, EmbeddingModel, UnknownVariant, build

KEYS = Path(__file__).parents[1] / "data" / "golden_keys.txt"
GIGA_MULTIPLY_ADDS = {  # one clip of the released code; the paper's own figures count a smaller backbone
    "resnet50_fpl": 32.43,
    "resnet50_max_fpl": 32.43,
    "nvan": 63.56,
    "nvan_spatial": 33.43,
    "nvan_temporal": 42.63,
    "ste_nvan": 17.67,
}


@torch.inference_mode()
def test_embeddings_are_those_of_the_released_code(
    golden_model: EmbeddingModel, golden_clips: torch.Tensor, golden_numbers: dict[str, np.ndarray]
) -> None:
    variant = golden_model.variant or ""
    want = golden_numbers[variant]
    ours = golden_model(golden_clips).numpy()
    assert ours.shape == (2, 2048)
    assert ours.dtype == np.float32
    head = ours[:, : want.shape[1]]
    assert np.linalg.norm(head - want) / np.linalg.norm(want) < 1e-4
    if f"{variant}_norms" in golden_numbers:  # the small copy stands for the rest by the norms
        assert np.linalg.norm(ours, axis=1) == pytest.approx(golden_numbers[f"{variant}_norms"], rel=1e-4)


def test_bfloat16_keeps_the_direction(
    golden_model: EmbeddingModel, golden_clips: torch.Tensor, golden_numbers: dict[str, np.ndarray]
) -> None:
    # At least 0.99998 on processors without matrix units (AMX), 0.99988 with them: they round otherwise.
    assert cosine_under_autocast(golden_model, golden_clips, golden_numbers, torch.bfloat16) > 0.9998


@pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_fp16_supported(), reason="this CPU does not compute in float16"
)
@pytest.mark.parametrize("golden_model", ["ste_nvan"], indirect=True)
def test_float16_keeps_the_direction(
    golden_model: EmbeddingModel, golden_clips: torch.Tensor, golden_numbers: dict[str, np.ndarray]
) -> None:
    assert cosine_under_autocast(golden_model, golden_clips, golden_numbers, torch.float16) > 0.9999


@torch.inference_mode()
def cosine_under_autocast(
    model: EmbeddingModel, clips: torch.Tensor, numbers: dict[str, np.ndarray], dtype: torch.dtype
) -> float:
    want = torch.from_numpy(numbers[model.variant or ""])[:1]
    with torch.autocast("cpu", dtype):
        ours = model(clips[:1])
    assert ours.dtype == torch.float32
    return float(torch.cosine_similarity(ours[:, : want.shape[1]], want))


def test_cost_and_size_are_those_of_the_released_code(golden_model: EmbeddingModel) -> None:
    variant = golden_model.variant or ""
    assert round(count_multiply_adds(golden_model) / 1e9, 2) == GIGA_MULTIPLY_ADDS[variant]
    head = count_parameters(golden_model.head)
    assert head == 2 * 2048
    millions = (count_parameters(golden_model) - head) / 1e6
    assert round(millions, 2) == (23.51 if variant.startswith("resnet") else 30.87)


def test_official_keys_and_shapes(golden_model: EmbeddingModel) -> None:
    lines = [line.split() for line in KEYS.read_text().splitlines()]
    plain = not any(golden_model.architecture.non_local)
    want = {
        key: () if shape == "-" else tuple(map(int, shape.split("x")))
        for key, shape in lines
        if not key.startswith("classifier.") and not (plain and ".NL_" in key)
    }
    assert {key: tuple(tensor.shape) for key, tensor in to_official(golden_model).items()} == want


def test_build_names_the_variants() -> None:
    with pytest.raises(UnknownVariant, match=r"unknown model variant 'resnet51'.*resnet50_fpl.*ste_nvan"):
        build("resnet51")


def test_architecture_survives_json() -> None:
    for architecture in VARIANTS.values():
        assert Architecture.from_json(architecture.to_json()) == architecture
    with pytest.raises(ValueError, match="unknown architecture argument strips"):
        Architecture.from_json({"strips": 16})


@pytest.mark.parametrize(
    "wrong",
    [{"pooling": "median"}, {"stripes": 0}, {"depths": (1, 2)}, {"non_local": (4, 0, 0, 0)}, {"width": 0}],
)
def test_architecture_refuses_what_makes_no_network(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Architecture(**wrong)


@pytest.mark.parametrize(
    ("architecture", "frames", "height"),
    [
        (VARIANTS["resnet50_fpl"], 1, 1),
        (VARIANTS["nvan"], 1, 1),
        (VARIANTS["nvan_spatial"], 1, 256),
        (VARIANTS["nvan_temporal"], 4, 1),
        (VARIANTS["ste_nvan"], 4, 256),
        (Architecture((0, 0, 1, 0), stripes=4, window=3, temporal_reduction=True), 12, 64),
        (Architecture((0, 1, 0, 0), stripes=4, window=2), 2, 32),
        (Architecture(stripes=16, window=3), 1, 1),
    ],
)
def test_sizes_that_an_architecture_takes(architecture: Architecture, frames: int, height: int) -> None:
    assert (architecture.frame_multiple, architecture.height_multiple) == (frames, height)


def test_other_clip_lengths_and_wrong_shapes(tiny: Architecture) -> None:
    model = build(tiny).eval()
    with torch.inference_mode():
        for shape in ((2, 4, 3, 256, 128), (1, 12, 3, 256, 64), (0, 8, 3, 256, 128)):
            assert model(torch.zeros(shape)).shape == (shape[0], model.dimension)
    for shape, complaint in [
        ((2, 3, 256, 128), r"shape \(B, T, 3, H, W\)"),
        ((1, 8, 4, 256, 128), r"shape \(B, T, 3, H, W\)"),
        ((1, 6, 3, 256, 128), "frames T of a clip must be a multiple of 4 for this model, not 6"),
        ((1, 0, 3, 256, 128), "frames T .* not 0"),
        ((1, 8, 3, 250, 128), "height H of a clip must be a multiple of 256"),
        ((1, 8, 3, 256, 0), "width W .* at least 1"),
    ]:
        with pytest.raises(ValueError, match=complaint):
            model(torch.zeros(shape))


def test_clips_of_a_batch_do_not_see_each_other(tiny: Architecture) -> None:
    model = build(tiny, generator=torch.Generator().manual_seed(1)).eval()
    for stage in model.backbone.stages:
        for block in stage.non_local:
            torch.nn.init.ones_(block.norm.weight)
    clips = torch.randn((3, 8, 3, 256, 32), generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        together, alone = model(clips), torch.cat([model(clip[None]) for clip in clips])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_a_seed_gives_the_same_network_and_leaves_torch_s_own_generator(tiny: Architecture) -> None:
    before = torch.get_rng_state()
    first, second = (build(tiny, generator=torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    for one, other in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_non_local_blocks_start_as_identity() -> None:
    plain = Architecture(width=4, depths=(1, 1, 1, 1))
    attending = Architecture((0, 1, 1, 0), width=4, depths=(1, 1, 1, 1))
    model, bare = build(attending).eval(), build(plain).eval()
    bare.load_state_dict({k: v for k, v in model.state_dict().items() if ".non_local." not in k})
    clips = torch.randn((1, 8, 3, 64, 32), generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        torch.testing.assert_close(model(clips), bare(clips))


def test_gradients_reach_every_trained_weight(tiny: Architecture) -> None:
    model = build(tiny)
    for stage in model.backbone.stages:
        for block in stage.non_local:
            torch.nn.init.ones_(block.norm.weight)
    clips = torch.randn((2, 4, 3, 256, 32), generator=torch.Generator().manual_seed(4))
    before, after = model.pool(clips)
    weights = torch.randn(after.shape, generator=torch.Generator().manual_seed(5))
    (before.square().mean() + (after * weights).mean()).backward()
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert trained == {name for name, weight in model.named_parameters() if weight.grad is not None}
    assert "head.norm.bias" not in trained


def test_exports_with_a_free_batch_size(tiny: Architecture) -> None:
    model = build(tiny).eval()
    clips = torch.randn((2, 4, 3, 256, 32), generator=torch.Generator().manual_seed(6))
    with torch.no_grad():
        exported = torch.export.export(
            model, (clips,), dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=64)},)
        )
        for batch in (1, 3):
            some = clips[:1].repeat(batch, 1, 1, 1, 1)
            torch.testing.assert_close(exported.module()(some), model(some), rtol=1e-4, atol=1e-5)

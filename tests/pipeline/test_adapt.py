"""Adapting to unlabelled crops: the statistics by hand, what adapting undoes, and the command."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from painted import BLACK, BLUE, GREEN, RED, WHITE, Painted, make_scene, paint

import run_pipeline
from models.checkpoint import load_model, read_metadata, save_checkpoint
from models.preprocess import Preprocessing
from models.ste_nvan import Architecture, EmbeddingModel, build
from models.weights import weights_sha256
from pipeline import adapt
from pipeline.adapt import NotEnoughClips, adapt_batch_norm, batches, folder_clips
from pipeline.config import load_config
from pipeline.ingest import ingest
from pipeline.video import SourceSpec
from storage.gallery import Gallery

TINY = Architecture((0, 1, 1, 0), stripes=16, window=2, temporal_reduction=True, width=4, depths=(1, 1, 1, 1))
COLOURS = (RED, GREEN, BLUE, WHITE, BLACK)


def clips(number: int, seed: int = 0) -> torch.Tensor:
    """`(number, 4, 3, 256, 32)` of coloured blocks."""
    blocks = torch.randn((number, 4, 3, 16, 2), generator=torch.Generator().manual_seed(seed))
    return blocks.repeat_interleave(16, 3).repeat_interleave(16, 4)


@pytest.fixture
def model() -> EmbeddingModel:
    generator = torch.Generator().manual_seed(1)
    made = build(TINY, preprocessing=Preprocessing(width=32), generator=generator)
    with torch.no_grad():
        for name, tensor in made.named_parameters():
            if name.endswith("norm.weight"):  # the non-local blocks do something
                tensor.uniform_(0.5, 1.5, generator=generator)
    return made.eval()


@torch.inference_mode()
def cosine(one: EmbeddingModel, of: torch.Tensor, other: EmbeddingModel, than: torch.Tensor) -> float:
    return float(torch.cosine_similarity(one(of), other(than)).min())


@torch.inference_mode()
def moments(model: EmbeddingModel, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and unbiased variance of what enters the first norm, and the last."""
    var, mean = torch.var_mean(model.backbone.conv(inputs.flatten(0, 1)), (0, 2, 3))
    return mean, var


@pytest.mark.parametrize("alpha", [1.0, 0.25])
@pytest.mark.parametrize("sizes", [(20,), (7, 1, 12)])
def test_statistics_are_those_of_all_clips_and_mixed_by_alpha(
    model: EmbeddingModel, alpha: float, sizes: tuple[int, ...]
) -> None:
    everything = clips(20)
    adapted = adapt_batch_norm(model, list(everything.split(list(sizes))), alpha=alpha)
    mean, var = moments(model, everything)
    norm = adapted.backbone.norm
    torch.testing.assert_close(norm.running_mean, alpha * mean, rtol=1e-4, atol=1e-5)  # old: 0 and 1
    torch.testing.assert_close(norm.running_var, (1 - alpha) + alpha * var, rtol=1e-4, atol=1e-5)


def test_with_alpha_1_embeddings_have_no_mean_and_variance_1(model: EmbeddingModel) -> None:
    everything = clips(32)
    adapted = adapt_batch_norm(model, [everything], alpha=1)
    with torch.inference_mode():
        features = adapted(everything)
    scale = adapted.head.norm.weight
    assert float(features.mean(0).abs().max()) < 0.02
    torch.testing.assert_close(features.std(0), scale.detach(), rtol=0.02, atol=0.02)


def test_a_change_of_contrast_is_undone(model: EmbeddingModel) -> None:
    seen, asked = clips(32), clips(4, seed=9)
    home = adapt_batch_norm(model, [seen], alpha=1)
    there = adapt_batch_norm(home, [0.3 * seen], alpha=1)
    assert cosine(home, asked, home, 0.3 * asked) < 0.95
    assert cosine(home, asked, there, 0.3 * asked) > 0.99


def test_the_network_given_stays_and_arrays_do_as_well(model: EmbeddingModel) -> None:
    before = {key: value.clone() for key, value in model.state_dict().items()}
    one = adapt_batch_norm(model.train(), [clips(16).numpy()])
    two = adapt_batch_norm(model, iter([clips(16)]))
    assert model.training
    assert not one.training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    for (key, value), other in zip(one.state_dict().items(), two.state_dict().values(), strict=True):
        assert torch.equal(value, other)
        assert torch.equal(value, before[key]) == ("running" not in key)
    assert not any(module._forward_pre_hooks for module in one.modules())


@pytest.mark.parametrize("alpha", [0, -1, 1.5, float("nan")])
def test_alpha_is_a_share(model: EmbeddingModel, alpha: float) -> None:
    with pytest.raises(ValueError, match="alpha must lie in"):
        adapt_batch_norm(model, [clips(16)], alpha=alpha)


def test_too_few_or_broken_clips(model: EmbeddingModel) -> None:
    for few in ([], [clips(15)]):
        with pytest.raises(NotEnoughClips, match=r"clips are too few.*at least 16"):
            adapt_batch_norm(model, few)
    with pytest.raises(ValueError, match="not finite"):
        adapt_batch_norm(model, [clips(16) * torch.nan])


# Crops


def write_crop(path: Path, number: int) -> None:
    person = Painted(COLOURS[number % 5], COLOURS[number // 5 % 5], 6 + number % 3, 4, 0, height=110)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), paint([person], 0, 60, 120)[..., ::-1])


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    """12 tracklets of 3 frames, 8 single pictures, and what is no picture."""
    folder = tmp_path / "crops"
    for number in range(12):
        for frame in range(3):
            write_crop(folder / "camera" / f"person{number}" / f"{frame}.jpg", number + 5 * frame)
    for number in range(8):
        write_crop(folder / f"{number}.png", number)
    (folder / "notes.txt").write_text("no picture")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8 torn")
    return folder


def test_a_folder_is_a_tracklet_and_a_lone_picture_too(crops: Path) -> None:
    chosen = folder_clips(crops, 1000, np.random.default_rng(0))
    assert len(chosen) == 21
    read = [clip for clip in (choose() for choose in chosen) if clip is not None]
    assert len(read) == 20
    assert all(len(clip) == 8 and clip[0].shape == (120, 60, 3) for clip in read)
    shapes = [batch.shape for batch in batches(chosen, Preprocessing(width=32), size=8)]
    assert shapes == [(8, 8, 3, 256, 32), (8, 8, 3, 256, 32), (4, 8, 3, 256, 32)]
    assert len(folder_clips(crops, 5, np.random.default_rng(0))) == 5
    with pytest.raises(NotADirectoryError, match="no folder"):
        folder_clips(crops / "nowhere", 5, np.random.default_rng(0))


# The command


@pytest.fixture
def weights(model: EmbeddingModel, tmp_path: Path) -> Path:
    path = tmp_path / "tiny.safetensors"
    notes = {"licence": "AGPL-3.0-or-later", "metrics": {"rank1": 0.9}}
    save_checkpoint(model, path, notes, storage="int8")
    return path


def run(*arguments: object) -> int:
    return run_pipeline.main(["adapt", *map(str, arguments), "--device", "cpu"])


def test_the_command_writes_a_checkpoint_that_says_what_it_is(
    weights: Path, crops: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "adapted.safetensors"
    assert run("--weights", weights, "--crops", crops, "--output", output, "--alpha", 0.75) == 0
    said = capsys.readouterr().out
    assert "adapted to 20 clips" in said
    assert f"--embedder-weights {output}" in said
    metadata = read_metadata(output)
    assert metadata["adapted_from"] == weights_sha256(weights)
    assert (metadata["adapted_clips"], metadata["adapted_alpha"]) == (20, 0.75)
    assert (metadata["licence"], metadata["storage"]) == ("AGPL-3.0-or-later", "int8")
    assert "metrics" not in metadata  # they are the original's
    assert metadata["original"]["metrics"] == {"rank1": 0.9}
    before, after = load_model(weights), load_model(output)
    assert not torch.equal(before.backbone.norm.running_mean, after.backbone.norm.running_mean)
    torch.testing.assert_close(before.backbone.conv.weight, after.backbone.conv.weight, rtol=0, atol=1e-6)
    again = tmp_path / "again.safetensors"
    assert run("--weights", weights, "--crops", crops, "--output", again, "--alpha", 0.75) == 0
    assert again.read_bytes() == output.read_bytes()


def test_the_command_takes_the_people_of_a_gallery(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapt, "MIN_CLIPS", 3)
    people = [Painted(COLOURS[i], COLOURS[-i], 40 * i, 40, dx=1) for i in range(4)]
    scene = make_scene(tmp_path, "a", people, 20)
    config = load_config(
        overrides=["embedder.name=colour_stripes", "detector.name=mot_file", f"detector.path={scene.boxes}"]
    )
    with Gallery.open(tmp_path / "g", create=True) as gallery:
        ingest(gallery, [SourceSpec("cam", str(scene.video), 1000.0)], config)
    output = tmp_path / "adapted.safetensors"
    assert run("--weights", weights, "--gallery", tmp_path / "g", "--output", output) == 0
    assert read_metadata(output)["adapted_clips"] == 4


def test_what_the_command_refuses(
    weights: Path, crops: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "adapted.safetensors"
    given = ["--weights", weights, "--output", output]
    (tmp_path / "empty").mkdir()
    for arguments, message in [
        (given, "one of --gallery DIR and --crops DIR"),
        ([*given, "--crops", crops, "--gallery", tmp_path], "one of --gallery DIR and --crops DIR"),
        ([*given, "--crops", tmp_path / "nowhere"], "no folder"),
        ([*given, "--crops", tmp_path / "empty"], "0 clips are too few"),
        ([*given, "--crops", crops, "--clips", 3], "clips are too few"),
        ([*given, "--crops", crops, "--alpha", 0], "alpha must lie in"),
        (["--weights", weights, "--output", weights, "--crops", crops], "is the file of the weights"),
        (["--weights", weights, "--output", tmp_path / "no" / "x", "--crops", crops], "in a folder that is"),
        (["--weights", "unheard-of", "--output", output, "--crops", crops], "no weights unheard-of"),
    ]:
        assert run(*arguments) == 2, message
        assert message in capsys.readouterr().err
    assert not output.exists()


@pytest.mark.parametrize(
    ("output", "complaint"),
    [
        (".", "must be a file in a folder"),
        ("no/x.safetensors", "must be a file"),
        ("x.safetensors", "themselves"),
    ],
)
def test_store_refuses_what_would_lose_something(
    model: EmbeddingModel, tmp_path: Path, output: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    save_checkpoint(model, tmp_path / "x.safetensors", {})
    command = ["weights", "store", str(tmp_path / "x.safetensors"), "--storage", "int8", "--output"]
    assert run_pipeline.main([*command, str(tmp_path / output)]) == 2
    assert complaint in capsys.readouterr().err
    assert run_pipeline.main([*command, str(tmp_path / "small.safetensors")]) == 0
    command[2] = str(tmp_path / "small.safetensors")
    assert run_pipeline.main([*command, str(tmp_path / "again.safetensors")]) == 2
    assert "rounded to int8 already" in capsys.readouterr().err

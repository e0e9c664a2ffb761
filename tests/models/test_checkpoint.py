"""Weights on disk: what comes back, and what is refused."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from models import quantise
from models.checkpoint import (
    CheckpointError,
    Storage,
    VariantRequired,
    file_sha256,
    load_model,
    read_metadata,
    save_checkpoint,
    to_official,
)
from models.preprocess import Preprocessing
from models.ste_nvan import Architecture, EmbeddingModel, build

CLIPS = torch.randn((1, 4, 3, 256, 32), generator=torch.Generator().manual_seed(0))
NOTES = {"licence": "CC0", "training_data": "made up", "metrics": {"rank1": 0.5}}


@pytest.fixture
def model(tiny: Architecture) -> EmbeddingModel:
    """Small, with statistics that differ from fresh ones."""
    generator = torch.Generator().manual_seed(7)
    model = build(tiny, preprocessing=Preprocessing(width=32), generator=generator)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point() and tensor.ndim == 1:
                tensor.uniform_(0.5, 1.5, generator=generator)
    return model.eval()


@torch.inference_mode()
def same(one: EmbeddingModel, other: EmbeddingModel) -> bool:
    return torch.equal(one(CLIPS), other(CLIPS))


def official(model: EmbeddingModel, prefix: str = "") -> dict[str, torch.Tensor]:
    tensors = {
        prefix + key: value.clone(memory_format=torch.contiguous_format)
        for key, value in to_official(model).items()
    }
    return tensors | {prefix + "classifier.weight": torch.zeros(625, model.dimension)}


def test_checkpoint_comes_back_whole(model: EmbeddingModel, tmp_path: Path) -> None:
    path = tmp_path / "ours.safetensors"
    save_checkpoint(model, path, NOTES)
    loaded = load_model(path)
    assert same(model, loaded)
    assert not loaded.training
    assert (loaded.variant, loaded.architecture) == ("tiny", model.architecture)
    assert loaded.preprocessing == Preprocessing(width=32)
    assert not loaded.head.norm.bias.requires_grad
    metadata = read_metadata(path)
    assert {key: metadata[key] for key in NOTES} == NOTES
    assert metadata["variant"] == "tiny"
    assert [file.name for file in tmp_path.iterdir()] == ["ours.safetensors"]


@pytest.mark.parametrize(
    ("storage", "share", "error"), [("float32", 1, 0), ("float16", 0.7, 3e-4), ("int8", 0.6, 0.02)]
)
def test_a_smaller_file_is_nearly_the_same_network(
    model: EmbeddingModel, tmp_path: Path, storage: Storage, share: float, error: float
) -> None:
    full, small = tmp_path / "full.safetensors", tmp_path / "small.safetensors"
    save_checkpoint(model, full, {})
    save_checkpoint(model, small, {}, storage=storage)
    sizes = [sum(t.nbytes for t in load_file(path).values()) for path in (small, full)]
    assert sizes[0] <= share * sizes[1]  # much of the tiny network is batch norms
    metadata = read_metadata(small)
    assert metadata["storage"] == storage
    assert error / 10 <= metadata["storage_error"] <= error
    loaded = load_model(small)
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    assert loaded.preprocessing == model.preprocessing
    with torch.inference_mode():
        assert float(torch.cosine_similarity(loaded(CLIPS), model(CLIPS))) > 0.9999


@pytest.mark.parametrize("storage", ["float32", "float16", "int8"])
def test_the_same_model_gives_the_same_bytes(model: EmbeddingModel, tmp_path: Path, storage: Storage) -> None:
    paths = [tmp_path / f"{n}.safetensors" for n in range(3)]
    save_checkpoint(model, paths[0], NOTES, storage=storage)
    save_checkpoint(model, paths[1], dict(reversed(NOTES.items())), storage=storage)
    model = model.to(memory_format=torch.contiguous_format)
    save_checkpoint(model, paths[2], NOTES, storage=storage)
    assert len({file_sha256(path) for path in paths}) == 1


def test_the_whole_network_fits_into_32_megabytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(  # the search for scales takes seconds and changes no size
        quantise, "quantise", lambda w: (torch.ones(w.shape, dtype=torch.int8), torch.ones(w.shape[0]))
    )
    path = tmp_path / "whole.safetensors"
    save_checkpoint(build("ste_nvan").eval(), path, NOTES, storage="int8")
    assert path.stat().st_size <= 32_000_000


def test_weights_that_would_not_load_are_not_saved(model: EmbeddingModel, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_checkpoint(model, path, NOTES)
    with torch.no_grad():
        model.backbone.conv.weight[0, 0, 0, 0] = 1e6
    with pytest.raises(ValueError, match=r"finite float16 numbers: backbone\.conv\.weight$"):
        save_checkpoint(model, path, {}, storage="float16")
    with torch.no_grad():
        model.head.norm.running_mean[0] = torch.nan
    for storage in ("float32", "int8"):
        with pytest.raises(ValueError, match=r"numbers: head\.norm\.running_mean$"):
            save_checkpoint(model, path, {}, storage=storage)
    with pytest.raises(ValueError, match="storage must be one of float32, float16, int8, not 'int4'"):
        save_checkpoint(model, path, {}, storage="int4")  # type: ignore[arg-type]
    assert read_metadata(path)["licence"] == "CC0"
    assert [file.name for file in tmp_path.iterdir()] == ["x.safetensors"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"head.norm.weight": None}, "missing: head.norm.weight"),
        ({"backbone.conv.weight": None}, "missing: backbone.conv.weight; unexpected: backbone"),
        ({"backbone.conv.weight.scale": None}, "backbone.conv.weight.scale is missing"),
        ({"backbone.conv.weight.scale": torch.ones(3)}, r"\(3,\) torch.float32 instead of \(4,\)"),
        ({"backbone.conv.weight.scale": torch.zeros(4)}, "scale is not finite and above 0"),
        ({"backbone.conv.weight.scale": -torch.ones(4)}, "scale is not finite and above 0"),
        ({"backbone.conv.weight.scale": torch.full((4,), torch.nan)}, "scale is not finite and above 0"),
        ({"backbone.conv.weight.scale": torch.full((4,), torch.inf)}, "scale is not finite and above 0"),
        ({"backbone.conv.weight.scale": torch.full((4,), 3e38)}, "not plain finite numbers: backbone"),
        ({"backbone.conv.weight": torch.ones((4, 3, 7, 6), dtype=torch.int8)}, r"wrong shape: .*3, 7, 6"),
        ({"backbone.conv.weight": torch.ones((4, 3, 7, 7), dtype=torch.uint8)}, "unexpected: backbone"),
        ({"head.norm.weight": torch.ones(128, dtype=torch.int8)}, "not plain finite numbers: head.norm.w"),
    ],
)  # fmt: skip
def test_packed_files_are_as_strict(
    model: EmbeddingModel, tmp_path: Path, change: dict[str, torch.Tensor | None], message: str
) -> None:
    path = tmp_path / "x.safetensors"
    save_checkpoint(model, path, {}, storage="int8")
    with safe_open(path, "pt") as file:
        header = file.metadata()
    tensors = {key: value for key, value in {**load_file(path), **change}.items() if value is not None}
    save_file(tensors, path, header)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_model(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_integers_without_the_word_are_no_weights(model: EmbeddingModel, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_checkpoint(model, path, {}, storage="int8")
    tensors, metadata = load_file(path), read_metadata(path)
    for storage, message in [("float32", "not plain finite numbers"), ("int4", "unknown storage 'int4'")]:
        save_file(tensors, path, {"retrace": json.dumps({**metadata, "storage": storage})})
        with pytest.raises(CheckpointError, match=message):
            load_model(path)


def test_metadata_may_not_contradict_the_model(model: EmbeddingModel, tmp_path: Path) -> None:
    for key in ("variant", "storage"):
        with pytest.raises(ValueError, match=f"may not set {key}"):
            save_checkpoint(model, tmp_path / "x.safetensors", {key: "nvan"})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("kind", ["zip", "legacy", "wrapped", "safetensors"])
def test_official_files_load(model: EmbeddingModel, tmp_path: Path, kind: str, prefix: str) -> None:
    path = tmp_path / "official.pth"
    tensors = official(model, prefix)
    if kind == "safetensors":
        save_file(tensors, path)
    else:
        torch.save(
            {"state_dict": tensors, "epoch": 200} if kind == "wrapped" else tensors,
            path,
            _use_new_zipfile_serialization=kind != "legacy",
        )
    loaded = load_model(path, variant="tiny")
    assert same(model, loaded)
    assert loaded.backbone.conv.weight.is_contiguous(memory_format=torch.channels_last)
    with pytest.raises(VariantRequired, match=r"does not say which model it is.*resnet50_fpl.*ste_nvan"):
        load_model(path)


def test_wrong_keys_are_named(model: EmbeddingModel, tmp_path: Path) -> None:
    path = tmp_path / "official.pth"
    tensors = official(model, "module.")
    del tensors["module.bottleneck.running_mean"]
    tensors["module.extra.weight"] = torch.zeros(1)
    tensors["module.features.backbone.NL_2.0.theta.weight"] = torch.zeros(16, 32)
    tensors["module.features.backbone.bn1.bias"][0] = torch.nan
    torch.save(tensors, path)
    with pytest.raises(CheckpointError) as caught:
        load_model(path, variant="tiny")
    message = str(caught.value)
    assert "missing: bottleneck.running_mean" in message
    assert "unexpected: extra.weight" in message
    assert "features.backbone.NL_2.0.theta.weight (16, 32) instead of (16, 32, 1, 1, 1)" in message
    assert "not plain finite numbers: features.backbone.bn1.bias" in message
    assert "\n" not in message


def test_our_own_files_are_as_strict(model: EmbeddingModel, tmp_path: Path) -> None:
    path = tmp_path / "ours.safetensors"
    save_checkpoint(model, path, {})
    with safe_open(path, "pt") as file:
        header = file.metadata()
    tensors = load_file(path)
    tensors["classifier.weight"] = torch.zeros(3)
    del tensors["head.norm.weight"]
    save_file(tensors, path, header)
    with pytest.raises(CheckpointError, match=r"missing: head\.norm\.weight; unexpected: classifier\.weight"):
        load_model(path)


def test_another_variant_than_the_file_s_is_refused(model: EmbeddingModel, tmp_path: Path) -> None:
    save_checkpoint(model, tmp_path / "ours.safetensors", {})
    with pytest.raises(ValueError, match="holds the model tiny, not nvan"):
        load_model(tmp_path / "ours.safetensors", variant="nvan")
    with pytest.raises(ValueError, match="unknown model variant 'tinny'"):
        load_model(tmp_path / "ours.safetensors", variant="tinny")


class Malicious:
    """Runs a command when unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch '{self.marker}'",)


@pytest.mark.parametrize("kind", ["zip", "legacy", "pickle", "text pickle"])
def test_code_in_a_pickle_does_not_run(tmp_path: Path, kind: str) -> None:
    path, marker = tmp_path / "evil.pth", tmp_path / "ran"
    payload = {"module.bottleneck.bias": torch.zeros(1), "x": Malicious(marker)}
    if kind.endswith("pickle"):
        payload.pop("module.bottleneck.bias")
        path.write_bytes(pickle.dumps(payload, 0 if kind == "text pickle" else 2))
    else:
        torch.save(payload, path, _use_new_zipfile_serialization=kind == "zip")
    with pytest.raises(CheckpointError, match="is not weights" if kind == "text pickle" else "system"):
        load_model(path, variant="ste_nvan")
    assert not marker.exists()
    if kind == "pickle":  # the file does what it is meant to when read carelessly
        pickle.loads(path.read_bytes())
        assert marker.exists()


def test_what_is_no_weights_is_said_in_one_line(model: EmbeddingModel, tmp_path: Path) -> None:
    good = tmp_path / "good.safetensors"
    save_checkpoint(model, good, {})
    whole = good.read_bytes()
    zipped = tmp_path / "good.pth"
    torch.save(official(model), zipped)
    cases = {
        "empty": b"",
        "text": b"not weights at all, but long enough",
        "page": b"<!DOCTYPE html><html>404</html>",
        "half": whole[: len(whole) // 2],
        "header": whole[:40],
        "huge header": (2**62).to_bytes(8, "little") + b"{" * 100,
        "half zip": zipped.read_bytes()[:5000],
        "zip": b"PK\x03\x04" + b"\0" * 60,
        "pickle": b"\x80\x02" + b"\xff" * 60,
        "number": pickle.dumps(5, 2),
    }
    path = tmp_path / "x.pth"
    for name, content in cases.items():
        path.write_bytes(content)
        with pytest.raises(CheckpointError) as caught:
            load_model(path, variant="tiny")
        assert str(path) in str(caught.value), name
        assert "\n" not in str(caught.value), name
    for payload in ([torch.zeros(2)], {"a": 1}, {1: torch.zeros(2)}, {}):
        torch.save(payload, path)
        with pytest.raises(CheckpointError, match=r"holds (a|int|Tensor) "):
            load_model(path, variant="tiny")
    for missing in (tmp_path / "none.pth", tmp_path):
        with pytest.raises(FileNotFoundError, match="no weights at"):
            load_model(missing, variant="tiny")


def test_a_newer_or_damaged_header_is_refused(model: EmbeddingModel, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    for header, complaint in [
        ('{"format": 2}', "checkpoint format 2"),
        ('{"format": 1}', "damaged metadata"),
        ("{", "is not a whole"),
        ("[1]", "damaged metadata"),
        ('{"architecture": {"width": "a"}, "preprocessing": {}}', "damaged metadata"),
    ]:
        save_file({"a": torch.zeros(1)}, path, {"retrace": header})
        with pytest.raises(CheckpointError, match=complaint):
            load_model(path)


def test_sha256(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc" * 1000)
    assert file_sha256(tmp_path / "x") == hashlib.sha256(b"abc" * 1000).hexdigest()

"""Which frames make a clip, and how crops become numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from models.preprocess import Preprocessing, clip_indices, sample_frame_indices

ROOT = Path(__file__).resolve().parents[2]
SHARED_RRS = ROOT.parent / "shared" / "golden" / "rrs.json"
RRS = json.loads((SHARED_RRS if SHARED_RRS.exists() else ROOT / "tests/data/golden_rrs.json").read_text())


def test_every_case_is_that_of_the_released_code() -> None:
    assert len(RRS) == 126
    rng = np.random.default_rng(0)
    for case, want in RRS.items():
        length, frames = map(int, case.split("/"))
        chosen = sample_frame_indices(frames, length)
        assert chosen.tolist() == want["test"], case
        assert chosen.dtype == np.int64
        low, high = np.array(want["chunk_bounds"]).T
        clips = clip_indices(frames, length)
        assert clips[0].tolist() == low.tolist(), case
        assert clips[-1].tolist() == high.tolist(), case
        drawn = np.array([sample_frame_indices(frames, length, rng) for _ in range(20)])
        assert ((low <= drawn) & (drawn <= high)).all(), case


def test_training_reaches_every_frame_evenly() -> None:
    rng = np.random.default_rng(1)
    drawn = np.array([sample_frame_indices(32, 8, rng) for _ in range(2000)])
    counts = np.bincount(drawn.ravel(), minlength=32)
    assert counts.min() > 400  # 500 each expected
    assert counts.max() < 600


@pytest.mark.parametrize(
    ("frames", "want"),
    [
        (1, [[0, 0, 0]]),
        (3, [[0, 1, 2]]),
        (4, [[0, 2, 3], [1, 3, 3]]),
        (6, [[0, 2, 4], [1, 3, 5]]),
        (7, [[0, 3, 6], [1, 4, 6], [2, 5, 6]]),
    ],
)
def test_all_clips_of_a_tracklet(frames: int, want: list[list[int]]) -> None:
    assert clip_indices(frames, 3).tolist() == want


def test_no_frames_make_no_clip() -> None:
    for wrong in ((0, 8), (5, 0)):
        with pytest.raises(ValueError, match="cannot be drawn"):
            sample_frame_indices(*wrong)
        with pytest.raises(ValueError, match="cannot be drawn"):
            clip_indices(*wrong)


def test_flat_colour_becomes_the_normalised_value_at_any_size() -> None:
    preprocessing = Preprocessing()
    want = (np.array([200, 100, 50]) / 255 - preprocessing.mean) / preprocessing.std
    for size in ((3, 3), (256, 128), (1, 700), (517, 203), (100, 300)):
        crop = np.full((*size, 3), (200, 100, 50), np.uint8)
        clip = preprocessing.clip([crop, crop])
        assert clip.shape == (2, 3, 256, 128)
        assert clip.dtype == np.float32
        np.testing.assert_allclose(clip, np.broadcast_to(want[:, None, None], clip.shape), atol=1e-5)


def test_shrinking_does_not_alias() -> None:
    stripes = np.zeros((1024, 512, 3), np.uint8)
    stripes[::2] = 255  # far finer than the input: must become even grey, not stripes
    plain = Preprocessing(mean=(0, 0, 0), std=(1, 1, 1)).clip([stripes])
    np.testing.assert_allclose(plain, 0.5, atol=0.01)


def test_enlarging_is_bilinear() -> None:
    edge = np.zeros((2, 1, 3), np.uint8)
    edge[1] = 200
    column = Preprocessing(8, 1, (0, 0, 0), (1, 1, 1)).clip([edge])[0, 0, :, 0] * 255
    assert column.tolist() == pytest.approx([0, 0, 25, 75, 125, 175, 200, 200], abs=1)


def test_crops_are_rgb_and_stay_as_they_were() -> None:
    crop = np.zeros((256, 128, 3), np.uint8)
    crop[..., 0] = 255
    crop.setflags(write=False)
    red, green, blue = Preprocessing(mean=(0, 0, 0), std=(1, 1, 1)).clip([crop])[0]
    assert (red == 1).all()
    assert (green == 0).all()
    assert (blue == 0).all()


def test_batch_writes_into_the_buffer_it_is_given() -> None:
    rng = np.random.default_rng(3)
    clips = [[rng.integers(0, 256, (40, 20, 3), np.uint8) for _ in range(4)] for _ in range(2)]
    preprocessing = Preprocessing(64, 32)
    buffer = np.full((3, 4, 3, 64, 32), np.nan, np.float32)
    batch = preprocessing.batch(clips, buffer[:2])
    assert np.shares_memory(batch, buffer)
    for crops, clip in zip(clips, buffer, strict=False):
        assert np.array_equal(clip, preprocessing.clip(crops))
    assert np.isnan(buffer[2]).all()
    assert preprocessing.batch([]).shape == (0, 0, 3, 64, 32)


def test_wrong_input_is_named() -> None:
    preprocessing = Preprocessing()
    for crop in (np.zeros((0, 5, 3), np.uint8), np.zeros((5, 5), np.uint8), np.zeros((5, 5, 3), np.float32)):
        with pytest.raises(ValueError, match="a crop must be"):
            preprocessing.clip([crop])
    crop = np.zeros((5, 5, 3), np.uint8)
    with pytest.raises(ValueError, match=r"out must be \(1, 3, 256, 128\) float32"):
        preprocessing.clip([crop], np.zeros((1, 3, 256, 128)))
    with pytest.raises(ValueError, match="equally long"):
        preprocessing.batch([[crop], [crop, crop]])
    for wrong in ({"height": 0}, {"std": (1, 0, 1)}, {"mean": (1, 1)}):
        with pytest.raises(ValueError, match="must be"):
            Preprocessing(**wrong)


def test_hash_follows_what_matters() -> None:
    default = Preprocessing()
    assert default.hash == Preprocessing.from_json(json.loads(json.dumps(default.to_json()))).hash
    assert len(default.hash) == 16
    others = {Preprocessing(width=64).hash, Preprocessing(std=(1, 1, 1)).hash, default.hash}
    assert len(others) == 3
    with pytest.raises(ValueError, match="unknown preprocessing: nearest"):
        Preprocessing.from_json({"resize": "nearest"})
    with pytest.raises(ValueError, match="unknown preprocessing: heigth"):
        Preprocessing.from_json({"heigth": 256})

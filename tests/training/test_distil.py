"""Losses against a teacher by hand, and a teacher's features computed once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.hooks import Hooks
from pipeline.types import Image
from storage.records import EmbedderSpec
from training.clips import TrainingSet
from training.distil import compute_teacher, direct_loss, relational_loss


def angles(*degrees: float) -> torch.Tensor:
    return torch.tensor([[math.cos(math.radians(d)), math.sin(math.radians(d))] for d in degrees])


def test_relational_loss_by_hand() -> None:
    """Teacher at 0, 60, 90 degrees, student at 0, 90, 60: cosines 1/2, 0, cos 30; and 0, 1/2, cos 30."""
    c = math.cos(math.radians(30))
    ours = [(0.0, 0.5), (0.0, c), (0.5, c)]
    theirs = [(0.5, 0.0), (0.5, c), (0.0, c)]

    def softmax(row: tuple[float, float], t: float) -> list[float]:
        total = sum(math.exp(x / t) for x in row)
        return [math.exp(x / t) / total for x in row]

    expected = 0.0
    for s, t in zip(ours, theirs, strict=True):
        p, q = softmax(t, 0.5), softmax(s, 0.5)
        expected += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)) / 3
    student = 5 * angles(0, 90, 60)  # lengths do not matter
    assert float(relational_loss(student, angles(0, 60, 90), 0.5)) == pytest.approx(expected, abs=1e-6)
    # Smooth-L1 below 1 is half the square; four of six cosines differ by 1/2.
    added = 2 * (4 * 0.5 * 0.25 / 6)
    loss = relational_loss(student, angles(0, 60, 90), 0.5, smooth_l1=2)
    assert float(loss) == pytest.approx(expected + added, abs=1e-6)


def test_relational_loss_is_0_for_a_turned_copy_in_another_space() -> None:
    teacher = torch.nn.functional.normalize(torch.randn(6, 4, generator=torch.manual_seed(0)), dim=1)
    turn, _ = torch.linalg.qr(torch.randn(4, 4))
    assert float(relational_loss(3 * teacher @ turn, teacher, 0.1, 1)) == pytest.approx(0, abs=1e-5)
    assert float(relational_loss(torch.randn(6, 4), teacher, 0.1, 1)) > 0.01


def test_direct_loss_by_hand() -> None:
    loss = direct_loss(2 * angles(0, 60, 180), angles(0, 0, 0))
    assert float(loss) == pytest.approx((0 + 0.5 + 2) / 3, abs=1e-6)


class MeanColour:
    """An embedder of three numbers that counts what it is given."""

    fallback: str | None = None
    of_clips = False

    def __init__(self, weights_hash: str = "w", fail_after: int | None = None) -> None:
        self.spec = EmbedderSpec("mean_colour", weights_hash, "p", 3)
        self.seen = 0
        self._fail_after = fail_after

    def embed(self, clips: Sequence[list[Image]]) -> np.ndarray:
        if self._fail_after is not None and self.seen >= self._fail_after:
            raise KeyboardInterrupt
        assert all(len(clip) == 8 for clip in clips)
        self.seen += len(clips)
        return np.stack([clip[0].reshape(-1, 3).mean(0) for clip in clips]).astype(np.float32)


def test_features_are_unit_vectors_of_each_crop_in_order_and_computed_once(
    training_set: TrainingSet, tmp_path: Path
) -> None:
    embedder = MeanColour()
    teacher = compute_teacher(embedder, training_set.files, tmp_path, Hooks())
    features = np.load(teacher.features)
    assert features.shape == (90, 3)
    assert features.dtype == np.float16
    assert np.linalg.norm(features.astype(np.float32), axis=1) == pytest.approx(1, abs=1e-3)
    assert compute_teacher(embedder, training_set.files, tmp_path, Hooks()) == teacher
    assert embedder.seen == 90
    other = compute_teacher(MeanColour("v"), training_set.files, tmp_path, Hooks())
    assert other.features != teacher.features
    fewer = compute_teacher(embedder, training_set.files[:10], tmp_path, Hooks())
    assert (np.load(fewer.features) == features[:10]).all()


def test_an_interrupted_teacher_goes_on_where_it_was(
    training_set: TrainingSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.distil._CHUNK", 20)
    with pytest.raises(KeyboardInterrupt):
        compute_teacher(MeanColour(fail_after=40), training_set.files, tmp_path, Hooks())
    again = MeanColour()
    teacher = compute_teacher(again, training_set.files, tmp_path, Hooks())
    assert again.seen == 50
    whole = compute_teacher(MeanColour(), training_set.files, tmp_path / "other", Hooks())
    assert (np.load(teacher.features) == np.load(whole.features)).all()


def test_a_teacher_without_an_answer_names_the_crop(
    training_set: TrainingSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = MeanColour()
    monkeypatch.setattr(embedder, "embed", lambda clips: np.zeros((len(clips), 3), np.float32))
    with pytest.raises(ValueError, match=r"gives nothing for .*0001C1T0001F001\.jpg"):
        compute_teacher(embedder, training_set.files, tmp_path, Hooks())

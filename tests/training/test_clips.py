"""From labelled tracklets to batches: labels joined, the right frames, the same whoever loads them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluation.datasets import LabelledTracklet, ReidDataset
from pipeline.hooks import Hooks
from training.clips import StageBatches, TrainingSet, join, load_batches
from training.packed import pack, read_crop
from training.recipe import Augmentation, Recipe


@pytest.fixture
def plain(recipe: Recipe) -> Recipe:
    """Without augmentation."""
    return recipe.model_copy(update={"augmentation": Augmentation()})


def test_joined_sets_share_no_identity_and_no_camera(dataset: ReidDataset) -> None:
    frames = dataset.train[0].frames
    people = [(9, 1, frames[:2]), (1, 1, frames), (0, 1, frames), (-1, 2, frames)]  # two of them are nobody
    other = ReidDataset("other", tuple(LabelledTracklet(*row) for row in people), (), ())
    joined = join([dataset, other])
    assert joined.names == ("synthetic", "other")
    assert joined.labels.tolist() == [i for i in range(6) for _ in range(3)] + [6, 7]
    assert joined.cameras.tolist() == [0, 1, 2] * 6 + [3, 3]
    assert joined.lengths.tolist() == [5] * 18 + [2, 5]
    assert joined.starts.tolist() == [5 * i for i in range(18)] + [90, 92]
    assert joined.files[90:92] == tuple(map(str, frames[:2]))
    assert joined.num_identities == 8
    with pytest.raises(ValueError, match="empty has no tracklets to train on"):
        join([dataset, ReidDataset("empty", (), (), ())])


def test_the_summary_is_of_the_crops_not_of_their_folder(
    dataset: ReidDataset, training_set: TrainingSet, crops_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(crops_folder, tmp_path / "copy")
    moved = [
        replace(t, frames=tuple(tmp_path / "copy" / f.relative_to(crops_folder) for f in t.frames))
        for t in dataset.train
    ]
    summary = join([replace(dataset, train=tuple(moved))]).summary()
    assert summary == training_set.summary()
    assert (summary["identities"], summary["cameras"], summary["tracklets"], summary["crops"]) == (
        6,
        3,
        18,
        90,
    )
    assert join([replace(dataset, train=dataset.train[::-1])]).summary() != summary


def test_clips_show_the_frames_of_their_tracklet(training_set: TrainingSet, plain: Recipe) -> None:
    stage = plain.stages[0].model_copy(update={"height": 64, "width": 32})  # the crops' own size
    plain = plain.model_copy(update={"stages": (stage,)})
    batch = StageBatches(training_set, plain, 0)[3]
    assert batch.clips.shape == (6, 4, 64, 32, 3)
    assert batch.labels.shape == (6,)
    assert batch.teacher.shape == (6, 0)
    crops = np.stack([read_crop(file) for file in training_set.files])
    for clip, label in zip(batch.clips.numpy(), batch.labels.tolist(), strict=True):
        found = [int(np.flatnonzero((crops == frame).all((1, 2, 3)))[0]) for frame in clip]
        tracklets = {index // 5 for index in found}
        assert len(tracklets) == 1
        assert training_set.labels[tracklets.pop()] == label
        assert found == sorted(found)  # 5 frames in chunks of 2: one of 0-1, one of 2-3, then the last
        assert found[0] % 5 in (0, 1)
        assert found[1] % 5 in (2, 3)
        assert [index % 5 for index in found[2:]] == [4, 4]


def test_a_batch_depends_on_seed_stage_and_step_alone(training_set: TrainingSet, recipe: Recipe) -> None:
    batches = StageBatches(training_set, recipe, 0)
    third = batches[3].clips
    fresh = StageBatches(training_set, recipe, 0)
    assert torch.equal(fresh[3].clips, third)
    assert not torch.equal(fresh[4].clips, third)
    reseeded = StageBatches(training_set, recipe.model_copy(update={"seed": 1}), 0)
    assert not torch.equal(reseeded[3].clips, third)


def test_worker_processes_load_the_same_in_order(training_set: TrainingSet, recipe: Recipe) -> None:
    batches = StageBatches(training_set, recipe, 1)
    here = list(load_batches(batches, 1, 4, workers=0))
    there = list(load_batches(batches, 1, 4, workers=2))
    assert len(here) == len(there) == 3
    for one, other, step in zip(here, there, (1, 2, 3), strict=True):
        assert torch.equal(one.clips, other.clips)
        assert torch.equal(one.labels, other.labels)
        assert torch.equal(one.clips, batches[step].clips)


def test_packed_crops_make_the_same_batches_and_are_packed_once(
    training_set: TrainingSet, recipe: Recipe, tmp_path: Path
) -> None:
    packed = pack(training_set.files, 64, 32, tmp_path, Hooks(), processes=1)
    assert np.load(packed, mmap_mode="r").shape == (90, 64, 32, 3)
    made = packed.stat().st_mtime_ns
    assert pack(training_set.files, 64, 32, tmp_path, Hooks()) == packed
    assert packed.stat().st_mtime_ns == made
    decoded, read = (StageBatches(training_set, recipe, 1, file) for file in (None, packed))
    assert torch.equal(decoded[2].clips, read[2].clips)
    others = {
        pack(training_set.files[:9], 64, 32, tmp_path, Hooks(), processes=1),
        pack(training_set.files, 32, 16, tmp_path, Hooks(), processes=1),
    }
    assert packed not in others
    assert len(others) == 2


def test_several_processes_pack_the_same(
    training_set: TrainingSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.packed._CHUNK", 40)
    steps = []

    class Noted(Hooks):
        def on_step(self, what: str, done: int, total: int | None) -> None:
            steps.append((what, done, total))

    together = pack(training_set.files, 32, 16, tmp_path / "a", Noted(), processes=2)
    alone = pack(training_set.files, 32, 16, tmp_path / "b", Hooks(), processes=1)
    assert (np.load(together) == np.load(alone)).all()
    assert steps[-1] == ("packing crops", 90, 90)


def test_a_changed_crop_is_packed_anew_and_a_damaged_one_is_named(tmp_path: Path, crops_folder: Path) -> None:
    crop = tmp_path / "crop.jpg"
    shutil.copy(next(crops_folder.rglob("*.jpg")), crop)
    first = pack([str(crop)], 32, 16, tmp_path, Hooks())
    crop.write_bytes(crop.read_bytes() + b"more")
    assert pack([str(crop)], 32, 16, tmp_path, Hooks()) != first
    crop.write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"crop\.jpg is not a picture that can be read"):
        pack([str(crop)], 32, 16, tmp_path, Hooks())
    assert not list(tmp_path.glob("*.part"))


def test_no_room_on_the_disk_is_said_before(
    training_set: TrainingSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.packed.shutil.disk_usage", lambda _: shutil._ntuple_diskusage(9, 8, 1))
    with pytest.raises(OSError, match=r"packing 90 crops of 64x32 takes 0 MiB and .* has 0 MiB"):
        pack(training_set.files, 64, 32, tmp_path, Hooks())


def test_teacher_features_are_the_direction_of_the_frames_mean(
    training_set: TrainingSet, plain: Recipe, tmp_path: Path
) -> None:
    features = np.zeros((90, 2), np.float16)
    features[:, 0] = np.arange(90) % 5 == 4  # the last frame of each tracklet one way, the others another
    features[:, 1] = 1 - features[:, 0]
    np.save(tmp_path / "teacher.npy", features)
    batch = StageBatches(training_set, plain, 0, teacher=tmp_path / "teacher.npy")[0]
    expected = torch.full((6, 2), 0.5**0.5)  # two frames of four are the last
    torch.testing.assert_close(batch.teacher, expected)

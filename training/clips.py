"""Training clips: from labelled tracklets to batches of augmented uint8 pictures, made by worker processes.

Batch n of a stage depends on (seed, stage, n) alone: it is the same whoever loads it, and after any resume.
"""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from evaluation.datasets import ReidDataset
from models.preprocess import Preprocessing, resize, sample_frame_indices
from training.augment import augment
from training.packed import read_crop
from training.recipe import Augmentation, Recipe
from training.sampler import batch_tracklets, group

_CLIP, _PLAIN = 3, 4  # this module's streams of random numbers, see `training.sampler`


@dataclass(frozen=True)
class TrainingSet:
    """Labelled tracklets of one or several data sets.

    Attributes:
        names: Of the data sets.
        files: N crops, tracklet by tracklet.
        starts: `(M,)` index of each tracklet's first crop.
        lengths: `(M,)` crops of each tracklet.
        labels: `(M,)` identity, 0-based without gaps.
        cameras: `(M,)` camera; data sets share none.
    """

    names: tuple[str, ...]
    files: tuple[str, ...]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    labels: NDArray[np.int64]
    cameras: NDArray[np.int64]

    @property
    def num_identities(self) -> int:
        """How many people there are."""
        return int(self.labels.max()) + 1

    def summary(self) -> dict[str, object]:
        """What a checkpoint says about it; equal for the same crops in another folder."""
        digest = hashlib.sha256()
        for array in (self.lengths, self.labels, self.cameras):
            digest.update(array.tobytes())
        for file in self.files:
            digest.update(Path(file).name.encode() + b"\0")
        return {
            "names": list(self.names),
            "identities": self.num_identities,
            "cameras": len(np.unique(self.cameras)),
            "tracklets": len(self.labels),
            "crops": len(self.files),
            "hash": digest.hexdigest()[:16],
        }


def join(datasets: Sequence[ReidDataset]) -> TrainingSet:
    """The training splits of data sets as one; equal pids of two data sets are different people.

    Raises:
        ValueError: A data set has no tracklets to train on.
    """
    people: dict[tuple[int, int], int] = {}
    places: dict[tuple[int, int], int] = {}
    files: list[str] = []
    rows: list[tuple[int, int, int, int]] = []
    for number, dataset in enumerate(datasets):
        tracklets = [t for t in dataset.train if t.pid > 0 and t.frames]  # 0 and -1: distractors and junk
        if not tracklets:
            raise ValueError(f"{dataset.name} has no tracklets to train on")
        for tracklet in tracklets:
            label = people.setdefault((number, tracklet.pid), len(people))
            camera = places.setdefault((number, tracklet.camid), len(places))
            rows.append((len(files), len(tracklet.frames), label, camera))
            files += map(str, tracklet.frames)
    columns = np.asarray(rows, np.int64).T.copy()
    return TrainingSet(tuple(dataset.name for dataset in datasets), tuple(files), *columns)


class Batch(NamedTuple):
    """One step's clips.

    Attributes:
        clips: `(B, T, H, W, 3) uint8` RGB.
        labels: `(B,) int64`.
        teacher: `(B, D) float32` unit vectors, or `(B, 0)` without a teacher.
    """

    clips: Tensor
    labels: Tensor
    teacher: Tensor


@dataclass
class StageBatches(Dataset[Batch]):
    """The batches of one stage, by step.

    Attributes:
        training_set: Where clips come from.
        recipe: Of the run.
        stage: 0-based.
        packed: File of `training.packed`, or None to decode crops as they come.
        teacher: `.npy` of `(N, D) float16` unit vectors of all crops, or None.
    """

    training_set: TrainingSet
    recipe: Recipe
    stage: int
    packed: Path | None = None
    teacher: Path | None = None
    _opened: dict[str, NDArray[np.generic]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.groups = group(self.training_set.labels, self.training_set.cameras)

    def __getitem__(self, step: int) -> Batch:
        stage, recipe = self.recipe.stages[self.stage], self.recipe
        chosen = batch_tracklets(
            self.groups, step, identities=stage.identities, tracklets=stage.tracklets, seed=recipe.seed,
            stage=self.stage, across_cameras=recipe.across_cameras,
        )  # fmt: skip
        return self.load(chosen, (recipe.seed, self.stage, _CLIP, step), recipe.augmentation)

    def load(
        self, tracklets: NDArray[np.int64], seed: tuple[int, ...], augmentation: Augmentation | None
    ) -> Batch:
        """A clip of each of some tracklets, row n with random numbers of (*seed, n)."""
        stage, data = self.recipe.stages[self.stage], self.training_set
        clips = np.empty((len(tracklets), stage.clip_length, stage.height, stage.width, 3), np.uint8)
        crops = np.empty((len(tracklets), stage.clip_length), np.int64)
        for row, tracklet in enumerate(tracklets):
            rng = np.random.default_rng((*seed, row))
            frames = sample_frame_indices(int(data.lengths[tracklet]), stage.clip_length, rng)
            crops[row] = data.starts[tracklet] + frames
            clip = self._read(crops[row], stage.height, stage.width)
            clips[row] = clip if augmentation is None else augment(clip, augmentation, rng)
        labels = torch.from_numpy(data.labels[tracklets])
        return Batch(torch.from_numpy(clips), labels, self._teacher_features(crops))

    def _read(self, crops: NDArray[np.int64], height: int, width: int) -> NDArray[np.uint8]:
        """`(T, height, width, 3)`; a crop that the clip repeats is read once."""
        pictures: dict[int, NDArray[np.uint8]] = {}
        for crop in crops.tolist():
            if crop not in pictures:
                whole = (
                    read_crop(self.training_set.files[crop])
                    if self.packed is None
                    else np.asarray(self._open(self.packed)[crop], np.uint8)
                )
                pictures[crop] = resize(whole, height, width)
        return np.stack([pictures[crop] for crop in crops.tolist()])

    def _teacher_features(self, crops: NDArray[np.int64]) -> Tensor:
        """Of each clip the direction of its frames' mean; `(B, D) float32`."""
        if self.teacher is None:
            return torch.empty(len(crops), 0)
        frames = torch.from_numpy(self._open(self.teacher)[crops].astype(np.float32))  # (B, T, D)
        return torch.nn.functional.normalize(frames.mean(1), dim=1)

    def _open(self, path: Path) -> NDArray[np.generic]:
        """Opened by each worker for itself: a memory map does not travel between processes."""
        if str(path) not in self._opened:
            self._opened[str(path)] = np.load(path, mmap_mode="r")
        return self._opened[str(path)]


@dataclass
class PlainBatches(Dataset[Batch]):
    """Clips of given tracklets as they are, in the size and number of a stage's batches."""

    batches: StageBatches
    tracklets: NDArray[np.int64]

    def __post_init__(self) -> None:
        stage = self.batches.recipe.stages[self.batches.stage]
        self._size = stage.identities * stage.tracklets

    def __len__(self) -> int:
        return -(-len(self.tracklets) // self._size)

    def __getitem__(self, number: int) -> Batch:
        chosen = self.tracklets[number * self._size : (number + 1) * self._size]
        return self.batches.load(chosen, (self.batches.recipe.seed, self.batches.stage, _PLAIN, number), None)


def load_batches(
    batches: Dataset[Batch], start: int, stop: int, *, workers: int | None, pin: bool = False
) -> Iterator[Batch]:
    """The batches of steps start to stop (exclusive) of a stage, in order, loaded ahead.

    Args:
        batches: What to load.
        start: First step, within the stage.
        stop: Step after the last.
        workers: Processes; 0 loads in this one and does not overlap, None is one less than there are cores.
        pin: Put batches into pinned memory, from which they travel to a GPU in the background.
    """
    if workers is None:
        workers = max(1, min(os.cpu_count() or 1, 16) - 1)
    loader = DataLoader(
        batches, batch_size=None, sampler=range(start, stop), num_workers=min(workers, stop - start),
        pin_memory=pin, worker_init_fn=_begin_worker if workers else None,
        multiprocessing_context="spawn" if workers else None,  # a fork beside torch's threads may hang
        prefetch_factor=2 if workers else None,
    )  # fmt: skip
    return iter(loader)


def normalised(clips: Tensor, preprocessing: Preprocessing) -> Tensor:
    """`(B, T, H, W, 3) uint8` to `(B, T, 3, H, W) float32`, channels last in memory, as in use."""
    mean, std = (torch.tensor(v, device=clips.device) for v in (preprocessing.mean, preprocessing.std))
    return ((clips.float() - 255 * mean) / (255 * std)).permute(0, 1, 4, 2, 3)


def _begin_worker(_: int) -> None:
    # The step's threads wait for each other at every layer: on a CPU one that has to share its core with a
    # loader holds up the others. Loading takes a twentieth of the step's time and finds it at low priority.
    os.nice(10)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the trainer saves, then ends them
    cv2.setNumThreads(1)

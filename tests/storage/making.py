"""What the storage tests make: tracklets, filled galleries, small disks."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from storage.gallery import Gallery
from storage.records import EmbedderSpec, NewTracklet

DIMENSION = 16
SPEC = EmbedderSpec("colours", "", "crop-1", DIMENSION, {"stripes": 4})
OTHER = EmbedderSpec("network", "ab" * 32, "crop-2", 8, {"variant": "ste_nvan"})
JPEG = b"\xff\xd8\xff\xe0 picture %d of track %d \xff\xd9"


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows of norm 1, float32."""
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def random_vectors(count: int, seed: int = 0, dimension: int = DIMENSION) -> np.ndarray:
    """(count, dimension) random unit vectors."""
    return unit(np.random.default_rng(seed).normal(size=(count, dimension)))


def tracklet(track_id: int = 0, embedding: np.ndarray | None = None, **changes: Any) -> NewTracklet:
    """A tracklet of 10 frames at 10 frames a second, from second `start` on."""
    start = changes.pop("start", 1000.0 + track_id)
    first_frame = changes.pop("first_frame", 5)
    num_crops = changes.pop("num_crops", 3)
    top_left = np.arange(10, dtype=np.float32)[:, None] * [1.0, 0.5] + 20.25
    values: dict[str, Any] = {
        "track_id": track_id,
        "frame_indices": first_frame + np.arange(10, dtype=np.int32),
        "timestamps": start + np.arange(10) / 10,
        "xyxy": np.hstack([top_left, top_left + np.array([30.0, 80.0])]).astype(np.float32),
        "confidence": np.linspace(0.5, 0.9, 10, dtype=np.float32),
        "quality": 0.5,
        "crops": tuple(JPEG % (number, track_id) + b"x" * (number * 7) for number in range(num_crops)),
        "crop_positions": np.arange(num_crops, dtype=np.int32) * 2,
        "thumbnail": 1,
        "embedding": random_vectors(1, seed=abs(track_id))[0] if embedding is None else embedding,
    }
    return NewTracklet(**(values | changes))


def version(track_id: int, num_frames: int, **changes: Any) -> NewTracklet:
    """The first `num_frames` frames of a track; every length looks different."""
    top_left = np.arange(num_frames, dtype=np.float32)[:, None] * [1.0, 0.5] + 20.25
    num_crops = 1 + num_frames % min(16, num_frames)
    values = {
        "frame_indices": 5 + np.arange(num_frames, dtype=np.int32),
        "timestamps": 1000.0 + track_id + np.arange(num_frames) / 10,
        "xyxy": np.hstack([top_left, top_left + 30.0]).astype(np.float32),
        "confidence": np.full(num_frames, 0.5, np.float32),
        "quality": num_frames / 1000,
        "crops": tuple(JPEG % (num_frames, track_id) + b"x" * number for number in range(num_crops)),
        "crop_positions": np.arange(num_crops, dtype=np.int32),
        "thumbnail": num_crops - 1,
        "finished": False,
    }
    vector = random_vectors(1, seed=1000 * track_id + num_frames)[0]
    return tracklet(track_id, vector, **(values | changes))


def fill(gallery: Gallery, count: int, *, camera: str = "door", first: int = 0) -> list[int]:
    """`count` tracklets with tracks numbered from `first` on; returns their ids."""
    source = gallery.begin_source(camera, f"{camera}.mp4", f"fingerprint of {camera}", 1000.0, "settings")
    return gallery.add_tracklets(source.id, [tracklet(first + number) for number in range(count)], SPEC)


@dataclass(frozen=True)
class Place:
    """Where a test may make a gallery."""

    folder: Path
    url: str | None

    def open(self, **options: Any) -> Gallery:
        return Gallery.open(self.folder, url=self.url, **options)

    def create(self) -> Gallery:
        return self.open(create=True)


@contextmanager
def mounted(*arguments: str) -> Iterator[Path]:
    """A mounted disk for the length of the block; skips the test where mounting is not allowed."""
    # Not in pytest's folder: a disk that a killed test run left there would be in the way of the next.
    point = tempfile.mkdtemp(prefix="retrace-disk-")
    done = subprocess.run(["mount", *arguments, point], capture_output=True, text=True, check=False)
    try:
        if done.returncode != 0:
            pytest.skip(f"this test needs to mount a disk: {done.stderr.strip()}")
        yield Path(point)
    finally:
        if done.returncode == 0:
            subprocess.run(["umount", "-l", point], check=True)
        Path(point).rmdir()


@contextmanager
def small_disk(size: str) -> Iterator[Path]:
    """A disk that is soon full."""
    with mounted("-t", "tmpfs", "-o", f"size={size}", "tmpfs") as disk:
        yield disk


@contextmanager
def read_only_disk(folder: Path) -> Iterator[Path]:
    """What lies in `folder`, on a disk that cannot be written."""
    with mounted("--bind", str(folder)) as disk:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(disk)], check=True)
        yield disk

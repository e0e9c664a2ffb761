"""A tiny data set of noise crops and a recipe for a tiny network, fast enough to train in a test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from evaluation.datasets import LabelledTracklet, ReidDataset
from training.clips import TrainingSet, join
from training.recipe import Recipe

TINY = {"width": 4, "depths": [1, 1, 1, 1], "non_local": [0, 1, 1, 0]}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Threads cost a tiny network more than they save."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def crops_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six people, three cameras, five frames each, in the layout of the data set `synthetic`."""
    root = tmp_path_factory.mktemp("crops")
    rng = np.random.default_rng(0)
    for pid in range(1, 7):
        folder = root / "bbox_train" / f"{pid:04}"
        folder.mkdir(parents=True)
        person = rng.integers(0, 256, (4, 2, 3), np.uint8)
        for camera in range(1, 4):
            for frame in range(1, 6):
                noise = rng.integers(0, 40, (64, 32, 3), np.uint8)
                crop = cv2.add(cv2.resize(person, (32, 64)), noise)
                cv2.imwrite(str(folder / f"{pid:04}C{camera}T0001F{frame:03}.jpg"), crop)
    return root


@pytest.fixture(scope="session")
def dataset(crops_folder: Path) -> ReidDataset:
    tracklets = [
        LabelledTracklet(pid, camera, tuple(sorted(folder.glob(f"*C{camera}T*"))))
        for pid, folder in enumerate(sorted((crops_folder / "bbox_train").iterdir()), 1)
        for camera in range(1, 4)
    ]
    return ReidDataset("synthetic", tuple(tracklets), (), ())


@pytest.fixture(scope="session")
def training_set(dataset: ReidDataset) -> TrainingSet:
    return join([dataset])


@pytest.fixture
def recipe() -> Recipe:
    """Two stages of different sizes, the first with a frozen beginning; 8 steps in all."""
    stage = {"width": 16, "clip_length": 4, "identities": 3, "tracklets": 2}
    return Recipe.model_validate(
        {
            "variant": "ste_nvan",
            "architecture": TINY,
            "lr": 1e-2,
            "average_decay": 0.9,
            "schedule": {"warmup_steps": 2},
            "losses": {"label_smoothing": 0.1},
            "augmentation": {
                "flip_p": 0.5, "shift": 0.1, "zoom": [0.9, 1.2], "colour_p": 0.8, "brightness": [0.7, 1.4],
                "saturation": [0.3, 1.1], "sharpen_p": 0.5, "erase_p": 0.5,
            },
            "stages": [
                stage | {"steps": 4, "height": 32, "frozen": ["backbone.stages.0"]},
                stage | {"epochs": 2, "height": 48},
            ],
            "workers": 0,
            "log_every": 2,
        }
    )  # fmt: skip

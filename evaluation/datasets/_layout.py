"""What the data sets' files share: is everything there, what is in a folder, what is in a .mat.

A folder is listed once and no file of it is looked at, so that a hundred thousand crops take a second.
"""

from __future__ import annotations

import os
import zlib
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.datasets._types import DatasetError, LabelledTracklet

_IMAGES = (".jpg", ".jpeg", ".png")


def required(path: Path, source: str) -> Path:
    """The path, if it is there; DatasetError with where it comes from."""
    if not path.exists():
        raise DatasetError(f"{path} is missing: {source}")
    return path


def subfolders(folder: Path) -> list[str]:
    """Names of the folders in a folder, sorted, without hidden ones."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def crop_names(folder: Path) -> list[str]:
    """Names of the pictures in a folder, sorted, without hidden ones."""
    with os.scandir(folder) as entries:
        names = (entry.name for entry in entries)
        return sorted(n for n in names if n.lower().endswith(_IMAGES) and not n.startswith("."))


def crops(folder: Path) -> tuple[Path, ...]:
    """The pictures of a folder as one tracklet's frames; DatasetError if there are none."""
    frames = tuple(folder / name for name in crop_names(folder))
    if not frames:
        raise DatasetError(f"{folder} holds no pictures: unpack the data set again")
    return frames


def number(name: str, folder: Path) -> int:
    """The number in a folder's name, `person_0042` or `0042`; DatasetError if there is none."""
    digits = "".join(sign for sign in name if sign.isdigit())
    if not digits:
        raise DatasetError(f"{folder / name} has no person number in its name: move it away")
    return int(digits)


def grouped(labelled: Iterable[tuple[Any, int, int, tuple[Any, ...], Path]]) -> list[LabelledTracklet]:
    """Crops to tracklets, sorted by key.

    Args:
        labelled: of each crop the key of its tracklet, pid, camid, what sorts it in time, and the file.
    """
    members: dict[Any, list[tuple[tuple[Any, ...], Path]]] = defaultdict(list)
    labels: dict[Any, tuple[int, int]] = {}
    for key, pid, camid, time, file in labelled:
        if labels.setdefault(key, (pid, camid)) != (pid, camid):
            raise DatasetError(f"{file}: its tracklet {key} has another person or camera as well")
        members[key].append((time, file))
    return [
        LabelledTracklet(*labels[key], tuple(file for _, file in sorted(members[key], key=lambda m: m[0])))
        for key in sorted(members)
    ]


def chosen_split(split: int, num_splits: int) -> int:
    """A split's number, checked."""
    if not 0 <= split < num_splits:
        raise ValueError(f"split must be 0 to {num_splits - 1}, not {split}")
    return split


def read_mat(path: Path, variable: str) -> npt.NDArray[np.int64]:
    """A table of whole numbers from a MATLAB v5 file.

    Raises:
        DatasetError: the file is of another kind or has no such variable.
        ImportError: SciPy is not installed; says the command.
    """
    try:
        from scipy.io import loadmat  # type: ignore[import-untyped]
        from scipy.io.matlab import MatReadError  # type: ignore[import-untyped]
    except ImportError as error:
        raise ImportError("reading .mat files needs SciPy: pip install 'retrace-reid[train]'") from error
    try:
        table = loadmat(path, variable_names=[variable])[variable]
        return np.asarray(table, np.int64)
    except KeyError as error:
        raise DatasetError(f"{path} holds no variable '{variable}': it is another file") from error
    except (
        MatReadError, ValueError, TypeError, NotImplementedError, EOFError, OSError, IndexError, zlib.error
    ) as error:  # fmt: skip
        raise DatasetError(f"{path} is no MATLAB v5 file of numbers: fetch it again") from error


def halves(path: Path, people: list[str], split: int) -> tuple[list[str], list[str]]:
    """Trained and tested people by a row of Wang et al.'s split files: the first half of it is tested.

    Raises:
        DatasetError: the file is damaged, or the row is not an order of these people.
        ValueError: there is no such split.
    """
    table = np.atleast_2d(read_mat(path, "ls_set"))
    row = table[chosen_split(split, len(table))].ravel().tolist()
    if sorted(row) != list(range(1, len(people) + 1)):
        raise DatasetError(f"{path} row {split} splits {len(row)} people, not the {len(people)} here")
    half = len(people) // 2
    tested, trained = (sorted(people[i - 1] for i in part) for part in (row[:half], row[half:]))
    return trained, tested

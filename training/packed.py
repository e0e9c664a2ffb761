"""All crops of a training set decoded once into one file of pixels: later epochs read and do not decode.

A `.npy` of `(N, height, width, 3) uint8`, named by a hash of the list of crops, their sizes in bytes and the
size in pixels: other crops, or changed ones, get a file of their own.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import cv2
import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from models.preprocess import resize
from pipeline.hooks import Hooks

_CHUNK = 2048  # crops that a process packs before it reports
_SPARE_BYTES = 1 << 30  # of the disk, left for others


def read_crop(path: str) -> NDArray[np.uint8]:
    """A picture file as `(H, W, 3) uint8` RGB.

    Raises:
        ValueError: It cannot be read or decoded.
    """
    crop = cv2.imread(path, cv2.IMREAD_COLOR_RGB)
    if crop is None:
        raise ValueError(f"{path} is not a picture that can be read: render or copy it again")
    return np.asarray(crop, np.uint8)


def files_hash(files: Sequence[str]) -> str:
    """16 hex digits of the files' paths and sizes, in order."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path}\0{os.stat(path).st_size}\n".encode())  # noqa: PTH116 (a million of them)
    return digest.hexdigest()[:16]


def pack(
    files: Sequence[str], height: int, width: int, folder: Path, hooks: Hooks, *, processes: int | None = None
) -> Path:
    """Decode crops into one file, or find the one that was made before.

    Args:
        files: N picture files.
        height: Pixels of each packed crop; crops of another size are resized as for use.
        width: As height.
        folder: Where the file is kept.
        hooks: Told of progress.
        processes: How many decode; None: one per core.

    Returns:
        The `.npy`, for `np.load(path, mmap_mode="r")`.

    Raises:
        OSError: The disk has too little room.
        ValueError: A crop cannot be decoded.
    """
    path = folder / f"crops_{height}x{width}_{files_hash(files)}.npy"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    needed, free = len(files) * height * width * 3, shutil.disk_usage(folder).free
    if needed + _SPARE_BYTES > free:
        raise OSError(
            f"packing {len(files)} crops of {height}x{width} takes {needed >> 20} MiB and {folder} has "
            f"{free >> 20} MiB: give --cache another folder, or leave it out to decode crops as they come"
        )
    part = path.with_suffix(".part")
    open_memmap(part, mode="w+", dtype=np.uint8, shape=(len(files), height, width, 3)).flush()
    try:
        _fill(part, files, hooks, processes or os.cpu_count() or 1)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def _fill(part: Path, files: Sequence[str], hooks: Hooks, processes: int) -> None:
    starts = range(0, len(files), _CHUNK)
    if processes == 1 or len(starts) == 1:
        for start in starts:
            _pack_chunk(part, start, files[start : start + _CHUNK])
        return
    context = multiprocessing.get_context("spawn")  # a fork beside torch's threads may hang
    with ProcessPoolExecutor(min(processes, len(starts)), context) as pool:
        jobs = {pool.submit(_pack_chunk, part, start, files[start : start + _CHUNK]) for start in starts}
        done = 0
        for job in as_completed(jobs):
            try:
                done += job.result()
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
            hooks.on_step("packing crops", done, len(files))


def _pack_chunk(part: Path, start: int, files: Sequence[str]) -> int:
    cv2.setNumThreads(1)
    pixels = open_memmap(part, mode="r+")
    for index, path in enumerate(files, start):
        pixels[index] = resize(read_crop(path), *pixels.shape[1:3])
    return len(files)

"""Large renderings in pieces: any number of processes, stopped and begun again, give the same files."""

import json
import math
import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from functools import partial
from itertools import islice, takewhile
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.hooks import Hooks
from synthetic.assets import pack_hash


def write_jpeg(path: Path, image: NDArray[np.uint8], quality: int) -> None:
    """Write (H, W, 3) uint8 RGB.

    Raises:
        OSError: it could not be written, as on a full disk.
    """
    if not cv2.imwrite(
        str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    ):
        raise OSError(f"{path} could not be written: is the disk full?")


class Rendered(NamedTuple):
    """Pictures rendered now, that are there, and that are wanted."""

    now: int
    done: int
    total: int


def claim_folder(folder: Path, plan: Mapping[str, Any], assets: Path, what: str) -> None:
    """Make a folder and write its plan and its people pack, or refuse a folder of another one.

    Raises:
        ValueError: the folder holds something of another plan.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file: give a folder")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "plan.json"
    claimed = dict(plan) | {"pack": pack_hash(assets)}
    if not path.exists():
        path.write_text(json.dumps(claimed, indent=1) + "\n")
        return
    try:
        same = json.loads(path.read_text()) == json.loads(json.dumps(claimed))
    except json.JSONDecodeError:
        same = False
    if not same:
        raise ValueError(
            f"{folder} holds {what} of another plan or people pack ({path}): take an empty folder"
        )


def render_shards(
    work: Callable[[int], None],
    folder: Path,
    sizes: Sequence[int],
    what: str,
    hooks: Hooks,
    *,
    workers: int | None = None,
    minutes: float | None = None,
) -> Rendered:
    """Render what a folder lacks, in several processes; a shard that is whole has an empty file in `shards/`.

    Args:
        work: Renders a shard; must be picklable.
        folder: What the shards go into.
        sizes: Pictures of each shard.
        what: They are, for the progress.
        hooks: Told of progress.
        workers: Processes; None: one a core.
        minutes: Begin no more shards after so long; None: render all.

    Returns:
        How far it came.
    """
    marks = folder / "shards"
    marks.mkdir(exist_ok=True)
    todo = [shard for shard in range(len(sizes)) if not _mark(marks, shard).exists()]
    total = sum(sizes)
    before = done = total - sum(sizes[shard] for shard in todo)
    hooks.on_step(f"rendering {what}", done, total)
    for shard in _rendered(partial(_render, work, marks), todo, workers, minutes):
        done += sizes[shard]
        hooks.on_step(f"rendering {what}", done, total)
    return Rendered(done - before, done, total)


def _mark(marks: Path, shard: int) -> Path:
    return marks / f"{shard:05d}"


def _render(work: Callable[[int], None], marks: Path, shard: int) -> int:
    cv2.setNumThreads(1)
    work(shard)
    _mark(marks, shard).touch()
    return shard


def _rendered(
    work: Callable[[int], int], shards: Sequence[int], workers: int | None, minutes: float | None
) -> Iterator[int]:
    """The shards, each when it is done."""
    deadline = monotonic() + 60 * (math.inf if minutes is None else minutes)
    in_time = takewhile(lambda _: monotonic() < deadline, iter(shards))
    workers = min(workers or os.cpu_count() or 1, max(1, len(shards)))
    if workers == 1:
        yield from map(work, in_time)
        return
    # Mesa would start threads of its own in each process.
    os.environ.setdefault("LP_NUM_THREADS", "0")
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        # One a process: what waited in a queue would still begin when the time is up.
        running = {pool.submit(work, shard) for shard in islice(in_time, workers)}
        while running:
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            running |= {pool.submit(work, shard) for shard in islice(in_time, len(finished))}
            yield from (job.result() for job in finished)

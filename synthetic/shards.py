"""Large renderings in pieces: any number of processes, stopped and begun again, give the same files."""

import json
import math
import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import islice, takewhile
from pathlib import Path
from time import monotonic
from typing import Any


def claim_folder(folder: Path, plan: Mapping[str, Any], what: str) -> None:
    """Make a folder and write its plan, or refuse a folder of another one.

    Raises:
        ValueError: the folder holds something of another plan.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "plan.json"
    if not path.exists():
        path.write_text(json.dumps(plan, indent=1) + "\n")
    elif json.loads(path.read_text()) != json.loads(json.dumps(plan)):
        raise ValueError(f"{folder} holds {what} of another plan ({path}): take an empty folder")


def mark(folder: Path, shard: int) -> Path:
    """An empty file that says that a shard is whole."""
    return folder / "shards" / f"{shard:05d}"


def render_shards(
    work: Callable[[int], int], shards: Sequence[int], workers: int | None, minutes: float | None = None
) -> Iterator[int]:
    """Run `work` over shards in several processes and give its results in their order.

    Args:
        work: Renders a shard; must be picklable.
        shards: Their numbers.
        workers: Processes; None: one a core.
        minutes: Begin no more shards after so long; None: render all.
    """
    deadline = monotonic() + 60 * (math.inf if minutes is None else minutes)
    in_time = takewhile(lambda _: monotonic() < deadline, iter(shards))
    workers = min(workers or os.cpu_count() or 1, max(1, len(shards)))
    if workers == 1:
        yield from map(work, in_time)
        return
    # Mesa would start threads of its own in each process.
    os.environ.setdefault("LP_NUM_THREADS", "0")
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        waiting = deque(pool.submit(work, shard) for shard in islice(in_time, workers + 2))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(pool.submit(work, shard) for shard in islice(in_time, 1))

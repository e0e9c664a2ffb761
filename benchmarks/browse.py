"""How long browsing takes among a million tracklets: pages, time lines, cameras.

    python benchmarks/browse.py [--tracklets 1000000] [--cameras 50] [--days 30] [--repeats 50]
        [--database URL]

The tracklets are rows without crops or trajectories, in a temporary folder: each day has its busy hours, one
camera is rare (20 tracklets). With --database they lie in an empty PostgreSQL database, which is not emptied
afterwards. A page has 60 tracklets; places, spans and cameras differ from one repeat to the next.
The processor's time is that of this process, not of PostgreSQL's, and tells what a busy machine hides.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter, process_time

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from storage.database import encoding, generations, schema
from storage.database.hours import HOUR_S
from storage.gallery import Gallery
from storage.records import EmbedderSpec, GalleryFilter

SPEC = EmbedderSpec("synthetic", "", "none", 2048)
START = 1_780_272_000.0  # 1 June 2026, midnight UTC
RARE, RARE_TRACKLETS = "rare", 20
PAGE = 60
_DAY_S = 86_400.0
_AT_ONCE = 20_000


def camera_names(num_cameras: int) -> list[str]:
    """The rare one is the last."""
    return [*(f"camera {number:02d}" for number in range(1, num_cameras)), RARE]


def fill(
    folder: Path,
    num_tracklets: int,
    num_cameras: int,
    days: float,
    seed: int,
    embeddings: int = 0,
    url: str | None = None,
    spec: EmbedderSpec = SPEC,
) -> None:
    """Makes a gallery at `folder` whose tracklets are rows alone.

    Args:
        num_tracklets: In the order of time, ids from 1; 20 of them of the camera "rare", the last one.
        num_cameras: At least 2.
        days: Over which they are spread, from `START` on.
        embeddings: So many of the first tracklets get a random unit vector by `spec`.
        url: Of an empty PostgreSQL database; None: SQLite.
    """
    rng, names = np.random.default_rng(seed), camera_names(num_cameras)
    starts = _starts(num_tracklets, days, rng)
    lasts = np.minimum(2.0 + rng.exponential(15.0, num_tracklets), 120.0)
    cameras = rng.integers(0, num_cameras - 1, num_tracklets)
    cameras[rng.choice(num_tracklets, min(RARE_TRACKLETS, num_tracklets), replace=False)] = num_cameras - 1
    quality = rng.beta(4.0, 2.0, num_tracklets)
    with Gallery.open(folder, url=url, create=True) as gallery:
        ids = [gallery.begin_source(name, f"{name}.mp4", name, START, "synthetic").id for name in names]
        for first in range(0, num_tracklets, _AT_ONCE):
            some = slice(first, min(first + _AT_ONCE, num_tracklets))
            columns = (range(some.start, some.stop), cameras[some], starts[some], lasts[some], quality[some])
            rows = list(_rows(names, ids, embeddings, *columns))
            with gallery._database.writing() as connection:
                connection.execute(sa.insert(schema.tracklets), rows)
        with gallery._database.writing() as connection:
            connection.execute(sa.insert(schema.tracklet_hours), list(_hours(names, cameras, starts, lasts)))
            _embed(connection, min(embeddings, num_tracklets), rng, spec)
            if url is not None:  # SQLite's planner does without
                connection.execute(sa.text("ANALYZE"))


def _starts(number: int, days: float, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """(N,) rising: three times as many at noon as on average, next to none at midnight."""
    found = rng.uniform(0.0, days, 4 * number)
    busy = rng.uniform(size=4 * number) < np.sin(np.pi * (found % 1.0)) ** 4
    found = np.concatenate([found[busy], rng.uniform(0.0, days, number)])[:number]
    return np.asarray(START + np.sort(found) * _DAY_S, np.float64)


def _rows(
    names: list[str],
    ids: list[int],
    embeddings: int,
    numbers: range,
    cameras: npt.NDArray[np.int64],
    starts: npt.NDArray[np.float64],
    lasts: npt.NDArray[np.float64],
    quality: npt.NDArray[np.float64],
) -> Iterator[dict[str, object]]:
    sizes, positions = encoding.pack_ints(np.full(8, 6000)), encoding.pack_ints(np.arange(8))
    columns = (cameras.tolist(), starts.tolist(), lasts.tolist(), quality.tolist())
    for number, camera, start, long, good in zip(numbers, *columns, strict=True):
        yield {
            "source_id": ids[camera],
            "camera": names[camera],
            "track_id": number,
            "first_frame": 0,
            "num_frames": 1 + int(10 * long),
            "start": start,
            "end": start + long,
            "quality": good,
            "thumbnail": 0,
            "crop_lengths": sizes,
            "crop_positions": positions,
            "has_crops": False,
            "searchable": number < embeddings,
        }


def _hours(
    names: list[str],
    cameras: npt.NDArray[np.int64],
    starts: npt.NDArray[np.float64],
    lasts: npt.NDArray[np.float64],
) -> Iterator[dict[str, object]]:
    places, which = np.unique(
        np.stack([cameras, np.floor(starts / HOUR_S).astype(np.int64)]), axis=1, return_inverse=True
    )
    counts, longest = np.bincount(which.ravel()), np.zeros(places.shape[1])
    np.maximum.at(longest, which.ravel(), lasts)
    for camera, hour, count, most in zip(*places.tolist(), counts.tolist(), longest.tolist(), strict=True):
        yield {"camera": names[camera], "hour": hour, "num_tracklets": count, "longest_s": most}


def _embed(connection: sa.Connection, number: int, rng: np.random.Generator, spec: EmbedderSpec) -> None:
    generation = generations.for_new_tracklets(connection, spec)
    for first in range(1, number + 1, _AT_ONCE // 10):
        ids = range(first, min(first + _AT_ONCE // 10, number + 1))
        vectors = rng.normal(size=(len(ids), spec.dimension)).astype(np.float32)
        packed = encoding.pack_vectors(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
        rows = [
            {"generation_id": generation, "tracklet_id": tracklet_id, "vector": vector}
            for tracklet_id, vector in zip(ids, packed, strict=True)
        ]
        connection.execute(sa.insert(schema.embeddings), rows)


def questions(
    gallery: Gallery, num_cameras: int, days: float, rng: np.random.Generator
) -> dict[str, Callable[[], object]]:
    """What is asked, by name."""
    names = camera_names(num_cameras)

    def moment() -> float:
        return float(START + rng.uniform(0.1, 0.9) * days * _DAY_S)

    def page(newest_first: bool = False, middle: bool = False, **filter: object) -> object:
        after = (moment(), 0) if middle else None
        wanted = GalleryFilter(**filter)  # type: ignore[arg-type]
        return list(gallery.tracklets(wanted, after=after, limit=PAGE, newest_first=newest_first))

    def some(number: int) -> frozenset[str]:
        return frozenset(rng.choice(names[:-1], number, replace=False).tolist())

    def within(hours: float) -> dict[str, float]:
        start = moment()
        return {"start": start, "end": start + hours * HOUR_S}

    everything, one = GalleryFilter(), GalleryFilter(cameras=frozenset(names[:1]))
    return {
        "first page": lambda: page(),
        "newest first": lambda: page(newest_first=True),
        "a page in the middle": lambda: page(middle=True),
        "in the middle, newest first": lambda: page(newest_first=True, middle=True),
        "rare camera": lambda: page(cameras=frozenset({RARE})),
        "three cameras, in the middle": lambda: page(middle=True, cameras=some(3)),
        "half of the cameras, in the middle": lambda: page(middle=True, cameras=some(num_cameras // 2)),
        "all cameras but one": lambda: page(middle=True, exclude_cameras=some(1)),
        "six hours": lambda: page(**within(6)),
        "six hours, newest first": lambda: page(newest_first=True, **within(6)),
        "six hours of a camera": lambda: page(cameras=some(1), **within(6)),
        "quality of 0.5 and more": lambda: page(middle=True, min_quality=0.5),
        "quality of 0.99 and more": lambda: page(middle=True, min_quality=0.99),
        "quality that nobody has": lambda: page(min_quality=1.0),
        "without all that a camera saw": lambda: page(exclude_span=(names[0], START, START + days * _DAY_S)),
        "time line of all": lambda: gallery.time_line(everything),
        "time line of a camera": lambda: gallery.time_line(one),
        "time line of six hours": lambda: gallery.time_line(GalleryFilter(**within(6))),
        "time line of quality 0.5 and more, a camera": lambda: gallery.time_line(
            GalleryFilter(cameras=frozenset(names[:1]), min_quality=0.5)
        ),
        "cameras()": gallery.cameras,
        "camera_views()": gallery.camera_views,
        "counts()": gallery.counts,
    }


def main() -> None:
    """Fills a gallery, asks, prints a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tracklets", type=int, default=1_000_000)
    parser.add_argument("--cameras", type=int, default=50)
    parser.add_argument("--days", type=float, default=30.0)
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--database")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="retrace-browse-") as name:
        begin = perf_counter()
        folder = Path(name) / "gallery"
        fill(folder, options.tracklets, options.cameras, options.days, 0, url=options.database)
        with Gallery.open(folder, url=options.database) as gallery:
            for camera in camera_names(options.cameras):
                gallery.set_camera_view(camera, "streaming")
            print(
                f"{options.tracklets} tracklets of {options.cameras} cameras, {options.days:g} days, on "
                f"{gallery.backend}, made in {perf_counter() - begin:.0f} s\n"
            )
            print("| question | p50 ms | p95 ms | processor, p50 ms |\n|---|---:|---:|---:|")
            asked = questions(gallery, options.cameras, options.days, np.random.default_rng(1))
            for question, ask in asked.items():
                spent = _milliseconds(ask, options.repeats)  # (N, 2)
                p50, p95 = np.percentile(spent[:, 0], [50, 95])
                print(f"| {question} | {p50:.1f} | {p95:.1f} | {np.median(spent[:, 1]):.1f} |", flush=True)


def _milliseconds(ask: Callable[[], object], repeats: int) -> npt.NDArray[np.float64]:
    """(N, 2): what each of N repeats took, and how much of it this process spent computing."""
    ask()  # the first one compiles the statement
    found = []
    for _ in range(repeats):
        begin, worked = perf_counter(), process_time()
        ask()
        found.append((perf_counter() - begin, process_time() - worked))
    return 1000.0 * np.array(found)


if __name__ == "__main__":
    main()

"""Tracklets out of a gallery, for other tools: MOT text, JSON, CSV."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TextIO

import numpy as np

from storage.gallery import Gallery
from storage.records import GalleryFilter, TrackletRecord, Trajectory

Format = Literal["mot", "json", "csv"]


class ExportError(ValueError):
    """What was asked for does not fit the format."""


def export(gallery: Gallery, form: Format, out: Path, camera: str | None = None) -> int:
    """Write tracklets to a file, which appears only when it is whole.

    Args:
        gallery: open for reading.
        form: "mot": frame,id,left,top,width,height,confidence,-1,-1,-1 with frames from 1, one source only,
            frames between those seen filled in; "json": a list of tracklets with their boxes; "csv": one
            line a tracklet.
        out: the file.
        camera: this camera only.

    Returns:
        The number of tracklets written.

    Raises:
        ExportError: MOT of more than one source, an unknown camera, or no file can be written at `out`.
    """
    known = [summary.camera for summary in gallery.cameras()]
    wanted = GalleryFilter(cameras=frozenset() if camera is None else frozenset([camera]))
    if not wanted.cameras <= set(known):
        raise ExportError(f"no camera '{camera}' in the gallery; there are: {', '.join(known) or 'none'}")
    records = gallery.tracklets(wanted)
    write: dict[str, Callable[[Gallery, Iterator[TrackletRecord], TextIO], int]] = {
        "mot": _write_mot,
        "json": _write_json,
        "csv": _write_csv,
    }
    if form not in write:
        raise ExportError(f"no format '{form}'; there are: {', '.join(write)}")
    with whole_file(out) as file:
        return write[form](gallery, records, file)


@contextmanager
def whole_file(out: Path) -> Iterator[TextIO]:
    """A text file to write that replaces what was there, only when it is whole; see `whole_path`."""
    with (
        whole_path(out) as partial,
        partial.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        yield file


@contextmanager
def whole_path(out: Path) -> Iterator[Path]:
    """Where to write a file that replaces what was there, only when it is whole.

    A device or a pipe is written as it is. An OSError names `out`, whatever it was that failed.
    """
    if out.is_dir():
        raise ExportError(f"{out} is a folder: name a file in it")
    if not out.parent.is_dir():
        raise ExportError(f"there is no folder {out.parent} to write {out.name} in: make it first")
    in_place = out.exists() and not out.is_file()
    partial = out if in_place else out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        yield partial
        if not in_place:
            partial.replace(out)
    except OSError as error:
        if error.filename is not None and Path(error.filename) != partial:
            raise  # of what was read meanwhile
        raise OSError(error.errno, error.strerror, str(out)) from error
    finally:
        if not in_place:
            with suppress(OSError):  # of a disk that cannot be written, where there is none
                partial.unlink()


def tracklet_json(record: TrackletRecord) -> dict[str, Any]:
    """A tracklet as JSON values; times are ISO 8601 in UTC."""
    return {
        "id": record.id,
        "camera": record.camera,
        "source": record.source,
        "start": iso(record.start),
        "end": iso(record.end),
        "num_frames": record.num_frames,
        "quality": round(record.quality, 4),
        "track_id": record.track_id,
        "thumbnail": str(record.thumbnail) if record.has_crops else None,
    }


def iso(seconds: float) -> str:
    """Seconds UTC as ISO 8601 with milliseconds and a Z."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _write_mot(gallery: Gallery, records: Iterator[TrackletRecord], file: TextIO) -> int:
    rows: list[tuple[int, int, str]] = []
    sources, count = set(), 0
    for record in records:
        sources.add((record.camera, record.source))
        if len(sources) > 1:
            names = "; ".join(f"{camera} ({source})" for camera, source in sorted(sources))
            raise ExportError(
                f"MOT numbers the frames of one source, here are several: {names}; choose one with --camera"
            )
        for frame, box, confidence in zip(*_every_frame(gallery.trajectory(record.id)), strict=True):
            left, top, right, bottom = box
            text = f"{left:.2f},{top:.2f},{right - left:.2f},{bottom - top:.2f},{confidence:.4f},-1,-1,-1"
            rows.append((frame + 1, record.track_id, text))
        count += 1
    file.writelines(f"{frame},{track},{text}\n" for frame, track, text in sorted(rows))
    return count


def _every_frame(trajectory: Trajectory) -> tuple[list[int], list[list[float]], list[float]]:
    """Frames, boxes and confidences without holes: what was not analysed or not seen is filled in linearly.

    A tracklet is cut at longer gaps, so that at most `tracklets.max_gap_s` is filled.
    """
    seen = trajectory.frame_indices
    frames = np.arange(seen[0], seen[-1] + 1)
    columns = [np.interp(frames, seen, column) for column in (*trajectory.xyxy.T, trajectory.confidence)]
    return frames.tolist(), np.stack(columns[:4], axis=1).tolist(), columns[4].tolist()


def _write_json(gallery: Gallery, records: Iterator[TrackletRecord], file: TextIO) -> int:
    count = 0
    file.write("[")
    for record in records:
        trajectory = gallery.trajectory(record.id)
        values = tracklet_json(record) | {
            "frames": trajectory.frame_indices.tolist(),
            "timestamps": [iso(seconds) for seconds in trajectory.timestamps.tolist()],
            "xyxy": [[round(value, 2) for value in box] for box in trajectory.xyxy.tolist()],
            "confidence": [round(value, 4) for value in trajectory.confidence.tolist()],
        }
        file.write(("," if count else "") + "\n" + json.dumps(values, ensure_ascii=False))
        count += 1
    file.write("\n]\n")
    return count


def _write_csv(gallery: Gallery, records: Iterator[TrackletRecord], file: TextIO) -> int:
    fields = ("id", "camera", "source", "start", "end", "num_frames", "quality", "track_id", "thumbnail")
    writer = csv.DictWriter(file, fields)
    writer.writeheader()
    count = 0
    for record in records:
        writer.writerow(tracklet_json(record))
        count += 1
    return count

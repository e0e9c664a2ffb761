"""The first thing a newcomer sees: three cameras, or one video cut into two, and one person asked for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

from models import weights
from pipeline import report
from pipeline.config import Config, VideoSettings
from pipeline.detectors.yolo import default_weights
from pipeline.hooks import Hooks
from pipeline.ingest import ingest
from pipeline.query import query_by_tracklet, search
from pipeline.video import SourceSpec, VideoSourceError, open_source
from pipeline.video_writer import VideoWriter
from storage.gallery import Gallery
from storage.records import GalleryFilter, TrackletRecord

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "three_cameras"
# Of PETS 2009 S2.L1, view 1, which has 795 frames: six people appear before and after this one.
CUT_FRAME = 422
START = 1_238_068_800.0  # 2009-03-26 12:00 UTC; the day is that data set's, the hour is made up


def run_demo(folder: Path, video: Path | None, config: Config, hooks: Hooks) -> Path:
    """Ingest the example's cameras or the two halves of a video, ask for one person, write the page.

    Args:
        folder: takes the gallery and the page; what is there already is used again.
        video: a video of people; None takes the example's three cameras.
        config: settings of the run.
        hooks: told about progress.

    Returns:
        The path of the page.

    Raises:
        FileNotFoundError: there is no example, because this is not a checkout of the repository.
        pipeline.video.VideoSourceError: there is no such video, or it cannot be cut.
        ValueError: nobody is seen in the first camera.
    """
    if video is not None and not video.is_file():
        raise VideoSourceError(f"there is no video {video}")
    given = example_cameras() if video is None else []
    folder.mkdir(parents=True, exist_ok=True)
    _need_detector(config, hooks)
    # Each video has a place of its own: a second one must not be answered out of the first one's gallery.
    folder = folder / _name_of(video or Path(given[0].uri), EXAMPLE.name if video is None else None)
    folder.mkdir(exist_ok=True)
    specs = given if video is None else _halves(video, folder, hooks)
    first = specs[0].camera
    with Gallery.open(folder / "gallery", create=True) as gallery:
        summary = ingest(gallery, specs, config, hooks)
        hooks.on_note(
            f"{summary.tracklets} tracklets of {summary.frames} frames added to {folder / 'gallery'}"
        )
        asked = _longest(gallery, first)
        elsewhere = GalleryFilter(exclude_cameras=frozenset([first]))
        answer = search(gallery, query_by_tracklet(gallery, asked.id), 10, elsewhere)
    page = folder / "where-else.html"
    report.write_html(answer, page)
    return page


def example_cameras(folder: Path = EXAMPLE) -> list[SourceSpec]:
    """The cameras of a rendered world, by its `cameras.json`.

    Raises:
        FileNotFoundError: it is not there.
    """
    listed = folder / "cameras.json"
    if not listed.is_file():
        raise FileNotFoundError(
            f"there is no {listed}: the example's videos are in a checkout of the repository only; "
            "run the demo from one, or pass --video FILE"
        )
    cameras = json.loads(listed.read_text(encoding="utf-8"))["cameras"]
    return [
        SourceSpec(
            camera["name"],
            str(folder / camera["video"]),
            datetime.fromisoformat(camera["start"]).timestamp(),
        )
        for camera in cameras
    ]


def _need_detector(config: Config, hooks: Hooks) -> None:
    if config.detector.name != "yolo":
        return
    options = config.detector.options()
    name = options.get("weights") or default_weights(options.get("device"))
    try:
        weights.resolve(name, "detector")
    except weights.MissingWeights:
        hooks.on_note(f"fetching the detector weights {name}, once")
        weights.fetch(name, progress=hooks.on_note)


def _name_of(video: Path, name: str | None = None) -> str:
    """The file's name, or another one, and the beginning of its content's fingerprint."""
    source = open_source(SourceSpec("demo", str(video)), VideoSettings())
    return f"{name or video.stem}-{source.fingerprint[:8]}"


def _longest(gallery: Gallery, camera: str) -> TrackletRecord:
    records = list(gallery.tracklets(GalleryFilter(cameras=frozenset([camera]))))
    if not records:
        raise ValueError(f"no person was found in {camera}: take a video with people in its first half")
    return max(records, key=lambda record: record.num_frames)


def _halves(video: Path, folder: Path, hooks: Hooks) -> list[SourceSpec]:
    halves = [folder / "camera-1.mp4", folder / "camera-2.mp4"]
    starts = cut_in_two(video, halves, hooks)
    return [
        SourceSpec(half.stem, str(half), START + start) for half, start in zip(halves, starts, strict=True)
    ]


def cut_in_two(video: Path, halves: Sequence[Path], hooks: Hooks) -> list[float]:
    """Write the two halves as H.264 and return their starts in seconds from the video's."""
    source = open_source(SourceSpec("demo", str(video), 0.0), VideoSettings(analysis_fps=None))
    frames = round((source.duration_s or 0) * source.frame_rate)
    cut = CUT_FRAME if frames == 795 else frames // 2
    if cut < 2:
        raise VideoSourceError(f"{video} does not say its length, or is too short to be cut in two")
    starts = [0.0, cut / source.frame_rate]
    if all(half.exists() for half in halves):
        return starts
    hooks.on_note(f"cutting {video.name} at frame {cut} into two cameras")
    with ExitStack() as stack:
        writers = [stack.enter_context(VideoWriter(half, source.frame_rate)) for half in halves]
        for frame in source.frames():
            writers[frame.index >= cut].add(frame.image)
    return starts

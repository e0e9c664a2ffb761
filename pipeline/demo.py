"""The first thing a newcomer sees: one video cut into two cameras, and one person asked for."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np

from models import weights
from pipeline import report
from pipeline.config import Config, VideoSettings
from pipeline.detectors.yolo import default_weights
from pipeline.hooks import Hooks
from pipeline.ingest import ingest
from pipeline.query import query_by_tracklet, search
from pipeline.types import Image
from pipeline.video import SourceSpec, VideoSourceError, open_source
from storage.gallery import Gallery
from storage.records import GalleryFilter, TrackletRecord

PACKAGE, MEMBER = "opencv-doc", "usr/share/doc/opencv-doc/examples/data/vtest.avi"
# PETS 2009 S2.L1, view 1: six people appear before and after this frame.
CUT_FRAME = 422
START = 1_238_068_800.0  # 2009-03-26 12:00 UTC; the day is the data set's, the hour is made up


def run_demo(folder: Path, video: Path | None, config: Config, hooks: Hooks) -> Path:
    """Make two cameras out of a video, ingest both, ask for one person, write the page.

    Args:
        folder: takes the videos, the gallery and the page; what is there already is used again.
        video: a video of people; None takes `vtest.avi` out of Debian's package opencv-doc.
        config: settings of the run.
        hooks: told about progress.

    Returns:
        The path of the page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _need_detector(config, hooks)
    given = video or default_video(folder, hooks)
    if not given.is_file():
        raise VideoSourceError(f"there is no video {given}")
    # Each video has a place of its own: a second one must not be answered out of the first one's gallery.
    folder = folder / _name_of(given)
    folder.mkdir(exist_ok=True)
    halves = [folder / "camera-1.mp4", folder / "camera-2.mp4"]
    starts = cut_in_two(given, halves, hooks)
    specs = [
        SourceSpec(path.stem, str(path), START + start) for path, start in zip(halves, starts, strict=True)
    ]
    with Gallery.open(folder / "gallery", create=True) as gallery:
        summary = ingest(gallery, specs, config, hooks)
        hooks.on_note(
            f"{summary.tracklets} tracklets of {summary.frames} frames added to {folder / 'gallery'}"
        )
        asked = _longest(gallery, "camera-1")
        answer = search(
            gallery,
            query_by_tracklet(gallery, asked.id),
            10,
            GalleryFilter(exclude_cameras=frozenset(["camera-1"])),
        )
    page = folder / "where-else.html"
    report.write_html(answer, page)
    return page


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


def _name_of(video: Path) -> str:
    """The file's name and the beginning of its content's fingerprint."""
    return f"{video.stem}-{open_source(SourceSpec('demo', str(video)), VideoSettings()).fingerprint[:8]}"


def _longest(gallery: Gallery, camera: str) -> TrackletRecord:
    records = list(gallery.tracklets(GalleryFilter(cameras=frozenset([camera]))))
    if not records:
        raise ValueError(f"no person was found in {camera}: take a video with people in its first half")
    return max(records, key=lambda record: record.num_frames)


def default_video(folder: Path, hooks: Hooks) -> Path:
    """`vtest.avi` out of Debian's package, downloaded and unpacked but not installed."""
    video = folder / "vtest.avi"
    if video.exists():
        return video
    missing = [tool for tool in ("apt-get", "dpkg-deb") if shutil.which(tool) is None]
    if missing:
        raise FileNotFoundError(
            "the demo's video comes by apt-get, which is not here: pass --video FILE instead"
        )
    hooks.on_note(f"fetching the demo's video out of Debian's package {PACKAGE} (96 MB), once")
    with tempfile.TemporaryDirectory(dir=folder.resolve()) as scratch:
        # Lists and cache of our own: nothing of the system is touched, and no rights are needed.
        place = Path(scratch)
        for part in ("lists/partial", "cache/archives/partial"):
            (place / part).mkdir(parents=True)
        lists, cache = f"Dir::State::Lists={place / 'lists'}", f"Dir::Cache={place / 'cache'}"
        apt = ["apt-get", "-qq", "-o", lists, "-o", cache]
        _run([*apt, "update"], place)
        _run([*apt, "download", PACKAGE], place)
        package = next(place.glob(f"{PACKAGE}_*.deb"))
        _run(["dpkg-deb", "-x", str(package), str(place / "unpacked")], place)
        (place / "unpacked" / MEMBER).replace(video)
    return video


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise RuntimeError(f"{command[0]} failed ({last}): pass --video FILE instead")


def cut_in_two(video: Path, halves: list[Path], hooks: Hooks) -> list[float]:
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
        writers = [stack.enter_context(_Encoder(half, source.frame_rate)) for half in halves]
        for frame in source.frames():
            writers[frame.index >= cut].add(frame.image)
    return starts


class _Encoder:
    """RGB pictures to an H.264 file, which appears when it is whole; a context manager."""

    def __init__(self, path: Path, rate: float) -> None:
        self._path, self._partial = path, path.with_name(f".{path.name}.tmp")
        self._container = av.open(str(self._partial), "w", format="mp4")
        self._stream: Any = self._container.add_stream("libx264", rate=Fraction(rate).limit_denominator(1001))
        self._stream.pix_fmt, self._stream.options = "yuv420p", {"crf": "16", "preset": "veryfast"}
        self._begun = False

    def __enter__(self) -> _Encoder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._container.mux(self._stream.encode(None))
        self._container.close()
        if error is None:
            self._partial.replace(self._path)
        else:
            self._partial.unlink(missing_ok=True)

    def add(self, image: Image) -> None:
        height, width = (side // 2 * 2 for side in image.shape[:2])  # 4:2:0 needs even sides
        if not self._begun:
            self._stream.height, self._stream.width, self._begun = height, width, True
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(image[:height, :width]), format="rgb24")
        self._container.mux(self._stream.encode(picture))

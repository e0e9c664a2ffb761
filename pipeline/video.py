"""Files, folders and globs of pictures -> `Frame`s with exact time stamps.

Decoding is PyAV (FFmpeg); pictures are read by OpenCV. A source is opened and its first picture decoded
before a run starts, so that wrong input is refused at once; damage found later is skipped and counted.
"""

from __future__ import annotations

import glob
import hashlib
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from pipeline.config import VideoSettings
from pipeline.types import Frame, Image

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
_HASH_SAMPLES, _HASH_SAMPLE_BYTES = 16, 256 * 1024
_SEEK_FROM_S = 5.0  # nearer than this, decoding from the start is as quick and exact
_GAP_S, _GAP_FRAMES = 1.0, 10  # a hole in a recording is longer than both
# Whatever a file is called, it is read as one of these: none of them opens further files, as playlists do.
_DEMUXERS = ",".join((
    "mov", "matroska", "avi", "mpegts", "mpeg", "mpegvideo", "h264", "hevc", "av1", "obu", "ivf", "m4v",
    "mjpeg", "mpjpeg", "flv", "asf", "ogg", "mxf", "gxf", "dv", "dhav", "vc1", "h263", "rm", "gif", "nut",
    "yuv4mpegpipe", "wav",
))  # fmt: skip


class VideoSourceError(OSError):
    """A source cannot be read; the message names it and says why."""


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """What the user asked for: a camera's name, where its pictures are, and when they begin (seconds UTC)."""

    camera: str
    uri: str
    start: float | None = None


@dataclass(eq=False)
class Source:
    """An opened source; iterate `frames()` once.

    Attributes:
        camera: name of the camera.
        uri: where it is, as an absolute path.
        start: time of the first frame, seconds UTC.
        start_from: where `start` comes from: "given", "container" or "file time".
        frame_rate: frames a second of the source itself.
        duration_s: length in seconds, None when the container does not say.
        fingerprint: 32 hex digits of the content; the same recording has the same one wherever it lies.
        damage: counts of what was skipped while reading, by kind; filled by `frames()`.
        origin: where the container's clock starts in seconds; the zero of all offsets.
    """

    camera: str
    uri: str
    start: float
    start_from: str
    frame_rate: float
    duration_s: float | None
    fingerprint: str
    settings: VideoSettings
    damage: dict[str, int] = field(default_factory=dict)
    origin: float | None = None

    @property
    def analysed_rate(self) -> float:
        """Frames a second that `frames()` yields."""
        return min(self.frame_rate, self.settings.analysis_fps or self.frame_rate)

    def frames(self, first_s: float = 0.0, last_s: float | None = None) -> Iterator[Frame]:
        """Decode, in order, at the analysis rate.

        Args:
            first_s: begin here, seconds from the source's start; earlier frames are decoded and dropped.
            last_s: end after this, seconds from the source's start.

        Yields:
            Frames whose `index` counts all decoded pictures and whose `timestamp` increases.
        """
        rate, due = self.settings.analysis_fps, None
        previous = -1.0
        for index, offset, decode in self._pictures(first_s):
            if last_s is not None and offset > last_s:
                return
            offset = max(offset, previous + 1e-3)  # a clock that stands still or runs back
            previous = offset
            # A hundredth of an interval of slack: container clocks round to milliseconds.
            slot = int(np.floor(offset * rate + 0.01)) if rate else index
            if offset < first_s or (due is not None and slot < due):
                continue
            due = slot + 1
            image = decode()
            if image is not None:
                yield Frame(self.camera, index, self.start + offset, image)

    def shown_at(self, at_s: float) -> tuple[Image, float] | None:
        """The picture shown at a second from the source's start, and since when; found by seeking.

        Before the first picture that one is taken, after the last the last; None when none can be decoded.
        """
        for first_s in (at_s, 0.0):  # from the start where a seek leads past the moment
            shown = None
            for _, offset, decode in self._pictures(first_s):
                if offset > at_s and (shown is not None or first_s > 0):
                    break
                shown = (decode, offset)
                if offset > at_s:
                    break
            if shown is not None and (image := shown[0]()) is not None:
                return image, shown[1]
        return None

    def _pictures(self, first_s: float) -> Iterator[tuple[int, float, Any]]:
        raise NotImplementedError

    def _damaged(self, kind: str, count: int = 1) -> None:
        self.damage[kind] = self.damage.get(kind, 0) + count


class VideoFile(Source):
    """One video file, read through FFmpeg."""

    def _pictures(self, first_s: float) -> Iterator[tuple[int, float, Any]]:
        with open_container(self.uri) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            offset, index = -1.0 / self.frame_rate, -1
            if first_s > _SEEK_FROM_S and self.origin is not None:
                with suppress(av.FFmpegError):  # not seekable: decode from the start
                    container.seek(int((self.origin + first_s) / stream.time_base), stream=stream)
                    index = round(first_s * self.frame_rate) - 1  # an estimate; exact without a seek
            previous, shift = (offset if index < 0 else None), 0.0
            for picture in self._decode(container, stream):
                index += 1
                if picture.is_corrupt:
                    self._damaged("damaged pictures")
                if picture.pts is None:  # some raw and damaged streams have no clock
                    offset += 1.0 / self.frame_rate
                else:
                    seconds = float(picture.pts * picture.time_base)
                    if self.origin is None:  # pictures lost at the beginning do not move the others
                        self.origin = min(seconds, _clock_start(stream, seconds))
                    offset = seconds - self.origin + shift
                if previous is not None:
                    if offset < previous - _GAP_S:  # recordings put one behind the other
                        self._damaged("clock set back")
                        shift += previous + 1.0 / self.frame_rate - offset
                        offset = previous + 1.0 / self.frame_rate
                    self._note_gap(previous, offset)
                previous = offset
                yield index, offset, lambda picture=picture: to_rgb(picture)
            if previous is not None and self.duration_s is not None:
                self._note_gap(previous, self.duration_s)

    def _note_gap(self, last: float, now: float) -> None:
        """Count the seconds without a picture; what a codec cannot mend often leaves no other trace."""
        missing = now - last - 1.0 / self.frame_rate
        if missing > max(_GAP_S, _GAP_FRAMES / self.frame_rate) * 0.99:
            self._damaged("seconds without a picture", round(missing))

    def _decode(self, container: Any, stream: Any) -> Iterator[Any]:
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except av.FFmpegError:
                self._damaged("unreadable tail")  # the container breaks off; what came before is good
                with suppress(av.FFmpegError):
                    yield from stream.decode(None)
                return
            try:
                yield from packet.decode()
            except av.FFmpegError:
                self._damaged("undecodable packets")


class ImageSequence(Source):
    """Pictures in the natural order of their names (frame2 before frame10)."""

    paths: tuple[Path, ...] = ()

    def _pictures(self, first_s: float) -> Iterator[tuple[int, float, Any]]:
        for index, path in enumerate(self.paths):
            yield index, index / self.frame_rate, lambda path=path: self._read(path)

    def _read(self, path: Path) -> Image | None:
        image = read_image(path)
        if image is None:
            self._damaged("unreadable pictures")
        return image


def is_stream(uri: str) -> bool:
    """Whether an address is a live stream or a webcam's number, and not a recording."""
    return bool(re.match(r"^[a-z][a-z0-9+.-]+://", uri, re.IGNORECASE)) or uri.isdigit()


def open_source(spec: SourceSpec, settings: VideoSettings) -> Source:
    """Open a source and decode its first picture.

    Args:
        spec: `uri` is a video file, a folder of pictures, or a glob of pictures (quoted from the shell).
        settings: how to read it.

    Raises:
        VideoSourceError: it is missing, empty, not a video, has no pictures, or none can be decoded.
    """
    if is_stream(spec.uri):
        raise VideoSourceError(
            f"camera '{spec.camera}': a live stream does not end: read it with `run_pipeline.py run`; "
            "here give a file, folder or glob"
        )
    path = Path(spec.uri).expanduser()
    try:
        is_pattern = not path.exists() and glob.has_magic(spec.uri)
        if path.is_dir() or is_pattern or path.suffix.lower() in IMAGE_SUFFIXES:
            source: Source = _open_images(spec, path, is_pattern, settings)
        else:
            source = _open_file(spec, path, settings)
    except VideoSourceError:
        raise
    except OSError as error:  # no permission, a name too long, a disk that cannot be read
        raise VideoSourceError(f"camera '{spec.camera}': {path}: {error.strerror}") from error
    if next(iter(source.frames()), None) is None:
        raise VideoSourceError(f"camera '{spec.camera}': {path} has no frame that can be decoded")
    source.damage.clear()
    return source


def read_image(path: Path) -> Image | None:
    """A picture file as (H, W, 3) uint8 RGB, upright by its EXIF, or None when it cannot be read."""
    try:
        encoded = np.fromfile(path, np.uint8)
        image = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if len(encoded) else None
    except (OSError, cv2.error):  # cv2.error: larger than OpenCV may decode
        return None
    return None if image is None else np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def _open_file(spec: SourceSpec, path: Path, settings: VideoSettings) -> VideoFile:
    named = f"camera '{spec.camera}': {path}"
    if not path.exists():
        raise VideoSourceError(f"{named} does not exist")
    if not path.is_file():
        raise VideoSourceError(f"{named} is a device or a pipe; give a file, folder or glob")
    if path.stat().st_size == 0:
        raise VideoSourceError(f"{named} is empty")
    try:
        with open_container(str(path)) as container:
            if not container.streams.video:
                raise VideoSourceError(f"{named} has no video in it")
            stream = container.streams.video[0]
            rate = float(stream.average_rate or stream.guessed_rate or stream.base_rate or 25)
            duration = _duration_s(container, stream)
            recorded = _recording_time(container)
    except av.FFmpegError as error:
        # FFmpeg says no more than that of a format that is not on the list.
        unlisted = isinstance(error, av.error.ArgumentError)
        why = "a playlist, or of a format that is not taken" if unlisted else error.strerror
        raise VideoSourceError(f"{named} is not a video that FFmpeg can read ({why})") from error
    if spec.start is not None:
        start, start_from = spec.start, "given"
    elif recorded is not None:
        start, start_from = recorded, "container"
    else:
        start, start_from = path.stat().st_mtime - (duration or 0.0), "file time"
    return VideoFile(
        spec.camera, str(path.resolve()), start, start_from, rate, duration, file_fingerprint(path), settings
    )


def _open_images(spec: SourceSpec, path: Path, is_pattern: bool, settings: VideoSettings) -> ImageSequence:
    found = (
        [Path(name) for name in glob.glob(spec.uri)]
        if is_pattern
        else list(path.iterdir())
        if path.is_dir()
        else [path]
    )
    paths = sorted((p for p in found if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()), key=_natural)
    if not paths:
        others = f" ({len(found)} other files; give each video its own --source)" if found else ""
        raise VideoSourceError(f"camera '{spec.camera}': no pictures in {spec.uri}{others}")
    start = spec.start if spec.start is not None else paths[0].stat().st_mtime
    start_from = "given" if spec.start is not None else "file time"
    duration = len(paths) / settings.image_fps
    uri = str(path.resolve()) if not is_pattern else str(Path(spec.uri).absolute())
    fingerprint = _images_fingerprint(paths)
    sequence = ImageSequence(
        spec.camera, uri, start, start_from, settings.image_fps, duration, fingerprint, settings
    )
    sequence.paths = tuple(paths)
    return sequence


def open_container(path: str) -> Any:
    """A local file as a container of PyAV, of one of the formats that hold pictures themselves."""
    # "file:" keeps FFmpeg from taking a name with a colon for a protocol; whatever a file refers to, no
    # network is asked for it.
    options = {"protocol_whitelist": "file", "format_whitelist": _DEMUXERS}
    return av.open(f"file:{path}", options=options, metadata_errors="replace")


def to_rgb(picture: Any) -> Image:
    """A decoded picture of PyAV as (H, W, 3) uint8 RGB, upright."""
    image: Image = picture.to_ndarray(format="rgb24")
    turns = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_CLOCKWISE}
    rotation = round(picture.rotation) % 360
    return np.asarray(cv2.rotate(image, turns[rotation]), np.uint8) if rotation in turns else image


def _duration_s(container: Any, stream: Any) -> float | None:
    if stream.duration:
        length = float(stream.duration * stream.time_base)
    elif container.duration:
        length = container.duration / av.time_base
    else:
        return None
    # A file cut short is given the length it has now; its header may still know what it had.
    return max(length, float(stream.frames / stream.average_rate)) if stream.average_rate else length


def _clock_start(stream: Any, default: float) -> float:
    return default if stream.start_time is None else float(stream.start_time * stream.time_base)


def _recording_time(container: Any) -> float | None:
    written = container.metadata.get("creation_time")
    if not written:
        return None
    with suppress(ValueError):
        moment = datetime.fromisoformat(written)
        if 1971 < moment.year < 9999:  # encoders without a clock write the epoch of their format
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return None


def _natural(path: Path) -> list[tuple[int, int | str]]:
    parts = re.split(r"(\d+)", path.name)
    return [(0, int(part)) if part.isdigit() else (1, part) for part in parts if part]


def file_fingerprint(path: Path) -> str:
    """Hash of the size and of 16 evenly spread samples: tells recordings apart, quick on an archive."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        last = max(0, size - _HASH_SAMPLE_BYTES)
        for position in sorted({last * i // (_HASH_SAMPLES - 1) for i in range(_HASH_SAMPLES)}):
            file.seek(position)
            digest.update(file.read(_HASH_SAMPLE_BYTES))
    return digest.hexdigest()[:32]


def _images_fingerprint(paths: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.name}:{path.stat().st_size};".encode())
    for path in (paths[0], paths[len(paths) // 2], paths[-1]):
        digest.update(file_fingerprint(path).encode())
    return digest.hexdigest()[:32]

"""Clips show the moment that a tracklet is of, and only what may be shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from painted import BLUE, RED, Painted, number_in, numbered, paint, write_video

from pipeline.clips import clip_start_s, source_file, tracklet_clip, tracklet_moments
from pipeline.config import load_config
from pipeline.ingest import ingest
from pipeline.video import SourceSpec
from storage.errors import TrackletNotFound
from storage.gallery import Gallery

NUM_FRAMES, FIRST, LAST = 200, 80, 119  # of the person, at ten frames a second
PERSON = Painted(RED, BLUE, 40, 60, first=FIRST, last=LAST)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return painted_video(tmp_path / "source: é.mp4")


@pytest.fixture
def gallery(tmp_path: Path, video: Path) -> Iterator[Gallery]:
    with Gallery.open(tmp_path / "g", create=True) as opened:
        found_in(opened, video)
        yield opened


def painted_video(path: Path, pts: list[int] | None = None) -> Path:
    pictures = [numbered(paint([PERSON], i, 320, 192), i) for i in range(NUM_FRAMES)]
    return write_video(path, pictures, pts=pts)


def found_in(gallery: Gallery, video: Path, start: float = 5000.0) -> int:
    """Ingests the video as camera "door"; gives the tracklet's id."""
    boxes = video.parent / "boxes.txt"
    lines = (
        f"{i + 1},1,{','.join(f'{value:.1f}' for value in PERSON.box(i) or ())},0.9,1,1"
        for i in range(FIRST, LAST + 1)
    )
    boxes.write_text("\n".join(lines))
    detector = ["detector.name=mot_file", f"detector.path={boxes}", "video.analysis_fps=null"]
    config = load_config(overrides=["embedder.name=colour_stripes", *detector])
    ingest(gallery, [SourceSpec("door", str(video), start)], config)
    return max(record.id for record in gallery.tracklets())


def shown(clip: Path) -> tuple[list[int], list[float]]:
    """Numbers of the frames in a clip, and their times."""
    with av.open(str(clip)) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        frames = list(container.decode(video=0))
    return [number_in(frame.to_ndarray(format="gray")) for frame in frames], [frame.time for frame in frames]


def only(gallery: Gallery) -> int:
    return next(record.id for record in gallery.tracklets())


def test_a_clip_is_the_moment_with_a_margin(gallery: Gallery, tmp_path: Path) -> None:
    out = tmp_path / "clip.mp4"
    assert tracklet_clip(gallery, only(gallery), out, margin_s=1.5) == out
    numbers, _ = shown(out)
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert FIRST - 15 <= numbers[0] <= FIRST - 13  # a tracker may confirm a track late
    assert LAST + 14 <= numbers[-1] <= LAST + 15
    assert out.stat().st_size < 300_000
    assert [path.name for path in tmp_path.glob(".*")] == []
    tracklet_clip(gallery, only(gallery), out, margin_s=60)
    assert shown(out)[0] == list(range(NUM_FRAMES))


@pytest.mark.parametrize("margin_s", [0.0, 1.5, 60.0])
def test_a_clip_tells_at_which_second_the_tracklet_begins(
    video: Path, tmp_path: Path, margin_s: float
) -> None:
    out = tmp_path / "clip.mp4"
    with Gallery.open(tmp_path / "g", create=True) as gallery:
        number = found_in(gallery, video, 1_764_151_206.6)  # so large that a float holds no microseconds
        moments = tracklet_moments(gallery, number)
        tracklet_clip(gallery, number, out, margin_s)
    numbers, times = shown(out)
    first = round(moments.first_s * 10)
    assert numbers[0] == max(0, first - round(margin_s * 10))
    begins_s = moments.first_s - clip_start_s(moments, margin_s)
    assert times[numbers.index(first)] == pytest.approx(begins_s, abs=0.002)


def test_moments_are_seconds_of_the_source(gallery: Gallery) -> None:
    moments = tracklet_moments(gallery, only(gallery))
    assert moments.source == gallery.sources()[0]
    assert moments.first_s == pytest.approx(FIRST / 10, abs=0.11)  # a tracker may confirm a track late
    assert moments.last_s == pytest.approx(LAST / 10)
    for ask in (tracklet_moments, gallery_source):
        with pytest.raises(TrackletNotFound, match="no tracklet has the id 99"):
            ask(gallery, 99)


def gallery_source(gallery: Gallery, tracklet_id: int) -> object:
    return gallery.source_of(tracklet_id)


def test_a_variable_frame_rate_keeps_its_time(tmp_path: Path) -> None:
    # Twice as slow from the person's middle on.
    steps = np.where(np.arange(NUM_FRAMES) < 100, 100, 200)
    video = painted_video(tmp_path / "slow.mp4", pts=[0, *np.cumsum(steps).tolist()[:-1]])
    with Gallery.open(tmp_path / "g", create=True) as gallery:
        number = found_in(gallery, video)
        moments = tracklet_moments(gallery, number)
        out = tmp_path / "clip.mp4"
        assert tracklet_clip(gallery, number, out, margin_s=0)
    numbers, times = shown(out)
    assert numbers == sorted(numbers)
    assert times[-1] - times[0] == pytest.approx(moments.last_s - moments.first_s, abs=0.25)
    quick = times[numbers.index(99)] - times[numbers.index(90)]
    slow = times[numbers.index(119)] - times[numbers.index(110)]
    assert slow == pytest.approx(2 * quick, rel=0.2)


def test_only_the_same_local_recording_is_shown(gallery: Gallery, video: Path, tmp_path: Path) -> None:
    source = gallery.sources()[0]
    assert source_file(source) == video
    for changes in (
        {"masked": True},
        {"live": True},
        {"uri": "rtsp://192.0.2.1/stream"},
        {"uri": f"file://{video}"},
        {"uri": "0"},
        {"uri": video.name},
        {"uri": str(tmp_path)},
        {"uri": str(tmp_path / "gone.mp4")},
        {"uri": "/dev/zero"},
        {"uri": f"{video}\0"},
        {"uri": "/" + "x" * 5000},
        {"fingerprint": "0" * 32},
    ):
        assert source_file(replace(source, **changes)) is None, changes


def test_without_the_recording_there_is_no_clip(gallery: Gallery, video: Path, tmp_path: Path) -> None:
    out = tmp_path / "clip.mp4"
    content = video.read_bytes()
    video.write_bytes(content + b"more")
    assert tracklet_clip(gallery, only(gallery), out) is None
    video.write_bytes(content)
    assert tracklet_clip(gallery, only(gallery), out) == out
    out.unlink()
    video.unlink()
    assert tracklet_clip(gallery, only(gallery), out) is None
    assert not out.exists()

"""Sources: every kind of file a user may bring, and every kind of broken one."""

from __future__ import annotations

import os
import shutil
import struct
import wave
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from painted import RED, WHITE, Painted, paint, write_video

from pipeline.config import VideoSettings
from pipeline.video import SourceSpec, VideoSourceError, open_source

EVERY = VideoSettings(analysis_fps=None)


def pictures(count: int, width: int = 96, height: int = 64) -> list[np.ndarray]:
    return [paint([Painted(RED, WHITE, 5, 5, 2, height=50)], i, width, height) for i in range(count)]


def open_(path: Path | str, settings: VideoSettings = EVERY, start: float | None = 1000.0):
    return open_source(SourceSpec("cam", str(path), start), settings)


def test_frames_come_in_order_with_exact_times(tmp_path: Path) -> None:
    source = open_(write_video(tmp_path / "v.mp4", pictures(20), rate=10))
    frames = list(source.frames())
    assert [frame.index for frame in frames] == list(range(20))
    np.testing.assert_allclose([frame.timestamp for frame in frames], 1000 + np.arange(20) / 10, atol=1e-6)
    assert frames[0].image.shape == (64, 96, 3)
    red, green, blue = frames[0].image[20, 12]  # the red top: RGB, not BGR
    assert red > 150 > 80 > max(green, blue)


def test_the_analysis_rate_thins_evenly(tmp_path: Path) -> None:
    source = open_(write_video(tmp_path / "v.mp4", pictures(50), rate=25), VideoSettings(analysis_fps=10))
    indices = [frame.index for frame in source.frames()]
    assert len(indices) == 20
    assert set(np.diff(indices)) <= {2, 3}
    assert source.analysed_rate == 10


def test_a_variable_frame_rate_keeps_its_clock(tmp_path: Path) -> None:
    pts = [0, 100, 150, 400, 1000, 1040, 3000]
    source = open_(write_video(tmp_path / "v.mp4", pictures(7), pts=pts))
    offsets = [frame.timestamp - 1000 for frame in source.frames()]
    np.testing.assert_allclose(offsets, np.array(pts) / 1000, atol=2e-3)


@pytest.mark.parametrize(("width", "height"), [(97, 65), (33, 47)])
def test_odd_sizes(tmp_path: Path, width: int, height: int) -> None:
    path = write_video(tmp_path / "v.mkv", pictures(5, width, height), codec="ffv1", pix_fmt="yuv444p")
    assert next(open_(path).frames()).image.shape == (height, width, 3)


@pytest.mark.parametrize(
    ("codec", "pix_fmt"),
    [("ffv1", "gray"), ("ffv1", "yuv420p10le"), ("libx265", "yuv420p10le"), ("mjpeg", "yuvj420p")],
)
def test_grey_and_ten_bit_video_become_rgb(tmp_path: Path, codec: str, pix_fmt: str) -> None:
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    path = write_video(tmp_path / "v.mkv", pictures(5), codec=codec, pix_fmt=pix_fmt, **options)
    image = next(open_(path).frames()).image
    assert image.dtype == np.uint8
    assert image.shape == (64, 96, 3)
    assert abs(float(image.mean()) - float(pictures(1)[0].mean())) < 12


@pytest.mark.parametrize(
    ("matrix", "corner"),  # a, b, c, d of the track header's matrix, and where the top left corner is shown
    [((0, 1, -1, 0), "top right"), ((-1, 0, 0, -1), "bottom right"), ((0, -1, 1, 0), "bottom left")],
)
def test_rotated_video_stands_upright(tmp_path: Path, matrix: tuple[int, ...], corner: str) -> None:
    picture = np.zeros((64, 96, 3), np.uint8)
    picture[:24, :24] = 250
    path = write_video(tmp_path / "v.mp4", [picture] * 3)
    content = bytearray(path.read_bytes())
    place = content.index(b"tkhd") + 4 + 40
    a, b, c, d = (value << 16 for value in matrix)
    content[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    image = next(open_(path).frames()).image
    assert image.shape == ((64, 96, 3) if corner == "bottom right" else (96, 64, 3))
    corners = {
        "top left": image[:16, :16], "top right": image[:16, -16:],
        "bottom left": image[-16:, :16], "bottom right": image[-16:, -16:],
    }  # fmt: skip
    assert max(corners, key=lambda name: corners[name].mean()) == corner


@pytest.mark.parametrize("container", ["mkv", "avi", "ts"])
def test_a_truncated_file_keeps_what_was_good(tmp_path: Path, container: str) -> None:
    whole = write_video(tmp_path / f"v.{container}", pictures(60, 320, 240), codec="mpeg4")
    cut = tmp_path / f"cut.{container}"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    source = open_(cut)
    assert 20 < len(list(source.frames())) < 60


def test_a_codec_that_breaks_half_way_is_skipped_and_counted(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "v.mkv", pictures(60), codec="libx264")
    content = bytearray(whole.read_bytes())
    middle = len(content) // 2
    rng = np.random.default_rng(0)
    content[middle : middle + len(content) // 6] = rng.integers(0, 256, len(content) // 6, np.uint8).tobytes()
    broken = tmp_path / "broken.mkv"
    broken.write_bytes(content)
    source = open_(broken)
    frames = list(source.frames())
    assert 20 < len(frames) <= 60
    assert np.all(np.diff([frame.timestamp for frame in frames]) > 0)


def test_times_never_run_back(tmp_path: Path) -> None:
    source = open_(write_video(tmp_path / "v.mkv", pictures(6), pts=[0, 100, 101, 102, 103, 500]))
    assert np.all(np.diff([frame.timestamp for frame in source.frames()]) > 0)


def test_pictures_of_a_folder_in_natural_order(tmp_path: Path) -> None:
    for i, picture in enumerate(pictures(12)):
        cv2.imwrite(str(tmp_path / f"frame{i}.png"), picture[:, :, ::-1])
    (tmp_path / "notes.txt").write_text("not a picture")
    source = open_(tmp_path, VideoSettings(analysis_fps=None, image_fps=5))
    frames = list(source.frames())
    assert len(frames) == 12
    np.testing.assert_array_equal(frames[10].image, pictures(12)[10])
    assert frames[-1].timestamp == pytest.approx(1000 + 11 / 5)
    assert len(list(open_(f"{tmp_path}/frame1*.png").frames())) == 3  # 1, 10, 11


def test_an_unreadable_picture_is_skipped_and_counted(tmp_path: Path) -> None:
    for i, picture in enumerate(pictures(4)):
        cv2.imwrite(str(tmp_path / f"{i}.png"), picture)
    (tmp_path / "2.png").write_bytes(b"not a picture")
    source = open_(tmp_path)
    assert [frame.index for frame in source.frames()] == [0, 1, 3]
    assert source.damage == {"unreadable pictures": 1}


def test_names_with_spaces_colons_and_other_scripts(tmp_path: Path) -> None:
    folder = tmp_path / "Вход: двор 入口"
    folder.mkdir()
    path = write_video(tmp_path / "plain.mp4", pictures(3)).rename(folder / "a:b c é.mp4")
    assert len(list(open_(path).frames())) == 3


def test_the_same_recording_has_the_same_fingerprint_wherever_it_lies(tmp_path: Path) -> None:
    first = write_video(tmp_path / "a.mp4", pictures(5))
    second = tmp_path / "b.mp4"
    shutil.copy(first, second)
    other = write_video(tmp_path / "c.mp4", pictures(6))
    prints = [open_(path).fingerprint for path in (first, second, other)]
    assert prints[0] == prints[1] != prints[2]


def test_the_start_is_given_or_the_containers_or_the_files(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", pictures(10))
    os.utime(path, (5000, 5000))
    assert (open_(path, start=7.0).start, open_(path, start=7.0).start_from) == (7.0, "given")
    from_file = open_(path, start=None)
    assert from_file.start_from == "file time"
    assert from_file.start == pytest.approx(5000 - 1.0, abs=0.11)  # the file's time is the recording's end
    with av.open(str(path)) as source, av.open(str(tmp_path / "t.mp4"), "w") as out:
        out.metadata["creation_time"] = "2024-05-01T12:00:00.000000Z"
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    recorded = open_(tmp_path / "t.mp4", start=None)
    assert (recorded.start, recorded.start_from) == (1714564800.0, "container")


def test_a_window_deep_in_the_video_has_the_same_times_as_a_full_read(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", pictures(200), rate=10)
    everything = {round(f.timestamp, 3): f.image for f in open_(path).frames()}
    window = list(open_(path).frames(12.0, 13.0))
    assert [round(f.timestamp - 1000, 3) for f in window] == [12 + i / 10 for i in range(11)]
    for frame in window:
        np.testing.assert_array_equal(frame.image, everything[round(frame.timestamp, 3)])


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("absent.mp4", None, "does not exist"),
        ("empty.mp4", b"", "is empty"),
        ("text.mp4", b"this is not a video\n" * 50, "not a video that FFmpeg can read"),
        ("noise.mkv", bytes(range(256)) * 64, "not a video that FFmpeg can read"),
        ("picture.jpg", b"not a jpeg", "no frame that can be decoded"),
    ],
)
def test_what_is_no_video_is_refused_by_name(
    tmp_path: Path, name: str, content: bytes | None, expected: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(VideoSourceError, match=expected) as error:
        open_(path)
    assert "cam" in str(error.value)
    assert name in str(error.value)


def test_a_file_without_video_or_without_frames_is_refused(tmp_path: Path) -> None:
    sound = tmp_path / "sound.wav"
    with wave.open(str(sound), "wb") as file:
        file.setparams((1, 2, 8000, 8000, "NONE", ""))
        file.writeframes(bytes(16000))
    with pytest.raises(VideoSourceError, match="no video in it"):
        open_(sound)
    header = write_video(tmp_path / "v.avi", pictures(5), codec="mpeg4").read_bytes()
    (tmp_path / "header.avi").write_bytes(header[: header.index(b"movi") + 4])
    with pytest.raises(VideoSourceError, match=r"header\.avi"):
        open_(tmp_path / "header.avi")
    (tmp_path / "folder").mkdir()
    with pytest.raises(VideoSourceError, match="no pictures in"):
        open_(tmp_path / "folder")


def test_live_streams_are_refused_for_now() -> None:
    with pytest.raises(VideoSourceError, match="a live stream does not end: read it with"):
        open_("rtsp://user:secret@127.0.0.1/stream")


@pytest.mark.parametrize(
    ("name", "playlist"),
    [
        ("drop.mp4", "ffconcat version 1.0\nfile secret.mp4\n"),
        ("drop.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nsecret.ts\n#EXT-X-ENDLIST\n"),
    ],
)
def test_a_file_that_refers_to_another_does_not_show_it(tmp_path: Path, name: str, playlist: str) -> None:
    for suffix in ("mp4", "ts"):
        assert len(list(open_(write_video(tmp_path / f"secret.{suffix}", pictures(5))).frames())) == 5
    (tmp_path / name).write_text(playlist)
    with pytest.raises(VideoSourceError, match=rf"{name} is not a video .* \(a playlist, or"):
        open_(tmp_path / name)
    (tmp_path / "other.mp4").write_text(playlist)
    with pytest.raises(VideoSourceError, match=r"other\.mp4 is not a video"):
        open_(tmp_path / "other.mp4")

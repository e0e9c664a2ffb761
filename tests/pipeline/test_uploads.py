"""Pictures and clips of strangers, some of them hostile: what is kept, refused, and left behind."""

from __future__ import annotations

import errno
import io
import os
import platform
import socket
import stat
import struct
import subprocess
import sys
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import PIL.Image
import pytest
from painted import BLUE, RED, Painted, number_in, numbered, paint, write_video

from pipeline.reception import Reception
from pipeline.sandbox import unpack
from pipeline.uploads import Upload, UploadLimits, UploadNotFound, UploadRefused, Uploads, UploadsBusy

GROUND = paint((Painted(RED, BLUE, 150, 60),), 0, 320, 192)
GPS = b"GPS-52.5200N"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "uploads"


@pytest.fixture
def uploads(folder: Path) -> Uploads:
    return Uploads(folder)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def add(uploads: Uploads, content: bytes, owner: str = "ann") -> Upload:
    return uploads.add(io.BytesIO(content), len(content), owner)


def encoded(suffix: str, image: np.ndarray = GROUND, *options: int) -> bytes:
    ok, content = cv2.imencode(suffix, image[..., ::-1] if image.ndim == 3 else image, options)
    assert ok
    return content.tobytes()


def clip(path: Path, num_frames: int = 30, **options: Any) -> bytes:
    return write_video(path, [numbered(GROUND, i) for i in range(num_frames)], **options).read_bytes()


def chunk(kind: bytes, content: bytes) -> bytes:
    checked = kind + content
    return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))


def png_of(width: int, height: int) -> bytes:
    """A tiny PNG that claims a size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(bytes(100_000), 9)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def zipped() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("index.html", "<script>alert(1)</script>")
    return content.getvalue()


def with_exif(jpeg: bytes, orientation: int) -> bytes:
    """The JPEG turned by its EXIF, which has more to tell."""
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
    tiff = b"MM\0*" + struct.pack(">IH", 8, 1) + entry + struct.pack(">I", 0) + GPS
    segment = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + jpeg[2:]


def animated(format: str) -> bytes:
    content = io.BytesIO()
    first, *others = (PIL.Image.fromarray(numbered(GROUND, i)) for i in range(3))
    first.save(content, format, save_all=True, append_images=others)
    return content.getvalue()


def cmyk() -> bytes:
    content = io.BytesIO()
    PIL.Image.fromarray(GROUND).convert("CMYK").save(content, "JPEG", quality=95)
    return content.getvalue()


PICTURES: dict[str, Callable[[], bytes]] = {
    "JPEG": lambda: encoded(".jpg", GROUND, cv2.IMWRITE_JPEG_QUALITY, 95),
    "progressive JPEG": lambda: encoded(".jpg", GROUND, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "JPEG with restarts": lambda: encoded(".jpg", GROUND, cv2.IMWRITE_JPEG_RST_INTERVAL, 5),
    "CMYK JPEG": cmyk,
    "PNG": lambda: encoded(".png"),
    "PNG of 16 bits with alpha": lambda: encoded(
        ".png", np.dstack([np.full(GROUND.shape[:2], 255, np.uint8), GROUND]).astype(np.uint16) * 257
    ),
    "WebP": lambda: encoded(".webp", GROUND, cv2.IMWRITE_WEBP_QUALITY, 95),
    "lossless WebP": lambda: encoded(".webp", GROUND, cv2.IMWRITE_WEBP_QUALITY, 101),
    "BMP": lambda: encoded(".bmp"),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_pictures_come_back_as_they_look(uploads: Uploads, folder: Path, kind: str) -> None:
    upload = add(uploads, PICTURES[kind]())
    assert (upload.kind, upload.width, upload.height, upload.times) == ("picture", 320, 192, (0.0,))
    image, since = uploads.frame(upload.id, "ann")
    assert since == 0
    assert np.abs(image.astype(int) - GROUND).mean() < 6
    kept = sorted(path.name for path in (folder / upload.id).iterdir())
    assert kept == ["frames.mjpeg", "upload.json"]
    assert [path.name for path in folder.iterdir()] == [upload.id]
    assert stat.S_IMODE((folder / upload.id / "frames.mjpeg").stat().st_mode) == 0o600
    assert stat.S_IMODE((folder / upload.id).stat().st_mode) == 0o700


def test_a_grey_picture_is_a_picture(uploads: Uploads) -> None:
    upload = add(uploads, encoded(".jpg", GROUND[..., 0]))
    image, _ = uploads.frame(upload.id, "ann")
    np.testing.assert_array_equal(image[..., 0], image[..., 2])


def test_a_turned_picture_is_upright_and_tells_no_place(uploads: Uploads, folder: Path) -> None:
    upload = add(uploads, with_exif(PICTURES["JPEG"](), 6))
    assert (upload.width, upload.height) == (192, 320)
    image, _ = uploads.frame(upload.id, "ann")
    assert np.abs(image.astype(int) - np.rot90(GROUND, -1)).mean() < 6
    kept = (folder / upload.id / "frames.mjpeg").read_bytes()
    assert b"Exif" not in kept
    assert GPS not in kept


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "bomb": (lambda: png_of(50_000, 50_000), "too many pixels: 50 megapixels"),
    "long bomb": (lambda: png_of(20_000, 10), "16384 pixels a side"),
    "no size": (lambda: png_of(0, 10), "damaged"),
    "JPEG and ZIP": (lambda: PICTURES["JPEG"]() + zipped(), "behind the end"),
    "PNG and ZIP": (lambda: PICTURES["PNG"]() + zipped(), "behind the end"),
    "WebP and ZIP": (lambda: PICTURES["WebP"]() + zipped(), "behind the end"),
    "BMP and ZIP": (lambda: PICTURES["BMP"]() + zipped(), "cut off|behind the end"),
    "GIF and JS": (lambda: b"GIF89a/*" + bytes(20) + b"*/=1;alert(1)//", "this is a GIF"),
    "GIF": (lambda: animated("GIF"), "this is a GIF"),
    "SVG": (lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><a href="file:///etc/passwd"/></svg>', "SVG"),
    "XML": (lambda: b'\xef\xbb\xbf \n<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "/a">]>', "XML"),
    "HTML": (lambda: b"<!DOCTYPE html><script>alert(1)</script>" + bytes(2000), "HTML"),
    "ZIP": (zipped, "a ZIP archive"),
    "PDF": (lambda: b"%PDF-1.7\n", "a PDF"),
    "playlist": (lambda: b"#EXTM3U\n#EXTINF:9,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n", "a playlist"),
    "DASH": (lambda: b'<?xml version="1.0"?><MPD><BaseURL>http://127.0.0.1/</BaseURL></MPD>', "XML"),
    "concat script": (lambda: b"ffconcat version 1.0\nfile '/etc/passwd'\n", "a playlist"),
    "text": (lambda: b"file '/etc/passwd'\n", "no picture and no clip"),
    "nothing": (lambda: b"", "an empty file"),
    "program": (lambda: b"\x7fELF" + bytes(3000), "a program"),
    "HEIC": (lambda: b"\0\0\0\x18ftypheic" + bytes(3000), "HEIC"),
    "animated WebP": (lambda: animated("WEBP"), "animated"),
    "animated PNG": (lambda: animated("PNG"), "animated"),
    "12 bits": (lambda: PICTURES["JPEG"]().replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"), "12 bits"),
    "half a JPEG": (lambda: PICTURES["JPEG"]()[:-500], "cut off"),
    "head of a JPEG": (lambda: PICTURES["JPEG"]()[:300], "cut off"),
    "half a PNG": (lambda: PICTURES["PNG"]()[:-30], "cut off"),
    "half a WebP": (lambda: PICTURES["WebP"]()[:-500], "cut off"),
    "half a BMP": (lambda: PICTURES["BMP"]()[:-500], "cut off"),
    "wrong checksum": (lambda: PICTURES["PNG"]().replace(b"IDAT", b"IDAT\0", 1)[:-1], "damaged|cut off"),
    "JPEG of noise": (lambda: b"\xff\xd8\xff" + np.random.default_rng(0).bytes(5000), "damaged|cut off"),
    "MP4 of noise": (lambda: b"\0\0\0\x18ftypisom" + np.random.default_rng(0).bytes(5000), "damaged"),
    "MKV of noise": (lambda: b"\x1aE\xdf\xa3" + np.random.default_rng(0).bytes(5000), "damaged|no video"),
    "AVI of noise": (lambda: b"RIFF\0\x20\0\0AVI " + np.random.default_rng(0).bytes(5000), "damaged|no vid"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_plain_picture_is_refused_in_words(uploads: Uploads, folder: Path, name: str) -> None:
    make, words = REFUSED[name]
    with pytest.raises(UploadRefused, match=words) as caught:
        add(uploads, make())
    assert "/" not in str(caught.value)
    assert list(folder.rglob("*")) == []


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "avi"])
def test_a_clip_becomes_frames_with_times(
    uploads: Uploads, tmp_path: Path, folder: Path, suffix: str
) -> None:
    codec = "mpeg4" if suffix == "avi" else "libx264"  # AVI cannot say when a B frame of H.264 is shown
    upload = add(uploads, clip(tmp_path / f"v.{suffix}", 75, rate=25, codec=codec))
    assert (upload.kind, upload.width, upload.height) == ("clip", 320, 192)
    assert upload.duration_s == pytest.approx(3.0, abs=0.01)
    assert upload.num_damaged == 0
    np.testing.assert_allclose(upload.times, np.arange(30) / 10, atol=0.041)  # up to a frame late
    assert upload.frame_rate == pytest.approx(10, abs=0.2)
    for at_s in (0.0, 1.25, 2.95):
        image, since = uploads.frame(upload.id, "ann", at_s)
        assert since == max(time_s for time_s in upload.times if time_s <= at_s)
        assert number_in(image.mean(axis=2)) == round(since * 25)
    frames = uploads.frames(upload.id, "ann", 1.0, 2.0)
    assert [frame.timestamp for frame in frames] == [t for t in upload.times if 1.0 <= t <= 2.0]
    assert [number_in(f.image.mean(axis=2)) for f in frames] == [round(f.timestamp * 25) for f in frames]
    assert len(uploads.frames(upload.id, "ann")) == len(upload.times)
    for outside in (-1.0, 9.0, float("nan")):
        with pytest.raises(ValueError, match="outside the clip"):
            uploads.frame(upload.id, "ann", outside)
    assert [path.name for path in folder.iterdir()] == [upload.id]


def test_large_frames_of_a_clip_are_shrunk(folder: Path, tmp_path: Path) -> None:
    upload = add(Uploads(folder, UploadLimits(frame_side_px=160)), clip(tmp_path / "v.mp4", 12))
    assert (upload.width, upload.height) == (160, 96)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"clip_s": 1.0}, "too long: 1 s"),
        ({"clip_frames": 10}, "too many frames: 10"),
        ({"clip_side_px": 200}, "200 pixels a side"),
        ({"kept_bytes": 20_000}, "too much room"),
        ({"clip_bytes": 5000, "picture_bytes": 9000}, "a clip may have 0.005 MB|a picture"),
    ],
)
def test_a_clip_beyond_a_limit_is_refused(folder: Path, tmp_path: Path, limits: Any, words: str) -> None:
    with pytest.raises(UploadRefused, match=words):
        add(Uploads(folder, UploadLimits(**limits)), clip(tmp_path / "v.mkv"))
    assert list(folder.rglob("*")) == []


def test_a_clip_whose_header_lies_about_its_length_is_refused(folder: Path, tmp_path: Path) -> None:
    content = clip(tmp_path / "v.mp4", 30)
    for name, skipped in ((b"mvhd", 16), (b"tkhd", 20), (b"mdhd", 16)):
        at = content.index(name) + 4 + skipped
        content = content[:at] + struct.pack(">I", 100) + content[at + 4 :]
    with pytest.raises(UploadRefused, match="too long"):
        add(Uploads(folder, UploadLimits(clip_s=2.0)), content)
    assert list(folder.rglob("*")) == []


def test_frames_of_another_size_are_left_out_and_counted(uploads: Uploads, tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 320, 192, "yuvj420p"
        other: Any = av.CodecContext.create("mjpeg", "w")
        other.width, other.height, other.pix_fmt, other.time_base = 640, 384, "yuvj420p", Fraction(1, 10)
        other.framerate = 10
        for i in range(20):
            large = np.repeat(np.repeat(numbered(GROUND, i), 2, axis=0), 2, axis=1)
            frame = av.VideoFrame.from_ndarray(large if i >= 12 else numbered(GROUND, i), format="rgb24")
            frame = frame.reformat(format="yuvj420p")
            frame.pts, frame.time_base = i, Fraction(1, 10)
            for packet in (other if i >= 12 else stream).encode(frame):
                packet.stream = stream
                container.mux(packet)
    upload = add(uploads, path.read_bytes())
    assert (upload.width, upload.height, len(upload.times), upload.num_damaged) == (320, 192, 12, 8)


def test_of_a_damaged_clip_the_good_frames_are_kept(uploads: Uploads, tmp_path: Path, folder: Path) -> None:
    content = bytearray(clip(tmp_path / "v.mkv", 60))
    middle = len(content) // 2
    content[middle : middle + len(content) // 10] = np.random.default_rng(1).bytes(len(content) // 10)
    upload = add(uploads, bytes(content))
    assert upload.num_damaged > 0
    assert 20 <= len(upload.times) < 60
    cut_off = add(uploads, clip(tmp_path / "v.mkv", 60)[: len(content) * 2 // 3])
    assert 20 <= len(cut_off.times) < 60
    with pytest.raises(UploadRefused, match="damaged"):  # its table of contents is at the end
        add(uploads, clip(tmp_path / "v.mp4", 60)[:-2000])
    assert {path.name for path in folder.iterdir()} == {upload.id, cut_off.id}


def test_sound_alone_is_no_clip(uploads: Uploads, tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("aac", rate=16_000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.float32), format="fltp", layout="mono")
        frame.rate = 16_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(UploadRefused, match="no video"):
        add(uploads, path.read_bytes())


BOXES = (b"moov", b"trak", b"mdia", b"minf", b"dinf")


def elsewhere(content: bytes, url: bytes) -> bytes:
    """The boxes of an MP4 whose pictures are said to lie at an address."""
    result, position = b"", 0
    while position < len(content):
        size, kind = struct.unpack_from(">I4s", content, position)
        inside = content[position + 8 : position + size]
        if kind in BOXES:
            inside = elsewhere(inside, url)
        elif kind == b"dref":
            entry = struct.pack(">I4sI", 12 + len(url) + 1, b"url ", 0) + url + b"\0"
            inside = struct.pack(">II", 0, 1) + entry
        result += struct.pack(">I4s", len(inside) + 8, kind) + inside
        position += size
    return result


def test_nothing_that_a_file_refers_to_is_opened(
    uploads: Uploads, tmp_path: Path, listener: socket.socket, folder: Path
) -> None:
    address = f"http://127.0.0.1:{listener.getsockname()[1]}/a.ts"
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{address}\n#EXTINF:9,\nfile:///etc/passwd\n"
    for text in (
        playlist,
        f"ffconcat version 1.0\nfile '{address}'\n",
        f"<MPD><BaseURL>{address}</BaseURL></MPD>",
    ):
        with pytest.raises(UploadRefused):
            add(uploads, text.encode())
    moved = elsewhere(clip(tmp_path / "v.mp4", 12), address.encode())
    assert address.encode() in moved
    try:
        upload = add(uploads, moved)  # the bytes are in the file, whatever it says
        assert len(upload.times) == 12
        uploads.remove(upload.id, "ann")
    except UploadRefused:
        pass
    with pytest.raises(BlockingIOError):
        listener.accept()
    assert list(folder.rglob("*")) == []


@pytest.mark.parametrize(
    ("limits", "words"),
    [({"wall_s": 0.01}, "takes too long"), ({"memory_bytes": 60_000_000}, "too much memory")],
)
def test_what_asks_for_too_much_is_stopped(folder: Path, limits: Any, words: str) -> None:
    large = encoded(".jpg", np.zeros((6000, 6000, 3), np.uint8))
    with pytest.raises(UploadRefused, match=words):
        add(Uploads(folder, UploadLimits(**limits)), large)
    assert list(folder.rglob("*")) == []


def test_the_reading_process_has_given_up_its_rights(tmp_path: Path) -> None:
    attempts = (
        "import os, resource, socket\n"
        "from pipeline.untrusted import give_up_rights, hold_down\n"
        "give_up_rights(5)\n"
        "file = os.open('there', os.O_WRONLY | os.O_CREAT)\n"
        "hold_down(100_000_000)\n"
        "def fails(attempt):\n"
        "    try:\n"
        "        attempt()\n"
        "    except (OSError, ValueError, MemoryError):\n"
        "        return True\n"
        "print([fails(attempt) for attempt in (\n"
        "    lambda: os.open('/etc/passwd', os.O_RDONLY),\n"
        "    lambda: os.write(file, b'more than nothing'),\n"
        "    lambda: socket.socket(),\n"
        "    lambda: bytes(200_000_000),\n"
        "    lambda: os.kill(os.getppid(), 0),\n"
        "    lambda: os.unlink('there'),\n"
        "    lambda: os.fork(),\n"
        "    lambda: os.execv('/bin/true', ['true']),\n"
        "    lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (99, 99)),\n"
        ")])\n"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-P", "-c", attempts],
        cwd=tmp_path, env={"PYTHONPATH": str(root)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == str([True] * 4 + [platform.machine() == "x86_64"] * 5) + "\n", done.stderr


def test_an_upload_that_breaks_off_leaves_nothing(uploads: Uploads, folder: Path) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() > 0:
                raise ConnectionResetError("gone")
            return super().read(3000)

    content = PICTURES["JPEG"]()
    with pytest.raises(ConnectionResetError):
        uploads.add(Broken(content), None, "ann")
    for claimed in (len(content) + 1, len(content) - 1):
        with pytest.raises(UploadRefused, match="broke off"):
            uploads.add(io.BytesIO(content), claimed, "ann")
    assert list(folder.rglob("*")) == []


class Endless(io.RawIOBase):
    def __init__(self, start: bytes) -> None:
        self.given = 0
        self._start = start

    def read(self, size: int = -1, /) -> bytes:
        self.given += size
        return self._start.ljust(size, b"\0")


@pytest.mark.parametrize("start", [b"\xff\xd8\xff", b"\0\0\0\x18ftypisom", b"<html>"])
def test_reading_stops_at_the_limit(folder: Path, start: bytes) -> None:
    limits = UploadLimits(picture_bytes=3_000_000, clip_bytes=5_000_000)
    stream: Any = Endless(start)
    with pytest.raises(UploadRefused, match=r"too large|HTML"):
        Uploads(folder, limits).add(stream, None, "ann")
    assert stream.given <= {b"\0": 7_000_000, b"\xff": 5_000_000, b"<": 2_000_000}[start[:1]]
    with pytest.raises(UploadRefused, match=r"a picture may have 3 MB at most and a clip .* 5 MB"):
        Uploads(folder, limits).add(stream, 6_000_000, "ann")
    assert list(folder.rglob("*")) == []


def test_owners_know_nothing_of_each_other(uploads: Uploads) -> None:
    upload = add(uploads, PICTURES["PNG"]())
    for forbidden in (
        lambda: uploads.get(upload.id, "bob"),
        lambda: uploads.frame(upload.id, "bob"),
        lambda: uploads.frames(upload.id, "bob"),
        lambda: uploads.remove(upload.id, "bob"),
    ):
        with pytest.raises(UploadNotFound):
            forbidden()
    assert uploads.get(upload.id, "ann") == upload
    uploads.remove(upload.id, "ann")
    with pytest.raises(UploadNotFound):
        uploads.get(upload.id, "ann")


@pytest.mark.parametrize(
    "id", ["", ".", "..", "../uploads/{}", "{}/", "{}\n", "{}/../{}", "/etc/passwd", "../../etc/passwd", "\0"]
)
def test_an_id_is_no_path(uploads: Uploads, id: str) -> None:
    upload = add(uploads, PICTURES["PNG"]())
    with pytest.raises(UploadNotFound):
        uploads.frame(id.replace("{}", upload.id), "ann")
    with pytest.raises(UploadNotFound):
        uploads.remove(id.replace("{}", upload.id), "ann")
    assert uploads.get(upload.id, "ann") == upload


def test_uploads_expire_and_are_swept(uploads: Uploads, folder: Path) -> None:
    upload, later = add(uploads, PICTURES["PNG"]()), time.time() + 3601
    assert uploads.get(upload.id, "ann", now=later - 60) == upload
    with pytest.raises(UploadNotFound):
        uploads.get(upload.id, "ann", now=later)
    killed = folder / "left.part"
    killed.mkdir()
    (killed / "original").write_bytes(b"of a process that died")
    os.utime(killed, (0, 0))
    second = uploads.add(io.BytesIO(PICTURES["PNG"]()), None, "ann", now=later)
    assert [path.name for path in folder.iterdir()] == [second.id]


def test_an_owner_has_so_many_and_all_together_so_much(folder: Path) -> None:
    picture = PICTURES["JPEG"]()
    uploads = Uploads(folder, UploadLimits(per_owner=1, total_bytes=40_000))
    first = add(uploads, picture)
    with pytest.raises(UploadRefused, match="1 uploads of yours"):
        add(uploads, picture)
    used = (folder / first.id / "frames.mjpeg").stat().st_size
    with uploads.receive("cid") as reception:
        reception.write(PICTURES["JPEG"]().ljust(40_000 - used, b"\0"))
        with pytest.raises(UploadsBusy, match="room"):
            reception.write(b"\0")
        with pytest.raises(UploadsBusy, match="room"):
            add(uploads, picture, "bob")
    add(uploads, picture, "bob")
    uploads.remove(first.id, "ann")
    add(uploads, picture)


def test_uploads_that_send_nothing_take_no_room(folder: Path) -> None:
    uploads = Uploads(folder, UploadLimits(per_owner=3, clip_bytes=30_000, total_bytes=60_000))
    with ExitStack() as stalled:
        for _ in range(3):
            stalled.enter_context(uploads.receive("ann", 30_000))
        with pytest.raises(UploadRefused, match="3 uploads of yours"):
            stalled.enter_context(uploads.receive("ann"))
        assert add(uploads, PICTURES["JPEG"](), "bob").width == 320


def test_nobody_takes_the_room_of_all(folder: Path) -> None:
    picture = PICTURES["JPEG"]()
    uploads = Uploads(folder)
    kept = sum((folder / add(uploads, picture).id / "frames.mjpeg").stat().st_size for _ in range(2))
    uploads = Uploads(folder, UploadLimits(owner_bytes=kept + len(picture) + 1000))
    with pytest.raises(UploadRefused, match="room that one may have"):
        add(uploads, picture)  # it fits while it comes in, but not with what is kept of it
    add(uploads, picture, "bob")
    with uploads.receive("ann") as reception:
        reception.write(picture)
        with pytest.raises(UploadRefused, match="room that one may have"):
            reception.write(bytes(1001))
    with pytest.raises(UploadRefused, match="room that one may have"):
        uploads.add(io.BytesIO(), len(picture) + 1001, "ann")
    assert len(list(folder.iterdir())) == 3


def test_large_pictures_are_kept_smaller(folder: Path) -> None:
    large = cv2.resize(GROUND, None, fx=3, fy=3, interpolation=cv2.INTER_NEAREST)
    uploads = Uploads(folder, UploadLimits(picture_kept_side_px=320))
    upload = add(uploads, encoded(".png", large))
    assert (upload.width, upload.height) == (320, 192)
    image, _ = uploads.frame(upload.id, "ann")
    assert np.abs(image.astype(int) - GROUND).mean() < 3
    assert UploadLimits().picture_kept_side_px == 4096


def test_all_uploads_are_deleted_at_once(uploads: Uploads, folder: Path) -> None:
    Uploads(folder.parent / "none").clear()
    content = PICTURES["PNG"]()
    mine, other = add(uploads, content), add(uploads, content, "bob")

    def cut_off(go_on: Callable[[Reception], object]) -> None:
        with uploads.receive("cid") as reception:
            reception.write(content[:2000])
            Uploads(folder).clear()  # another process
            assert list(folder.parent.iterdir()) == []
            go_on(reception)

    for go_on in (lambda reception: reception.write(content[2000:]), Reception.finish):
        with pytest.raises(UploadsBusy, match="were deleted"):
            cut_off(go_on)
    for upload, owner in ((mine, "ann"), (other, "bob")):
        with pytest.raises(UploadNotFound):
            uploads.frame(upload.id, owner)
    assert add(uploads, content).width == 320


def test_what_is_being_read_is_deleted_too(
    uploads: Uploads, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def clearing(*given: Any) -> Any:
        uploads.clear()
        return unpack(*given)

    monkeypatch.setattr("pipeline.reception.unpack", clearing)
    with pytest.raises(UploadsBusy, match="were deleted"):
        add(uploads, PICTURES["PNG"]())
    monkeypatch.setattr("pipeline.reception.unpack", lambda *given: (unpack(*given), uploads.clear())[0])
    with pytest.raises(UploadsBusy, match="were deleted"):
        add(uploads, PICTURES["PNG"]())
    assert list(folder.parent.iterdir()) == []


def test_so_many_are_decoded_at_a_time(folder: Path) -> None:
    uploads = Uploads(folder, UploadLimits(children=1, max_wait_s=0))
    with uploads._turn(), pytest.raises(UploadsBusy, match="other uploads"):
        add(uploads, PICTURES["PNG"]())
    assert list(folder.rglob("*")) == []
    add(uploads, PICTURES["PNG"]())


def test_a_full_disk_is_said_and_leaves_nothing(uploads: Uploads, folder: Path) -> None:
    class Full(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() > 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().read(300)

    with pytest.raises(UploadsBusy, match="disk is full"):
        uploads.add(Full(PICTURES["PNG"]()), None, "ann")
    assert list(folder.rglob("*")) == []


def test_several_at_once_take_turns(uploads: Uploads, folder: Path) -> None:
    with ThreadPoolExecutor(5) as senders:
        added = list(senders.map(lambda i: add(uploads, PICTURES["PNG"](), f"owner {i}"), range(5)))
    assert {path.name for path in folder.iterdir()} == {upload.id for upload in added}
    assert [uploads.get(upload.id, f"owner {i}") for i, upload in enumerate(added)] == added


def test_bytes_that_are_waited_for_elsewhere_make_the_same_upload(uploads: Uploads) -> None:
    content = PICTURES["PNG"]()
    with uploads.receive("ann", len(content)) as reception:
        for first in range(0, len(content), 500):
            reception.write(content[first : first + 500])
        upload = reception.finish()
    assert (upload.width, upload.height) == (320, 192)
    np.testing.assert_array_equal(
        uploads.frame(upload.id, "ann")[0], uploads.frame(add(uploads, content).id, "ann")[0]
    )

"""A process of its own that decodes what a stranger has uploaded: bytes in, plain pixels out.

`pipeline.sandbox` starts it. The file comes on standard input; standard output carries messages of
`MESSAGE_BYTES` bytes (JSON, padded with spaces), a frame's followed by its RGB bytes. Before it looks at the
file it gives up what it does not need. Everywhere: time and memory are bounded, no file can be written or
opened, hence no socket either, and nothing executed gains rights. On Linux, where the system allows it: it is
in a network namespace with no network. On Linux on x86-64: no system call is left but those for computing.
Unless it is root: no process and no thread can be started.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import pkgutil
import resource
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.file_formats import (
    HEAD_BYTES,
    BadFile,
    ClipFormat,
    PictureFormat,
    UnknownFormat,
    picture_size,
    sniff,
)
from pipeline.seccomp import allow_only_computing

MESSAGE_BYTES = 128
DEMUXERS: dict[ClipFormat, str] = {"mp4": "mov", "matroska": "matroska", "avi": "avi"}
DECODERS = frozenset({
    "h264", "hevc", "vp8", "vp9", "av1", "libdav1d", "mpeg4", "mjpeg", "mpeg1video", "mpeg2video",
    "msmpeg4", "msmpeg4v2", "h263", "prores", "libvpx", "libvpx-vp9",
})  # fmt: skip
_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 4, 38
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000


@dataclass(frozen=True)
class Bounds:
    """How much one upload may ask for.

    Attributes:
        cpu_s: processor time.
        memory_bytes: beyond what Python and the libraries take themselves.
        picture_px: width x height of a picture.
        picture_side_px: the longer side of a picture.
        clip_s: length of a clip.
        clip_side_px: the longer side of a clip's frames.
        clip_frames: decoded frames of a clip.
        frames_per_s: of a clip that come back.
        frame_side_px: longer side of the frames that come back; larger ones are shrunk.
    """

    cpu_s: int
    memory_bytes: int
    picture_px: int
    picture_side_px: int
    clip_s: float
    clip_side_px: int
    clip_frames: int
    frames_per_s: float
    frame_side_px: int


def main(argument: str) -> None:
    """Read standard input within the bounds (JSON of `Bounds`) and answer on standard output."""
    bounds = Bounds(**json.loads(argument))
    give_up_rights(bounds.cpu_s)
    import av
    import cv2

    for module in pkgutil.walk_packages(av.__path__, "av."):  # it loads some of them when they are needed
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    av.logging.set_level(av.logging.PANIC)
    cv2.setNumThreads(0)
    hold_down(bounds.memory_bytes)
    file, out = sys.stdin.buffer, sys.stdout.buffer
    try:
        format = sniff(file.read(HEAD_BYTES))
        file.seek(0)
        if format == "mp4" or format == "matroska" or format == "avi":
            send_clip(file, format, bounds, out)
        else:
            send_picture(file.read(), format, bounds, out)
    except UnknownFormat:
        tell(out, refused="unknown format")
    except BadFile as error:
        tell(out, refused=error.reason)
    except MemoryError:
        tell(out, refused="memory")
    except cv2.error as error:
        tell(out, refused="memory" if error.code == -4 else "damaged")
    except (av.FFmpegError, ValueError):
        tell(out, refused="damaged")


def give_up_rights(cpu_s: int) -> None:
    """What can go before the libraries are loaded. What the system does not know or allow stays as it is."""
    bounds = (("CORE", 0), ("FSIZE", 0), ("CPU", cpu_s), ("NOFILE", 64))
    for name, value in bounds:
        _bound(name, value)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
        # As root at once; others by way of a user namespace, where the system allows them.
        if libc.unshare(_CLONE_NEWNET) != 0:
            libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)


def hold_down(memory_bytes: int) -> None:
    """What can go once the libraries are loaded: memory beyond theirs, processes, threads, more files."""
    with suppress(OSError):
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        _bound("AS", pages * os.sysconf("SC_PAGE_SIZE") + memory_bytes)
    _bound("NPROC", 0)  # of no effect for root
    _bound("NOFILE", 3)
    allow_only_computing()


def _bound(name: str, value: int) -> None:
    kind = getattr(resource, f"RLIMIT_{name}")
    with suppress(OSError, ValueError):  # the system has a lower one already
        resource.setrlimit(kind, (value, value))


def tell(out: BinaryIO, **message: Any) -> None:
    """One message."""
    out.write(json.dumps(message).encode().ljust(MESSAGE_BYTES))
    out.flush()


def send_picture(content: bytes, format: PictureFormat, bounds: Bounds, out: BinaryIO) -> None:
    """The picture, upright, as 8 bits of red, green and blue."""
    import cv2
    import numpy as np

    width, height = picture_size(format, content)
    if width * height > bounds.picture_px or max(width, height) > bounds.picture_side_px:
        raise BadFile("picture too large")
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    if image is None or sorted(image.shape[:2]) != sorted((width, height)):
        raise BadFile("damaged")
    _send_frame(out, 0.0, cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
    tell(out, done=[0.0, 0])


def send_clip(file: BinaryIO, format: ClipFormat, bounds: Bounds, out: BinaryIO) -> None:
    """The clip's frames, upright, thinned, each with its second; those that are damaged are left out."""
    damage: list[str] = []
    offset, due, size, decoded = -1.0, None, None, 0
    for decoded, (offset, picture) in enumerate(_pictures(file, format, bounds, damage), start=1):
        if offset > bounds.clip_s:
            raise BadFile("clip too long")
        if decoded > bounds.clip_frames:
            raise BadFile("too many frames")
        if max(picture.width, picture.height) > bounds.clip_side_px:
            raise BadFile("clip too large")
        slot = int(offset * bounds.frames_per_s + 0.01)  # container clocks round to milliseconds
        if due is not None and slot < due:
            continue
        image = _rgb(picture, bounds.frame_side_px)
        size = size or image.shape
        if image.shape != size:  # a box means something in frames of one size only
            damage.append("another size")
            continue
        due = slot + 1
        _send_frame(out, offset, image)
    if due is None:
        raise BadFile("damaged")
    tell(out, done=[offset + offset / max(1, decoded - 1), len(damage)])


def _pictures(
    file: BinaryIO, format: ClipFormat, bounds: Bounds, damage: list[str]
) -> Iterator[tuple[float, Any]]:
    """Second and picture of the first video stream; nothing but `file` is opened, whatever it refers to."""
    import av

    options = {"protocol_whitelist": "none", "codec_whitelist": ",".join(sorted(DECODERS))}
    if format == "mp4":
        options |= {"enable_drefs": "0", "use_absolute_path": "0"}
    with av.open(
        file,
        format=DEMUXERS[format],
        options=options,
        metadata_errors="replace",
        io_open=_open_no_more,
    ) as container:
        stream = _video_stream(container, bounds)
        stream.thread_count = 1  # threads count as processes
        begin, previous, interval = None, None, float(1 / (stream.average_rate or 25))
        for picture in _decoded(container, stream, damage):
            if picture.is_corrupt:
                damage.append("damaged picture")
                continue
            now = None if picture.pts is None else float(picture.pts * picture.time_base)
            begin = now if begin is None else begin
            if previous is None:
                offset = 0.0
            elif now is None or begin is None:
                offset = previous + interval
            else:
                offset = max(now - begin, previous + 0.001)  # a clock that stands still or runs back
            previous = offset
            yield offset, picture


def _open_no_more(*_: Any) -> Any:
    raise PermissionError("an upload may not refer to other files")


def _video_stream(container: Any, bounds: Bounds) -> Any:
    if not container.streams.video:
        raise BadFile("no video")
    stream = container.streams.video[0]
    if stream.codec_context is None or stream.codec_context.name not in DECODERS:
        raise BadFile("codec")
    length = float(stream.duration * stream.time_base) if stream.duration else 0.0
    if length > bounds.clip_s + 1:  # the last frame's own length, and roundings
        raise BadFile("clip too long")
    if max(stream.width, stream.height) > bounds.clip_side_px:
        raise BadFile("clip too large")
    return stream


def _decoded(container: Any, stream: Any, damage: list[str]) -> Iterator[Any]:
    import av

    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except MemoryError:
            raise
        except av.FFmpegError:
            damage.append("unreadable tail")  # what came before is good
            with suppress(av.FFmpegError):
                yield from stream.decode(None)
            return
        if packet is None:
            return
        try:
            yield from packet.decode()
        except MemoryError:
            raise
        except av.FFmpegError:
            damage.append("undecodable packet")


def _rgb(picture: Any, side_px: int) -> Any:
    """(H, W, 3) uint8, upright, shrunk to the longest side wanted."""
    import numpy as np

    scale = min(1.0, side_px / max(picture.width, picture.height))
    width, height = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    image = picture.to_ndarray(format="rgb24", width=width, height=height, threads=1)
    return np.rot90(image, round(picture.rotation / 90) % 4)


def _send_frame(out: BinaryIO, offset: float, image: Any) -> None:
    tell(out, frame=[round(offset, 6), image.shape[1], image.shape[0]])
    out.write(image.tobytes())
    out.flush()


if __name__ == "__main__":
    main(sys.argv[1])

"""One connection to a camera: RTSP, MJPEG or HLS over HTTP, a webcam -> pictures as they arrive.

FFmpeg (through PyAV) reads and decodes. Choices that keep the delay small and lose nothing:

- Codecs of RTSP are known from its session description, so the stream opens with its first packet
  (`probesize`, `analyzeduration`, `fpsprobesize`); by default FFmpeg watches two seconds or more to guess a
  frame rate. HTTP needs half a second.
- `nobuffer` is not used: it throws away what was read while opening, and with it the first key frame.
- One decoding thread, or threads within a picture: threads over pictures hold back one picture each.
- UDP keeps FFmpeg's reorder queue (0.1 s at most, when a packet is missing), with a larger socket buffer.
- A webcam is opened without blocking and asked again and again: FFmpeg cannot interrupt a read that blocks in
  the driver.
- FFmpeg's parser knows that an H.264 or H.265 picture is complete when the next one begins: pictures of RTSP
  come one frame interval late, whatever is set. Their `arrival` is when they began to come, as far as that
  can be known, so that capture times do not carry that interval.
"""

from __future__ import annotations

import re
import struct
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import av
import numpy as np

from pipeline.live.opening import SLICE_S, StreamSpec, kind_of, open_stream, stream_error
from pipeline.live.redaction import reason
from pipeline.types import Image
from pipeline.video import to_rgb

_FLUSHED_S = 0.9 * SLICE_S
_WEBCAM_POLL_S = 0.005
_PARSED = frozenset({"h264", "hevc", "mpeg4"})
_PLANAR_LUMA = re.compile(r"^(yuvj?4\d\dp|nv12|nv21|nv16|gray)$")
_REFERENCE_TIME = struct.Struct("<q")  # AVProducerReferenceTime: microseconds UTC, then flags
_SENDER_TIMES_KEPT = 64


@dataclass(eq=False, slots=True)
class Picture:
    """A decoded picture, not yet turned into RGB.

    Attributes:
        pts_s: the stream's time stamp in seconds; None when the stream has none.
        arrival: monotonic seconds at which it began to come.
        behind_s: how long before its arrival it was taken, as far as that is by design: in HLS.
        sender_time: capture time by the sender's clock, seconds UTC; None without RTCP sender reports.
        width, height: in pixels, upright.
        codec: such as "h264".
        corrupt: the decoder had to make parts of it up.
    """

    pts_s: float | None
    arrival: float
    sender_time: float | None
    width: int
    height: int
    codec: str
    corrupt: bool
    _frame: Any = field(repr=False)
    behind_s: float = 0.0

    def luma(self) -> Image:
        """(H, W) uint8 brightness: a view of the decoder's own plane where there is one."""
        if _PLANAR_LUMA.match(self._frame.format.name):
            plane = self._frame.planes[0]
            rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
            grey = rows[: plane.height, : plane.width]
        else:
            grey = self._frame.to_ndarray(format="gray")
        return np.rot90(grey, round(self._frame.rotation) % 360 // 90)

    def rgb(self) -> Image:
        """(H, W, 3) uint8, upright."""
        return to_rgb(self._frame)


def read_pictures(
    spec: StreamSpec,
    stop: threading.Event,
    on_damage: Callable[[], None] = lambda: None,
    on_quiet: Callable[[], None] = lambda: None,
) -> Generator[Picture, None, None]:
    """Connect and decode until told to stop.

    Setting `stop` ends an RTSP stream within about a second, even when it stalls, and a webcam at once. While
    a stream opens, and for HTTP, a stalled read ends with its time-out only: FFmpeg cannot take it up again.
    Name servers are asked by the system, with its own time-outs.

    Args:
        spec: what to read.
        stop: set it from another thread.
        on_damage: called for each packet that could not be decoded.
        on_quiet: called at least every second in which an RTSP stream or a webcam sent nothing.

    Yields:
        Pictures in order. Their size may change.

    Raises:
        StreamError: it cannot be opened, gives no picture for `read_timeout_s`, or ends.
    """
    container, pace = open_stream(spec, stop)
    with closing(container):
        decoder = _Decoder(container, spec, on_damage)
        last = time.monotonic()
        for packet in _packets(container, decoder.stream, spec, stop):
            if packet is None:
                on_quiet()
            for picture in decoder.pictures(packet) if packet is not None else ():
                if pace is not None:
                    picture.arrival, picture.behind_s = pace.hold(picture.pts_s, picture.arrival, stop)
                if stop.is_set():
                    return
                yield picture
                last = time.monotonic()
            if time.monotonic() - last > spec.read_timeout_s:
                raise stream_error(spec, "timeout", f"no picture for {spec.read_timeout_s:g} s")


def _packets(container: Any, stream: Any, spec: StreamSpec, stop: threading.Event) -> Iterator[Any]:
    """Packets as they come; None after each slice of time, or look at a webcam, without one."""
    resumable = container.format.name == "rtsp"
    failure = ("ended", "the server closed the stream")
    while not stop.is_set():
        quiet = False
        try:
            yield from container.demux(stream)
        except av.error.ExitError:
            failure = ("timeout", f"no picture for {spec.read_timeout_s:g} s")
            quiet = resumable
        except av.error.BlockingIOError:
            quiet = True
            stop.wait(_WEBCAM_POLL_S)
        except av.FFmpegError as error:
            failure = (kind_of(error), reason(error))
        if stop.is_set():
            return
        if not quiet:
            raise stream_error(spec, *failure)
        yield None


class _Decoder:
    """Packets of one stream -> pictures with the times that belong to them."""

    def __init__(self, container: Any, spec: StreamSpec, on_damage: Callable[[], None]) -> None:
        self.stream = container.streams.best("video")
        if self.stream is None:
            raise stream_error(spec, "no video", "there is no video in it")
        for other in container.streams:
            if other.index != self.stream.index:
                other.discard = "all"  # the other qualities of a playlist are not fetched
        self._context = context = self.stream.codec_context
        context.thread_count, context.thread_type = spec.threads, "SLICE"
        # FFmpeg stamps MJPEG over HTTP with 25 pictures a second, whatever comes.
        self._untimed = container.format.name in ("mpjpeg", "mjpeg", "jpeg_pipe")
        # A parser puts a picture out when the next one has begun to come.
        self._parsed = container.format.name == "rtsp" and context.name in _PARSED
        self._next_began: float | None = None
        self._last = time.monotonic()
        self._no_sender_time_yet = True
        # FFmpeg's H.265 decoder neither marks nor reports what it cannot decode; it gives nothing.
        self._drops_silently, self._seen = context.name == "hevc", False
        self._sender_times: OrderedDict[int, float] = OrderedDict()
        self._on_damage = on_damage

    def pictures(self, packet: Any) -> Iterator[Picture]:
        """What a packet completes; nothing when it cannot be decoded."""
        now = time.monotonic()
        began = self._next_began if self._parsed and self._next_began is not None else now
        # After a silence the parser gives the picture out by itself; the next one begins to come later.
        self._next_began = now if now - self._last < _FLUSHED_S else None
        self._last = now
        self._note_sender_time(packet)
        try:
            frames = packet.decode()
        except av.FFmpegError:
            self._on_damage()
            return
        self._seen = self._seen or bool(frames)
        if not frames and self._seen and self._drops_silently and not self._context.has_b_frames:
            self._on_damage()
        for frame in frames:
            yield self._picture(frame, began)

    def _note_sender_time(self, packet: Any) -> None:
        if packet.pts is None or not packet.has_sidedata("prft"):
            return
        if self._parsed and self._no_sender_time_yet:
            self._no_sender_time_yet = False  # the first one that passes the parser is the next picture's
            return
        (microseconds,) = _REFERENCE_TIME.unpack_from(bytes(packet.get_sidedata("prft")))
        self._sender_times[packet.pts] = microseconds / 1e6
        if len(self._sender_times) > _SENDER_TIMES_KEPT:
            self._sender_times.popitem(last=False)

    def _picture(self, frame: Any, began: float) -> Picture:
        timed = frame.pts is not None and not self._untimed
        lying = round(frame.rotation) % 180 == 90
        return Picture(
            pts_s=float(frame.pts * frame.time_base) if timed else None,
            arrival=began,
            sender_time=self._sender_times.pop(frame.pts, None) if timed else None,
            width=frame.height if lying else frame.width,
            height=frame.width if lying else frame.height,
            codec=self._context.name,
            corrupt=bool(frame.is_corrupt),
            _frame=frame,
        )

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

Only the protocols that a scheme needs are allowed: a playlist cannot make us read a local file or talk to
something that is no web server.
"""

from __future__ import annotations

import re
import struct
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import av
import numpy as np
from av.container import Flags

from pipeline.live.hls import Pace, find_live_edge, is_playlist
from pipeline.live.redaction import reason, redact
from pipeline.types import Image
from pipeline.video import to_rgb

_LIVE = re.compile(r"^(rtsps?|https?)://", re.IGNORECASE)
_SLICE_S = 1.0  # RTSP goes on after a read that timed out, so we look up this often
_FLUSHED_S = 0.9 * _SLICE_S
_WEBCAM_POLL_S = 0.005
_PARSED = frozenset({"h264", "hevc", "mpeg4"})
_PLANAR_LUMA = re.compile(r"^(yuvj?4\d\dp|nv12|nv21|nv16|gray)$")
_REFERENCE_TIME = struct.Struct("<q")  # AVProducerReferenceTime: microseconds UTC, then flags
_SENDER_TIMES_KEPT = 64
_WEB = "http,https,tcp,tls,crypto,httpproxy"
_LONGEST_PLAYLIST = 1 << 20
_WEB_FORMATS = "data,hls,mpjpeg,mjpeg,jpeg_pipe,mpegts,mov,flv,matroska,h264,hevc,aac"
_TEXT = "data"  # FFmpeg's name for bytes as they are
_KINDS: tuple[tuple[type[BaseException], str], ...] = (
    (av.error.ConnectionRefusedError, "refused"),
    (av.error.HTTPUnauthorizedError, "unauthorised"),
    (av.error.HTTPForbiddenError, "unauthorised"),
    (av.error.PermissionError, "unauthorised"),
    (av.error.HTTPNotFoundError, "not found"),
    (av.error.FileNotFoundError, "not found"),
    (av.error.ExitError, "timeout"),
    (av.error.TimeoutError, "timeout"),
    (av.error.EOFError, "ended"),
    (av.error.ConnectionResetError, "ended"),
    (av.error.BrokenPipeError, "ended"),
    (av.error.InvalidDataError, "invalid data"),
    (av.error.DemuxerNotFoundError, "invalid data"),
    (av.error.DecoderNotFoundError, "no decoder"),
)


class StreamError(OSError):
    """A stream cannot be opened or has broken; the message has no credentials.

    Attributes:
        kind: "open", "refused", "timeout", "not found", "unauthorised", "invalid data", "no video",
            "no decoder" or "ended".
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """Where a stream is and how long to wait for it.

    Attributes:
        uri: with credentials and without placeholders: rtsp(s)://, http(s)://, or a webcam's number.
        transport: of RTSP.
        open_timeout_s: for connecting, and once more for the first packets.
        read_timeout_s: without a picture.
        threads: that decode; 0: FFmpeg decides.
    """

    uri: str = field(repr=False)
    transport: Literal["tcp", "udp"] = "tcp"
    open_timeout_s: float = 10.0
    read_timeout_s: float = 10.0
    threads: int = 1


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


def is_live(uri: str) -> bool:
    """Whether this is a stream or a webcam, and not a file, a folder or a glob."""
    return uri.isdigit() or _LIVE.match(uri) is not None


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
    container, pace = _opened(spec, stop)
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
                raise _error(spec, "timeout", f"no picture for {spec.read_timeout_s:g} s")


def _opened(spec: StreamSpec, stop: threading.Event) -> tuple[Any, Pace | None]:
    """The container, open, and what holds its pictures in HLS."""
    if not is_playlist(spec.uri):
        container = _container(spec)
        if container.format.name != "hls":
            return container, None
        container.close()
    edge = None
    with suppress(ValueError):
        edge = find_live_edge(spec.uri, partial(_text, spec), stop)
    if edge is None:
        raise _error(spec, "invalid data", "not an HLS playlist")
    return _container(spec), Pace(edge)


def _text(spec: StreamSpec, uri: str) -> str:
    """What lies at a web address, fetched as FFmpeg fetches a stream."""
    text, begin, failure = bytearray(), time.monotonic(), ("", "")
    with closing(_container(replace(spec, uri=uri), _TEXT)) as container:
        try:
            for packet in container.demux():
                text += bytes(packet)
                if len(text) > _LONGEST_PLAYLIST:
                    failure = ("invalid data", "a playlist that does not end")
                elif time.monotonic() - begin > spec.open_timeout_s:
                    failure = ("timeout", f"no playlist within {spec.open_timeout_s:g} s")
                if failure[0]:
                    break
        except av.FFmpegError as error:
            if not text:  # where the server told no length, FFmpeg takes the end for an error
                failure = (_kind(error), reason(error))
    if failure[0]:
        raise _error(spec, *failure)
    return text.decode(errors="replace")


def _container(spec: StreamSpec, form: str | None = None) -> Any:
    """An open container; its errors must not be chained to ours, because they hold the address."""
    name, usual_form, options = _how(spec)
    form = form or usual_form
    # A read that times out can be taken up again with RTSP only.
    read_s = min(_SLICE_S, spec.read_timeout_s) if form == "rtsp" else spec.read_timeout_s
    waits = (spec.open_timeout_s, read_s)
    begin = time.monotonic()
    try:
        return av.open(name, format=form, options=options, timeout=waits, metadata_errors="replace")
    except (av.FFmpegError, OSError, ValueError) as error:
        kind, why = _kind(error), reason(error)
    # FFmpeg tells of an interrupted handshake in other words.
    if kind == "timeout" or time.monotonic() - begin >= spec.open_timeout_s:
        kind, why = "timeout", f"no answer within {spec.open_timeout_s:g} s"
    raise _error(spec, kind, why)


def _how(spec: StreamSpec) -> tuple[str, str | None, dict[str, str]]:
    """What FFmpeg is to open, as which format, with which options."""
    if spec.uri.isdigit():
        if not sys.platform.startswith("linux"):
            raise _error(spec, "open", "webcams are read on Linux only; give the stream of a camera server")
        return f"/dev/video{int(spec.uri)}", "video4linux2", {"fflags": f"+{Flags.non_block.value}"}
    if not is_live(spec.uri):
        raise _error(spec, "open", "not a stream; give rtsp://, http:// or a webcam's number")
    options = {"fpsprobesize": "0", "analyzeduration": "500000"}
    if spec.uri.lower().startswith("http"):
        web = {"protocol_whitelist": _WEB, "format_whitelist": _WEB_FORMATS}
        return spec.uri, None, options | web
    rtsp = {
        "protocol_whitelist": "rtsp,rtsps,rtp,tcp,udp,tls",
        "rtsp_transport": spec.transport,
        "allowed_media_types": "video",
        "probesize": "32",
        "analyzeduration": "0",
        "buffer_size": str(1 << 21),
    }
    return spec.uri, "rtsp", options | rtsp


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
            failure = (_kind(error), reason(error))
        if stop.is_set():
            return
        if not quiet:
            raise _error(spec, *failure)
        yield None


class _Decoder:
    """Packets of one stream -> pictures with the times that belong to them."""

    def __init__(self, container: Any, spec: StreamSpec, on_damage: Callable[[], None]) -> None:
        self.stream = container.streams.best("video")
        if self.stream is None:
            raise _error(spec, "no video", "there is no video in it")
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


def _kind(error: BaseException) -> str:
    return next((kind for types, kind in _KINDS if isinstance(error, types)), "open")


def _error(spec: StreamSpec, kind: str, why: str) -> StreamError:
    return StreamError(kind, f"{redact(spec.uri)}: {why}")

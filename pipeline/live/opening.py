"""Opens a stream with FFmpeg: with which options, over which protocols, trusting whom, and why not.

Only the protocols that a scheme needs are allowed: a playlist cannot make us read a local file or talk to
something that is no web server. FFmpeg believes every certificate unless told otherwise, so it is told. It
cannot be told so for the segments of HLS.
"""

from __future__ import annotations

import re
import sys
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import av
from av.container import Flags

from pipeline.live.certificates import is_encrypted, tls_options, why_not_trusted
from pipeline.live.hls import Pace, find_live_edge, is_playlist
from pipeline.live.redaction import reason, redact

SLICE_S = 1.0
"""RTSP goes on after a read that timed out, so we look up this often."""
_WEB = "http,https,tcp,tls,crypto,httpproxy"
_LONGEST_PLAYLIST = 1 << 20
_WEB_FORMATS = "data,hls,mpjpeg,mjpeg,jpeg_pipe,mpegts,mov,flv,matroska,h264,hevc,aac"
_MEND = "give the camera a `ca_file`, or `tls_verify: false` to believe anybody on the network"
_TEXT = "data"  # FFmpeg's name for bytes as they are
_LIVE = re.compile(r"^(rtsps?|https?)://", re.IGNORECASE)
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
            "no decoder", "certificate" or "ended".
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
        tls_verify: whether to refuse certificates that nobody vouches for.
        ca_file: who may vouch, in PEM; None: the system's authorities.
    """

    uri: str = field(repr=False)
    transport: Literal["tcp", "udp"] = "tcp"
    open_timeout_s: float = 10.0
    read_timeout_s: float = 10.0
    threads: int = 1
    tls_verify: bool = True
    ca_file: Path | None = None


def is_live(uri: str) -> bool:
    """Whether this is a stream or a webcam, and not a file, a folder or a glob."""
    return uri.isdigit() or _LIVE.match(uri) is not None


def open_stream(spec: StreamSpec, stop: threading.Event) -> tuple[Any, Pace | None]:
    """Connect.

    Returns:
        PyAV's container, and what holds its pictures in HLS.

    Raises:
        StreamError: it cannot be opened.
    """
    if not is_playlist(spec.uri):
        container = _container(spec)
        if container.format.name != "hls":
            return container, None
        container.close()
    try:
        edge = find_live_edge(spec.uri, partial(_text, spec), stop)
        return _container(spec), Pace(edge)
    except ValueError:
        failure = ("invalid data", "not an HLS playlist")
    except TimeoutError as error:
        failure = ("timeout", str(error))
    raise stream_error(spec, *failure)


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
                failure = (kind_of(error), reason(error))
    if failure[0]:
        raise stream_error(spec, *failure)
    return text.decode(errors="replace")


def _container(spec: StreamSpec, form: str | None = None) -> Any:
    """An open container; its errors must not be chained to ours, because they hold the address."""
    name, usual_form, options = _how(spec)
    form = form or usual_form
    # A read that times out can be taken up again with RTSP only.
    read_s = min(SLICE_S, spec.read_timeout_s) if form == "rtsp" else spec.read_timeout_s
    waits = (spec.open_timeout_s, read_s)
    begin = time.monotonic()
    try:
        return av.open(name, format=form, options=options, timeout=waits, metadata_errors="replace")
    except (av.FFmpegError, OSError, ValueError) as error:
        kind, why = kind_of(error), reason(error)
    # FFmpeg tells of an interrupted handshake in other words.
    if kind == "timeout" or time.monotonic() - begin >= spec.open_timeout_s:
        kind, why = "timeout", f"no answer within {spec.open_timeout_s:g} s"
    if kind == "open" and spec.tls_verify and is_encrypted(spec.uri):
        distrust = why_not_trusted(spec.uri, spec.ca_file, spec.open_timeout_s)
        if distrust:
            kind, why = "certificate", f"its certificate is not trusted ({distrust}); {_MEND}"
    raise stream_error(spec, kind, why)


def _how(spec: StreamSpec) -> tuple[str, str | None, dict[str, str]]:
    """What FFmpeg is to open, as which format, with which options."""
    if spec.uri.isdigit():
        if not sys.platform.startswith("linux"):
            raise stream_error(
                spec, "open", "webcams are read on Linux only; give the stream of a camera server"
            )
        return f"/dev/video{int(spec.uri)}", "video4linux2", {"fflags": f"+{Flags.non_block.value}"}
    if not is_live(spec.uri):
        raise stream_error(spec, "open", "not a stream; give rtsp://, http:// or a webcam's number")
    options = {"fpsprobesize": "0", "analyzeduration": "500000"}
    if spec.uri.lower().startswith("http"):
        options |= tls_options(spec.tls_verify, spec.ca_file)  # http:// may lead to https://
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
    if is_encrypted(spec.uri):
        rtsp |= tls_options(spec.tls_verify, spec.ca_file)
    return spec.uri, "rtsp", options | rtsp


def kind_of(error: BaseException) -> str:
    """Which kind of `StreamError` an error of FFmpeg is."""
    return next((kind for types, kind in _KINDS if isinstance(error, types)), "open")


def stream_error(spec: StreamSpec, kind: str, why: str) -> StreamError:
    """An error that says where, without credentials."""
    return StreamError(kind, f"{redact(spec.uri)}: {why}")

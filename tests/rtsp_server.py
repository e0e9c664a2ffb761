"""Real RTSP servers for tests and benchmarks: GStreamer's, in a child process that may be killed."""

from __future__ import annotations

import functools
import json
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import av
from av.bitstream import BitStreamFilterContext

PYTHON = "/usr/bin/python3"  # the one that has GStreamer's bindings
SCRIPT = Path(__file__).resolve().parent / "live" / "gst_server.py"
RECORD = struct.Struct("<IBq")  # as in gst_server.py
PACKAGES = (
    "gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-base gstreamer1.0-plugins-good "
    "gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly"
)
_PROBE = (
    "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import Gst, GstRtspServer; "
    "Gst.init(None); assert all(map(Gst.ElementFactory.find, ('rtph264pay', 'rtph265pay', 'h265parse')))"
)


@functools.cache
def why_not() -> str:
    """Why no RTSP server can be started here, "" when one can."""
    try:
        found = subprocess.run([PYTHON, "-c", _PROBE], capture_output=True, timeout=60, check=False)
    except OSError as error:
        return f"{PYTHON}: {error.strerror}"
    return "" if found.returncode == 0 else f"GStreamer's RTSP server is missing: apt-get install {PACKAGES}"


def free_port() -> int:
    """A TCP port of this machine that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def access_units(video: Path) -> Path:
    """What the server sends of an H.264 or H.265 video without B-frames, kept beside it.

    Returns:
        A file of records: header (see `RECORD`), then the unit in Annex B form.
    """
    path = video.with_suffix(".units")
    if path.exists():
        return path
    with av.open(str(video)) as container, path.open("wb") as file:
        stream = container.streams.video[0]
        annex_b = BitStreamFilterContext(f"{_codec(stream)}_mp4toannexb".replace("h265", "hevc"), stream)
        for packet in container.demux(stream):
            for unit in annex_b.filter(packet if packet.size else None):
                delay = round(((unit.pts or 0) - (unit.dts or 0)) * stream.time_base * 1_000_000_000)
                file.write(RECORD.pack(unit.size, unit.is_keyframe, delay) + bytes(unit))
    return path


def _codec(stream: Any) -> str:
    return {"h264": "h264", "hevc": "h265"}[stream.codec_context.name]


@dataclass(frozen=True)
class Mount:
    """One camera of a server: its path, and what it sends over and over."""

    name: str
    units: str
    codec: str = "h264"
    fps: float = 10.0

    @classmethod
    def of(cls, name: str, video: Path, fps: float | None = None) -> Mount:
        """A camera that sends this video, at its own rate unless told otherwise."""
        with av.open(str(video)) as container:
            stream = container.streams.video[0]
            return cls(name, str(access_units(video)), _codec(stream), fps or float(stream.average_rate))


class RtspServer:
    """A server on one port; `start`, `kill` and `start` again as often as wanted.

    Attributes:
        port: kept over restarts.
    """

    def __init__(
        self,
        mounts: Sequence[Mount],
        user: str = "",
        password: str = "",
        auth: str = "digest",
        certificate: Path | None = None,
    ) -> None:
        """With a certificate (a PEM file with its key) it speaks TLS."""
        self.port = free_port()
        self._options = {
            "port": self.port, "mounts": [asdict(m) for m in mounts],
            "user": user, "password": password, "auth": auth, "certificate": certificate and str(certificate),
        }  # fmt: skip
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> RtspServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def uri(self, mount: str, credentials: str = "") -> str:
        """Where a mount is, with `user:password` when given."""
        scheme = "rtsps" if self._options["certificate"] else "rtsp"
        return f"{scheme}://{credentials + '@' if credentials else ''}127.0.0.1:{self.port}/{mount}"

    def start(self) -> None:
        """Start listening; returns when clients may connect."""
        assert self._process is None
        self._process = subprocess.Popen(
            [PYTHON, str(SCRIPT), json.dumps(self._options)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._answer()

    def kill(self) -> None:
        """End it as the kernel does: no goodbye to anybody."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        self._process = None

    def restart(self, after_s: float = 0.0) -> float:
        """Kill and start again; returns the monotonic time from which on clients may connect."""
        self.kill()
        time.sleep(after_s)
        self.start()
        return time.monotonic()

    def stall(self, mount: str, on: bool = True) -> None:
        """Send no more pictures, or go on; the connections stay."""
        self._ask(do="stall", mount=mount, on=on)

    def corrupt(self, mount: str, seconds: float) -> None:
        """Flip bytes in what is sent for so long."""
        self._ask(do="corrupt", mount=mount, seconds=seconds)

    def shift_clock(self, mount: str, seconds: float) -> None:
        """Let the time stamps jump: so far from what they should be."""
        self._ask(do="shift clock", mount=mount, seconds=seconds)

    def replace(self, mount: str, video: Path) -> None:
        """Send another video: of the same codec at once, of another one to those who connect later."""
        new = Mount.of(mount, video)
        self._ask(do="replace", mount=mount, units=new.units, codec=new.codec)

    def sent(self, mount: str) -> list[tuple[float, int]]:
        """Wall time (seconds UTC) and number within the video of the last units that were sent."""
        return [(float(at), int(number)) for at, number in self._ask(do="sent", mount=mount)["sent"]]

    def _ask(self, **command: Any) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdin is not None
        with self._lock:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
            return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the RTSP server on port {self.port} ended: {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

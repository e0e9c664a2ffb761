"""An RTSP server for tests, run by the system's Python, which has GStreamer: `gst_server.py JSON`.

It sends access units that were encoded beforehand, at their rate, for ever. Standard input takes one JSON
command a line, standard output answers each with one line; `rtsp_server.py` is the other end.
"""

from __future__ import annotations

import json
import random
import struct
import sys
import threading
import time
from collections import deque
from pathlib import Path

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gio, GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

RECORD = struct.Struct("<IBq")  # length in bytes, is it a key frame, presentation minus decoding time in ns
AUTH = {"basic": GstRtsp.RTSPAuthMethod.BASIC, "digest": GstRtsp.RTSPAuthMethod.DIGEST}


def read_units(path: str) -> list[tuple[bytes, bool, int]]:
    """Access units of a file: bytes, is it a key frame, presentation minus decoding time in ns."""
    content, units, at = Path(path).read_bytes(), [], 0
    while at < len(content):
        length, key, delay = RECORD.unpack_from(content, at)
        at += RECORD.size
        units.append((content[at : at + length], bool(key), delay))
        at += length
    return units


class Mount(GstRtspServer.RTSPMediaFactory):
    """One camera: what it sends, and what goes wrong with it."""

    def __init__(self, name: str, units: str, codec: str, fps: float) -> None:
        super().__init__()
        self.set_shared(True)
        self.set_latency(0)
        self.name, self.codec, self.fps = name, codec, fps
        self.units = read_units(units)
        self.stalled = False
        self.corrupt_until = 0.0
        self.clock_shift_s = 0.0
        self.sent: deque[tuple[float, int]] = deque(maxlen=2000)  # wall time and number of each unit
        self.connect("media-configure", self._configure)

    def do_create_element(self, url: GstRtsp.RTSPUrl) -> Gst.Element:
        pay = f"rtp{self.codec}pay name=pay0 pt=96"
        return Gst.parse_launch(
            f"( appsrc name=source is-live=true format=time max-bytes=50000000 ! {self.codec}parse ! {pay} )"
        )

    def _configure(self, _: Mount, media: GstRtspServer.RTSPMedia) -> None:
        media.set_rate_control(False)  # a unit leaves when it is pushed, whatever its time stamp says
        source = media.get_element().get_by_name_recurse_up("source")
        source.set_property(
            "caps", Gst.Caps.from_string(f"video/x-{self.codec},stream-format=byte-stream,alignment=au")
        )
        payloader = media.get_element().get_by_name_recurse_up("pay0")
        payloader.get_static_pad("src").add_probe(
            Gst.PadProbeType.BUFFER | Gst.PadProbeType.BUFFER_LIST, self._shift_stamps
        )
        gone = threading.Event()
        media.connect("unprepared", lambda *_: gone.set())
        threading.Thread(target=self._send, args=(source, gone), daemon=True).start()

    def _send(self, source: Gst.Element, gone: threading.Event) -> None:
        while (clock := source.get_clock()) is None or not source.get_base_time():  # not playing yet
            if gone.wait(0.005):
                return
        begin, first_s = time.monotonic(), (clock.get_time() - source.get_base_time()) / 1e9
        count, number, units = 0, 0, self.units
        while not gone.wait(max(0.0, begin + count / self.fps - time.monotonic())):
            if units is not self.units:
                units, number = self.units, 0
            payload, key, delay = units[number % len(units)]
            if not self.stalled:
                buffer = Gst.Buffer.new_wrapped(self._spoilt(payload))
                stamp = round((first_s + count / self.fps) * 1e9)
                buffer.pts, buffer.dts = stamp + delay, stamp
                if not key:
                    buffer.set_flags(Gst.BufferFlags.DELTA_UNIT)
                self.sent.append((time.time(), number % len(units)))
                if source.emit("push-buffer", buffer) != Gst.FlowReturn.OK:
                    return
            count += 1
            number += 1

    def _shift_stamps(self, pad: Gst.Pad, probe: Gst.PadProbeInfo) -> Gst.PadProbeReturn:
        if not self.clock_shift_s:
            return Gst.PadProbeReturn.OK
        if probe.type & Gst.PadProbeType.BUFFER:
            pad.get_peer().chain(self._shifted(probe.get_buffer()))
            return Gst.PadProbeReturn.DROP
        packets, shifted = probe.get_buffer_list(), Gst.BufferList.new()
        for i in range(packets.length()):
            shifted.insert(-1, self._shifted(packets.get(i)))
        pad.get_peer().chain_list(shifted)
        return Gst.PadProbeReturn.DROP

    def _shifted(self, packet: Gst.Buffer) -> Gst.Buffer:
        """The RTP packet with another time stamp, which its header has at bytes 4 to 7."""
        content = bytearray(packet.extract_dup(0, packet.get_size()))
        (stamp,) = struct.unpack_from(">I", content, 4)
        struct.pack_into(">I", content, 4, (stamp + round(90_000 * self.clock_shift_s)) % 2**32)
        shifted = Gst.Buffer.new_wrapped(bytes(content))
        shifted.pts, shifted.dts = packet.pts, packet.dts
        return shifted

    def _spoilt(self, payload: bytes) -> bytes:
        if time.monotonic() > self.corrupt_until:
            return payload
        changed = bytearray(payload)
        for _ in range(max(4, len(payload) // 50)):
            changed[random.randrange(4, len(changed))] ^= 0xFF
        return bytes(changed)


def serve(options: dict) -> None:
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(str(options["port"]))
    mounts = {m["name"]: Mount(**m) for m in options["mounts"]}
    if options.get("user") or options.get("certificate"):
        server.set_auth(_auth(options))
        permissions = GstRtspServer.RTSPPermissions()
        permissions.add_permission_for_role("viewer", "media.factory.access", True)
        permissions.add_permission_for_role("viewer", "media.factory.construct", True)
        for mount in mounts.values():
            mount.set_permissions(permissions)
    for name, mount in mounts.items():
        server.get_mount_points().add_factory(f"/{name}", mount)
    if not server.attach(None):
        raise SystemExit(f"port {options['port']} is taken")
    threading.Thread(target=_obey, args=(mounts,), daemon=True).start()
    _say({"ready": True})
    GLib.MainLoop().run()


def _auth(options: dict) -> GstRtspServer.RTSPAuth:
    auth, token = GstRtspServer.RTSPAuth(), GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    if options.get("certificate"):
        auth.set_tls_certificate(Gio.TlsCertificate.new_from_file(options["certificate"]))
    if not options.get("user"):
        auth.set_default_token(token)
        return auth
    method = options.get("auth", "digest")
    auth.set_supported_methods(AUTH[method])
    if method == "basic":
        auth.add_basic(auth.make_basic(options["user"], options["password"]), token)
    else:
        auth.add_digest(options["user"], options["password"], token)
    return auth


def _obey(mounts: dict[str, Mount]) -> None:
    for line in sys.stdin:
        command = json.loads(line)
        mount, answer = mounts[command["mount"]], {}
        match command["do"]:
            case "stall":
                mount.stalled = command["on"]
            case "corrupt":
                mount.corrupt_until = time.monotonic() + command["seconds"]
            case "shift clock":
                mount.clock_shift_s = command["seconds"]
            case "replace":
                mount.codec, mount.units = command.get("codec", mount.codec), read_units(command["units"])
            case "sent":
                answer["sent"] = list(mount.sent)
        _say(answer)
    GLib.idle_add(sys.exit)  # the test is gone


def _say(answer: dict) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    serve(json.loads(sys.argv[1]))

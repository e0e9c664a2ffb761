"""Connections to real servers: what they give, and how they break."""

from __future__ import annotations

import errno
import logging
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from http_cameras import folder_server, live_hls, mjpeg_server, redirect_server, socket_server
from painted import BLUE, RED, Painted, number_in, numbered, paint
from rtsp_server import Mount, RtspServer, free_port

from pipeline.live.opening import StreamError, StreamSpec, is_live
from pipeline.live.stream import Picture, read_pictures
from tests.live.running import Webcam

SECRET = "s3cr3t"


def read(uri: str, count: int, **options: object) -> list[Picture]:
    spec = StreamSpec(uri, **{"open_timeout_s": 5.0, "read_timeout_s": 5.0, **options})  # type: ignore[arg-type]
    pictures = read_pictures(spec, threading.Event())
    try:
        return list(islice(pictures, count))
    finally:
        pictures.close()


def failure(uri: str, **options: object) -> StreamError:
    with pytest.raises(StreamError) as caught:
        read(uri, 10_000, **options)
    return caught.value


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_rtsp_gives_every_picture_in_order(calm: RtspServer, codec: str, transport: str) -> None:
    begin = time.monotonic()
    pictures = read(calm.uri(codec), 15, transport=transport)
    assert pictures[0].arrival - begin < 1.5
    assert {(p.width, p.height, p.codec) for p in pictures} == {
        (320, 192, {"h265": "hevc"}.get(codec, codec))
    }
    assert not any(p.corrupt for p in pictures)
    numbers = [number_in(p.luma()) for p in pictures]
    assert numbers == list(range(numbers[0], numbers[0] + 15))
    stamps = [p.pts_s for p in pictures if p.pts_s is not None]
    assert len(stamps) >= 14  # the very first one may have none
    np.testing.assert_allclose(np.diff(stamps), 0.1, atol=0.002)


def test_brightness_and_colours_are_those_of_the_picture(calm: RtspServer) -> None:
    picture = read(calm.uri("h264"), 1)[0]
    rgb, grey = picture.rgb(), picture.luma()
    assert (rgb.shape, rgb.dtype, grey.shape, grey.dtype) == ((192, 320, 3), np.uint8, (192, 320), np.uint8)
    assert not grey.flags.owndata  # no copy
    step = number_in(grey) * 2
    red = rgb[60 + 25 : 60 + 45, 10 + step + 10 : 10 + step + 30].mean((0, 1))
    np.testing.assert_allclose(red, RED, atol=20)
    np.testing.assert_allclose(
        grey[85:105, 20 + step : 40 + step].mean(), 16 + 0.299 * 200 * 0.86 + 15, atol=15
    )


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_arrivals_and_sender_reports_tell_when_a_picture_was_sent(calm: RtspServer, codec: str) -> None:
    pictures, reported = [], 0
    for picture in islice(read_pictures(StreamSpec(calm.uri(codec)), threading.Event()), 120):
        pictures.append(picture)
        reported += picture.sender_time is not None
        if reported == 10:
            break
    sent, utc = calm.sent(codec), time.time() - time.monotonic()

    def after_sending(at: float, picture: Picture) -> float:
        number = number_in(picture.luma())
        return min((at - when for when, what in sent if what == number), key=abs)

    assert reported == 10
    by_reports = [after_sending(p.sender_time, p) for p in pictures if p.sender_time is not None]
    assert np.abs(by_reports).max() < 0.05
    by_arrival = [after_sending(p.arrival + utc, p) for p in pictures[1:]]
    assert -0.01 < min(by_arrival) < 0.02
    assert np.median(by_arrival) < 0.05  # although a picture is complete only 0.1 s later


@pytest.mark.parametrize("auth", ["basic", "digest"])
def test_a_wrong_password_is_said_without_it(
    mounts: list[Mount], auth: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    with RtspServer(mounts, "admin", "another", auth) as server:
        error = failure(server.uri("h264", f"admin:{SECRET}"))
        assert error.kind == "unauthorised"
        assert str(error).startswith(f"rtsp://***@127.0.0.1:{server.port}/h264: ")
        assert failure(server.uri("h264")).kind == "unauthorised"
        assert len(read(server.uri("h264", "admin:another"), 3)) == 3
    shown = [
        str(error),
        repr(error),
        repr(error.__cause__),
        repr(error.__context__),
        caplog.text,
        *capfd.readouterr(),
    ]
    assert not [text for text in shown if SECRET in text or "another" in text]


def test_a_password_of_special_signs_is_sent_as_it_is(
    mounts: list[Mount], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.live.redaction import expand

    monkeypatch.setenv("CAM_PW", "p@ss/w:rd%?#&")
    with RtspServer(mounts, "admin", "p@ss/w:rd%?#&") as server:
        assert len(read(expand(server.uri("h264", "admin:${CAM_PW}")), 2)) == 2


def test_a_stall_shorter_than_the_time_out_goes_on_with_the_same_connection(rtsp: RtspServer) -> None:
    quiet: list[float] = []
    spec = StreamSpec(rtsp.uri("h264"), read_timeout_s=8)
    pictures = read_pictures(spec, threading.Event(), on_quiet=lambda: quiet.append(time.monotonic()))
    first = list(islice(pictures, 5))
    rtsp.stall("h264")
    threading.Timer(2.6, rtsp.stall, ("h264", False)).start()
    later = list(islice(pictures, 10))
    pictures.close()
    assert quiet
    stamps = [p.pts_s for p in (*first[1:], *later)]
    assert 2.4 < max(np.diff(stamps)) < 3.2  # the same stream clock


def test_a_longer_stall_is_a_time_out(rtsp: RtspServer) -> None:
    pictures = read_pictures(StreamSpec(rtsp.uri("h264"), read_timeout_s=1.5), threading.Event())
    list(islice(pictures, 5))
    rtsp.stall("h264")
    begin = time.monotonic()
    with pytest.raises(StreamError, match=r"no picture for 1\.5 s") as caught:
        list(pictures)
    assert caught.value.kind == "timeout"
    assert 1.4 < time.monotonic() - begin < 3.5


def test_stop_ends_a_stalled_stream_within_about_a_second(rtsp: RtspServer) -> None:
    stop = threading.Event()
    pictures = read_pictures(StreamSpec(rtsp.uri("h264")), stop)
    list(islice(pictures, 5))
    rtsp.stall("h264")
    threading.Timer(1.5, stop.set).start()
    begin = time.monotonic()
    assert len(list(pictures)) <= 2  # what was on its way; and no error
    assert time.monotonic() - begin < 1.5 + 1.3


def test_a_killed_server_ends_the_stream_at_once(rtsp: RtspServer) -> None:
    pictures = read_pictures(StreamSpec(rtsp.uri("h264")), threading.Event())
    list(islice(pictures, 5))
    rtsp.kill()
    begin = time.monotonic()
    with pytest.raises(StreamError) as caught:
        list(pictures)
    assert caught.value.kind == "ended"
    assert time.monotonic() - begin < 1
    assert failure(rtsp.uri("h264")).kind == "refused"


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_corrupted_packets_are_counted_and_the_stream_goes_on(rtsp: RtspServer, codec: str) -> None:
    damage: Counter[str] = Counter()
    pictures = read_pictures(
        StreamSpec(rtsp.uri(codec)), threading.Event(), lambda: damage.update(["packets"])
    )
    list(islice(pictures, 5))
    rtsp.corrupt(codec, 2.0)
    until = time.monotonic() + 2.0
    for picture in pictures:
        damage["pictures"] += picture.corrupt
        if time.monotonic() > until + 1.5:  # a key frame has come since
            break
    assert damage.total() > 0
    clean = list(islice(pictures, 10))
    numbers = [number_in(p.luma()) for p in clean]
    assert not any(p.corrupt for p in clean)
    assert {b - a for a, b in pairwise(numbers)} <= {1, 1 - 40}


def test_another_resolution_in_mid_stream(rtsp: RtspServer, videos: dict[str, Path]) -> None:
    pictures = read_pictures(StreamSpec(rtsp.uri("h264")), threading.Event())
    assert next(pictures).width == 320
    rtsp.replace("h264", videos["large"])
    large = next(p for p in islice(pictures, 30) if p.width != 320)
    assert (large.width, large.height, large.luma().shape, large.rgb().shape) == (
        480, 288, (288, 480), (288, 480, 3),
    )  # fmt: skip


def test_what_is_not_there(calm: RtspServer) -> None:
    assert failure(calm.uri("nothing")).kind == "not found"
    assert failure(f"rtsp://127.0.0.1:{free_port()}/x").kind == "refused"
    assert failure("http://no-such-host.invalid/x").kind == "open"
    assert failure("/etc/passwd").kind == "open"


@pytest.mark.parametrize("scheme", ["rtsp", "rtsps", "http", "https"])
def test_a_server_that_never_answers_is_given_up_in_time(scheme: str) -> None:
    with socket_server() as address:
        begin = time.monotonic()
        error = failure(f"{scheme}://u:{SECRET}@{address}/x", open_timeout_s=1)
        assert error.kind == "timeout"
        assert SECRET not in str(error)
        assert time.monotonic() - begin < 2.5


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
@pytest.mark.parametrize(
    "answer",
    [
        b"\xff\x00garbage$" * 1000,
        b"RTSP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * 1000,
        bytes(range(256)) * 64,
    ],
)
def test_garbage_is_given_up_in_time(scheme: str, answer: bytes) -> None:
    with socket_server(answer) as address:
        begin = time.monotonic()
        assert failure(f"{scheme}://{address}/x", open_timeout_s=1).kind in ("invalid data", "timeout")
        assert time.monotonic() - begin < 2.5


PICTURES = [numbered(paint([Painted(RED, BLUE, 10, 60)], i, 320, 192), i) for i in range(20)]


def test_mjpeg_over_http() -> None:
    with mjpeg_server(PICTURES, 10, f"u:{SECRET}") as (address, stalled):
        pictures = read(f"http://u:{SECRET}@{address}/video?token={SECRET}", 10)
        assert [number_in(p.luma()) for p in pictures] == list(range(10))
        assert {(p.codec, p.width, p.height, p.pts_s) for p in pictures} == {("mjpeg", 320, 192, None)}
        wrong = failure(f"http://u:not{SECRET}@{address}/video?token={SECRET}")
        assert wrong.kind == "unauthorised"
        assert SECRET not in str(wrong)
        stalled.set()
        assert (
            failure(f"http://u:{SECRET}@{address}/video", read_timeout_s=1, open_timeout_s=1).kind
            == "timeout"
        )


@pytest.fixture
def hls(videos: dict[str, Path], tmp_path: Path) -> Iterator[str]:
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg, which makes the HLS stream, is missing: apt-get install ffmpeg")
    with live_hls(videos["h264"], tmp_path) as uri:
        yield uri


def test_hls_comes_at_its_rate_and_not_in_bursts(hls: str) -> None:
    pictures = read(hls, 45)
    numbers = [number_in(p.luma()) for p in pictures]
    assert {b - a for a, b in pairwise(numbers)} <= {1, 1 - 40}
    arrivals = np.array([p.arrival for p in pictures])
    assert arrivals[-1] - arrivals[0] == pytest.approx(4.4, abs=1.5)
    assert np.quantile(np.diff(arrivals), 0.1) > 0.05


def playlist(entry: str, head: str = "") -> str:
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n{head}#EXTINF:4.0,\n{entry}\n#EXT-X-ENDLIST\n"


def test_a_playlist_opens_nothing_but_web_addresses(videos: dict[str, Path], tmp_path: Path) -> None:
    """The local file is a good video: were it read, there would be pictures."""
    segment = tmp_path / "segment.ts"
    with av.open(str(videos["h264"])) as source, av.open(str(segment), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    lists = {
        "good": playlist("segment.ts"),
        "file": playlist(f"file://{segment}"),
        "path": playlist(str(segment)),
        "passwd": playlist("file:///etc/passwd"),
        "concat": playlist(f"concat:{segment}|{segment}"),
        "data": playlist("data:video/mp2t;base64,AAAA"),
        "subfile": playlist(f"subfile,,start,0,end,0,,:{segment}"),
        "tcp": playlist("tcp://127.0.0.1:9/x.ts"),
        "map": playlist("segment.ts", '#EXT-X-MAP:URI="file:///etc/passwd"\n'),
        "key": playlist("segment.ts", '#EXT-X-KEY:METHOD=AES-128,URI="file:///etc/passwd"\n'),
        "variant": f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nfile://{tmp_path}/good.m3u8\n",
        "script": f"ffconcat version 1.0\nfile {segment}\n",
    }
    for name, text in lists.items():
        (tmp_path / f"{name}.m3u8").write_text(text)
    with folder_server(tmp_path) as address:
        assert len(read(f"http://{address}/good.m3u8", 20)) == 20
        for name in lists.keys() - {"good"}:
            assert failure(f"http://{address}/{name}.m3u8").kind in ("invalid data", "open"), name
        with redirect_server(f"file://{segment}") as elsewhere:
            assert failure(f"http://{elsewhere}/good.m3u8").kind == "open"


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16_000
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    with folder_server(tmp_path) as address:
        assert failure(f"http://{address}/sound.mp4").kind == "no video"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="webcams are read on Linux only")
def test_a_webcam_that_is_not_there() -> None:
    assert failure("97").kind == "not found"


def test_a_webcam_that_has_no_picture_now_is_asked_again(
    videos: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Simulated: there is no device where tests run."""
    asked = []

    def nothing_yet() -> None:
        asked.append(time.monotonic())
        raise av.error.BlockingIOError(errno.EAGAIN, "try again")

    webcam, opened = Webcam(videos["h264"], 5, nothing_yet), []

    def open_webcam(*arguments: object, **named: object) -> Webcam:
        opened.append((*arguments, named["options"]))
        return webcam

    monkeypatch.setattr(av, "open", open_webcam)
    pictures = read_pictures(StreamSpec("0", read_timeout_s=0.7), threading.Event())
    assert len(list(islice(pictures, 5))) == 5
    with pytest.raises(StreamError, match=r"no picture for 0\.7 s"):
        next(pictures)
    assert 20 < len(asked) < 200
    assert asked[-1] - asked[0] == pytest.approx(0.7, abs=0.3)
    assert opened == [("/dev/video0", {"fflags": "+4"})]


@pytest.mark.parametrize(
    ("uri", "live"),
    [("rtsp://h/x", True), ("RTSPS://h", True), ("https://h/x.m3u8", True), ("0", True), ("a.mp4", False),
     ("/x/0", False), ("file:///a", False), ("ftp://h", False)],
)  # fmt: skip
def test_what_is_live(uri: str, live: bool) -> None:
    assert is_live(uri) == live


def test_a_thread_that_hangs_in_a_read_does_not_hold_the_process() -> None:
    """FFmpeg cannot be interrupted in a read; such a thread is left behind."""
    program = """
import sys, threading, time
from pipeline.live.opening import StreamSpec
from pipeline.live.stream import read_pictures
pictures = read_pictures(StreamSpec(sys.argv[1]), threading.Event())
threading.Thread(target=list, args=(pictures,), daemon=True).start()
time.sleep(1)
"""
    with socket_server() as address:
        root = Path(__file__).resolve().parents[2]
        begin = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", program, f"http://{address}/x"], cwd=root, capture_output=True, text=True,
            timeout=30, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        assert time.monotonic() - begin < 9

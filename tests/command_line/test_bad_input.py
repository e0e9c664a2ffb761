"""Bad input through the command line: a clear line and an exit code, and what was stored stays whole."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
from painted import BLACK, BLUE, GREEN, RED, Painted, Scene, make_scene, paint, write_video

import run_pipeline
from storage.gallery import Gallery

ROOT = Path(run_pipeline.__file__).parent
PEOPLE = (Painted(RED, BLUE, 10, 40), Painted(GREEN, BLACK, 250, 60, dx=-2))
PERSON = "10,40,50,136"  # the first of them, in the first frame
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a gallery `g` of two cameras and everything bad that a user may bring."""
    folder = tmp_path_factory.mktemp("bad")
    scene = make_scene(folder, "ok", PEOPLE, 40)
    make_scene(folder, "other", PEOPLE, 45)
    _make_files(folder, scene)
    before = Path.cwd()
    os.chdir(folder)
    try:
        assert ingest("g", "a=ok.mp4", "b=other.mp4") == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture(autouse=True)
def at_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)


def _make_files(folder: Path, scene: Scene) -> None:
    rng = np.random.default_rng(0)
    whole = scene.video.read_bytes()
    files = {
        "empty.mp4": b"",
        "text.mp4": b"no video\n" * 100,
        "noise.mkv": rng.bytes(50_000),
        "cut.mp4": whole[: len(whole) // 2],  # its index, at the end, is gone
        "noise.pth": rng.bytes(5000),
        "noise.onnx": rng.bytes(500),
        "noise.pt": rng.bytes(5000),
        "noise.txt": rng.bytes(5000),
        "text.png": b"no picture",
        "words.txt": b"hello",
        "three.txt": b"1,2,3",
        "sure.txt": b"1,1,10,20,40,90,30",
        "never.txt": b"nan,1,10,20,40,90,1",
        "bomb.png": _png_bomb(20_000),
        "list.yaml": b"- 1",
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    for name in ("no pictures", "unreadable"):
        (folder / name).mkdir()
    (folder / "unreadable" / "1.jpg").write_bytes(b"no picture")
    os.mkfifo(folder / "pipe.mp4")
    os.mkfifo(folder / "pipe.jpg")
    person = paint(PEOPLE, 0, 320, 192)[40:136, 10:50, ::-1]
    cv2.imwrite(str(folder / "person.png"), person)
    cv2.imwrite(str(folder / "grey.png"), person[:, :, 0])
    cv2.imwrite(str(folder / "deep.png"), person.astype(np.uint16) * 257)
    cv2.imwrite(str(folder / "alpha.png"), np.dstack([person, person[:, :, :1]]))


def _png_bomb(side: int) -> bytes:
    """Some 50 kB that unfold into `side` x `side` black pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    packer = zlib.compressobj(1)
    rows = b"".join(packer.compress(bytes(1 + side // 8)) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def boxes(path: str | Path) -> tuple[str, ...]:
    return "--set", "embedder.name=colour_stripes", "detector.name=mot_file", f"detector.path={path}"


def ingest(gallery: str | Path, *sources: str, path: str = "ok.txt", more: tuple[str, ...] = ()) -> int:
    starts = [f"{source.split('=')[0].strip()}=2024-05-01T12:00" for source in sources]
    arguments = ["ingest", "--gallery", str(gallery), "--source", *sources, "--start", *starts]
    return run_pipeline.main([*arguments, *boxes(path), *more])


def is_whole(gallery: str | Path, tracklets: int | None = None) -> None:
    with Gallery.open(Path(gallery)) as opened:
        assert opened.sweep(grace_s=0) == {"files_removed": 0, "tracklets_without_crops": 0}
        count = opened.counts()["tracklets"]
    assert tracklets is None or count == tracklets
    if count:
        assert run_pipeline.main(["query", "--gallery", str(gallery), "--tracklet", "1"]) == 0


UNTRACED = "note: the gallery cannot be written: this {} is not in the audit trail"


def refused(capsys: Capture, expected: str) -> None:
    """Nothing on standard output, and on standard error one line of ours behind the notes."""
    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if not line.startswith("note: ")]
    assert len(lines) == 1, err
    assert lines[0].startswith("retrace: ")
    assert expected in lines[0]
    assert "Traceback" not in err
    assert out == ""


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("c=absent.mp4", "absent.mp4 does not exist"),
        ("c=empty.mp4", "empty.mp4 is empty"),
        ("c=text.mp4", "text.mp4 is not a video"),
        ("c=noise.mkv", "noise.mkv is not a video"),
        ("c=cut.mp4", "cut.mp4 is not a video"),
        ("c=pipe.mp4", "is a device or a pipe"),
        ("c=/dev/zero", "is a device or a pipe"),
        ("c=pipe.jpg", "no pictures in pipe.jpg"),
        ("c=no pictures", "no pictures in no pictures"),
        ("c=unreadable", "unreadable has no frame that can be decoded"),
        ("c=*.mp4", "no pictures in *.mp4"),
        ("c=" + "x" * 5000, "File name too long"),
        ("c=rtsp://user:secret@host/", "a live stream does not end"),
        ("=ok.mp4", "takes NAME="),
        ("c= ", "NAME=URI"),
        ("a\nb=ok.mp4", "control characters"),
        ("a\x1b[31m=ok.mp4", "control characters"),
        ("a=b=ok.mp4", "b=ok.mp4 does not exist"),
    ],
)
def test_a_source_that_cannot_be_read(capsys: Capture, source: str, expected: str) -> None:
    assert ingest("g", source) == 2
    refused(capsys, expected)
    is_whole("g", 4)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--source", "a=ok.mp4", "a=other.mp4"], "'a' is given 2 times"),
        (["--source", "a=ok.mp4", " a =other.mp4"], "'a' is given 2 times"),
        (["--source", "é=ok.mp4", "e\u0301=other.mp4"], "is given 2 times"),
        (["--source", "a=ok.mp4", "--start", "a=2024-01-01", "a=2024-01-02"], "given twice"),
        (["--source", "a=ok.mp4", "--start", "a=0001-01-01T00:00+14:00"], "outside the years"),
        (["--source", "a=ok.mp4", "--start", "a=9999-12-31T23:59:59"], "outside the years"),
        (["--source", "a=ok.mp4", "--start", "a=2024-02-30"], "not an ISO 8601 time"),
        (["--source", "a=ok.mp4", "--set", "video.analysis_fps=.inf"], "video.analysis_fps"),
        (["--source", "a=ok.mp4", "--set", "tracker.lost_buffer_s=.inf"], "tracker.lost_buffer_s"),
        (["--source", "a=ok.mp4", "--set", "detector.path=words.txt"], "words.txt is not a MOT file"),
        (["--source", "a=ok.mp4", "--set", "detector.path=noise.txt"], "noise.txt is not a MOT file"),
        (["--source", "a=ok.mp4", "--set", "detector.path=three.txt"], "three.txt has 3 columns"),
        (["--source", "a=ok.mp4", "--set", "detector.path=sure.txt"], "sure.txt has confidences"),
        (["--source", "a=ok.mp4", "--set", "detector.path=never.txt"], "never.txt has a frame number"),
        (["--source", "a=ok.mp4", "--config", "list.yaml"], "list.yaml must hold keys"),
        (["--source", "a=ok.mp4", "--embedder", "nvan", "--embedder-weights", "noise.pth"], "noise.pth"),
        (["--source", "a=ok.mp4", "--embedder", "nvan"], "needs weights"),
        (
            ["--source", "n=ok.mp4", "--set", "embedder.name=colour_stripes", "embedder.stripes=3"],
            "run_pipeline.py reindex",
        ),
    ],
)
def test_an_ingest_that_cannot_be_done(capsys: Capture, arguments: list[str], expected: str) -> None:
    replay = ["--set", "detector.name=mot_file", "detector.path=ok.txt"]
    assert run_pipeline.main(["ingest", "--gallery", "g", *replay, *arguments]) == 2
    refused(capsys, expected)
    is_whole("g", 4)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--tracklet", "999"], "no tracklet has the id 999"),
        (["--tracklet", "9" * 30], "--tracklet"),
        (["--tracklet", "1", "--top-k", "0"], "--top-k"),
        (["--tracklet", "1", "--camera", "zz"], "no camera 'zz' in the gallery; there are: a, b"),
        (["--tracklet", "1", "--camera", ""], "the value after --camera is empty"),
        (["--tracklet", "1", "--from", ""], "the value after --from is empty"),
        (["--tracklet", "1", "--from", "2025-01-01", "--to", "2024-01-01"], "lies before --from"),
        (["--tracklet", "1", "--box", "1,2,3,4"], "--box belongs to"),
        (["--tracklet", "1", "--html", "absent/x.html"], "no folder absent"),
        (["--tracklet", "1", "--html", "."], "is a folder"),
        (["--tracklet", "1", "--html", "ok.mp4/x.html"], "no folder ok.mp4"),
        (["--image", "absent.png"], "there is no picture absent.png"),
        (["--image", "text.png"], "text.png is not a picture"),
        (["--image", "ok.mp4"], "ok.mp4 is not a picture"),
        (["--image", "pipe.jpg"], "there is no picture pipe.jpg"),
        (["--image", "person.png", "--box", "1,1,4,4"], "shows 3x3 pixels of person.png"),
        (["--image", "person.png", "--box", "900,1,990,90"], "outside the frame of 40x96 pixels"),
        (["--image", "person.png", "person.png", "--box", PERSON], "2 pictures and 1 boxes"),
        (["--video", "ok.mp4", "--at", "-1", "--box", PERSON], "--at -1 is outside ok.mp4"),
        (["--video", "ok.mp4", "--at", "99", "--box", PERSON], "which is 4.0 s long"),
        (["--video", "ok.mp4", "--at", "nan", "--box", PERSON], "--at nan is outside"),
        (["--video", "ok.mp4", "--at", "1"], "needs one --box"),
        (["--video", "ok.mp4", "--at", "1", "--box", "5,5,8,8"], "shows 3x3 pixels"),
        (["--video", "ok.mp4", "--at", "1", "--box", "nan,1,2,3"], "is empty"),
        (["--video", "ok.mp4", "--at", "1", "--box", "900,900,990,990"], "outside the frame"),
        (["--video", "text.mp4", "--at", "1", "--box", PERSON], "text.mp4 is not a video"),
    ],
)
def test_a_query_that_cannot_be_answered(capsys: Capture, arguments: list[str], expected: str) -> None:
    more = boxes("ok.txt") if "--video" in arguments else ()
    assert run_pipeline.main(["query", "--gallery", "g", *arguments, *more]) == 2
    refused(capsys, expected)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["tracklets", "--gallery", "ok.mp4"], "no gallery at"),
        (["tracklets", "--gallery", ""], "the value after --gallery is empty"),
        (["tracklets", "--gallery", "g", "--from", "2025-01-01", "--to", "2024-01-01"], "before --from"),
        (["reindex", "--gallery", "g", "--rollback"], "no previous generation"),
        (["reindex", "--gallery", "g", "--embedder", "nvan", "--embedder-weights", "noise.pth"], "noise.pth"),
        (["export", "--gallery", "g", "--format", "csv", "--out", "."], "is a folder"),
        (["export", "--gallery", "g", "--format", "csv", "--out", "absent/x"], "make it first"),
        (["export", "--gallery", "g", "--format", "csv", "--out", "x", "--camera", "zz"], "no camera 'zz'"),
        (["demo", "--video", "absent.mp4", "--out", "demo"], "absent.mp4"),
    ],
)
def test_other_commands(capsys: Capture, arguments: list[str], expected: str) -> None:
    assert run_pipeline.main(arguments) == 2
    refused(capsys, expected)


@pytest.mark.parametrize("name", ["person", "grey", "deep", "alpha"])
def test_pictures_of_every_depth(capsys: Capture, name: str) -> None:
    assert run_pipeline.main(["query", "--gallery", "g", "--image", f"{name}.png", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["matches"]) == 4


@pytest.mark.parametrize("at", ["0", "3.9", "4"])
def test_the_first_and_the_last_moment_of_a_video(capsys: Capture, at: str) -> None:
    box = PERSON if at == "0" else "88,40,128,136"
    arguments = ["query", "--gallery", "g", "--video", "ok.mp4", "--at", at, "--box", box, "--json"]
    assert run_pipeline.main([*arguments, *boxes("ok.txt")]) == 0
    assert json.loads(capsys.readouterr().out)["matches"][0]["camera"] == "b"


def test_odd_boxes_are_cut_skipped_and_counted(tmp_path: Path, capsys: Capture) -> None:
    rows = (
        "1,50,50,3,3", "2,5000,5000,50,90", "3,-900,-900,50,90", "4,nan,1,5,9", "5,100,100,-5,-9",
        "6,200,-20,80,900", "7,inf,inf,1,1",
    )  # fmt: skip
    path = tmp_path / "odd.txt"
    path.write_text("".join(f"{frame}, {row},0.9\n" for frame in range(1, 41) for row in rows))
    assert ingest(tmp_path / "g", "c=ok.mp4", path=str(path), more=("--json",)) == 0
    counts = json.loads(capsys.readouterr().out)
    assert counts["detections"] == 2 * 40
    assert counts["rejected"] == {"too_small": 1}
    assert counts["tracklets"] == 1
    is_whole(tmp_path / "g", 1)


def _broken(folder: Path, name: str, first: float, last: float, **how: str) -> Path:
    """A video of six seconds with noise, or nothing, between two shares of its bytes."""
    pictures = [paint(PEOPLE, i, 320, 192) for i in range(60)]
    content = bytearray(write_video(folder / name, pictures, **how).read_bytes())
    begin, end = int(len(content) * first), int(len(content) * last)
    content[begin:end] = np.random.default_rng(0).bytes(end - begin) if last < 1 else b""
    (folder / name).write_bytes(content)
    return folder / name


@pytest.mark.parametrize(
    ("name", "first", "last", "damage"),
    [
        ("cut.mkv", 0.66, 1.0, "seconds without a picture"),
        ("middle.mkv", 0.45, 0.65, "seconds without a picture"),
        ("cut.avi", 0.66, 1.0, "seconds without a picture"),
        ("head.mkv", 0.08, 0.33, "seconds without a picture"),
    ],
)
def test_what_is_good_of_a_broken_video_is_kept_and_the_rest_reported(
    tmp_path: Path, capsys: Capture, name: str, first: float, last: float, damage: str
) -> None:
    codec = "mpeg4" if name.endswith("avi") else "libx264"
    path = _broken(tmp_path, name, first, last, codec=codec)
    assert ingest(tmp_path / "g", f"c={path}", more=("--json",)) == 0
    (source,) = json.loads(capsys.readouterr().out)["sources"]
    assert source["damage"][damage] >= 1
    assert 8 <= source["frames"] < 60
    assert source["tracklets"] >= 2
    assert run_pipeline.main(["tracklets", "--gallery", str(tmp_path / "g"), "--json"]) == 0
    starts = [row["start"] for row in json.loads(capsys.readouterr().out)]
    assert (min(starts) > "2024-05-01T12:00:01") == name.startswith("head"), "lost seconds still pass"
    is_whole(tmp_path / "g")


def test_recordings_put_one_behind_the_other_keep_all_their_frames(tmp_path: Path, capsys: Capture) -> None:
    """The second has another size, and its clock begins anew."""
    parts = []
    for i, size in enumerate([(320, 192), (640, 384)]):
        pictures = [cv2.resize(paint(PEOPLE, k, 320, 192), size) for k in range(20 * i, 20 * i + 20)]
        parts.append(write_video(tmp_path / f"{i}.ts", pictures).read_bytes())
    (tmp_path / "both.ts").write_bytes(b"".join(parts))
    assert ingest(tmp_path / "g", f"c={tmp_path / 'both.ts'}", more=("--json",)) == 0
    (source,) = json.loads(capsys.readouterr().out)["sources"]
    assert source["frames"] == 40
    assert source["damage"]["clock set back"] == 1
    is_whole(tmp_path / "g")


@pytest.mark.parametrize(("people", "tracklets"), [((), 0), (PEOPLE[:1], 1)])
def test_a_video_of_nobody_and_of_one(
    tmp_path: Path, capsys: Capture, people: tuple[Painted, ...], tracklets: int
) -> None:
    scene = make_scene(tmp_path, "few", people, 30)
    assert ingest(tmp_path / "g", f"c={scene.video}", path=str(scene.boxes), more=("--json",)) == 0
    assert json.loads(capsys.readouterr().out)["tracklets"] == tracklets
    is_whole(tmp_path / "g", tracklets)


def test_a_file_name_that_is_no_text(tmp_path: Path) -> None:
    name = os.fsdecode(bytes(tmp_path) + b"/\xff 1.mp4")
    shutil.copy("ok.mp4", name)
    assert ingest(tmp_path / "g", f"c={name}") == 0
    page, arguments = tmp_path / "p.html", ["--video", name, "--at", "0", "--box", PERSON]
    done = subprocess.run(
        [sys.executable, ROOT / "run_pipeline.py", "query", "--gallery", "g", *arguments, "--json",
         "--html", page, *boxes("ok.txt")],
        capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["query"]["video"] == name
    assert page.is_file()


def copy_of_g(tmp_path: Path) -> Path:
    return Path(shutil.copytree("g", tmp_path / "copy"))


def test_a_tracklet_without_crops_can_be_asked_for_and_does_not_stop_a_reindex(
    tmp_path: Path, capsys: Capture
) -> None:
    folder = copy_of_g(tmp_path)
    for file in (folder / "media").rglob("1.*"):
        file.unlink()
    query = ["query", "--gallery", str(folder), "--tracklet", "1", "--html", str(tmp_path / "p.html")]
    assert run_pipeline.main(query) == 0
    other = ["reindex", "--gallery", str(folder), "--embedder", "colour_stripes", "--json"]
    for more in ([], ["--set", "embedder.stripes=3"]):
        capsys.readouterr()
        assert run_pipeline.main([*other, *more]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["embedded"], summary["not_embeddable"], summary["lost"]) == (3, 1, 1)
    assert run_pipeline.main([*other[:-1], "--set", "embedder.stripes=6"]) == 0  # back to what found it
    assert "can no longer" not in capsys.readouterr().out
    assert run_pipeline.main([*other[:-1], "--set", "embedder.stripes=4"]) == 0
    said = capsys.readouterr().out
    assert "1 tracklet can no longer be found" in said
    assert "reindex --rollback brings that back" in said


def test_a_lost_media_folder_does_not_empty_the_gallery(tmp_path: Path, capsys: Capture) -> None:
    folder = copy_of_g(tmp_path)
    shutil.rmtree(folder / "media")
    reindex = [
        "reindex",
        "--gallery",
        str(folder),
        "--embedder",
        "colour_stripes",
        "--set",
        "embedder.stripes=3",
    ]
    assert run_pipeline.main(reindex) == 1
    refused(capsys, "none of 4 tracklets can be embedded")
    assert run_pipeline.main(["query", "--gallery", str(folder), "--image", "person.png", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["matches"]) == 4


def _newer(folder: Path) -> None:
    connection = sqlite3.connect(folder / "gallery.db")
    connection.execute("update retrace_schema set version_num = '9999'")
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda folder: (folder / "gallery.db").write_bytes(b"\1" * 9999), "damaged"),
        (lambda folder: (folder / "gallery.db").unlink(), "gallery.db is missing"),
        (lambda folder: (folder / "gallery.json").write_text("{"), "gallery.json cannot be read"),
        (_newer, "update Retrace"),
    ],
)
def test_a_spoilt_gallery(
    tmp_path: Path, capsys: Capture, spoil: Callable[[Path], None], expected: str
) -> None:
    folder = copy_of_g(tmp_path)
    spoil(folder)
    for command in (["tracklets"], ["query", "--tracklet", "1"], ["info"]):
        assert run_pipeline.main([command[0], "--gallery", str(folder), *command[1:]]) == 2
        refused(capsys, expected)
    assert ingest(folder, "n=ok.mp4") == 2
    refused(capsys, expected)


def test_an_empty_gallery(tmp_path: Path, capsys: Capture) -> None:
    Gallery.open(tmp_path / "g", create=True).close()
    gallery = ["--gallery", str(tmp_path / "g")]
    assert run_pipeline.main(["reindex", *gallery, "--embedder", "colour_stripes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tracklets"] == 0
    assert run_pipeline.main(["tracklets", *gallery, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert ingest(tmp_path / "g", "c=ok.mp4") == 0
    is_whole(tmp_path / "g", 2)


def test_a_device_is_written_and_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    export = ["export", "--gallery", "g", "--format", "csv", "--out", str(tmp_path / "pipe")]
    assert run_pipeline.main(export) == 0
    assert os.read(reader, 100_000).count(b"\n") == 5
    os.close(reader)
    assert (tmp_path / "pipe").is_fifo()


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[Path]:
    folder.mkdir()
    done = subprocess.run(["mount", *options, str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk(tmp_path: Path, capsys: Capture) -> None:
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=1800k", "tmpfs") as disk:
        codes = [ingest(disk / "g", f"c{number}=ok.mp4") for number in range(3)]
        (disk / "ballast").write_bytes(bytes(max(0, shutil.disk_usage(disk).free - 40_000)))
        capsys.readouterr()
        assert codes == [0, 0, 0]
        assert ingest(disk / "g", "late=ok.mp4") == 1
        refused(capsys, "no space left")
        (disk / "ballast").unlink()
        is_whole(disk / "g", 6)
        assert ingest(disk / "g", "late=ok.mp4") == 0
        is_whole(disk / "g", 8)


def test_a_read_only_disk(tmp_path: Path, capsys: Capture) -> None:
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=2m", "tmpfs") as disk:
        assert ingest(disk / "g", "c=ok.mp4") == 0
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        assert ingest(disk / "g", "c=ok.mp4") == 0, "nothing to do"
        capsys.readouterr()
        assert ingest(disk / "g", "d=other.mp4") == 2
        refused(capsys, "cannot be written")
        arguments = ["query", "--gallery", str(disk / "g"), "--tracklet", "1"]
        assert run_pipeline.main(arguments) == 0
        assert capsys.readouterr().err.splitlines().count(UNTRACED.format("search")) == 1
        export = ["export", "--gallery", str(disk / "g"), "--format", "csv", "--out", str(tmp_path / "x")]
        assert run_pipeline.main(export) == 0
        assert UNTRACED.format("export") in capsys.readouterr().err
        assert run_pipeline.main([*arguments, "--html", str(disk / "page.html")]) == 1
        refused(capsys, f"{disk / 'page.html'}: Read-only file system")


def test_an_interrupted_ingest_goes_on(tmp_path: Path) -> None:
    scene = make_scene(tmp_path, "long", [Painted(RED, BLUE, 10, 40, dx=0.01)], 600)
    command = [
        sys.executable, ROOT / "run_pipeline.py", "ingest", "--gallery", tmp_path / "g", "--source",
        f"c={scene.video}", "--start", "c=2024-05-01", *boxes(scene.boxes),
        "video.analysis_fps=null", "tracklets.max_duration_s=5",
    ]  # fmt: skip
    running = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # A shell starts background jobs with Ctrl-C ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    while not list(tmp_path.glob("g/work/*.boxes")):
        assert running.poll() is None, running.communicate()
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 1, err
    assert err.splitlines()[-1] == "retrace: interrupted; run the same command again to go on"
    assert "Traceback" not in err
    assert out == ""
    is_whole(tmp_path / "g")
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    is_whole(tmp_path / "g", 12)


@pytest.mark.parametrize("pipe", ["| head -n 1", "| true", "> /dev/full"])
def test_an_output_that_nobody_reads(pipe: str) -> None:
    done = subprocess.run(
        f"'{sys.executable}' '{ROOT / 'run_pipeline.py'}' tracklets --gallery g --json {pipe}",
        shell=True, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert len(done.stderr.splitlines()) <= 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["query", "--gallery", "g", "--image", "bomb.png"], "bomb.png is not a picture"),
        (["query", "--gallery", "g", "--image", "cut.png"], "cut.png is not a picture"),
        (["ingest", "--gallery", "g", "--source", "z=ok.mp4", "--detector-weights", "noise.pt"], "noise.pt"),
        (
            ["ingest", "--gallery", "g", "--source", "z=ok.mp4", "--detector-weights", "noise.onnx"],
            "noise.onnx",
        ),
    ],
)
def test_foreign_libraries_keep_silent(arguments: list[str], expected: str) -> None:
    """In a process of its own, because they write past Python's streams."""
    content = Path("person.png").read_bytes()
    Path("cut.png").write_bytes(content[: len(content) // 2])
    done = subprocess.run(
        [sys.executable, ROOT / "run_pipeline.py", *arguments],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    lines = [line for line in done.stderr.splitlines() if not line.startswith("note: ")]
    assert done.returncode == 2
    assert len(lines) == 1, done.stderr
    assert expected in lines[0]
    assert done.stdout == ""

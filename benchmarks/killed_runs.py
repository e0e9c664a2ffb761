"""kill -9 at random moments of a run over several recordings, each resumed: the same gallery as never killed?

    python benchmarks/killed_runs.py [--kills 50] [--source NAME=FILE ...]

Without --source: the three rendered cameras of `examples/`. A gallery's run is killed again and again, each
time after a random part of the time that the whole run takes, until it comes to its end; then the next
gallery begins, until there were enough kills. Every finished gallery is compared with that of a run never
killed: tracklets, times, boxes, crops and embeddings. Orphans are files without a row and rows without files.
"""

from __future__ import annotations

import argparse
import hashlib
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from time import perf_counter

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

import numpy as np
import numpy.typing as npt
import yaml

from storage.gallery import Gallery

Content = tuple[str, npt.NDArray[np.float32]]
Contents = dict[tuple[str, int, int], Content]
SAME = 0.9999  # cosine of two embeddings of the same clips in batches of other company


def main() -> None:
    """Run, kill, compare, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--source", nargs="+", default=[])
    arguments = parser.parse_args()
    rng, outcomes = np.random.default_rng(arguments.seed), Counter[str]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = _config(folder, arguments.source)
        begin = perf_counter()
        _start(config, folder / "whole").wait()
        whole_s = perf_counter() - begin
        expected = contents(folder / "whole")
        print(f"never killed: {len(expected)} tracklets in {whole_s:.0f} s", flush=True)
        kills = galleries = 0
        while kills < arguments.kills:
            gallery = folder / f"killed {galleries}"
            galleries += 1
            in_this = _until_done(config, gallery, whole_s, rng, arguments.kills - kills)
            kills += in_this
            outcomes.update(_compare(gallery, expected))
            print(f"gallery {galleries}: {in_this} kills, {dict(outcomes)}", flush=True)
    columns = ("different tracklets", "files without a row", "rows without files", "open sources")
    print(f"\n| kills | galleries | {' | '.join(columns)} |\n|{'---|' * (2 + len(columns))}")
    print(f"| {kills} | {galleries} | {' | '.join(str(outcomes[column]) for column in columns)} |")


def _config(folder: Path, sources: list[str]) -> Path:
    examples = sorted((ROOT / "examples/three_cameras").glob("*.mp4"))
    pairs = [source.split("=", 1) for source in sources] or [(file.stem, str(file)) for file in examples]
    start = "2026-05-01T12:00:00+00:00"
    cameras = [{"name": name, "uri": str(Path(uri).resolve()), "start": start} for name, uri in pairs]
    path = folder / "cameras.yaml"
    path.write_text(yaml.safe_dump({"cameras": cameras}))
    return path


def _start(config: Path, gallery: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(ROOT / "run_pipeline.py"), "run", "--config", str(config)]
    command += ["--gallery", str(gallery), "--listen", "off", "--show", "json"]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)


def _until_done(config: Path, gallery: Path, whole_s: float, rng: np.random.Generator, most: int) -> int:
    """Run and kill until a run ends by itself; how many were killed."""
    kills = 0
    while True:
        process = _start(config, gallery)
        try:
            left = None if kills >= most else float(rng.uniform(0.05, 0.6)) * whole_s
            code = process.wait(left)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
            continue
        if code:
            sys.exit(f"the run ended with exit code {code}")
        return kills


def _compare(gallery: Path, expected: Contents) -> Counter[str]:
    found = contents(gallery)
    different = sum(not _same(found.get(key), expected.get(key)) for key in found.keys() | expected.keys())
    with Gallery.open(gallery) as opened:
        opened.sweep(grace_s=0)  # half-written files of killed runs go here
        known = {record.thumbnail.stem for record in opened.tracklets()}
        files = [file for file in (gallery / "media").rglob("*") if file.is_file()]
        orphans = sum(file.stem not in known for file in files)
        missing = opened.sweep(grace_s=0)["tracklets_without_crops"]
        open_sources = sum(source.status != "complete" for source in opened.sources())
    return Counter(
        {
            "different tracklets": different,
            "files without a row": orphans,
            "rows without files": missing,
            "open sources": open_sources,
        }
    )


def _same(one: Content | None, other: Content | None) -> bool:
    return one is not None and other is not None and one[0] == other[0] and float(one[1] @ other[1]) > SAME


def contents(folder: Path) -> Contents:
    """Of each tracklet: a hash of times, boxes and crops, and the embedding."""
    found: Contents = {}
    with Gallery.open(folder, read_only=True) as gallery:
        for record in gallery.tracklets():
            trajectory = gallery.trajectory(record.id)
            digest = hashlib.sha256(trajectory.xyxy.tobytes() + trajectory.timestamps.tobytes())
            digest.update(b"".join(gallery.crops(record.id)))
            key = (record.camera, record.track_id, int(trajectory.frame_indices[0]))
            found[key] = (digest.hexdigest(), gallery.embedding(record.id))
    return found


if __name__ == "__main__":
    main()

"""Peak memory of ingesting a long synthetic video against a short one; each in a process of its own.

    python benchmarks/memory.py [--minutes 3 30]

The videos are painted: eight people at any moment, each on screen for 20 s, 640x480 at 10 frames a second.
Boxes are replayed from the ground truth, so that what is measured is ours and not a network's.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import av
import numpy as np
from painted import BLACK, BLUE, GREEN, RED, WHITE, YELLOW, Painted, paint

COLOURS = (RED, GREEN, BLUE, YELLOW, WHITE, BLACK)
STAY, RATE, LANES = 200, 10, 8


def people_at(frame: int) -> list[tuple[int, Painted]]:
    """Ids and people on screen: in each lane one after the other, with a second between."""
    found = []
    for lane in range(LANES):
        number, position = divmod(frame + 25 * lane, STAY + RATE)
        if position < STAY:
            top, trousers = COLOURS[(number + lane) % 6], COLOURS[(number * 5 + lane * 2 + 1) % 6]
            person = Painted(top, trousers, 20 + 2.8 * position, 10 + 45 * lane, dx=0, height=110)
            found.append((number * LANES + lane + 1, person))
    return found


def make(folder: Path, minutes: int) -> tuple[Path, Path]:
    """The video and its boxes."""
    video, boxes = folder / f"{minutes}.mp4", folder / f"{minutes}.txt"
    with av.open(str(video), "w") as container, boxes.open("w") as lines:
        stream: Any = container.add_stream("libx264", rate=RATE, options={"preset": "ultrafast", "crf": "30"})
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuv420p"
        for frame in range(minutes * 60 * RATE):
            people = people_at(frame)
            picture = paint([person for _, person in people], 0, 640, 480)
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24"))
            )
            for number, person in people:
                left, top, width, height = person.box(0) or (0, 0, 0, 0)
                lines.write(f"{frame + 1},{number},{left},{top},{width},{height},0.9\n")
        container.mux(stream.encode(None))
    return video, boxes


def ingest_and_report(video: Path, boxes: Path) -> None:
    """In a process of its own: ingest and print the peak resident memory."""
    from pipeline.config import load_config
    from pipeline.ingest import ingest
    from pipeline.video import SourceSpec
    from storage.gallery import Gallery

    config = load_config(overrides=["detector.name=mot_file", f"detector.path={boxes}"])
    with tempfile.TemporaryDirectory() as folder, Gallery.open(Path(folder) / "g", create=True) as gallery:
        summary = ingest(gallery, [SourceSpec("camera", str(video), 0.0)], config)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"peak": peak, "frames": summary.frames, "tracklets": summary.tracklets}))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=int, nargs=2, default=[3, 30])
    parser.add_argument("--child", type=Path, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        ingest_and_report(*options.child)
        return
    print("| minutes | frames | tracklets | peak MiB |")
    print("|---|---|---|---|")
    peaks = []
    with tempfile.TemporaryDirectory() as folder:
        for minutes in options.minutes:
            video, boxes = make(Path(folder), minutes)
            command = [sys.executable, __file__, "--child", str(video), str(boxes)]
            result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            peaks.append(result["peak"])
            print(
                f"| {minutes} | {result['frames']} | {result['tracklets']} | {result['peak']:.1f} |",
                flush=True,
            )
    print(f"\nThe longer video's peak is {100 * (peaks[1] / peaks[0] - 1):+.1f} % of the shorter one's.")


if __name__ == "__main__":
    main()

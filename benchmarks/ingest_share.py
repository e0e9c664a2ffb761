"""How much of an ingest is ours: everything besides decoding, the detector and the embedder.

    python benchmarks/ingest_share.py --video vtest.avi [--set key.sub=value ...]

Tracking, tracklets and crops run in one thread, embedding and writing in another. Counted as ours is all
wall time of the first that is not the detector and not waiting for the decoder, plus all time of writing:
an upper bound, since the two overlap. Loading the models is left out of the total.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pipeline.config import load_config
from pipeline.ingest import ingest
from pipeline.video import SourceSpec
from storage.gallery import Gallery


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--video", type=Path, required=True)
    parser.add_argument("--set", nargs="*", default=[])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Gallery.open(Path(folder) / "g", create=True) as gallery:
        summary = ingest(
            gallery, [SourceSpec("camera", str(options.video), 0.0)], load_config(overrides=options.set)
        )
    seconds = summary.seconds
    total = seconds["total"] - seconds["start"]
    ours = total - seconds["detect"] - seconds["wait for decode"] + seconds["write"]
    print(
        "| frames | tracklets | total s | detect | wait for decode | track | embed | write | ours | share |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    stages = " | ".join(f"{seconds[s]:.2f}" for s in ("detect", "wait for decode", "track", "embed", "write"))
    share = f"{ours:.2f} | {100 * ours / total:.1f} %"
    print(f"| {summary.frames} | {summary.tracklets} | {total:.2f} | {stages} | {share} |")


if __name__ == "__main__":
    main()

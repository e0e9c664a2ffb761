"""How fast labelled tracklets are rendered: crops of 256x128 a second, in one process and in all.

    python benchmarks/rendering.py --assets PEOPLE_PACK [--people 80] [--frames 8] [--seen-by 6]

Everything counts: reading characters, making sites, dressing, drawing, imaging, writing JPEG files.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from time import perf_counter

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from pipeline.hooks import Hooks
from synthetic.renderer import Renderer
from synthetic.tracklets import TrackletPlan, write_tracklets


def main() -> None:
    """Render the same plan in one process and in one a core."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--assets", type=Path, required=True)
    parser.add_argument("--people", type=int, default=80)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--seen-by", type=int, default=6)
    arguments = parser.parse_args()
    plan = TrackletPlan(arguments.people, seen_by=arguments.seen_by, frames=arguments.frames)
    with Renderer() as renderer:
        print(f"{renderer.device}; {os.cpu_count()} cores; {plan.num_crops} crops")
    os.environ.setdefault("LP_NUM_THREADS", "0")  # as in worker processes: no threads of Mesa's own
    print("| processes | crops/s |\n|---|---|")
    for workers in sorted({1, os.cpu_count() or 1}):
        with tempfile.TemporaryDirectory() as folder:
            begin = perf_counter()
            done = write_tracklets(arguments.assets, Path(folder) / "t", plan, Hooks(), workers=workers)
            print(f"| {workers} | {done.now / (perf_counter() - begin):.1f} |", flush=True)


if __name__ == "__main__":
    main()

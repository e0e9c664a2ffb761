"""Do rendered crops look like real ones? Medians (10th to 90th percentile) of four statistics, side by side.

    python benchmarks/realism.py FOLDER [FOLDER ...] [--crops 500]

Folders of pictures, searched in depth. The statistics are those of `synthetic.optics.statistics`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from synthetic.optics import statistics

NAMES = ("sharpness", "contrast", "saturation", "brightness")


def main() -> None:
    """Print one row a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--crops", type=int, default=500, help="drawn at random from each folder")
    arguments = parser.parse_args()
    print(f"| folder | crops | {' | '.join(NAMES)} |\n|---|---|{'---|' * len(NAMES)}")
    for folder in arguments.folders:
        files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".png"))
        if not files:
            sys.exit(f"there are no pictures in {folder}")
        chosen = np.random.default_rng(0).permutation(len(files))[: arguments.crops]
        pictures = [cv2.imread(str(files[i]), cv2.IMREAD_COLOR_RGB) for i in chosen]
        table = np.array([[getattr(statistics(p), name) for name in NAMES] for p in pictures])
        low, median, high = np.percentile(table, [10, 50, 90], axis=0)
        cells = [f"{m:.0f} ({a:.0f}-{b:.0f})" for a, m, b in zip(low, median, high, strict=True)]
        print(f"| {folder.name} | {len(chosen)} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()

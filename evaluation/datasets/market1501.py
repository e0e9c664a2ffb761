"""Market-1501 crops as tracklets: Zheng et al., "Scalable Person Re-identification: A Benchmark", ICCV 2015.

The original layout, crops named person_cCAMERAsSEQUENCE_FRAME_BOX.jpg:

    ROOT/bounding_box_train/0002_c1s1_000451_03.jpg     751 people, 12,936 crops
    ROOT/query/0001_c1s1_001051_00.jpg                  750 people, 3,368 crops
    ROOT/bounding_box_test/-1_c1s1_000401_03.jpg ...    the same people, 19,732 crops with junk (-1) and
                                                        distractors (0000); 15,913 without junk

6 cameras, crops of 128x64. Protocol: the usual one, each query and gallery crop a tracklet of one frame. In
train, the crops of one person, camera and sequence are a tracklet.

A folder of crops with an `index.csv` (columns file, pid, cam, frame, tracklet; others are ignored):

    ROOT/index.csv      file,pid,cam,seq,frame,tracklet,...
    ROOT/0002_c1s1_000451_03.jpg

For evaluation only: `train` is empty. Protocol: crops of one `tracklet` in the order of frames; queries are
the tracklets whose person another camera saw as well, the gallery is all tracklets; same person and camera
is junk, and so is the query itself. The training part in this form is 751 people in 6 cameras, 12,936 crops.
Source: zheng-lab.cecs.anu.edu.au/Project/project_reid.html.
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evaluation.datasets._layout import crop_names, grouped, required
from evaluation.datasets._types import DatasetError, ReidDataset

PUBLISHED = {"query": 3368, "gallery": 19732}
_NAME = re.compile(r"(-1|\d+)_c(\d+)s(\d+)_(\d+)_(\d+)\.")
_COLUMNS = ("file", "pid", "cam", "frame", "tracklet")
_SOURCE = "unpack Market-1501-v15.09.15.zip into this folder, or give a folder of crops with an index.csv"


def load(root: Path) -> ReidDataset:
    """Read Market-1501 in either layout.

    Raises:
        DatasetError: a folder or a column is missing, or a file's name does not say who it shows.
    """
    if (root / "index.csv").exists():
        return _from_index(root)
    train = tuple(grouped(_crops(root / "bounding_box_train", single=False)))
    query, gallery = (
        tuple(grouped(_crops(root / part, single=True))) for part in ("query", "bounding_box_test")
    )
    return ReidDataset("market1501", train, query, gallery).compared_with(PUBLISHED)


def _crops(folder: Path, single: bool) -> Iterator[tuple[Any, int, int, tuple[int, ...], Path]]:
    """Crops with the key of their tracklet: the file if each is one of its own, else the sequence."""
    for name in crop_names(required(folder, _SOURCE)):
        match = _NAME.match(name)
        if match is None:
            raise DatasetError(f"{folder / name} is not named like 0002_c1s1_000451_03.jpg")
        pid, camid, sequence, frame, box = map(int, match.groups())
        key = name if single else (pid, camid, sequence)
        yield key, pid, camid, (frame, box), folder / name


def _from_index(root: Path) -> ReidDataset:
    gallery = grouped(_indexed_crops(root))
    cameras = defaultdict(set)
    for tracklet in gallery:
        cameras[tracklet.pid].add(tracklet.camid)
    query = tuple(t for t in gallery if t.pid > 0 and len(cameras[t.pid]) > 1)
    return ReidDataset("market1501", (), query, tuple(gallery))


def _indexed_crops(root: Path) -> Iterator[tuple[Any, int, int, tuple[int, str], Path]]:
    path = root / "index.csv"
    with path.open(newline="", encoding="utf-8") as lines:
        rows = csv.DictReader(lines)
        missing = [column for column in _COLUMNS if column not in (rows.fieldnames or ())]
        if missing:
            raise DatasetError(f"{path} has no column '{missing[0]}', it needs: {', '.join(_COLUMNS)}")
        for row in rows:
            try:
                pid, camid, frame = int(row["pid"]), int(row["cam"]), int(row["frame"])
            except (TypeError, ValueError) as error:
                raise DatasetError(f"{path} line {rows.line_num}: pid, cam and frame are numbers") from error
            file = Path(row["file"] or "")
            if not file.name or file.is_absolute() or ".." in file.parts:
                raise DatasetError(f"{path} line {rows.line_num}: file must name a picture in this folder")
            yield row["tracklet"], pid, camid, (frame, row["file"]), root / row["file"]

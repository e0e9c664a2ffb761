"""MARS: Zheng et al., "MARS: A Video Benchmark for Large-Scale Person Re-identification", ECCV 2016.

    ROOT/bbox_train/0001/0001C1T0001F001.jpg ...    ROOT/bbox_test/00-1/..., 0000/..., 0002/...
    ROOT/info/train_name.txt, test_name.txt         names of the crops
    ROOT/info/tracks_train_info.mat (track_train_info), tracks_test_info.mat (track_test_info)
                                                    a row each: first and last line of the names, pid, camera
    ROOT/info/query_IDX.mat (query_IDX)             rows of the test tracks; all numbers count from 1

Statistics: 1,261 people, 6 cameras; train 625 people, 8,298 tracklets, 509,914 crops; test 12,180 tracklets,
681,089 crops, of which 1,980 tracklets of 626 people are queries. Crops of 256x128, 2 to 920 a tracklet.
Protocol: the authors' MATLAB code and the released STE-NVAN code search each query in all 12,180 test
tracks, junk (-1) and distractors (0) included; the query itself is junk, the same person's queries of other
cameras are right answers. Many open-source loaders take the queries out of the gallery (9,330 tracks), so
that 140 queries have no answer left and the numbers differ a little: do not compare them with these.
Crops: zheng-lab.cecs.anu.edu.au/Project/project_mars.html; `info`: github.com/liangzheng06/MARS-evaluation.
"""

from __future__ import annotations

from pathlib import Path

from evaluation.datasets._layout import read_mat, required
from evaluation.datasets._types import DatasetError, LabelledTracklet, ReidDataset

PUBLISHED = {"train": 8298, "query": 1980, "gallery": 12180}
_CROPS = "unpack the crops of MARS into this folder"
_INFO = "take the folder info from github.com/liangzheng06/MARS-evaluation"


def load(root: Path) -> ReidDataset:
    """Read MARS.

    Raises:
        DatasetError: a file is missing, or the tables and the lists of names do not belong together.
        ImportError: SciPy, which reads the tables, is not installed.
    """
    train = _tracklets(root, "train")
    test = _tracklets(root, "test")
    path = required(root / "info" / "query_IDX.mat", _INFO)
    rows = read_mat(path, "query_IDX").ravel() - 1
    if rows.size == 0 or rows.min() < 0 or rows.max() >= len(test):
        raise DatasetError(f"{path} names rows outside the {len(test)} test tracks: {_INFO}")
    query = tuple(test[row] for row in rows)
    return ReidDataset("mars", train, query, test).compared_with(PUBLISHED)


def _tracklets(root: Path, part: str) -> tuple[LabelledTracklet, ...]:
    crops = required(root / f"bbox_{part}", _CROPS)
    listed = required(root / "info" / f"{part}_name.txt", _INFO)
    path = required(root / "info" / f"tracks_{part}_info.mat", _INFO)
    names = listed.read_text(encoding="ascii").split()
    # Few folders, many crops: a folder's path is made once.
    folders = {name[:4]: crops / name[:4] for name in names}
    table = read_mat(path, f"track_{part}_info")
    if table.ndim != 2 or table.shape[1] != 4:
        raise DatasetError(f"{path} must have 4 columns, it is {table.shape}: {_INFO}")
    tracklets = []
    for first, last, pid, camid in table.tolist():
        if not 1 <= first <= last <= len(names):
            raise DatasetError(
                f"{path} has a track of crops {first} to {last}, {listed.name} {len(names)} lines: {_INFO}"
            )
        frames = tuple(folders[name[:4]] / name for name in names[first - 1 : last])
        tracklets.append(LabelledTracklet(pid, camid, frames))
    return tuple(tracklets)

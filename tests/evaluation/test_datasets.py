"""Data sets, on tiny copies of their published layouts."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from evaluation.datasets import DatasetError, LabelledTracklet, UnknownDataset, _layout, available, load

ROOT = Path(__file__).resolve().parents[2]
MARKET = ROOT.parent / "shared" / "data" / "market1501_train"


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def shown(tracklets: tuple[LabelledTracklet, ...]) -> list[tuple[int, int, list[str]]]:
    return [(t.pid, t.camid, [frame.name for frame in t.frames]) for t in tracklets]


def labels(tracklets: tuple[LabelledTracklet, ...]) -> list[tuple[int, int]]:
    return [(t.pid, t.camid) for t in tracklets]


@pytest.fixture
def mars(tmp_path: Path) -> Path:
    """Train: person 1 in two cameras. Test: junk, a distractor, person 2 in cameras 1 and 3, person 4."""
    train = ["0001C1T0001F001.jpg", "0001C1T0001F002.jpg", "0001C2T0001F001.jpg"]
    test = [
        "00-1C1T0001F001.jpg", "0000C1T0001F001.jpg", "0002C1T0001F001.jpg", "0002C1T0001F002.jpg",
        "0002C3T0001F001.jpg", "0004C1T0001F001.jpg",
    ]  # fmt: skip
    for part, names in (("train", train), ("test", test)):
        touch(tmp_path, *(f"bbox_{part}/{name[:4]}/{name}" for name in names))
        touch(tmp_path, f"info/{part}_name.txt")
        (tmp_path / "info" / f"{part}_name.txt").write_text("\n".join(names) + "\n")
    tracks = {"train": [[1, 2, 1, 1], [3, 3, 1, 2]],
              "test": [[1, 1, -1, 1], [2, 2, 0, 1], [3, 4, 2, 1], [5, 5, 2, 3], [6, 6, 4, 1]]}  # fmt: skip
    for part, rows in tracks.items():
        table = np.array(rows, float)  # MATLAB's numbers are doubles
        savemat(tmp_path / "info" / f"tracks_{part}_info.mat", {f"track_{part}_info": table})
    savemat(tmp_path / "info" / "query_IDX.mat", {"query_IDX": np.array([[3, 4]], np.uint16)})
    return tmp_path


def test_mars(mars: Path) -> None:
    dataset = load("mars", mars)
    assert shown(dataset.train) == [
        (1, 1, ["0001C1T0001F001.jpg", "0001C1T0001F002.jpg"]),
        (1, 2, ["0001C2T0001F001.jpg"]),
    ]
    assert labels(dataset.query) == [(2, 1), (2, 3)]
    assert labels(dataset.gallery) == [(-1, 1), (0, 1), (2, 1), (2, 3), (4, 1)], "queries and junk stay"
    assert dataset.query[0] is dataset.gallery[2]
    assert all(frame.exists() for t in dataset.train + dataset.gallery for frame in t.frames)
    assert dataset.summary()["gallery"] == {"identities": 2, "tracklets": 5, "cameras": 2, "frames": 6}
    assert dataset.notes[0] == "mars: train has 2 tracklets, published are 8298"


@pytest.mark.parametrize(
    ("name", "source"),
    [("bbox_test", "unpack the crops"), ("info/train_name.txt", "MARS-evaluation"),
     ("info/tracks_test_info.mat", "MARS-evaluation"), ("info/query_IDX.mat", "MARS-evaluation")],
)  # fmt: skip
def test_mars_says_what_is_missing(mars: Path, name: str, source: str) -> None:
    (mars / name).rename(mars / "elsewhere")
    with pytest.raises(DatasetError, match=rf"{name} is missing: .*{source}"):
        load("mars", mars)


def test_mars_tables_that_do_not_belong_together(mars: Path) -> None:
    savemat(mars / "info" / "query_IDX.mat", {"query_IDX": [[6]]})
    with pytest.raises(DatasetError, match=r"query_IDX.mat names rows outside the 5 test tracks"):
        load("mars", mars)
    (mars / "info" / "query_IDX.mat").write_bytes(b"no MATLAB file" * 20)
    with pytest.raises(DatasetError, match="is no MATLAB v5 file"):
        load("mars", mars)
    (mars / "info" / "test_name.txt").write_text("0002C1T0001F001.jpg\n")
    with pytest.raises(DatasetError, match=r"a track of crops 2 to 2, test_name.txt 1 lines"):
        load("mars", mars)


def test_without_scipy_the_command_is_named(mars: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(ImportError, match=r"pip install 'retrace-reid\[train\]'"):
        load("mars", mars)


def test_a_mat_without_the_variable(tmp_path: Path) -> None:
    savemat(tmp_path / "x.mat", {"other": [1]})
    with pytest.raises(DatasetError, match="holds no variable 'ls_set'"):
        _layout.read_mat(tmp_path / "x.mat", "ls_set")


def test_dukemtmc_videoreid(tmp_path: Path) -> None:
    touch(
        tmp_path, "train/0001/0003/0001C6F0002X30823.jpg", "train/0001/0003/0001C6F0001X30811.jpg",
        "query/0002/0010/0002_C1_F0001_X00005.jpg", "gallery/0002/0010/0002_C1_F0001_X00005.jpg",
        "gallery/0002/0011/0002_C8_F0001_X00007.jpg", "gallery/7001/0012/7001_C2_F0001_X00009.jpg",
    )  # fmt: skip
    dataset = load("dukemtmc_videoreid", tmp_path)
    assert shown(dataset.train) == [(1, 6, ["0001C6F0001X30811.jpg", "0001C6F0002X30823.jpg"])]
    assert labels(dataset.gallery) == [(2, 1), (2, 8), (7001, 2)]
    assert dataset.query == dataset.gallery[:1], "the query is the gallery's own tracklet"
    touch(tmp_path, "gallery/0002/0011/0002_C7_F0002_X00008.jpg")
    with pytest.raises(DatasetError, match="0011 must hold crops of one camera, it has 2"):
        load("dukemtmc_videoreid", tmp_path)
    touch(tmp_path, "train/0001/0003/holiday.jpg")
    with pytest.raises(DatasetError, match=r"holiday.jpg is not named like 0001C6F0099X30823.jpg"):
        load("dukemtmc_videoreid", tmp_path)


def test_dukemtmc_videoreid_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    with pytest.raises(DatasetError, match="train holds no tracklets"):
        load("dukemtmc_videoreid", tmp_path)
    touch(tmp_path, "train/0001/0003/0001C6F0002X30823.jpg")
    with pytest.raises(DatasetError, match="query is missing: unpack DukeMTMC-VideoReID"):
        load("dukemtmc_videoreid", tmp_path)


@pytest.fixture
def ilids(tmp_path: Path) -> Path:
    """Four people, whose numbers have a gap."""
    for camera in (1, 2):
        for person in (1, 2, 5, 9):
            folder = f"i-LIDS-VID/sequences/cam{camera}/person{person:03}"
            touch(tmp_path, *(f"{folder}/cam{camera}_person{person:03}_{i:05}.png" for i in (10, 9)))
    (tmp_path / "train-test people splits").mkdir()
    splits = np.array([[4, 1, 2, 3], [2, 3, 4, 1]])
    savemat(tmp_path / "train-test people splits" / "train_test_splits_ilidsvid.mat", {"ls_set": splits})
    return tmp_path


def test_ilids_vid(ilids: Path) -> None:
    dataset = load("ilids_vid", ilids)
    assert labels(dataset.query) == [(1, 1), (9, 1)], "the first half of the row is tested"
    assert labels(dataset.gallery) == [(1, 2), (9, 2)]
    assert labels(dataset.train) == [(2, 1), (2, 2), (5, 1), (5, 2)]
    assert [f.name for f in dataset.query[0].frames] == [
        "cam1_person001_00009.png",
        "cam1_person001_00010.png",
    ]
    assert labels(load("ilids_vid", ilids, split=1).query) == [(2, 1), (5, 1)]
    with pytest.raises(ValueError, match="split must be 0 to 1, not 2"):
        load("ilids_vid", ilids, split=2)


def test_ilids_vid_is_incomplete(ilids: Path) -> None:
    sequences = ilids / "i-LIDS-VID" / "sequences"
    for camera in ("cam1", "cam2"):
        (sequences / camera / "person009").rename(ilids / camera)
        if camera == "cam1":
            with pytest.raises(DatasetError, match="must hold the same people"):
                load("ilids_vid", ilids)
    with pytest.raises(DatasetError, match="splits 4 people, not the 3 here"):
        load("ilids_vid", ilids)
    (ilids / "train-test people splits").rename(ilids / "elsewhere")
    with pytest.raises(DatasetError, match=r"ilidsvid.mat is missing"):
        load("ilids_vid", ilids)


@pytest.fixture
def prid(tmp_path: Path) -> Path:
    """People 1 to 6, of whom 5 is short in camera B; 201 is two different people."""
    for camera in ("cam_a", "cam_b"):
        for person in (1, 2, 3, 4, 5, 6, 201):
            num_frames = 2 if (camera, person) == ("cam_b", 5) else 3
            names = (f"multi_shot/{camera}/person_{person:04}/{i:04}.png" for i in range(1, num_frames + 1))
            touch(tmp_path, *names)
    return tmp_path


def test_prid2011_by_random_halves(prid: Path) -> None:
    dataset = load("prid2011", prid, min_frames=3)
    people = {t.pid for t in dataset.train} | {t.pid for t in dataset.query}
    assert people == {1, 2, 3, 4, 6}
    assert [t.pid for t in dataset.query] == [t.pid for t in dataset.gallery]
    assert not {t.pid for t in dataset.train} & {t.pid for t in dataset.query}
    assert {t.camid for t in dataset.query} == {1}
    assert dataset == load("prid2011", prid, split=0, min_frames=3)
    assert len({tuple(labels(load("prid2011", prid, split=k, min_frames=3).query)) for k in range(10)}) > 1
    assert "published are 178" in dataset.notes[0]
    with pytest.raises(DatasetError, match="0 people have 28 frames in both cameras"):
        load("prid2011", prid)
    with pytest.raises(ValueError, match="split must be 0 to 9"):
        load("prid2011", prid, split=10, min_frames=3)


def test_prid2011_by_the_splits_of_wang_et_al(prid: Path) -> None:
    (prid / "train-test people splits").mkdir()
    path = prid / "train-test people splits" / "train_test_splits_prid.mat"
    savemat(path, {"ls_set": np.array([[5, 1, 2, 3, 4], [1, 1, 2, 3, 4]])})
    dataset = load("prid2011", prid, min_frames=3)  # of people 1, 2, 3, 4, 6
    assert [t.pid for t in dataset.query] == [1, 6]
    assert {t.pid for t in dataset.train} == {2, 3, 4}
    with pytest.raises(DatasetError, match="row 1 splits 5 people"):
        load("prid2011", prid, split=1, min_frames=3)
    path.write_bytes(path.read_bytes()[:150])
    with pytest.raises(DatasetError, match="is no MATLAB v5 file"):
        load("prid2011", prid, min_frames=3)


def test_prid2011_by_split_file(prid: Path) -> None:
    (prid / "prid_2011").mkdir()
    (prid / "multi_shot").rename(prid / "prid_2011" / "multi_shot")  # the layout of deep-person-reid
    splits = [{"train": ["person_0001"], "test": ["person_0005"]}, {"train": ["person_0002"], "test": []}]
    (prid / "splits_prid2011.json").write_text(json.dumps(splits))
    dataset = load("prid2011", prid)
    assert labels(dataset.train) == [(1, 1), (1, 2)]
    assert labels(dataset.query + dataset.gallery) == [(5, 1), (5, 2)]
    assert labels(load("prid2011", prid, split=1).train) == [(2, 1), (2, 2)]
    (prid / "splits_prid2011.json").write_text('{"train": 3}')
    with pytest.raises(DatasetError, match=r"splits_prid2011.json must be a list"):
        load("prid2011", prid)


def test_market1501_as_published(tmp_path: Path) -> None:
    touch(
        tmp_path, "bounding_box_train/0002_c1s1_000551_01.jpg", "bounding_box_train/0002_c1s1_000451_03.jpg",
        "bounding_box_train/0002_c1s2_000100_01.jpg", "bounding_box_train/0002_c3s1_000451_01.jpg",
        "bounding_box_train/Thumbs.db", "query/0001_c1s1_001051_00.jpg",
        "bounding_box_test/-1_c1s1_000401_03.jpg", "bounding_box_test/0000_c1s1_000401_03.jpg",
        "bounding_box_test/0001_c2s1_000301_00.jpg", "bounding_box_test/0001_c2s1_000301_01.jpg",
    )  # fmt: skip
    dataset = load("market1501", tmp_path)
    assert shown(dataset.train) == [
        (2, 1, ["0002_c1s1_000451_03.jpg", "0002_c1s1_000551_01.jpg"]),
        (2, 1, ["0002_c1s2_000100_01.jpg"]),
        (2, 3, ["0002_c3s1_000451_01.jpg"]),
    ]
    assert labels(dataset.query) == [(1, 1)]
    assert labels(dataset.gallery) == [(-1, 1), (0, 1), (1, 2), (1, 2)], "each crop is a tracklet of its own"
    (tmp_path / "query").rename(tmp_path / "elsewhere")
    with pytest.raises(DatasetError, match=r"query is missing: .*index\.csv"):
        load("market1501", tmp_path)


def test_market1501_by_index(tmp_path: Path) -> None:
    rows = [
        "file,pid,cam,seq,frame,tracklet", "b.jpg,2,1,1,20,2_c1s1", "a.jpg,2,1,1,10,2_c1s1",
        "c.jpg,2,3,1,5,2_c3s1", "d.jpg,7,3,1,5,7_c3s1", "e.jpg,0,3,1,9,0_c3s1", "f.jpg,0,4,1,9,0_c4s1",
    ]  # fmt: skip
    index = tmp_path / "index.csv"
    index.write_text("\n".join(rows))
    dataset = load("market1501", tmp_path)
    assert dataset.train == ()
    assert shown(dataset.query) == [(2, 1, ["a.jpg", "b.jpg"]), (2, 3, ["c.jpg"])]
    assert labels(dataset.gallery) == [(0, 3), (0, 4), (2, 1), (2, 3), (7, 3)]
    assert dataset.notes == ()
    for text, complaint in (
        ("file,pid,cam,frame\n", "has no column 'tracklet'"),
        ("file,pid,cam,frame,tracklet\na.jpg,x,1,1,t\n", "line 2: pid, cam and frame are numbers"),
        ("file,pid,cam,frame,tracklet\na.jpg,1,1,1,t\nb.jpg,1,2,2,t\n", "another person or camera"),
    ):
        index.write_text(text)
        with pytest.raises(DatasetError, match=complaint):
            load("market1501", tmp_path)


def test_market1501_train_of_the_shared_data() -> None:
    if not MARKET.exists():
        pytest.skip(f"the real crops {MARKET} are not on this machine")
    counts = load("market1501", MARKET).summary()
    want = {"identities": 751, "tracklets": 3541, "cameras": 6, "frames": 12936}
    assert counts["query"] == counts["gallery"] == want


SYNTHETIC = (
    "0001/0001C1T0001F002.jpg", "0001/0001C1T0001F001.jpg", "0001/0001C1T0002F001.jpg",
    "0001/0001C12T0001F001.jpg", "0002/0002C1T0001F010.jpg", "0002/0002C1T0001F9.jpg",
    "10000/10000C2T0001F001.png",
)  # fmt: skip


def test_synthetic(tmp_path: Path) -> None:
    touch(tmp_path, *(f"bbox_train/{name}" for name in SYNTHETIC))
    dataset = load("synthetic", tmp_path)
    assert labels(dataset.train) == [(1, 1), (1, 1), (1, 12), (2, 1), (10000, 2)]
    assert [f.name for f in dataset.train[0].frames] == ["0001C1T0001F001.jpg", "0001C1T0001F002.jpg"]
    assert [f.name for f in dataset.train[3].frames] == ["0002C1T0001F9.jpg", "0002C1T0001F010.jpg"]
    assert (dataset.query, dataset.gallery) == ((), ())

    held = load("synthetic", tmp_path, holdout=2)
    assert labels(held.train) == [(1, 1), (1, 1), (1, 12)]
    assert labels(held.query) == labels(held.gallery) == [(2, 1), (10000, 2)]
    with pytest.raises(ValueError, match="holdout must be 0 to 2, as there are 3 people"):
        load("synthetic", tmp_path, holdout=3)

    touch(tmp_path, *(f"bbox_test/{name}" for name in SYNTHETIC[:4]))
    tested = load("synthetic", tmp_path)
    assert len(tested.train) == 5
    assert labels(tested.query) == [(1, 1), (1, 12)], "one of each camera"
    assert labels(tested.gallery) == [(1, 1), (1, 1), (1, 12)]
    with pytest.raises(ValueError, match="leave holdout at 0"):
        load("synthetic", tmp_path, holdout=1)


def test_synthetic_bad_folders(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="bbox_train is missing: render it"):
        load("synthetic", tmp_path)
    (tmp_path / "bbox_train").mkdir()
    with pytest.raises(DatasetError, match="holds no crops such as"):
        load("synthetic", tmp_path)
    touch(tmp_path, "bbox_train/0001/person.jpg")
    with pytest.raises(DatasetError, match=r"person.jpg is not named like 0001C1T0001F001.jpg"):
        load("synthetic", tmp_path)


def test_crops_are_listed_without_a_look_at_each(tmp_path: Path) -> None:
    """What makes 150,000 crops a matter of seconds: a link to nothing is listed like a file."""
    folder = tmp_path / "bbox_train" / "0001"
    folder.mkdir(parents=True)
    for frame in range(20):
        (folder / f"0001C{frame % 6}T0001F{frame:03}.jpg").symlink_to(tmp_path / "nothing")
    assert load("synthetic", tmp_path).summary()["train"]["frames"] == 20


def test_the_file_name_is_the_registry(tmp_path: Path) -> None:
    assert available() == [
        "dukemtmc_videoreid", "ilids_vid", "market1501", "mars", "prid2011", "synthetic",
    ]  # fmt: skip
    with pytest.raises(UnknownDataset, match="no data set named '_layout'; there are: dukemtmc_videoreid, "):
        load("_layout", tmp_path)
    with pytest.raises(ValueError, match="the data set mars takes no 'split', only: nothing"):
        load("mars", tmp_path, split=1, holdout=None)
    with pytest.raises(DatasetError, match=r"the folder .*nowhere is not there"):
        load("mars", tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("pid", "frames", "complaint"), [(-2, (Path("a"),), "pid"), (1, (), "person 1 in camera 3 has no frames")]
)
def test_tracklets_are_checked(pid: int, frames: tuple[Path, ...], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        LabelledTracklet(pid, 3, frames)

"""Evaluation of an embedder on a data set: numbers worked by hand, the frames that are used, the command."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

import run_pipeline
from evaluation.datasets import LabelledTracklet, ReidDataset, load
from evaluation.metrics import cmc_map_from_distances
from evaluation.reid import Frames, PairResult, embed_tracklets, evaluate
from pipeline.embedding import Clip, build_embedder, embed_images
from pipeline.hooks import Hooks
from pipeline.plugins import PluginSettings
from pipeline.rerank import k_reciprocal_distances
from storage.records import EmbedderSpec

Capture = pytest.CaptureFixture[str]


class Direction:
    """The red of a clip's crops, in the mean, is the angle of its embedding in degrees."""

    fallback = None
    of_clips = True
    spec = EmbedderSpec("direction", "", "", 2)

    def __init__(self) -> None:
        self.clips: list[list[int]] = []

    def embed(self, clips: Sequence[Clip]) -> np.ndarray:
        reds = [[int(image[0, 0, 0]) for image in clip] for clip in clips]
        self.clips += reds
        radians = np.deg2rad([np.mean(red) for red in reds])
        return np.stack([np.cos(radians), np.sin(radians)], 1).astype(np.float32) * 3


@pytest.fixture
def tracklet(tmp_path: Path) -> Callable[..., LabelledTracklet]:
    """A tracklet of crops with those reds."""

    def make(pid: int, camid: int, *reds: int) -> LabelledTracklet:
        folder = tmp_path / f"{pid}_{camid}_{'_'.join(map(str, reds))}"
        folder.mkdir()
        files = []
        for i, red in enumerate(reds):
            files.append(folder / f"{i:03}.png")
            cv2.imwrite(str(files[-1]), np.full((4, 2, 3), (0, 7, red), np.uint8))  # BGR
        return LabelledTracklet(pid, camid, tuple(files))

    return make


@pytest.fixture
def dataset(tracklet: Callable[..., LabelledTracklet]) -> ReidDataset:
    """Three queries in camera 1, one of them without an answer; the gallery is in no order."""
    first, second = tracklet(1, 1, 10), tracklet(2, 1, 40)
    gallery = (
        first, tracklet(1, 2, 12), tracklet(2, 2, 11), tracklet(1, 3, 30), tracklet(0, 3, 38),
        tracklet(2, 3, 49), tracklet(-1, 2, 41), second, tracklet(9, 2, 80),
    )  # fmt: skip
    lonely = tracklet(5, 1, 60)
    return ReidDataset("made", (), (first, second, lonely), gallery)


def test_hand_worked(dataset: ReidDataset) -> None:
    result = evaluate(dataset, Direction(), frames="mean")
    # Query 1, at 10 degrees: 11 is wrong, 12 and 30 are right; its own crop is junk.
    first = ((0 + 1 / 2) / 2 + (1 / 2 + 2 / 3) / 2) / 2
    # Query 2, at 40: 41 is junk, the distractor at 38 wrong, 49 right, 30 and 12 wrong, 11 right.
    second = ((0 + 1 / 2) / 2 + (1 / 4 + 2 / 5) / 2) / 2
    assert result.rank == {1: 0.0, 5: 1.0, 10: 1.0, 20: 1.0}
    assert result.mean_ap == pytest.approx((first + second) / 2)
    assert (result.num_query, result.num_answerable, result.num_gallery) == (3, 2, 9)


def test_camera_pairs(dataset: ReidDataset) -> None:
    """Camera 2 holds 12 (1), 11 (2), 80 (9); camera 3 holds 30 (1), 38 (0), 49 (2)."""
    pairs = evaluate(dataset, Direction(), frames="mean").per_camera_pair
    assert list(pairs) == [(1, 2), (1, 3)]
    # To camera 2: of 10, right is second; of 40, right is second, after 12.
    assert pairs[1, 2] == PairResult(2, 0.0, pytest.approx(1 / 4))
    # To camera 3: of 10, right is first; of 40, right is second, after 38.
    assert pairs[1, 3] == PairResult(2, 0.5, pytest.approx((1 + 1 / 4) / 2))


def test_json(dataset: ReidDataset) -> None:
    answer = json.loads(json.dumps(evaluate(dataset, Direction(), frames="mean").as_json()))
    assert (answer["dataset"], answer["embedder"][:9]) == ("made", "direction")
    assert {"rank1", "rank5", "rank10", "rank20", "mAP", "seconds"} <= answer.keys()
    assert (answer["frames"], answer["clips"], answer["rerank"]) == ("mean", "all", False)
    assert answer["per_camera_pair"][1] == {
        "query_camera": 1, "gallery_camera": 3, "num_query": 2, "rank1": 0.5,
        "mAP": pytest.approx((1 + 1 / 4) / 2),
    }  # fmt: skip


def test_reranked(tracklet: Callable[..., LabelledTracklet]) -> None:
    rng = np.random.default_rng(3)
    people = rng.integers(0, 90, 12)
    tracklets = tuple(
        tracklet(pid + 1, camid, int(np.clip(red + rng.normal(0, 6), 0, 90)))
        for pid, red in enumerate(people) for camid in (1, 2, 3)
    )  # fmt: skip
    dataset = ReidDataset("made", (), tracklets[::2], tracklets)
    plain, reranked = (evaluate(dataset, Direction(), rerank=on) for on in (False, True))
    assert (plain.method["rerank"], reranked.method["rerank"]) == (False, True)
    rows = np.arange(len(tracklets))
    distances = k_reciprocal_distances(embed_tracklets(tracklets, Direction()), rows[::2], rows)
    pids, camids = np.array([(t.pid, t.camid) for t in tracklets]).T
    cmc, mean_ap = cmc_map_from_distances(distances, pids[::2], camids[::2], pids, camids)
    assert (reranked.mean_ap, reranked.rank[5]) == (mean_ap, cmc[4])
    assert reranked.mean_ap != plain.mean_ap
    assert reranked.per_camera_pair.keys() == plain.per_camera_pair.keys()
    assert reranked.per_camera_pair != plain.per_camera_pair


def test_a_query_that_is_in_the_gallery_is_embedded_once(dataset: ReidDataset) -> None:
    embedder = Direction()
    evaluate(dataset, embedder, frames="mean")
    assert len(embedder.clips) == len(dataset.gallery) + 1


def test_clips_as_the_pipeline_makes_them(tracklet: Callable[..., LabelledTracklet]) -> None:
    reds = [[10, 20, 30], list(range(50, 61)), [70], list(range(0, 34, 2))]
    embedder, other = Direction(), Direction()
    got = embed_tracklets([tracklet(1, 1, *each) for each in reds], embedder, batch_clips=2)
    images = [[np.full((4, 2, 3), (red, 7, 0), np.uint8) for red in each] for each in reds]
    assert np.array_equal(got, np.stack(embed_images(other, images, batch_clips=2)))
    assert embedder.clips == other.clips
    assert [len(clip) for clip in embedder.clips] == [8] * (1 + 2 + 1 + 3)


def test_mean_counts_each_frame_once(tracklet: Callable[..., LabelledTracklet]) -> None:
    reds = [0, 0, 0, 0, 0, 0, 0, 0, 90]  # two clips, and the last frame fills both up
    embedder = Direction()
    (got,) = embed_tracklets([tracklet(1, 1, *reds)], embedder, frames="mean", batch_clips=1)
    assert sorted(embedder.clips) == sorted([[red] for red in reds])
    np.testing.assert_allclose(got, np.array([8, 1]) / np.hypot(8, 1), atol=1e-6)


@pytest.mark.parametrize(
    ("frames", "want"), [("clips", [[0, 2, 4, 6, 8, 8, 8, 8]]), ("mean", [[0], [2], [4], [6], [8]])]
)
def test_the_first_clip_alone(
    tracklet: Callable[..., LabelledTracklet], frames: Frames, want: list[list[int]]
) -> None:
    embedder = Direction()
    embed_tracklets([tracklet(1, 1, *range(9))], embedder, frames=frames, clips="first")
    assert embedder.clips == want


def test_decoding_runs_only_a_batch_ahead(tracklet: Callable[..., LabelledTracklet]) -> None:
    """Of 40 tracklets, the last damaged: the embedder's own error comes first, nobody has read that far."""
    tracklets = [tracklet(pid, 1, 5) for pid in range(1, 41)]
    tracklets[-1].frames[0].write_bytes(b"no picture")

    class Broken(Direction):
        def embed(self, clips: Sequence[Clip]) -> np.ndarray:
            raise RuntimeError("embedder")

    with pytest.raises(RuntimeError, match="embedder"):
        embed_tracklets(tracklets, Broken(), batch_clips=4)
    with pytest.raises(ValueError, match=r"000\.png is damaged and no picture"):
        embed_tracklets(tracklets, Direction(), batch_clips=4)
    tracklets[-1].frames[0].unlink()
    with pytest.raises(FileNotFoundError):
        embed_tracklets(tracklets, Direction(), batch_clips=4)


def test_progress(tracklet: Callable[..., LabelledTracklet]) -> None:
    steps: list[tuple[int, int | None]] = []

    class Steps(Hooks):
        def on_step(self, what: str, done: int, total: int | None) -> None:
            steps.append((done, total))

    embed_tracklets([tracklet(1, 1, red) for red in (1, 2, 3)], Direction(), batch_clips=2, hooks=Steps())
    assert steps == [(0, 3), (2, 3), (3, 3)]


def test_wrong_input_is_named(dataset: ReidDataset, tracklet: Callable[..., LabelledTracklet]) -> None:
    class Empty(Direction):
        def embed(self, clips: Sequence[Clip]) -> np.ndarray:
            return np.zeros((len(clips), 2), np.float32)

    with pytest.raises(ValueError, match=r"direction .* gives no embedding of .*1_1_10/000\.png"):
        evaluate(dataset, Empty())
    with pytest.raises(ValueError, match="the data set made has no queries"):
        evaluate(ReidDataset("made", (), (), dataset.gallery), Direction())
    with pytest.raises(ValueError, match="no query has a right answer"):
        evaluate(ReidDataset("made", (), dataset.query[2:], dataset.gallery), Direction())
    with pytest.raises(ValueError, match="at least 1 clip"):
        evaluate(dataset, Direction(), batch_clips=0)


# The command


@pytest.fixture
def market(tmp_path: Path) -> Path:
    """Three people in clothes of their own colour, seen by two cameras; one more by camera 1 alone."""
    root = tmp_path / "market"
    root.mkdir()
    rng = np.random.default_rng(0)
    lines = ["file,pid,cam,seq,frame,tracklet"]
    colours = {1: (200, 30, 30), 2: (30, 200, 30), 3: (30, 30, 200), 4: (160, 160, 30)}
    for pid, camid in [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (3, 2), (4, 1)]:
        for frame in range(2):
            crop = np.clip(rng.normal(colours[pid], 15, (64, 32, 3)), 0, 255).astype(np.uint8)
            name = f"{pid:04}_c{camid}s1_{frame:06}_01.jpg"
            cv2.imwrite(str(root / name), crop[:, :, ::-1])
            lines.append(f"{name},{pid},{camid},1,{frame},{pid}_{camid}")
    (root / "index.csv").write_text("\n".join(lines))
    return root


def test_a_real_embedder_without_clips(market: Path) -> None:
    result = evaluate(
        load("market1501", market), build_embedder(PluginSettings(name="colour_stripes")), frames="mean"
    )
    assert (result.rank[1], result.mean_ap) == (1.0, 1.0)
    assert result.per_camera_pair == {(1, 2): PairResult(3, 1.0, 1.0), (2, 1): PairResult(3, 1.0, 1.0)}


def test_the_command(
    run_cli: Callable[..., subprocess.CompletedProcess[str]], market: Path, tmp_path: Path
) -> None:
    out = tmp_path / "result.json"
    done = run_cli(
        "evaluate", "--dataset", "market1501", "--root", market, "--embedder", "colour_stripes",
        "--output", out, "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer == json.loads(out.read_text())
    assert (answer["rank1"], answer["mAP"], answer["num_query"], answer["frames"]) == (1.0, 1.0, 6, "mean")
    assert done.stderr.startswith("note: colour_stripes compares clothing colours only")


def test_the_tables(market: Path, capsys: Capture) -> None:
    arguments = ["evaluate", "--dataset", "market1501", "--root", str(market), "--rerank", "--batch", "1"]
    arguments += ["--embedder", "colour_stripes"]
    assert run_pipeline.main(arguments) == 0
    shown = capsys.readouterr().out
    for words in ("Rank-1   Rank-5   Rank-10   Rank-20   mAP", "query camera   gallery camera   queries"):
        assert words in shown
    assert "market1501, per cent, mean of frames, re-ranked, by colour_stripes (264-d" in shown


def test_several_embedders_fill_one_table(market: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "result.json"
    arguments = ["evaluate", "--dataset", "market1501", "--root", str(market), "--output", str(out)]
    arguments += ["--embedder", "colour_stripes", "--embedder", "ste_nvan=ste_nvan_r50_synthetic"]
    assert run_pipeline.main(arguments) == 0
    shown = capsys.readouterr().out
    assert re.search(r"\n +colour_stripes .*100.0.*\n +ste_nvan ste_nvan_r50_synthetic ", shown)
    assert [row["frames"] for row in json.loads(out.read_text())] == ["mean", "clips"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--embedder", "ste_nvan", "--embedder", "nvan", "--weights", "x"], "belongs to one embedder"),
        (["--dataset", "nobody"], "no data set named 'nobody'; there are: dukemtmc_videoreid"),
        (["--dataset", "mars"], "bbox_train is missing: unpack the crops of MARS"),
        (["--split", "3"], "the data set market1501 takes no 'split'"),
        (["--root", "nowhere"], "the folder nowhere is not there"),
        (["--embedder", "resnet9000"], "no embedder named 'resnet9000'"),
        (["--embedder", "nvan"], "the embedder nvan needs weights"),
        (["--embedder", "colour_stripes", "--weights", "x.pth"], "embedder.weights: unknown key"),
        (["--weights", "nothing.safetensors"], "nothing.safetensors"),
        (["--weights", "nothing.xml"], "nothing.xml"),
        (["--batch", "0"], "Invalid value for '--batch'"),
        (["--clips", "last"], "'last' is not one of"),
        (["--output", "no/folder/x.json"], "--output no/folder/x.json must be a file"),
    ],
)
def test_bad_input_is_one_line(market: Path, arguments: list[str], complaint: str, capsys: Capture) -> None:
    before = ["evaluate", "--dataset", "market1501", "--root", str(market)]
    assert run_pipeline.main([*before, *arguments]) == 2
    shown = capsys.readouterr().err
    assert complaint in shown
    assert len(shown.splitlines()) == 1


def test_a_partial_copy_is_told(tmp_path: Path, market: Path, capsys: Capture) -> None:
    crops = sorted(market.glob("*.jpg"))
    for folder, camera in (("bounding_box_train", "c9"), ("query", "c1"), ("bounding_box_test", "c2")):
        (tmp_path / folder).mkdir()
        for crop in crops:
            if f"_{camera}" in crop.name:
                (tmp_path / folder / crop.name).write_bytes(crop.read_bytes())
    assert run_pipeline.main(["evaluate", "--dataset", "market1501", "--root", str(tmp_path)]) == 0
    shown = capsys.readouterr()
    assert "note: market1501: query has 8 tracklets, published are 3368" in shown.err
    assert "100.0" in shown.out


def test_a_synthetic_set_without_people_to_test_with(tmp_path: Path, market: Path, capsys: Capture) -> None:
    for pid in (1, 2, 3):
        (tmp_path / "bbox_train" / f"{pid:04}").mkdir(parents=True)
        for camid in (1, 2):
            crop = (market / f"{pid:04}_c{camid}s1_000000_01.jpg").read_bytes()
            (tmp_path / "bbox_train" / f"{pid:04}" / f"{pid:04}C{camid}T0001F001.jpg").write_bytes(crop)
    arguments = ["evaluate", "--dataset", "synthetic", "--root", str(tmp_path)]
    assert run_pipeline.main(arguments) == 2
    assert "needs bbox_test or --holdout" in capsys.readouterr().err
    assert run_pipeline.main([*arguments, "--holdout", "2"]) == 0
    assert "100.0" in capsys.readouterr().out

"""One contract for every detector; the default one on real pictures."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.tracking import read_mot
from models import weights
from pipeline import plugins
from pipeline.config import load_config
from pipeline.detectors.mot_file import read_boxes
from pipeline.detectors.yolo import default_weights
from pipeline.plugins import PluginSettings
from pipeline.types import Frame, box_iou
from pipeline.video import SourceSpec, open_source

ROOT = Path(__file__).resolve().parent.parent.parent


def need_default_weights() -> None:
    try:
        weights.resolve(default_weights(None), "detector")
    except weights.MissingWeights as error:
        pytest.skip(f"the default detector is not on this machine ({error})")


@pytest.fixture(scope="session")
def yolo() -> Any:
    need_default_weights()
    return plugins.build("detectors", load_config().detector)


@pytest.fixture(params=plugins.available("detectors"))
def detector(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "yolo":
        return request.getfixturevalue("yolo")
    path = tmp_path / "boxes.txt"
    path.write_text("1,1,10,10,20,40,0.9\n1,2,-10,10,20,40,-1\n3,1,500,10,20,40,0.9\n")
    return plugins.build("detectors", PluginSettings(name="mot_file", path=str(path)))


def frames(*sizes: tuple[int, int]) -> list[Frame]:
    return [Frame("cam", i, i / 10, np.full((h, w, 3), 127, np.uint8)) for i, (h, w) in enumerate(sizes)]


def test_one_answer_a_frame_in_order_with_boxes_inside(detector: Any) -> None:
    batch = frames((120, 160), (96, 96), (120, 160), (33, 47))
    found = detector.detect(batch)
    assert len(found) == 4
    for frame, detections in zip(batch, found, strict=True):
        height, width = frame.image.shape[:2]
        assert detections.xyxy.dtype == detections.confidence.dtype == np.float32
        assert (detections.xyxy >= 0).all()
        assert (detections.xyxy <= [width, height, width, height]).all()
        assert ((detections.confidence >= 0) & (detections.confidence <= 1)).all()
    assert detector.detect([]) == []
    assert isinstance(detector.fingerprint, str)


def test_replayed_boxes_are_cut_to_the_frame(tmp_path: Path) -> None:
    path = tmp_path / "boxes.txt"
    path.write_text("1,1,10,10,20,40,0.9\n1,2,-10,10,20,40,-1\n3,1,500,10,20,40,0.9\n")
    detector = plugins.build("detectors", PluginSettings(name="mot_file", path=str(path)))
    first, second, third = detector.detect(frames((120, 160), (120, 160), (120, 160)))
    assert first.xyxy.tolist() == [[10, 10, 30, 50], [0, 10, 10, 50]]
    assert first.confidence.tolist() == pytest.approx([0.9, 1.0])
    assert len(second) == len(third) == 0


@pytest.mark.parametrize("text", ["1,2,3\n", "a,b,c,d,e,f\n", "1,1,1,1,1,1\n1,2\n"])
def test_a_file_that_is_not_mot_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "wrong.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"wrong\.txt"):
        read_boxes(path)


def test_the_default_finds_the_people_of_real_footage(yolo: Any, vtest: Path) -> None:
    truth = read_mot(vtest / "gt.txt")
    source = open_source(SourceSpec("cam", str(vtest / "vtest.avi"), 0.0), load_config().video)
    picked = [frame for frame in source.frames() if frame.index % 80 == 0]
    people = found = false = 0
    for frame, detections in zip(picked, yolo.detect(picked), strict=True):
        boxes = truth[frame.index][1]
        sure = detections.xyxy[detections.confidence >= 0.25].astype(np.float64)
        overlap = box_iou(boxes, sure)
        people += len(boxes)
        found += int((overlap.max(axis=1) >= 0.5).sum())
        false += int((overlap.max(axis=0) < 0.5).sum())
    assert people > 40
    assert found / people >= 0.85
    assert false / people <= 0.2


def test_boxes_do_not_depend_on_the_batch(yolo: Any, vtest: Path) -> None:
    source = open_source(SourceSpec("cam", str(vtest / "vtest.avi"), 0.0), load_config().video)
    picked = [frame for frame in source.frames(last_s=2.4) if frame.index % 4 == 0][:5]
    together = yolo.detect([*picked, *frames((90, 120))])
    for frame, detections in zip(picked, together, strict=False):
        alone = yolo.detect([frame])[0]
        np.testing.assert_allclose(alone.xyxy, detections.xyxy, atol=0.05)
        np.testing.assert_allclose(alone.confidence, detections.confidence, atol=1e-3)


def test_missing_weights_are_never_fetched_but_named(tmp_path: Path) -> None:
    """In a process of its own: an empty cache, and the right words instead of a download."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pipeline import plugins\nfrom pipeline.config import load_config\n"
        "try: plugins.build('detectors', load_config().detector)\n"
        "except FileNotFoundError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(ROOT)], capture_output=True, text=True, check=True,
        env={**os.environ, "RETRACE_CACHE": str(tmp_path / "empty")},
    )  # fmt: skip
    assert f"weights fetch {default_weights(None)}" in done.stdout
    assert not (tmp_path / "empty").exists() or not any((tmp_path / "empty").rglob("*.*"))


def test_a_pickle_without_a_card_does_not_load(tmp_path: Path) -> None:
    import pickle
    import zipfile

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    with zipfile.ZipFile(tmp_path / "evil.pt", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Evil()))
    with pytest.raises(weights.UntrustedWeights, match="--trust-weights"):
        plugins.build("detectors", PluginSettings(name="yolo", weights=str(tmp_path / "evil.pt")))
    assert not (tmp_path / "ran").exists()


def test_ultralytics_is_kept_offline() -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pipeline import plugins\nfrom pipeline.plugins import PluginSettings\n"
        "plugins.build('trackers', PluginSettings(name='botsort'), frame_rate=10)\n"
        "from ultralytics.utils import AUTOINSTALL, ONLINE, VERBOSE\nprint(AUTOINSTALL, ONLINE, VERBOSE)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(ROOT)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False", "False"]

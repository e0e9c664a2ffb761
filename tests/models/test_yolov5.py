"""YOLOv5s of 2022: its decoding by hand, its checkpoint without its code, the written forms' agreement."""

import os
import pickle
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from models import weights, yolov5
from models.yolov5 import AnchorHead, ConversionError, YoloV5s, build, convert, read_checkpoint

SHARED = Path(__file__).parents[3] / "shared" / "data" / "pets09_s2l1_view1"
NAMES = ["person", "bicycle", "car"]


def random_network(num_classes: int = len(NAMES)) -> YoloV5s:
    torch.manual_seed(0)
    network = YoloV5s(num_classes).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.001, 0.01)  # small, so that the eps of 1e-3 shows
            nn.init.uniform_(module.weight, 0.5, 0.9)
            nn.init.normal_(module.running_mean, std=0.1)
    network.model["24"].anchors.uniform_(1, 8)
    return network


@pytest.fixture
def old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file pickled as YOLOv5 did in 2022, by classes that are gone when it is read."""
    classes: dict[str, type] = {}
    for module_name, names in {
        "models.yolo": ("Model", "Detect"),
        "models.common": ("Conv", "C3", "Bottleneck", "SPPF"),
    }.items():
        module = types.ModuleType(module_name)
        for name in names:
            classes[name] = type(name, (nn.Module,), {"__module__": module_name})
            setattr(module, name, classes[name])
        monkeypatch.setitem(sys.modules, module_name, module)

    def aged(module: nn.Module, name: str | None = None) -> nn.Module:
        """The module as an instance of the old class of its name, children too."""
        old = {"AnchorHead": "Detect", "ModuleDict": "Sequential"}.get(
            type(module).__name__, type(module).__name__
        )
        cls = classes.get(name or old) or getattr(nn, old)
        copy = cls.__new__(cls)
        nn.Module.__init__(copy)
        copy.__dict__.update({k: v for k, v in module.__dict__.items() if not k.startswith("_")})
        copy._parameters, copy._buffers = module._parameters, module._buffers
        copy._modules = {key: aged(child) for key, child in module._modules.items() if child is not None}
        return copy

    network = random_network().half()
    model = aged(network, "Model")
    model.names = NAMES  # type: ignore[assignment]
    path = tmp_path / "yolov5s.pt"
    torch.save({"epoch": -1, "model": model}, path)
    for module_name in ("models.yolo", "models.common"):
        monkeypatch.delitem(sys.modules, module_name)
    return path


def test_head_decodes_as_worked_by_hand() -> None:
    head = AnchorHead((1, 1, 1), num_classes=2)
    head.anchors[:] = torch.tensor([1.0, 2.0])  # every anchor 1 cell wide and 2 high
    for conv in head.m:
        nn.init.zeros_(conv.weight)
        nn.init.zeros_(conv.bias)
    with torch.no_grad():
        head.m[0].bias.view(3, 7)[1] = torch.tensor([0.0, 0.0, 0.0, 0.0, 100.0, 100.0, -100.0])
    maps = [torch.zeros(1, 1, 2, 3), torch.zeros(1, 1, 1, 1), torch.zeros(1, 1, 1, 1)]
    out = head(maps)  # 3 x (6 + 1 + 1) boxes
    assert out.shape == (1, 6, 24)
    # all raw zeros: sigmoid 0.5, so a box sits on its cell's centre with its anchor's size, score 0.5 * 0.5
    assert out[0, :, 0].tolist() == [4.0, 4.0, 8.0, 16.0, 0.25, 0.25]  # first anchor, cell (0, 0), stride 8
    assert out[0, :4, 2].tolist() == [20.0, 4.0, 8.0, 16.0]  # column 2
    assert out[0, :4, 5].tolist() == [20.0, 12.0, 8.0, 16.0]  # column 2, row 1
    assert out[0, 4:, 6].tolist() == [1.0, 0.0]  # second anchor: objectness 1, first class 1, second 0
    assert out[0, :4, 18].tolist() == [8.0, 8.0, 16.0, 32.0]  # stride 16
    assert out[0, :4, 21].tolist() == [16.0, 16.0, 32.0, 64.0]  # stride 32


def test_number_of_parameters_is_the_published_one() -> None:
    assert sum(p.numel() for p in YoloV5s(80).parameters()) == 7_235_389


def test_fused_network_computes_the_same() -> None:
    network = random_network()
    images = torch.rand(2, 3, 64, 96)
    with torch.inference_mode():
        before = network(images)
        after = network.fuse()(images)
    assert before.shape == (2, 4 + len(NAMES), 3 * (8 * 12 + 4 * 6 + 2 * 3))
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-2)


def test_checkpoint_is_read_without_its_classes(old_checkpoint: Path) -> None:
    state, names = read_checkpoint(old_checkpoint)
    assert names == NAMES
    expected = random_network().half().float()
    rebuilt = build(state, len(names))
    images = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(rebuilt(images), expected(images))


class Evil:
    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.proof),)


def test_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "yolov5s.pt"
    torch.save({"model": Evil(tmp_path / "code_ran")}, path)
    with pytest.raises(ConversionError, match="not a YOLOv5 checkpoint"):
        read_checkpoint(path)
    assert not (tmp_path / "code_ran").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"hello", pickle.dumps({"model": None})])
def test_file_that_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "yolov5s.pt"
    path.write_bytes(content)
    with pytest.raises(ConversionError, match="not a YOLOv5 checkpoint"):
        read_checkpoint(path)


def test_missing_file_stays_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_checkpoint(tmp_path / "nothing.pt")


def test_other_networks_are_refused() -> None:
    state = {k: v for k, v in random_network().state_dict().items() if not k.endswith("_tracked")}
    with pytest.raises(ConversionError, match=r"not YOLOv5s: .*state_dict"):
        build(state, 80)
    del state["model.0.conv.weight"]
    with pytest.raises(
        ConversionError, match=r"1 tensors missing or left over, first model\.0\.conv\.weight"
    ):
        build(state, len(NAMES))


@pytest.fixture
def quiet_ultralytics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YOLO_AUTOINSTALL", "false")


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning", "ignore:.torch.jit:DeprecationWarning")
@pytest.mark.usefixtures("quiet_ultralytics")
@pytest.mark.parametrize("suffix", [".torchscript", ".onnx"])
def test_written_file_runs_in_ultralytics_as_the_network_does(
    old_checkpoint: Path, tmp_path: Path, suffix: str
) -> None:
    if suffix == ".onnx":
        pytest.importorskip("onnx", reason="onnx is not installed")
        pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    from ultralytics import YOLO
    from ultralytics.nn.autobackend import AutoBackend

    target = tmp_path / f"net{suffix}"
    convert(old_checkpoint, target)
    network = build(read_checkpoint(old_checkpoint)[0], len(NAMES))
    backend = AutoBackend(str(target), device=torch.device("cpu"))
    assert backend.names == dict(enumerate(NAMES))
    assert (backend.task, backend.stride, backend.dynamic) == ("detect", 32, True)
    for shape in ((1, 3, 64, 64), (3, 3, 96, 160)):  # any batch, any size
        images = torch.rand(shape)
        with torch.inference_mode():
            torch.testing.assert_close(backend(images), network(images), rtol=1e-3, atol=1e-2)

    frames = [np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)] * 2
    results = YOLO(str(target), task="detect").predict(frames, imgsz=64, conf=0.0001, verbose=False)
    assert [r.orig_shape for r in results] == [(48, 64)] * 2


def test_imported_checkpoint_is_converted_and_found_by_name(
    old_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way of a machine without registries: the published file is carried there and imported."""
    from models import weight_cards

    monkeypatch.setenv("RETRACE_CACHE", str(tmp_path / "cache"))
    published = weights.card("yolov5s_coco")
    assert published.fetch is not None
    digest = weights.weights_sha256(old_checkpoint)
    fields = {**published.__dict__, "fetch": weights.FetchRoute("npm", "p", "1", "yolov5s.pt", digest)}
    repository = tmp_path / "repository"
    weight_cards.write_card(weights.WeightCard(**fields), repository)
    for module in (weights, weight_cards):
        monkeypatch.setattr(module, "REPOSITORY_FOLDER", repository)

    with pytest.raises(weights.NotWeights, match="weights import"):
        weights.resolve(old_checkpoint, "detector")
    made = weights.import_weights(old_checkpoint)
    found = weights.resolve("yolov5s_coco", "detector")
    assert found.card == made
    assert found.path.name == "yolov5s_coco.torchscript"
    assert found.origin_sha256 == digest != found.sha256
    other_machine = tmp_path / "elsewhere" / "yolov5s_coco.torchscript"
    other_machine.parent.mkdir()
    convert(old_checkpoint, other_machine)
    with pytest.raises(weights.WeightsMismatch):
        weights.resolve(other_machine, "detector")


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning", "ignore:.torch.jit:DeprecationWarning")
@pytest.mark.usefixtures("quiet_ultralytics")
def test_people_are_found_where_the_ground_truth_has_them() -> None:
    if not (SHARED / "vtest.avi").exists():
        pytest.skip("vtest.avi is not in ../shared")
    try:
        found = weights.resolve("yolov5s_coco", "detector")
    except weights.MissingWeights as error:
        pytest.skip(str(error))
    import cv2
    from ultralytics import YOLO

    capture = cv2.VideoCapture(str(SHARED / "vtest.avi"))
    there, frame = capture.read()
    assert there
    result = YOLO(str(found.path), task="detect").predict(
        frame, imgsz=640, conf=0.25, iou=0.45, classes=[0], verbose=False
    )[0]
    boxes = result.boxes.xyxy.numpy()
    rows = np.loadtxt(SHARED / "gt.txt", delimiter=",")
    truth = rows[rows[:, 0] == 1][:, 2:6]
    centres = truth[:, :2] + truth[:, 2:] / 2  # (N, 2)
    inside = (boxes[None, :, :2] < centres[:, None]) & (centres[:, None] < boxes[None, :, 2:])
    assert inside.all(axis=2).any(axis=1).all()
    assert len(boxes) == len(truth) == 3
    assert yolov5.STRIDES == (8, 16, 32)

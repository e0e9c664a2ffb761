"""YOLOv5s of 2022: read its old checkpoint without running its code, and make a file Ultralytics 8 loads.

The checkpoint is a pickle of classes that no longer exist (`models.yolo.Model`, ...), which Ultralytics 8
refuses. Only its tensors are used: PyTorch's restricted unpickler reads them with inert stand-ins for the
classes, and the network is defined here anew, from the layer table that the checkpoint itself carries.

Network: YOLOv5 release 6 (https://doi.org/10.5281/zenodo.3908559), depth x 0.33, width x 0.5.
"""

import importlib
import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

STRIDES = (8, 16, 32)
_BATCH_NORM_EPS = 1e-3  # the released weights were trained with this, not with PyTorch's 1e-5
_OLD_CLASSES = (
    *(f"models.yolo.{name}" for name in ("Model", "Detect")),
    *(f"models.common.{name}" for name in ("Conv", "C3", "Bottleneck", "SPPF", "Concat")),
    *(f"torch.nn.modules.container.{name}" for name in ("Sequential", "ModuleList")),
    "torch.nn.modules.conv.Conv2d",
    "torch.nn.modules.batchnorm.BatchNorm2d",
    "torch.nn.modules.activation.SiLU",
    "torch.nn.modules.pooling.MaxPool2d",
    "torch.nn.modules.upsampling.Upsample",
)


class ConversionError(ValueError):
    """A file that is not the checkpoint this conversion was written for."""


class Conv(nn.Module):
    """Convolution, batch norm, SiLU."""

    def __init__(
        self, c_in: int, c_out: int, kernel: int = 1, stride: int = 1, padding: int | None = None
    ) -> None:
        super().__init__()
        padding = kernel // 2 if padding is None else padding
        self.conv = nn.Conv2d(c_in, c_out, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(c_out, eps=_BATCH_NORM_EPS)
        self.act = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.act(self.bn(self.conv(x)))
        return out


class Bottleneck(nn.Module):
    """1x1 and 3x3 convolution, with the input added where the network is a backbone."""

    def __init__(self, channels: int, shortcut: bool) -> None:
        super().__init__()
        self.cv1 = Conv(channels, channels)
        self.cv2 = Conv(channels, channels, 3)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.cv2(self.cv1(x))
        return x + y if self.shortcut else y


class C3(nn.Module):
    """Cross-stage block: half of the channels pass the bottlenecks, half go round them."""

    def __init__(self, c_in: int, c_out: int, depth: int, shortcut: bool = True) -> None:
        super().__init__()
        half = c_out // 2
        self.cv1 = Conv(c_in, half)
        self.cv2 = Conv(c_in, half)
        self.cv3 = Conv(2 * half, c_out)
        self.m = nn.Sequential(*(Bottleneck(half, shortcut) for _ in range(depth)))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.cv3(torch.cat((self.m(self.cv1(x)), self.cv2(x)), dim=1))
        return out


class SPPF(nn.Module):
    """Three 5x5 maximum poolings in a row, all kept."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.cv1 = Conv(channels, channels // 2)
        self.cv2 = Conv(2 * channels, channels)
        self.pool = nn.MaxPool2d(5, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        levels = [self.cv1(x)]
        for _ in range(3):
            levels.append(self.pool(levels[-1]))
        out: Tensor = self.cv2(torch.cat(levels, dim=1))
        return out


class AnchorHead(nn.Module):
    """Three anchors per cell on three levels, decoded to YOLOv8's layout: xywh and a score per class."""

    anchors: Tensor  # (3 levels, 3 anchors, 2) width and height in cells

    def __init__(self, channels: tuple[int, ...], num_classes: int) -> None:
        super().__init__()
        self.num_outputs = 5 + num_classes
        self.register_buffer("anchors", torch.zeros(3, 3, 2))
        self.m = nn.ModuleList(nn.Conv2d(c, 3 * self.num_outputs, 1) for c in channels)

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Maps of the three levels to (B, 4 + num_classes, N): centre x, y, width, height in px; scores."""
        decoded = [self._decode(conv(x), i) for i, (conv, x) in enumerate(zip(self.m, levels, strict=True))]
        return torch.cat(decoded, dim=2)

    def _decode(self, x: Tensor, level: int) -> Tensor:
        batch, _, height, width = x.shape
        y = x.view(batch, 3, self.num_outputs, height, width).sigmoid()
        # Cell numbers by cumulative sums: unlike arange they carry no device into a traced graph.
        ones = torch.ones_like(y[:1, :1, :1])  # (1, 1, 1, H, W)
        cell = torch.cat((ones.cumsum(4), ones.cumsum(3)), dim=2) - 1.0  # (1, 1, 2, H, W) column, row
        size = self.anchors[level].view(1, 3, 2, 1, 1)
        xy = (y[:, :, 0:2] * 2.0 - 0.5 + cell) * STRIDES[level]
        wh = (y[:, :, 2:4] * 2.0) ** 2 * size * STRIDES[level]
        scores = y[:, :, 4:5] * y[:, :, 5:]
        boxes = torch.cat((xy, wh, scores), dim=2)  # (B, 3, 4 + classes, H, W)
        return boxes.permute(0, 2, 1, 3, 4).reshape(batch, self.num_outputs - 1, 3 * height * width)


class YoloV5s(nn.Module):
    """YOLOv5s, release 6; parameters bear the names of the released checkpoint.

    Args:
        num_classes: Number of object classes, 80 for COCO.
    """

    def __init__(self, num_classes: int = 80) -> None:
        super().__init__()
        layers: dict[int, nn.Module] = {
            0: Conv(3, 32, 6, 2, 2), 1: Conv(32, 64, 3, 2), 2: C3(64, 64, 1),
            3: Conv(64, 128, 3, 2), 4: C3(128, 128, 2),
            5: Conv(128, 256, 3, 2), 6: C3(256, 256, 3),
            7: Conv(256, 512, 3, 2), 8: C3(512, 512, 1), 9: SPPF(512),
            10: Conv(512, 256), 13: C3(512, 256, 1, shortcut=False),
            14: Conv(256, 128), 17: C3(256, 128, 1, shortcut=False),
            18: Conv(128, 128, 3, 2), 20: C3(256, 256, 1, shortcut=False),
            21: Conv(256, 256, 3, 2), 23: C3(512, 512, 1, shortcut=False),
            24: AnchorHead((128, 256, 512), num_classes),
        }  # fmt: skip
        self.model = nn.ModuleDict({str(i): layer for i, layer in layers.items()})
        self.upsample = nn.Upsample(scale_factor=2.0)  # nearest

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) RGB in [0, 1], H and W multiples of 32, to (B, 4 + classes, N), see `AnchorHead`."""
        layer = self.model
        p3 = self._run(images, 0, 4)  # (B, 128, H/8, W/8)
        p4 = self._run(p3, 5, 6)  # (B, 256, H/16, W/16)
        p5 = self._run(p4, 7, 10)  # (B, 256, H/32, W/32)
        q4 = self._run(torch.cat((self.upsample(p5), p4), dim=1), 13, 14)
        out3 = layer["17"](torch.cat((self.upsample(q4), p3), dim=1))
        out4 = layer["20"](torch.cat((layer["18"](out3), q4), dim=1))
        out5 = layer["23"](torch.cat((layer["21"](out4), p5), dim=1))
        decoded: Tensor = layer["24"]([out3, out4, out5])
        return decoded

    def _run(self, x: Tensor, first: int, last: int) -> Tensor:
        for i in range(first, last + 1):
            x = self.model[str(i)](x)
        return x

    def fuse(self) -> "YoloV5s":
        """Fold every batch norm into its convolution, in place; for inference only."""
        for module in self.modules():
            if isinstance(module, Conv) and isinstance(module.bn, nn.BatchNorm2d):
                module.conv = nn.utils.fuse_conv_bn_eval(module.conv.eval(), module.bn.eval())
                module.bn = nn.Identity()  # type: ignore[assignment]
        return self


class _Inert:
    """Stands for any class of the old checkpoint: holds the state it is given and can do nothing."""


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """Read tensors and class names of a YOLOv5 checkpoint; no code of the file runs.

    Args:
        path: The `.pt` file of 2022.

    Returns:
        The state dict in float32 (tensor shapes as released), and the class names in the order of their ids.

    Raises:
        ConversionError: The file is no such checkpoint, or names a class beyond those that YOLOv5s has.
    """
    stand_ins: list[Any] = [(_Inert, name) for name in _OLD_CLASSES]
    try:
        with torch.serialization.safe_globals(stand_ins):
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        model = checkpoint["model"]
        state = {name: tensor.float() for name, tensor in _tensors(model) if not name.endswith("_tracked")}
        names = [str(name) for name in model.names]
    except (OSError, MemoryError):
        raise
    except Exception as error:  # the unpickler raises whatever broken bytes lead it to
        raise ConversionError(f"{path} is not a YOLOv5 checkpoint of 2022: {_first_line(error)}") from error
    return state, names


def build(state: dict[str, Tensor], num_classes: int) -> YoloV5s:
    """The network with the tensors of `read_checkpoint`, in evaluation mode.

    Raises:
        ConversionError: Tensors are missing, left over or of another shape (another size of YOLOv5).
    """
    network = YoloV5s(num_classes)
    wanted = {name for name in network.state_dict() if not name.endswith("_tracked")}
    if difference := sorted(wanted ^ set(state)):
        raise ConversionError(
            f"not YOLOv5s: {len(difference)} tensors missing or left over, first {difference[0]}"
        )
    try:
        network.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise ConversionError(f"not YOLOv5s: {_first_line(error)}") from error
    return network.eval()


def convert(checkpoint: Path, target: Path) -> None:
    """Convert a YOLOv5s checkpoint of 2022 to a file for `ultralytics.YOLO(target, task="detect")`.

    Any batch size and any height and width that are multiples of 32 go through either form. TorchScript runs
    with the packages Retrace needs anyhow, on the processor or a GPU; ONNX needs `onnx` to be written and
    `onnxruntime` to run, and is about twice as fast on the processor (`benchmarks/detectors.py`).

    Args:
        checkpoint: The `.pt` file.
        target: The `.torchscript` or `.onnx` file to write; overwritten when there.

    Raises:
        ConversionError: The checkpoint is another network, or what was written does not repeat its results.
        ModuleNotFoundError: ONNX is asked for and a package is missing; says how to install it.
    """
    state, names = read_checkpoint(checkpoint)
    network = build(state, len(names)).fuse()
    _WRITERS[target.suffix](network, names, target)


def save_torchscript(network: YoloV5s, names: list[str], target: Path) -> None:
    """Trace a fused network to TorchScript, with what Ultralytics reads beside it."""
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated, yet all other forms need more packages
        example = torch.zeros(1, 3, 128, 96)
        traced = torch.jit.trace(network, example, check_trace=False)  # type: ignore[no-untyped-call]
        metadata = json.dumps(_metadata(names))
        torch.jit.save(traced, str(target), _extra_files={"config.txt": metadata})
        _check_same(network, lambda images: traced(images), target)


def save_onnx(network: YoloV5s, names: list[str], target: Path) -> None:
    """Export a fused network to ONNX, with what Ultralytics reads among its metadata."""
    try:
        import onnx

        onnxruntime = importlib.import_module("onnxruntime")  # it has no type hints
    except ImportError as error:
        raise ModuleNotFoundError(f"{error.name} is not installed: pip install onnx onnxruntime") from error
    axes = {"images": {0: "batch", 2: "height", 3: "width"}, "output0": {0: "batch", 2: "boxes"}}
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracing exporter is deprecated; the new one needs onnxscript
        torch.onnx.export(
            network,
            (torch.zeros(1, 3, 128, 96),),
            str(target),
            input_names=["images"],
            output_names=["output0"],
            dynamic_axes=axes,
            opset_version=17,
            dynamo=False,
        )
    model = onnx.load(str(target))
    for key, value in _metadata(names).items():
        model.metadata_props.add(key=key, value=str(value))
    onnx.save(model, str(target))
    session = onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])
    _check_same(
        network, lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0]), target
    )


_WRITERS = {".torchscript": save_torchscript, ".onnx": save_onnx}


def _metadata(names: list[str]) -> dict[str, Any]:
    return {
        "description": "YOLOv5s of 2022, converted by Retrace",
        "task": "detect",
        "stride": max(STRIDES),
        "batch": 1,
        "imgsz": [640, 640],
        "channels": 3,
        "names": dict(enumerate(names)),
        "args": {"dynamic": True},
    }


def _check_same(network: YoloV5s, written: Callable[[Tensor], Tensor], target: Path) -> None:
    """The file must repeat the network at a size and batch it was not traced with."""
    probe = torch.linspace(0, 1, 2 * 3 * 64 * 160).reshape(2, 3, 64, 160)
    with torch.inference_mode():
        if not torch.allclose(written(probe), network(probe), rtol=1e-3, atol=1e-2):
            raise ConversionError(f"{target} does not repeat the network it was made from")


def _tensors(module: Any, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers below an inert module, under the names `state_dict()` would give them."""
    for table in ("_parameters", "_buffers"):
        for name, tensor in getattr(module, table).items():
            if tensor is not None:
                yield prefix + name, tensor
    for name, child in module._modules.items():
        yield from _tensors(child, f"{prefix}{name}.")


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__

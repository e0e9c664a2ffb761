"""Persons by Ultralytics YOLO: any weights it loads (.pt, .onnx, .engine, OpenVINO folder)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from pydantic import Field

from models import weights
from pipeline.config import Settings
from pipeline.device import choose_device
from pipeline.offline import keep_ultralytics_offline
from pipeline.types import Detections, Frame, clip_to_frame


class Config(Settings):
    """Weights and thresholds; null takes what the weight's card says."""

    weights: str | None = Field(None, description="name of a card, or a file; null: `default_weights`")
    trust_weights: bool = Field(False, description="load a .pt whose hash has no card; it may run code")
    confidence: float = Field(
        0.1, ge=0, le=1, description="boxes below are dropped; trackers use the weak ones too"
    )
    iou: float | None = Field(
        None, gt=0, le=1, description="overlap above which the weaker box is a duplicate"
    )
    image_size: int | None = Field(None, ge=32, description="longer side the network sees, in pixels")
    classes: list[int] | None = Field(None, description="class numbers that are persons")
    device: str | None = Field(None, description="cpu, cuda:0, ...; null: the GPU if there is one")


class UnusableWeights(ValueError):
    """A file that has the form of weights but is no detector."""


class YoloDetector:
    """One network for all cameras; frames are batched by size."""

    def __init__(self, config: Config) -> None:
        choose_device(config.device)  # refuses one that is not there
        resolved = weights.resolve(
            config.weights or default_weights(config.device), "detector", trust=config.trust_weights
        )
        keep_ultralytics_offline()
        from ultralytics import YOLO

        card = resolved.card
        self._options = {
            "conf": config.confidence,
            "iou": config.iou or (card.iou if card else None) or 0.45,
            "imgsz": config.image_size or (card.image_size if card else None) or 640,
            "classes": config.classes or (list(card.classes) if card and card.classes else [0]),
            "device": config.device,
            "verbose": False,
        }
        try:
            with warnings.catch_warnings():
                # Ultralytics loads at the first call, some forms by functions that PyTorch retires.
                warnings.simplefilter("ignore", FutureWarning)
                self._model: Any = YOLO(str(resolved.path), task="detect")
                self._model.predict(np.zeros((64, 64, 3), np.uint8), **self._options)
            if resolved.path.suffix == ".onnx":
                _let_threads_sleep(self._model.predictor.model.backend, str(resolved.path))
        except Exception as error:  # whatever the inside of a file that is no detector makes of Ultralytics
            raise UnusableWeights(
                f"{resolved.path} cannot be used as a detector: give the weights of a YOLO detector "
                f"({type(error).__name__}: {_first_sentence(error)})"
            ) from error
        self.fingerprint = (
            f"yolo:{resolved.origin_sha256}:{resolved.path.suffix}:{sorted(self._options.items(), key=str)}"
        )

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """Find the persons in frames of any cameras.

        Args:
            frames: N frames; sizes may differ.

        Returns:
            N `Detections`, in the order of the frames.
        """
        found: list[Detections] = [Detections.empty()] * len(frames)
        for positions in _by_shape(frames):
            images = [cv2.cvtColor(frames[i].image, cv2.COLOR_RGB2BGR) for i in positions]
            for i, result in zip(positions, self._model.predict(images, **self._options), strict=True):
                found[i] = _to_detections(result, frames[i])
        return found


def default_weights(device: str | None) -> str:
    """Name of the default weights in the form for that device; null stands for the GPU if there is one."""
    on_processor = choose_device(device) == "cpu"
    return weights.DEFAULT_DETECTOR if on_processor else weights.DEFAULT_DETECTOR_GPU


def _let_threads_sleep(backend: Any, path: str) -> None:
    """ONNX Runtime's idle threads spin, on the cores that decoding and embedding need: here they sleep.

    Ultralytics passes no session options on, so its session is exchanged for one that has them.
    """
    import onnxruntime

    if backend.session.get_providers() == ["CPUExecutionProvider"]:
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        backend.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _first_sentence(error: Exception) -> str:
    text = " ".join(str(error).replace("ERROR ❌️", "").split())
    return text.split(". ")[0][:200]


def _by_shape(frames: Sequence[Frame]) -> list[list[int]]:
    # Ultralytics pads a batch of mixed sizes to a square: slower, and what a frame's boxes are would
    # depend on its company.
    groups: dict[tuple[int, ...], list[int]] = {}
    for i, frame in enumerate(frames):
        groups.setdefault(frame.image.shape, []).append(i)
    return list(groups.values())


def _to_detections(result: Any, frame: Frame) -> Detections:
    boxes = result.boxes
    xyxy = boxes.xyxy.cpu().numpy().astype(np.float32, copy=False)
    confidence = boxes.conf.cpu().numpy().astype(np.float32, copy=False)
    height, width = frame.image.shape[:2]
    return clip_to_frame(Detections(xyxy, confidence), width, height)


def build(config: Config) -> YoloDetector:
    """Load the network.

    Raises:
        models.weights.MissingWeights: the file is not there; the message says what to put where.
        models.weights.UntrustedWeights: a pickle whose hash has no card.
    """
    return YoloDetector(config)

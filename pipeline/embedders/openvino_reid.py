"""Single-frame person re-ID networks in OpenVINO form, as peers: input BGR 0-255 (1, 3, H, W), output (1, D).

Made for Open Model Zoo's `person-reidentification-retail-*`; the embedding of a clip is the mean of its
frames' unit embeddings.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field

from models import weights
from pipeline.config import Settings
from pipeline.types import Image
from storage.records import EmbedderSpec

FALLBACK: str | None = None


class Config(Settings):
    """Which network."""

    weights: str | None = Field(None, description="the .xml; its .bin lies beside it")


class OpenVinoReid:
    """A compiled network; every distinct frame of a clip is inferred once."""

    fallback = FALLBACK
    of_clips = False

    def __init__(self, config: Config) -> None:
        if config.weights is None:
            raise weights.MissingWeights("the embedder openvino_reid needs --embedder-weights FILE.xml")
        resolved = weights.resolve(config.weights, "embedder")
        try:
            import openvino
        except ImportError as error:
            raise ImportError("openvino_reid needs OpenVINO: pip install 'retrace-reid[openvino]'") from error
        unusable = f"{resolved.path} is no OpenVINO network (.xml with its .bin) of one picture (1, 3, H, W)"
        if resolved.path.suffix != ".xml":
            raise ValueError(unusable)
        try:
            self._network: Any = openvino.Core().compile_model(str(resolved.path), "CPU")
            _, _, self._height, self._width = self._network.input(0).shape
        except (RuntimeError, ValueError) as error:
            raise ValueError(unusable) from error
        self.spec = EmbedderSpec(
            name="openvino_reid",
            weights_hash=resolved.sha256,
            preprocessing_hash=f"bgr-{self._height}x{self._width}",
            dimension=int(self._network.output(0).shape[1]),
            config={"weights": str(Path(resolved.path).resolve())},
        )

    def embed(self, clips: Sequence[list[Image]]) -> npt.NDArray[np.float32]:
        """(N, D) float32 of N clips."""
        return np.stack([self._embed_clip(clip) for clip in clips])

    def _embed_clip(self, clip: list[Image]) -> npt.NDArray[np.float32]:
        total = np.zeros(self.spec.dimension, np.float32)
        for image in {id(image): image for image in clip}.values():
            row = self._network(self._input(image))[0].ravel()
            total += row / max(float(np.linalg.norm(row)), 1e-12)
        return total

    def _input(self, image: Image) -> npt.NDArray[np.float32]:
        shrink = image.shape[0] > self._height
        resized = cv2.resize(
            image, (self._width, self._height), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_LINEAR
        )
        return np.ascontiguousarray(resized[:, :, ::-1].transpose(2, 0, 1)[None], np.float32)


def build(config: Config) -> OpenVinoReid:
    """Compile the network for the CPU."""
    return OpenVinoReid(config)

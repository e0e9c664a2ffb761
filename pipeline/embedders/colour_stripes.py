"""HSV histograms over horizontal stripes: a fallback that needs no weights and knows clothes' colours only.

Colour histograms over body stripes are the classic weak baseline of person re-identification (Gray and
Tao, ECCV 2008, use six stripes). Compared by cosine after a square root, which makes it the Bhattacharyya
coefficient of the histograms.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field

from pipeline.config import Settings
from pipeline.types import Image
from storage.records import EmbedderSpec

HEIGHT, WIDTH = 96, 48
HUE_BINS, SATURATION_BINS, VALUE_BINS = 12, 3, 8

FALLBACK: str | None = (
    "colour_stripes compares clothing colours only; it is a stand-in until trained weights are given "
    "(--embedder ste_nvan --embedder-weights FILE)"
)


class Config(Settings):
    """How fine the histograms are."""

    stripes: int = Field(6, ge=1, le=24, description="horizontal stripes over the person's height")


class ColourStripes:
    """Per stripe one hue-saturation and one brightness histogram, mean over the clip's frames."""

    fallback = FALLBACK
    of_clips = False

    def __init__(self, config: Config) -> None:
        self._stripes = config.stripes
        bins = HUE_BINS * SATURATION_BINS + VALUE_BINS
        recipe = f"hsv {HEIGHT}x{WIDTH} {config.stripes} {HUE_BINS} {SATURATION_BINS} {VALUE_BINS} gauss 0.25"
        self.spec = EmbedderSpec(
            name="colour_stripes",
            weights_hash="",
            preprocessing_hash=hashlib.sha256(recipe.encode()).hexdigest()[:16],
            dimension=config.stripes * bins,
            config={"stripes": config.stripes},
        )
        # The person is in the middle of a box, the background at its sides.
        across = np.exp(-0.5 * (np.linspace(-1, 1, WIDTH) / 0.5) ** 2)
        self._weights = np.broadcast_to(across, (HEIGHT, WIDTH)).astype(np.float32).ravel()
        self._stripe_of = np.repeat(np.arange(HEIGHT) * config.stripes // HEIGHT, WIDTH)

    def embed(self, clips: Sequence[list[Image]]) -> npt.NDArray[np.float32]:
        """(N, D) float32 of N clips; repeated frames of a short clip are counted once."""
        return np.stack([self._embed_clip(clip) for clip in clips])

    def _embed_clip(self, clip: list[Image]) -> npt.NDArray[np.float32]:
        distinct = {id(image): image for image in clip}.values()
        histogram = np.mean([self._histogram(image) for image in distinct], axis=0)
        return np.asarray(np.sqrt(histogram), np.float32)

    def _histogram(self, image: Image) -> npt.NDArray[np.float64]:
        small = cv2.resize(image, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        hsv = cv2.cvtColor(small, cv2.COLOR_RGB2HSV).reshape(-1, 3).astype(np.int64)
        hue = hsv[:, 0] * HUE_BINS // 180
        saturation = hsv[:, 1] * SATURATION_BINS // 256
        value = hsv[:, 2] * VALUE_BINS // 256
        colour_bins = HUE_BINS * SATURATION_BINS
        colour = self._stripe_of * colour_bins + hue * SATURATION_BINS + saturation
        bright = self._stripe_of * VALUE_BINS + value
        # A grey pixel's hue is noise: colour counts by saturation.
        colourful = self._weights * (hsv[:, 1] / 255.0)
        return np.concatenate(
            [
                np.bincount(colour, colourful, self._stripes * colour_bins),
                np.bincount(bright, self._weights, self._stripes * VALUE_BINS),
            ]
        )


def build(config: Config) -> ColourStripes:
    """The embedder; it has nothing to load."""
    return ColourStripes(config)

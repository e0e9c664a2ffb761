"""How a surveillance camera turns a clean render into the picture it would have recorded.

Rendered crops differ from real ones first of all in their statistics: too blurry, too flat, too colourful.
`develop` applies what a real camera does, in its order: lens, exposure, sensor noise, white balance, tone
curve, colour matrix, sharpening, interlacing or ghosts, compression. `statistics` measures the difference.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
_Floats = NDArray[np.float32]

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # BT.601, which cameras and JPEG use
_TILE = 512  # side of the noise tile; frames repeat it, which nobody sees


@dataclass(frozen=True)
class Optics:
    """The constants of one camera; the defaults leave a picture as it is.

    Attributes:
        exposure: Stops; 1 doubles the light.
        white_balance: Gains of linear red, green and blue.
        black_level: Display value in [0, 1] that black is lifted to; below 0 the darkest parts are lost.
        contrast: Slope of the tone curve at mid-grey less 1, in (-1, 1); black and white stay.
        saturation: 1 keeps colours, 0 is grey.
        vignetting: Share of light lost in the corners, in [0, 1).
        blur_px: Standard deviation of the lens blur in pixels.
        sharpening: Times the detail that is added once more, as camera processors do; 0 adds none.
        sharpening_radius_px: Standard deviation of the blur that separates that detail.
        read_noise: Standard deviation of linear light, white being 1, however dark it is.
        shot_noise: Standard deviation of linear light at white; it falls with the root of the light.
        chroma_noise: Standard deviation of coarse coloured noise in display values of 255.
        quality: JPEG quality 1 to 100; None for no compression.
        interlace_px: Sideways shift of every other row.
        ghost: Share of a shifted copy of the picture in [0, 1), from bad cables and weak temporal filters.
        ghost_px: How far that copy lies to the right.
    """

    exposure: float = 0.0
    white_balance: tuple[float, float, float] = (1.0, 1.0, 1.0)
    black_level: float = 0.0
    contrast: float = 0.0
    saturation: float = 1.0
    vignetting: float = 0.0
    blur_px: float = 0.0
    sharpening: float = 0.0
    sharpening_radius_px: float = 1.0
    read_noise: float = 0.0
    shot_noise: float = 0.0
    chroma_noise: float = 0.0
    quality: int | None = None
    interlace_px: int = 0
    ghost: float = 0.0
    ghost_px: int = 0

    def __post_init__(self) -> None:
        if not -1 < self.contrast < 1:
            raise ValueError(f"contrast must lie in (-1, 1), not {self.contrast}: the tone curve must rise")
        if min(self.white_balance) <= 0:
            raise ValueError(f"white balance gains must be above 0, not {self.white_balance}")
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise ValueError(f"JPEG quality must lie in 1 to 100, not {self.quality}")


def sample_optics(rng: np.random.Generator) -> Optics:
    """Draws a camera: mostly day and sharp, sometimes soft, noisy or hazy, one in fifty grey at night."""
    night = rng.random() < 0.02
    noise = min(rng.lognormal(-0.5, 0.7) * (2.5 if night or rng.random() < 0.08 else 1.0), 3.5)
    warmth, tint = rng.normal(0, 0.09), rng.normal(0, 0.03)
    hazy = rng.random() < 0.12
    odd = rng.random()
    return Optics(
        exposure=float(np.clip(rng.normal(-0.05, 0.3), -0.9, 0.8)),
        white_balance=(float(np.exp(warmth)), float(np.exp(tint)), float(np.exp(-warmth))),
        black_level=float(rng.uniform(0.05, 0.15) if hazy else rng.normal(-0.01, 0.02)),
        contrast=float(np.clip(rng.normal(0.32, 0.22), -0.2, 0.8)),
        saturation=0.0 if night else float(np.clip(rng.lognormal(np.log(0.5), 0.35), 0.12, 1.1)),
        vignetting=float(rng.uniform(0, 0.25)),
        blur_px=float(rng.uniform(0.6, 1.4)) if rng.random() < 0.12 else 0.0,
        sharpening=float(rng.uniform(0.4, 2.0)) if rng.random() < 0.6 else 0.0,
        sharpening_radius_px=float(rng.uniform(0.7, 1.5)),
        read_noise=float(0.003 * noise),
        shot_noise=float(0.02 * noise),
        chroma_noise=0.0 if night else float(rng.uniform(0, 3) * noise),
        quality=int(np.clip(rng.normal(68, 18), 25, 96)),
        interlace_px=int(rng.integers(1, 3)) if odd < 0.015 else 0,
        ghost=float(rng.uniform(0.08, 0.25)) if odd > 0.98 else 0.0,
        ghost_px=int(rng.integers(2, 7)),
    )


def develop(
    image: Image,
    optics: Optics,
    rng: np.random.Generator,
) -> Image:
    """The picture that a camera records of a clean one.

    Args:
        image: `(H, W, 3) uint8` RGB, a straight render in display values; it is not changed.
        optics: The camera's constants.
        rng: Randomness of the noise of this picture.

    Returns:
        `(H, W, 3) uint8` RGB.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise ValueError(f"a picture must be (H, W, 3) uint8 with pixels, not {image.shape} {image.dtype}")
    image = _lens(image, optics)
    tone, noise_std = _tables(optics)
    grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
    shown = cv2.LUT(image, tone)
    colour = np.asarray(cv2.transform(shown, _colour_matrix(optics.saturation)), np.float32)
    detail = _detail(grey, colour, noise_std, optics, rng)
    if detail is not None:
        colour = np.asarray(cv2.add(colour, detail))
    recorded = cv2.convertScaleAbs(np.maximum(colour, 0))  # rounds, and cuts at 255
    return _transmit(np.asarray(recorded, np.uint8), optics)


def _lens(image: Image, optics: Optics) -> Image:
    """Blur, and darker corners."""
    if optics.blur_px > 0:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), optics.blur_px), np.uint8)
    if optics.vignetting > 0:
        light = _vignette(image.shape[:2], optics.vignetting)
        image = np.asarray(cv2.multiply(image, light, dtype=cv2.CV_8U), np.uint8)
    return image


@lru_cache(maxsize=32)
def _vignette(shape: tuple[int, int], loss: float) -> _Floats:
    """`(H, W, 3)` factors of display values: `loss` of the light in the corners, none in the middle."""
    y, x = (np.linspace(-1, 1, n, dtype=np.float32) for n in shape)
    light = 1 - loss * ((y[:, None] ** 2 + x[None] ** 2) / 2) ** 1.5
    return np.ascontiguousarray(np.repeat(light[..., None] ** (1 / 2.2), 3, 2))


@lru_cache(maxsize=256)
def _tables(optics: Optics) -> tuple[_Floats, _Floats]:
    """For each display value: what is shown `(1, 256, 3)`, and the noise of its grey `(1, 256)`, of 255."""
    light = (np.arange(256) / 255) ** 2.2 * 2.0**optics.exposure
    gains = np.asarray(optics.white_balance)
    shown = _tone(light[:, None] * gains, optics)
    std = np.sqrt(optics.read_noise**2 + optics.shot_noise**2 * light)
    # by differences, as the slope of the tone curve is without bound at black
    spread = (_tone(light + std, optics) - _tone(np.maximum(light - std, 0), optics)) / 2
    return (255 * shown).astype(np.float32)[None], (255 * spread).astype(np.float32)[None]


def _tone(light: NDArray[np.float64], optics: Optics) -> NDArray[np.float64]:
    """Display values in [0, 1] of linear light, where 1 is white."""
    bright = np.maximum(light - 0.7, 0)
    light = np.where(light > 0.7, 0.7 + 0.3 * (1 - np.exp(-bright / 0.3)), light)  # highlights roll off
    display = light ** (1 / 2.2)
    curved = display - optics.contrast * np.sin(2 * np.pi * display) / (2 * np.pi)
    return np.clip(optics.black_level + (1 - optics.black_level) * curved, 0, 1)


@lru_cache(maxsize=256)
def _colour_matrix(saturation: float) -> _Floats:
    """`(3, 3)`: away from the pixel's own luma by the saturation."""
    return np.asarray(saturation * np.eye(3) + (1 - saturation) * _LUMA, np.float32)


def _detail(
    grey: Image, colour: _Floats, noise_std: _Floats, optics: Optics, rng: np.random.Generator
) -> _Floats | None:
    """`(H, W, 3)`: noise and sharpening, to be added; None where there is neither."""
    noisy = optics.read_noise > 0 or optics.shot_noise > 0
    if not noisy and not optics.sharpening and not optics.chroma_noise:
        return None
    luma = cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY)
    added = np.zeros_like(luma)
    grain, tint = _noise(grey.shape, rng)
    if noisy:
        added = cv2.multiply(cv2.LUT(grey, noise_std), grain)
        luma = cv2.add(luma, added)
    if optics.sharpening:  # after the noise, which real cameras sharpen as well
        smooth = cv2.GaussianBlur(luma, (0, 0), optics.sharpening_radius_px)
        added = cv2.add(added, cv2.addWeighted(luma, optics.sharpening, smooth, -optics.sharpening, 0))
    detail = cv2.merge([added, added, added])
    if optics.chroma_noise:
        detail = cv2.scaleAdd(tint, optics.chroma_noise, detail)
    return np.asarray(detail, np.float32)


def _noise(shape: tuple[int, ...], rng: np.random.Generator) -> tuple[_Floats, _Floats]:
    """A random window of the noise tiles: grain `(H, W)` and tint `(H, W, 3)`."""
    grain, tint = _noise_tiles()
    y, x = (int(start) for start in rng.integers(0, _TILE, 2))
    height, width = shape[:2]
    if height <= _TILE and width <= _TILE:  # the tiles are stored twice in each direction
        return grain[y : y + height, x : x + width], tint[y : y + height, x : x + width]
    rows, columns = (y + np.arange(height)) % _TILE, (x + np.arange(width)) % _TILE
    return grain[np.ix_(rows, columns)], tint[np.ix_(rows, columns)]


@lru_cache(maxsize=1)
def _noise_tiles() -> tuple[_Floats, _Floats]:
    """Noise of standard deviation 1 that wraps around: fine grain `(2S, 2S)`, coarse tint `(2S, 2S, 3)`.

    Always the same tiles, as a random window of them serves for random noise at a tenth of the time.
    """
    rng = np.random.default_rng(20240501)
    grain = _wrapped_blur(rng.standard_normal((_TILE, _TILE), np.float32), 0.5)
    tint = _wrapped_blur(rng.standard_normal((_TILE, _TILE, 3), np.float32), 1.6)
    tint -= (tint @ _LUMA)[..., None]  # colour only, no brightness
    tiles = np.tile(grain / grain.std(), (2, 2)), np.tile(tint / tint.std(), (2, 2, 1))
    for tile in tiles:
        tile.flags.writeable = False
    return tiles


def _wrapped_blur(noise: _Floats, sigma: float) -> _Floats:
    margin = 16
    wrapped = cv2.copyMakeBorder(noise, margin, margin, margin, margin, cv2.BORDER_WRAP)
    return np.asarray(cv2.GaussianBlur(wrapped, (0, 0), sigma)[margin:-margin, margin:-margin])


def _transmit(image: Image, optics: Optics) -> Image:
    """Cable and compression."""
    if optics.interlace_px:
        image = image.copy()
        image[1::2] = np.roll(image[1::2], optics.interlace_px, 1)
    if optics.ghost > 0:
        copy = np.roll(image, optics.ghost_px, 1)
        image = np.asarray(cv2.addWeighted(image, 1 - optics.ghost, copy, optics.ghost, 0), np.uint8)
    if optics.quality is None:
        return image
    # both ways with red for blue, which saves two conversions and is as good for artefacts
    _, packed = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, optics.quality])
    return np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)


@dataclass(frozen=True)
class ImageStatistics:
    """What separates rendered from real crops.

    Attributes:
        sharpness: Standard deviation of the 4-neighbour Laplacian of grey.
        contrast: Standard deviation of grey.
        saturation: Mean S of HSV.
        brightness: Mean of grey.
    """

    sharpness: float
    contrast: float
    saturation: float
    brightness: float


def statistics(image: Image, height: int = 128) -> ImageStatistics:
    """Measures a crop; all numbers are on the scale of 0 to 255.

    Medians of 500 crops of Market-1501, as its authors ship them (128 x 64): sharpness 31, contrast 47,
    saturation 36, brightness 102.

    Args:
        image: `(H, W, 3) uint8` RGB.
        height: Pixels that taller pictures are shrunk to first, as sharpness depends on the scale.
    """
    if image.shape[0] > height:
        width = max(1, round(image.shape[1] * height / image.shape[0]))
        image = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    saturation = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)[..., 1]
    return ImageStatistics(
        float(cv2.Laplacian(grey, cv2.CV_32F).std()),
        float(grey.std()),
        float(saturation.mean()),
        float(grey.mean()),
    )

"""Does anything move? A look at a small grey picture that costs a fraction of a millisecond.

The picture is compared with a background that adapts slowly and with the picture before. Light that
changes everywhere is compensated by a gain and an offset; what is left must exceed the noise measured at
that place, and the noise of this very picture, which rises as a whole when an encoder starts anew.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.zones import Corners, Zones

Small = npt.NDArray[np.float32]

WIDTH_PX = 160  # a person of 32 px in a picture of 1080 lines is still 3 pixels high
FLOOR_LEVELS = 3.5  # of 255; smaller differences are never movement
NOISES = 5.5  # movement is this many times the noise
STEP_NOISES = 1.4  # a picture differs from another by the noise of both
LARGEST_NOISE_LEVELS = 4.0  # leaves in the wind are noisy; people before them must still be seen
ADAPT_S = 10.0  # what stands still for this long becomes background
SLOWER = 8.0  # what moves adapts this many times slower
RESET_S = 30.0  # after a longer time without pictures, begin anew
RESET_LEVELS = 8.0  # half of the picture differs by more: the camera was turned, people do not do that
_SAMPLE = 7  # the light of a picture shows in every seventh pixel


class MotionGate:
    """The gate of one camera; it remembers one small picture, one background and its noise."""

    def __init__(self, masks: Sequence[Corners] = ()) -> None:
        """`masks`: polygons in shares of width and height; what moves behind them is not looked at."""
        self._zones = Zones(None, masks)
        self._seen: tuple[int, ...] = ()
        self._time = -np.inf
        self._before: Small = np.zeros((0, 0), np.float32)
        self._background, self._noise = self._before, self._before

    def moved(self, luma: npt.NDArray[np.uint8], time: float) -> bool:
        """Whether something moves in this picture, or has come or gone of late.

        Args:
            luma: (H, W) uint8, the brightness of the picture; it is only read.
            time: capture time in seconds; grows from call to call.

        Returns:
            True for the first picture too, and after a change of resolution or a jump in time.
        """
        small = self._shrunk(luma)
        elapsed = time - self._time
        if luma.shape != self._seen or not 0 <= elapsed <= RESET_S:
            self._begin(luma.shape, small, time)
            return True
        gain, offset = _light(self._background, small)  # the background has the light of the picture before
        still = gain * self._background + offset
        change = np.abs(small - still)
        typical = 1.48 * float(np.median(change.ravel()[::_SAMPLE]))  # people fill too little to raise it
        if typical > RESET_LEVELS:
            self._begin(luma.shape, small, time)
            return True
        threshold = np.maximum(
            NOISES * np.maximum(self._noise, min(typical, LARGEST_NOISE_LEVELS)), FLOOR_LEVELS
        )
        moving = np.abs(small - (gain * self._before + offset)) > STEP_NOISES * threshold
        changed = bool((change > threshold).any() or moving.any())
        self._adapt(small, still, change, moving, elapsed)
        self._before, self._time = small, time
        return changed

    def _shrunk(self, luma: npt.NDArray[np.uint8]) -> Small:
        height, width = luma.shape
        small_width = min(WIDTH_PX, width)
        size = (small_width, max(1, round(height * small_width / width)))
        # Half the lines of a large picture tell as much, and cost half.
        lines = luma[:: max(1, height // (3 * size[1]))]
        small = np.asarray(cv2.resize(lines, size, interpolation=cv2.INTER_AREA), np.uint8)
        self._zones.black_out(small)
        return np.asarray(cv2.GaussianBlur(small.astype(np.float32), (3, 3), 0), np.float32)

    def _begin(self, seen: tuple[int, ...], small: Small, time: float) -> None:
        self._seen, self._time = seen, time
        self._before, self._background = small, small.copy()
        self._noise = np.full_like(small, FLOOR_LEVELS / NOISES)

    def _adapt(
        self, small: Small, still: Small, change: Small, moving: npt.NDArray[np.bool_], elapsed: float
    ) -> None:
        quick, slow = (1 - np.exp(-elapsed / (ADAPT_S * factor)) for factor in (1, SLOWER))
        rate = np.where(moving, np.float32(slow), np.float32(quick))
        self._background = still + rate * (small - still)
        spread = np.minimum(
            1.25 * change, LARGEST_NOISE_LEVELS
        )  # a normal's deviation from its mean absolute
        self._noise += rate * (spread - self._noise)


def _light(before: Small, now: Small) -> tuple[np.float32, np.float32]:
    """Gain and offset from one picture to the other by least squares, without the places that differ most."""
    old, new = before.ravel()[::_SAMPLE], now.ravel()[::_SAMPLE]
    gain, offset = _line(old, new)
    distance = np.abs(new - (gain * old + offset))
    alike = distance <= 2.5 * np.median(distance) + 1.0
    return _line(old[alike], new[alike])


def _line(old: Small, new: Small) -> tuple[np.float32, np.float32]:
    mean_old, mean_new = old.mean(), new.mean()
    centred = old - mean_old
    variance = centred @ centred
    gain = np.clip(centred @ (new - mean_new) / variance, 0.5, 2.0) if variance > len(old) else 1.0
    return np.float32(gain), np.float32(mean_new - gain * mean_old)

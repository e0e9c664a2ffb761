"""Small videos of painted people, made by the tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

RED, GREEN, BLUE, YELLOW, WHITE, BLACK = (
    (200, 30, 30), (30, 160, 40), (30, 40, 200), (220, 210, 40), (235, 235, 235), (15, 15, 15),
)  # fmt: skip


@dataclass(frozen=True)
class Painted:
    """A person: colours of top and trousers, path, and the frames in which the person is there."""

    top: tuple[int, int, int]
    trousers: tuple[int, int, int]
    x: float
    y: float
    dx: float = 2.0
    first: int = 0
    last: int = 10_000
    height: int = 96

    def box(self, frame: int) -> tuple[float, float, float, float] | None:
        """left, top, width, height in that frame."""
        if not self.first <= frame <= self.last:
            return None
        return self.x + self.dx * (frame - self.first), self.y, self.height * 0.42, self.height


def paint(people: Sequence[Painted], frame: int, width: int, height: int) -> np.ndarray:
    """One RGB frame: a textured ground and the people on it."""
    rows, columns = np.mgrid[0:height, 0:width]
    image = np.stack([(rows // 8 * 7 + columns // 8 * 5) % 40 + 90] * 3, axis=2).astype(np.uint8)
    for person in people:
        box = person.box(frame)
        if box is None:
            continue
        left, top, w, h = (round(v) for v in box)
        for first, last, colour in (
            (0, 0.16, (205, 160, 130)),
            (0.16, 0.55, person.top),
            (0.55, 1, person.trousers),
        ):
            ys = slice(max(0, top + int(first * h)), max(0, top + int(last * h)))
            image[ys, max(0, left) : max(0, left + w)] = colour
    return image


def write_video(
    path: Path, pictures: Sequence[np.ndarray], rate: float = 10,
    codec: str = "libx264", pix_fmt: str = "yuv420p",
    pts: Sequence[int] | None = None, **options: str,
) -> Path:  # fmt: skip
    """Encode RGB pictures; `pts` in milliseconds makes a variable frame rate."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(
            codec, rate=Fraction(rate).limit_denominator(1001), options={"g": "10", **options}
        )
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = pix_fmt
        if pts is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for i, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            if pts is not None:
                frame.pts, frame.time_base = pts[i], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@dataclass(frozen=True)
class Scene:
    """A video with its boxes in a MOT file."""

    video: Path
    boxes: Path
    people: tuple[Painted, ...]
    num_frames: int


def make_scene(
    folder: Path,
    name: str,
    people: Sequence[Painted],
    num_frames: int = 40,
    width: int = 320,
    height: int = 192,
) -> Scene:
    """Paint a video and write its ground truth."""
    video = write_video(folder / f"{name}.mp4", [paint(people, i, width, height) for i in range(num_frames)])
    lines = [
        f"{i + 1},{number},{box[0]:.2f},{box[1]:.2f},{box[2]:.2f},{box[3]:.2f},0.9,1,1"
        for i in range(num_frames)
        for number, person in enumerate(people, start=1)
        if (box := person.box(i)) is not None
    ]
    boxes = folder / f"{name}.txt"
    boxes.write_text("\n".join(lines) + "\n" if lines else "")
    return Scene(video, boxes, tuple(people), num_frames)


def numbered(picture: np.ndarray, number: int) -> np.ndarray:
    """A copy with a number below 256 in its upper left corner, as eight black or white blocks."""
    marked = picture.copy()
    for bit in range(8):
        marked[:16, 16 * bit : 16 * (bit + 1)] = 235 if number >> bit & 1 else 15
    return marked


def number_in(grey: np.ndarray) -> int:
    """The number that `numbered` put into a picture, from its (H, W) brightness."""
    return sum(1 << bit for bit in range(8) if grey[4:12, 16 * bit + 4 : 16 * bit + 12].mean() > 127)

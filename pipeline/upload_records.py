"""What an upload may be, how one is kept, and what is said of one that is not taken."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from pydantic import Field

from pipeline.config import Settings
from pipeline.file_formats import TAKEN
from pipeline.untrusted import Bounds

Kind = Literal["picture", "clip"]


class UploadRefused(ValueError):
    """The upload is not taken; the message is a sentence for the one who sent it."""


class UploadsBusy(RuntimeError):
    """Too much is being uploaded at this moment; the same upload may succeed a little later."""


class UploadNotFound(LookupError):
    """There is no such upload of that owner, or no more."""


class UploadLimits(Settings):
    """What an upload may be, and how many there may be."""

    picture_bytes: int = Field(20_000_000, ge=1, description="size of a picture's file")
    clip_bytes: int = Field(200_000_000, ge=1, description="size of a clip's file")
    picture_px: int = Field(50_000_000, ge=1, description="width x height of a picture")
    picture_side_px: int = Field(16_384, ge=1, description="longer side of a picture")
    picture_kept_side_px: int = Field(
        4096, ge=16, description="larger pictures are shrunk; bounds the memory of those who look at them"
    )
    clip_s: float = Field(60.0, gt=0, description="length of a clip in seconds")
    clip_side_px: int = Field(4096, ge=1, description="longer side of a clip's frames")
    clip_frames: int = Field(3000, ge=1, description="frames of a clip that are decoded")
    frames_per_s: float = Field(10.0, gt=0, description="frames of a clip that are kept")
    frame_side_px: int = Field(
        1920, ge=16, description="larger frames of a clip are shrunk; bounds the memory of a query"
    )
    cpu_s: int = Field(120, ge=1, description="processor time to decode one upload")
    wall_s: float = Field(180.0, gt=0, description="time to decode one upload")
    memory_bytes: int = Field(1 << 30, ge=1, description="memory to decode one upload, beside the libraries")
    children: int = Field(2, ge=1, description="uploads decoded at the same time")
    max_wait_s: float = Field(10.0, ge=0, description="an upload waits so long for its turn to be decoded")
    per_owner: int = Field(20, ge=1, description="uploads that one owner may have waiting")
    kept_bytes: int = Field(512_000_000, ge=1, description="size of one upload as it is kept")
    owner_bytes: int = Field(1_000_000_000, ge=1, description="size of all uploads of one owner together")
    total_bytes: int = Field(4_000_000_000, ge=1, description="size of all uploads together")
    expires_s: float = Field(3600.0, gt=0, description="an upload is deleted after so many seconds")

    def bounds(self) -> Bounds:
        """The part that the decoding process needs."""
        return Bounds(**self.model_dump(include={field.name for field in fields(Bounds)}))


@dataclass(frozen=True)
class Upload:
    """A picture or clip as it is kept.

    Attributes:
        id: 32 hex digits that nobody can guess.
        kind: "picture" or "clip".
        width: of its frames, in pixels.
        height: of its frames, in pixels.
        duration_s: length of a clip in seconds, 0 for a picture.
        times: second of each frame, rising from 0; one for a picture.
        num_damaged: parts of a clip that were damaged and left out.
    """

    id: str
    kind: Kind
    width: int
    height: int
    duration_s: float
    times: tuple[float, ...]
    num_damaged: int = 0

    @property
    def frame_rate(self) -> float:
        """Frames a second, on average."""
        return (len(self.times) - 1) / (self.times[-1] - self.times[0]) if len(self.times) > 1 else 1.0


def too_large(kind: Kind | None, limits: UploadLimits) -> UploadRefused:
    """The refusal of a file of too many bytes; its kind is None before it is known."""
    names: dict[Kind, int] = {"picture": limits.picture_bytes, "clip": limits.clip_bytes}
    said = [f"a {name} may have {_mb(names[name])}" for name in names if kind in (None, name)]
    return UploadRefused(f"the file is too large: {' and '.join(said)}")


def refusal(reason: str, limits: UploadLimits) -> UploadRefused:
    """The sentence for a reason of `file_formats.Reason` or of `sandbox.ChildFailed`."""
    sentences = {
        "unknown format": f"this is no picture and no clip; {TAKEN}",
        "damaged": "the file is damaged: it cannot be decoded",
        "cut off": "the picture is cut off: its end is missing; upload it again",
        "bytes behind": "something else lies behind the end of the picture (moving pictures of telephones "
        "do that): open it in a picture editor and save it as a plain JPEG or PNG",
        "animated": "this is an animated picture: upload a still picture, or a clip",
        "12 bit": "the JPEG has 12 bits a colour: save it with 8",
        "picture too large": f"the picture has too many pixels: {limits.picture_px / 1e6:g} megapixels and "
        f"{limits.picture_side_px} pixels a side are taken",
        "no video": "there is no video in this file",
        "codec": "the clip's coding is not taken: save it as H.264, H.265, VP9, AV1, MPEG-4 or MJPEG",
        "clip too long": f"the clip is too long: {limits.clip_s:g} s are taken; cut a part out of it",
        "too many frames": f"the clip has too many frames: {limits.clip_frames} are taken",
        "clip too large": f"the clip's frames are too large: {limits.clip_side_px} pixels a side are taken",
        "kept too large": "the clip needs too much room: make it shorter or smaller",
        "memory": "decoding the file takes too much memory: make the picture or clip smaller",
        "time": "decoding the file takes too long: make the picture or clip smaller or shorter",
    }
    unknown = "the file cannot be read: it is damaged, or decoding it takes too much time or memory"
    return UploadRefused(sentences.get(reason, unknown))


def _mb(size: int) -> str:
    return f"{size / 1e6:.4g} MB at most"
